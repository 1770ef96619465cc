package cli

import (
	"context"
	"path"

	"github.com/go-orbax/orbax/internal/inspect"
)

// tally combines the verdicts of one verify. Of a verdict it keeps only the data that is
// printed or counted later, because a run can have any number of steps.
type tally struct {
	in       inspect.Inspector // the inspector of the verdicts
	keep     bool              // keep all verdicts, for the document of --json
	verdicts []*inspect.Verdict

	whole   map[string]bool    // directories that have an intact checkpoint
	pending []*inspect.Verdict // unfinished arguments
	worst   error
}

func newTally(keep bool, in inspect.Inspector) *tally {
	return &tally{in: in, keep: keep, verdicts: []*inspect.Verdict{}, whole: map[string]bool{}}
}

// add adds the verdict on a checkpoint.
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

// lacking returns the verdicts on unfinished arguments that stand for a missing
// checkpoint. The others have the name of a temporary directory or a session, and an
// intact checkpoint beside them is among the arguments, as with a pattern of the shell.
func (t *tally) lacking() (missing []*inspect.Verdict) {
	for _, v := range t.pending {
		if !(inspect.IsBeside(t.nameOf(v)) && t.whole[t.dirOf(v)]) {
			missing = append(missing, v)
		}
	}
	return missing
}

// err returns the error for the exit status.
func (t *tally) err() error {
	if len(t.lacking()) > 0 {
		return errDamaged
	}
	return t.worst
}

// dirOf returns the directory that contains the checkpoint.
func (t *tally) dirOf(v *inspect.Verdict) string { return path.Dir(t.nameOf(v)) }

// nameOf returns the name of the checkpoint in its store.
func (t *tally) nameOf(v *inspect.Verdict) string {
	if at, err := t.in.Locate(context.Background(), v.Given); err == nil {
		return at.Name
	}
	return v.Given
}
