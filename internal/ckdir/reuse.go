package ckdir

// Reuse makes the saves of a run incremental. A save does not write a chunk again if the
// save before has a chunk with the same content. Instead, the data file with that chunk
// gets a second name in the new directory, by a hard link or a copy that the store makes, and
// the database of the new directory refers to it there. So every save is complete in itself: Python loads it, and
// any other save may be deleted.
//
// A save with a Reuse records the fingerprints of its chunks for the next save, in a file
// that Orbax ignores. It records and shares only chunks that are stored in a database and
// belong to arrays in memory (*array.Array). It always writes the chunks of other
// readers, which go to separate data files, as well as plain files, chunks of 1024 bytes
// or less, and every chunk that cannot be shared for another reason.
//
// Equal chunks of one save are stored once.
type Reuse struct {
	// Base is the same item in an earlier, complete checkpoint in the same store. Nothing
	// is shared if Base is nil, if it was saved without a Reuse, if its version did not
	// record the chunks' seals, or if the record of its chunks has no digest.
	Base *ReadDir
	// FreshEvery is the number of saves after which bytes are written anew, so that
	// damage to them does not last: a save does not share bytes that FreshEvery-1 saves
	// have shared already. 0 means 10. With 1 nothing is shared or recorded.
	FreshEvery int
	// MaxDead is the largest share of a shared file, from 0 to 1, that may be bytes
	// outside of the chunks of the save. A page of 4096 bytes is not counted. 0 means
	// 0.5.
	MaxDead float64
	// Problem, if set, is called with an error if something failed and the save shares
	// less because of that. The save continues.
	Problem func(error)
}

const (
	defaultFreshEvery = 10
	defaultMaxDead    = 0.5
)

// Fresh returns FreshEvery, or its default.
func (r *Reuse) Fresh() int {
	if r.FreshEvery <= 0 {
		return defaultFreshEvery
	}
	return r.FreshEvery
}

// Dead returns MaxDead, or its default.
func (r *Reuse) Dead() float64 {
	if !(r.MaxDead > 0) {
		return defaultMaxDead
	}
	return r.MaxDead
}

// Report calls Problem with err, unless either is nil.
func (r *Reuse) Report(err error) {
	if err != nil && r.Problem != nil {
		r.Problem(err)
	}
}
