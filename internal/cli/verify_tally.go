package cli

import (
	"context"
	"path"

	"github.com/go-orbax/orbax/internal/inspect"
)

// tally gathers what all verdicts of one verify together say. It keeps no more of a
// verdict than what is printed or counts later: a run can have any number of steps.
type tally struct {
	in       inspect.Inspector // that the verdicts are from
	keep     bool              // all verdicts, for the document of --json
	verdicts []*inspect.Verdict

	whole   map[string]bool    // directories that have a checkpoint which is whole
	pending []*inspect.Verdict // unfinished arguments
	worst   error
}

func newTally(keep bool, in inspect.Inspector) *tally {
	return &tally{in: in, keep: keep, verdicts: []*inspect.Verdict{}, whole: map[string]bool{}}
}

// add takes a verdict about a checkpoint.
func (t *tally) add(v *inspect.Verdict) {
	if t.keep {
		t.verdicts = append(t.verdicts, v)
	}
	switch v.Status {
	case inspect.StatusOK:
		if v.Note == "" {
			t.whole[t.dirOf(v)] = true
		}
	case inspect.StatusUnfinished:
		if !v.InRun {
			t.pending = append(t.pending, v)
		}
	case inspect.StatusDamaged:
		t.worst = errDamaged
	case inspect.StatusError:
		if t.worst == nil {
			t.worst = errUnchecked
		}
	}
}

// lacking returns those of the unfinished arguments that stand for a checkpoint which is
// not there: all but those that have the name of a temporary directory or a session, and
// an argument beside them that is whole. A pattern of the shell finds such.
func (t *tally) lacking() (missing []*inspect.Verdict) {
	for _, v := range t.pending {
		if !(inspect.IsBeside(v.Path) && t.whole[t.dirOf(v)]) {
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
func (t *tally) dirOf(v *inspect.Verdict) string {
	if at, err := t.in.Locate(context.Background(), v.Path); err == nil {
		return at.Dir().Name
	}
	return path.Dir(v.Path)
}
