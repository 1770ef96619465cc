package ocdbt

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strings"
)

// DB is a database, read at the version that was the newest when [Open] opened it.
// Several goroutines may use a DB at the same time if its [Source] allows it.
type DB struct {
	src     Source
	config  config
	version Version
}

// Open reads the manifest of the database in src. If there is no manifest, the error
// matches fs.ErrNotExist; an error about any other missing file does not match it. A
// database needs no closing.
func Open(ctx context.Context, src Source) (*DB, error) {
	cfg, version, err := readManifest(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("OCDBT database: %w", err)
	}
	return &DB{src: src, config: cfg, version: version}, nil
}

// Version returns the version that the DB reads.
func (db *DB) Version() Version { return db.version }

// Get returns the value of key and whether there is one. An inline value must not be
// modified. Each call reads and decodes the nodes from the root to a leaf. To look up
// many keys, [DB.Entries] is faster.
func (db *DB) Get(ctx context.Context, key string) (Value, bool, error) {
	t, ok := db.root()
	for ok {
		n, err := db.readNode(ctx, t)
		if err != nil {
			return Value{}, false, err
		}
		// Find the last entry whose key is not greater than key. In a leaf it may have
		// the key itself; elsewhere only its subtree can hold the key.
		found := -1
		var lower []byte
		k := newKeys(t.prefix, n)
		for k.next() && string(k.key) <= key {
			found = k.i
			if n.height > 0 {
				lower = append(lower[:0], k.key...)
			} else if string(k.key) == key {
				return n.value(found), true, nil
			}
		}
		if found < 0 || n.height == 0 {
			break
		}
		upper := t.upper
		if k.i < len(n.keys) {
			upper = string(k.key)
		}
		t = n.child(t, found, string(lower), upper)
	}
	return Value{}, false, nil
}

// Entries yields the entries whose keys begin with prefix, in ascending order of bytes.
// It reads only the nodes that may hold such keys, one at a time. After an error, which
// comes with a zero Entry, the sequence ends. Inline values must not be modified. A value
// that is kept keeps its node in memory, and a key keeps a few hundred neighbouring keys.
func (db *DB) Entries(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if t, ok := db.root(); ok {
			s := scan{db: db, ctx: ctx, prefix: prefix, yield: yield}
			s.walk(t)
		}
	}
}

// subtree describes a node as its parent does.
type subtree struct {
	ref    Ref
	base   string // as in dataFile
	height uint8
	prefix string // the prefix of all its keys, which its nodes leave out
	lower  string // no key is less than lower
	upper  string // all keys are less than upper; "" is no limit
}

// error adds to err which node it concerns.
func (t subtree) error(err error) error {
	return fmt.Errorf("OCDBT node in %s at offset %d (%d bytes): %w", t.ref.File, t.ref.Offset, t.ref.Length, err)
}

func (db *DB) root() (subtree, bool) {
	r := db.version.Root
	return subtree{ref: r.Ref, base: r.base, height: r.Height}, !r.Empty()
}

// child returns the subtree of entry i of the node n that t describes. lower is the full
// key of the entry, and upper is the key of the next entry.
func (n *node) child(t subtree, i int, lower, upper string) subtree {
	return subtree{
		ref:    n.ref(i),
		base:   n.files[n.refs[i].file].base,
		height: t.height - 1,
		prefix: lower[:len(t.prefix)+int(n.keys[i].common)],
		lower:  lower,
		upper:  upper,
	}
}

// readNode reads and checks the node that t describes.
func (db *DB) readNode(ctx context.Context, t subtree) (*node, error) {
	n, err := db.loadNode(ctx, t)
	if err != nil {
		return nil, t.error(err)
	}
	return n, nil
}

func (db *DB) loadNode(ctx context.Context, t subtree) (*node, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.ref.Length < minEnvelope {
		return nil, corruptf("%d bytes, fewer than the minimum of %d", t.ref.Length, minEnvelope)
	}
	if t.ref.Length > maxNode {
		return nil, corruptf("%d bytes, more than the limit of %d", t.ref.Length, maxNode)
	}
	b, err := readRange(ctx, db.src, t.ref.File, t.ref.Offset, t.ref.Length)
	if err != nil {
		return nil, explainLFS(ctx, db.src, t.ref.File, err)
	}
	body, err := openEnvelope(b, nodeMagic)
	if err != nil {
		return nil, explainLFS(ctx, db.src, t.ref.File, err)
	}
	n, err := decodeNode(body, t.base)
	if err != nil {
		return nil, err
	}
	return n, n.check(t)
}

