package handler

import (
	"iter"

	"github.com/go-orbax/orbax/ocdbt"
)

// valueIndex finds the values of databases by their keys. It must not be used by
// several goroutines at once.
type valueIndex struct {
	entries []ocdbt.Entry // in the order of their keys
	last    int           // what was found last: most look-ups are near the one before
}

// all returns the values.
func (x *valueIndex) all() iter.Seq[ocdbt.Value] {
	return func(yield func(ocdbt.Value) bool) {
		for i := range x.entries {
			if !yield(x.entries[i].Value) {
				return
			}
		}
	}
}

// find returns the value of a key and whether there is one.
func (x *valueIndex) find(key []byte) (v ocdbt.Value, ok bool) {
	less := func(i int) bool { return x.entries[i].Key < string(key) }
	// All entries before lo are less than the key, none from hi on is.
	lo, hi := x.last, x.last
	for step := 1; hi < len(x.entries) && less(hi); step *= 2 {
		lo, hi = hi+1, min(len(x.entries), hi+step)
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
	if lo == len(x.entries) || x.entries[lo].Key != string(key) {
		return v, false
	}
	x.last = lo
	return x.entries[lo].Value, true
}
