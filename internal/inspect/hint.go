package inspect

import "errors"

// Hint is advice about an error: what a person may have meant, or can do. Programs say it in
// their own words, such as those of a command line or of a page.
type Hint struct {
	Kind       HintKind
	Checkpoint string   // the path of the checkpoint that it is about
	Names      []string // of leaves or checkpointables, as the kind says
	Bytes      int64
}

// HintKind is what a Hint advises.
type HintKind int

// The kinds of hints, and what is in Names.
const (
	// SimilarLeaves: the leaves that may have been meant, as Find takes them.
	SimilarLeaves HintKind = iota + 1
	// AnyLeaf: a list of all leaves helps.
	AnyLeaf
	// LeavesBelow: some of the leaves below what was taken for a leaf.
	LeavesBelow
	// OtherHasLeaf: the checkpointable that has the leaf.
	OtherHasLeaf
	// SimilarName: the checkpointable that may have been meant.
	SimilarName
	// ExistingNames: the checkpointables that there are.
	ExistingNames
	// OnlyItself: the checkpoint is its only checkpointable itself, which has no name.
	OnlyItself
	// PrintsDocument: the checkpointable is a document, which can be printed.
	PrintsDocument
	// PrintsMetrics: the metrics of the checkpoint can be printed.
	PrintsMetrics
	// OfCheckpoint: the checkpoint is to be given, and not what is in it.
	OfCheckpoint
	// NotRaw: a document has no bytes of a leaf.
	NotRaw
	// NoPreview: only the whole array can be printed.
	NoPreview
	// NeedsTemporary: a directory for temporary files needs room for Bytes.
	NeedsTemporary
)

// hintError is an error with a hint.
type hintError struct {
	error
	hint Hint
}

func (e hintError) Unwrap() error { return e.error }

// HintOf returns the hint that an error of this package has, if it has one.
func HintOf(err error) (Hint, bool) {
	var h hintError
	if errors.As(err, &h) {
		return h.hint, true
	}
	return Hint{}, false
}

// withNames returns err with a hint that has names.
func withNames(err error, kind HintKind, names ...string) error {
	return hintError{err, Hint{Kind: kind, Names: names}}
}
