package database

import (
	"iter"

	"github.com/go-orbax/orbax/ocdbt"
)

// Index finds the values of databases by their keys. Only one goroutine may use it at a
// time.
type Index struct {
	Entries []ocdbt.Entry // in the order of their keys
	last    int           // the place that was found last: most look-ups are near the one before
}

// All yields the values in the order of their keys.
func (x *Index) All() iter.Seq[ocdbt.Value] {
	return func(yield func(ocdbt.Value) bool) {
		for i := range x.Entries {
			if !yield(x.Entries[i].Value) {
				return
			}
		}
	}
}

// Find returns the value of a key. ok is false if there is none.
func (x *Index) Find(key []byte) (v ocdbt.Value, ok bool) {
	less := func(i int) bool { return x.Entries[i].Key < string(key) }
	// All entries before lo are less than the key; no entry from hi on is.
	lo, hi := x.last, x.last
	for step := 1; hi < len(x.Entries) && less(hi); step *= 2 {
		lo, hi = hi+1, min(len(x.Entries), hi+step)
	}
	for step := 1; lo > 0 && !less(lo-1); step *= 2 {
		lo, hi = max(0, lo-step), lo-1
	}
	for lo < hi {
		if mid := lo + (hi-lo)/2; less(mid) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(x.Entries) || x.Entries[lo].Key != string(key) {
		return v, false
	}
	x.last = lo
	return x.Entries[lo].Value, true
}
