package fault

// Claimed is an error about a path that a writer has claimed: it is at work there, or it
// has died.
type Claimed struct {
	Err  error  // what the reader finds, such as ErrUnfinished
	Work string // who does what, since when, and whether that one has died
	// Exchange says that a complete checkpoint will be there whatever happens: the writer,
	// or the next one, finishes that.
	Exchange bool
	New      bool // nothing was there before
	Alive    bool // the writer may be alive
}

func (e *Claimed) Error() string { return WithoutAdvice(e.Err) + ": " + e.Work }
func (e *Claimed) Unwrap() error { return e.Err }

// Is makes the error of an exchange that goes on match ErrBusy too: the reader tries again.
func (e *Claimed) Is(target error) bool { return target == ErrBusy && e.Exchange && e.Alive }
