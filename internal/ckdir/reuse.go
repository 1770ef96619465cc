package ckdir

// Reuse makes the saves of a run incremental: a chunk of an array whose content is
// that of a chunk of the save before is not written again. The data file that has
// it gets a second name, by a hard link, in the new directory, whose database
// refers to it there. So every save is complete in itself: Python loads it, and
// any other may be deleted.
//
// A save with a Reuse records the fingerprints of its chunks, for the next one, in
// a file that Orbax ignores. Only chunks of arrays in memory (*array.Array) that are
// stored in a database are recorded and shared. A save always writes the chunks of other
// readers, to data files of their own, plain files, chunks of 1024 bytes or less, and
// every chunk that cannot be shared for some other reason.
//
// Equal chunks of one save are stored once.
type Reuse struct {
	// Base is the same item in an earlier, complete checkpoint in the
	// same store. Nothing is shared if it is nil, was saved without a Reuse or by a
	// version that did not record the chunks' seals, or has no digest of what that recorded.
	Base *ReadDir
	// FreshEvery is the number of saves after which bytes are written anew, so that
	// damage to them does not last: a save does not share bytes that FreshEvery-1 saves
	// have shared already. 0 stands for 10; with 1 nothing is shared or recorded.
	FreshEvery int
	// MaxDead bounds how much of a shared file may be bytes that are in no chunk of
	// the save any more, from 0 to 1. A page of 4096 bytes is not counted. 0 stands
	// for 0.5.
	MaxDead float64
	// Problem, if set, is called with the error if something failed and less is shared
	// because of that. The save goes on.
	Problem func(error)
}

const (
	defaultFreshEvery = 10
	defaultMaxDead    = 0.5
)

// Fresh returns FreshEvery, or what it stands for.
func (r *Reuse) Fresh() int {
	if r.FreshEvery <= 0 {
		return defaultFreshEvery
	}
	return r.FreshEvery
}

// Dead returns MaxDead, or what it stands for.
func (r *Reuse) Dead() float64 {
	if !(r.MaxDead > 0) {
		return defaultMaxDead
	}
	return r.MaxDead
}

// Report calls Problem with err, if both are there.
func (r *Reuse) Report(err error) {
	if err != nil && r.Problem != nil {
		r.Problem(err)
	}
}