// keyFactor and keySlack bound the total length of a node's keys by the size of its body.
// Without the bound each key could repeat up to 64 KiB of the key before it.
const (
	keyFactor = 256
	keySlack  = 16 << 20
)

// check compares the node with the description by its parent, and makes the checks that
// need full keys.
func (n *node) check(t subtree) error {
	if n.height != t.height {
		return corruptf("height %d, the parent says %d", n.height, t.height)
	}
	budget := keyFactor*n.size + keySlack
	k := newKeys(t.prefix, n)
	for first := true; k.next(); first = false {
		if len(k.key) > maxKeyLength {
			return corruptf("key of %d bytes exceeds the limit of %d", len(k.key), maxKeyLength)
		}
		if budget -= len(k.key); budget < 0 {
			return corruptf("keys are too long for a node of %d bytes", n.size)
		}
		if first && string(k.key) < t.lower {
			return corruptf("first key %q is less than %q, which the parent says is the least", k.key, t.lower)
		}
	}
	if t.upper != "" && string(k.key) >= t.upper {
		return corruptf("last key %q is not less than %q, where the next node begins", k.key, t.upper)
	}
	return nil
}

// keys walks over the full keys of a node.
type keys struct {
	n      *node
	prefix int // length of the prefix that the node leaves out
	i      int // index of the current key
	at     int // offset of the next suffix
	key    []byte
}

func newKeys(prefix string, n *node) *keys {
	return &keys{n: n, prefix: len(prefix), i: -1, key: []byte(prefix)}
}

// next advances to the next key, if there is one. At the end, key remains the last key.
func (k *keys) next() bool {
	if k.i++; k.i >= len(k.n.keys) {
		return false
	}
	e := k.n.keys[k.i]
	k.key = append(k.key[:k.prefix+int(e.prefix)], k.n.suffixes[k.at:k.at+int(e.suffix)]...)
	k.at += int(e.suffix)
	return true
}

// scan yields the entries of a tree whose keys begin with prefix.
type scan struct {
	db     *DB
	ctx    context.Context
	prefix string
	yield  func(Entry, error) bool
	seen   extents
	tally  tally
}

// walk yields the entries below t, and reports whether the scan goes on.
func (s *scan) walk(t subtree) bool {
	if !s.seen.add(t.ref) {
		s.yield(Entry{}, t.error(corruptf("reached a second time in the same tree")))
		return false
	}
	s.tally.node(t.ref)
	n, err := s.db.readNode(s.ctx, t)
	if err != nil {
		s.yield(Entry{}, err)
		return false
	}
	if n.height == 0 {
		return s.leaf(t, n)
	}
	k := newKeys(t.prefix, n)
	k.next()
	for i, lower := 0, string(k.key); i < len(n.keys); i++ {
		upper := t.upper
		if k.next() {
			upper = string(k.key)
		}
		if lower > s.prefix && !strings.HasPrefix(lower, s.prefix) {
			return false
		}
		if upper == "" || upper > s.prefix {
			if !s.walk(n.child(t, i, lower, upper)) {
				return false
			}
		}
		lower = upper
	}
	return true
}

// keyBatch is the number of keys that share the memory of one string.
const keyBatch = 256

func (s *scan) leaf(t subtree, n *node) bool {
	k := newKeys(t.prefix, n)
	more := k.next()
	for more && string(k.key) < s.prefix {
		more = k.next()
	}
	prefix := []byte(s.prefix)
	var text []byte
	ends := make([]int, 0, min(len(n.keys), keyBatch)) // of the keys in text
	for more {
		first := k.i
		text, ends = text[:0], ends[:0]
		for more && len(ends) < keyBatch && bytes.HasPrefix(k.key, prefix) {
			if err := s.tally.entry(len(k.key) + n.inlineLen(k.i)); err != nil {
				s.yield(Entry{}, t.error(err))
				return false
			}
			text = append(text, k.key...)
			ends = append(ends, len(text))
			more = k.next()
		}
		if len(ends) == 0 {
			return false // after the keys that begin with prefix
		}
		all, at := string(text), 0
		for i, end := range ends {
			if !s.yield(Entry{Key: all[at:end], Value: n.value(first + i)}, nil) {
				return false
			}
			at = end
		}
	}
	return true
}
