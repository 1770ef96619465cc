// Package ocdbt reads and writes databases in the OCDBT format of TensorStore
// (optionally-cooperative distributed B+tree), a key-value store that lives in
// a directory: a manifest, and data files that hold B+tree nodes and values.
//
// The package deals with the tree, not with the bytes of large values. Reading
// yields, for each key, either the value itself or a [Ref] that says in which
// file it lies; writing takes the same. The files are reached through
// a [Source] and a [Placer], so that they may lie anywhere.
//
// To read the newest version of a database:
//
//	db, err := ocdbt.Open(ctx, ocdbt.FS(os.DirFS(dir)))
//	if err != nil {
//		return err
//	}
//	for entry, err := range db.Entries(ctx, "params/") {
//		if err != nil {
//			return err
//		}
//		fmt.Println(entry.Key, entry.Value.Len())
//	}
//
// To write one, store the values first, then build the tree over them with
// [WriteTree], and store the bytes of [Manifest] last, as "manifest.ocdbt".
//
// Databases are immutable here: versions are not added to one that exists.
// Of a database with several versions, the newest is read.
//
// Errors match, with errors.Is, sentinels of package orbax: ErrCorrupt for bytes
// that are not what the format demands and files that are missing,
// ErrUnsupported for features of later formats.
//
// The format is described by TensorStore's documentation of its "ocdbt"
// key-value store driver. Names in comments follow it.
package ocdbt
