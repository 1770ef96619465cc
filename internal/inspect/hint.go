package inspect

import "errors"

// Hint is advice about an error: what a person may have meant, or can do. A program puts
// it into its own words, such as those of a command line or of a web page.
type Hint struct {
	Kind       HintKind
	Checkpoint string   // path of the checkpoint
	Names      []string // of leaves or checkpointables, according to Kind
	Bytes      int64
}

// HintKind is the kind of advice that a [Hint] gives.
type HintKind int

// These are the kinds of hints, with the contents of Names.
const (
	// SimilarLeaves: Names are leaves that may have been meant, as [Inspector.Find] takes
	// them.
	SimilarLeaves HintKind = iota + 1
	// AnyLeaf: a list of all leaves would help.
	AnyLeaf
	// LeavesBelow: Names are some of the leaves below a path that is not a leaf.
	LeavesBelow
	// OtherHasLeaf: Names is the checkpointable that has the leaf.
	OtherHasLeaf
	// SimilarName: Names is the checkpointable that may have been meant.
	SimilarName
	// ExistingNames: Names are all checkpointables.
	ExistingNames
	// OnlyItself: the checkpoint is itself its only checkpointable, and has no names.
	OnlyItself
	// PrintsDocument: the checkpointable is a document, which can be printed.
	PrintsDocument
	// PrintsMetrics: the metrics of the checkpoint can be printed.
	PrintsMetrics
	// OfCheckpoint: the path of the checkpoint is needed instead of a path inside it.
	OfCheckpoint
	// NotRaw: a document cannot be written as the bytes of a leaf.
	NotRaw
	// NoPreview: the array can be printed only as a whole.
	NoPreview
	// NeedsTemporary: a directory for temporary files needs room for Bytes bytes.
	NeedsTemporary
)

// hintError is an error with a hint.
type hintError struct {
	error
	hint Hint
}

func (e hintError) Unwrap() error { return e.error }

// HintOf returns the hint of an error of this package. ok is false if it has none.
func HintOf(err error) (Hint, bool) {
	var h hintError
	if errors.As(err, &h) {
		return h.hint, true
	}
	return Hint{}, false
}

// withNames adds a hint with names to err.
func withNames(err error, kind HintKind, names ...string) error {
	return hintError{err, Hint{Kind: kind, Names: names}}
}
