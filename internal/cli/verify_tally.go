package cli

import (
	"path"
)

// tally gathers what all verdicts of one verify together say. It keeps no more of a
// verdict than what is printed or counts later: a run can have any number of steps.
type tally struct {
	keep     bool // all verdicts, for the document of --json
	verdicts []*verdict

	whole   map[string]bool // directories that have a checkpoint which is whole
	pending []*verdict      // unfinished arguments
	worst   error
}

func newTally(keep bool) *tally {
	return &tally{keep: keep, verdicts: []*verdict{}, whole: map[string]bool{}}
}

// add takes a verdict about a checkpoint.
func (t *tally) add(v *verdict) {
	if t.keep {
		t.verdicts = append(t.verdicts, v)
	}
	switch v.Status {
	case statusOK:
		if v.note == "" {
			t.whole[dirOf(v)] = true
		}
	case statusUnfinished:
		if !v.inRun {
			t.pending = append(t.pending, v)
		}
	case statusDamaged:
		t.worst = errDamaged
	case statusError:
		if t.worst == nil {
			t.worst = errUnchecked
		}
	}
}

// lacking returns those of the unfinished arguments that stand for a checkpoint which is
// not there: all but those that have the name of a temporary directory or a session, and
// an argument beside them that is whole. A pattern of the shell finds such.
func (t *tally) lacking() (missing []*verdict) {
	for _, v := range t.pending {
		if !(isBeside(v.Path) && t.whole[dirOf(v)]) {
			missing = append(missing, v)
		}
	}
	return missing
}

// err returns the error that the exit status shall report.
func (t *tally) err() error {
	if len(t.lacking()) > 0 {
		return errDamaged
	}
	return t.worst
}

// dirOf returns the directory that the checkpoint is in.
func dirOf(v *verdict) string {
	if _, name, err := resolve(v.Path); err == nil {
		return path.Dir(name)
	}
	return path.Dir(v.Path)
}
