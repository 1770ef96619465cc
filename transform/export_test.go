package transform

// ValueLeaf returns the leaf of a value in memory.
var ValueLeaf = leafOf
