package coord

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// report is the outcome of a phase in one or several processes.
type report struct {
	What     string        `json:"what,omitempty"`
	Phase    string        `json:"phase"`
	Failures []wireFailure `json:"failures,omitempty"`
	More     int           `json:"more,omitempty"`
	Unknown  bool          `json:"unknown,omitempty"` // rank 0 could not publish the outcome
	Value    []byte        `json:"-"`                 // follows the JSON

	// Lacks says that the process has sent no report.
	Lacks bool `json:"-"`
	rank  int
	local map[int]error // the errors themselves, of this process
}

// wireFailure is a [Failure] on its way to another process.
type wireFailure struct {
	Rank  int    `json:"rank"`
	Phase string `json:"phase"`
	Text  string `json:"text"`
	Lost  *int   `json:"lost,omitempty"` // the rank of a LostError
	Late  bool   `json:"late,omitempty"` // it matches ErrTimeout
	// Stopped says that it matches ErrStopped.
	Stopped bool `json:"stopped,omitempty"`
	// Classes are the classes of package orbax that it matches.
	Classes []string `json:"classes,omitempty"`
}

// fail adds the failure of a process.
func (r *report) fail(rank int, err error) {
	f := wireFailure{Rank: rank, Phase: r.Phase, Text: err.Error(), Late: errors.Is(err, ErrTimeout), Stopped: errors.Is(err, ErrStopped), Classes: fault.ClassesOf(err)}
	var lost *LostError
	if errors.As(err, &lost) {
		f.Lost = &lost.Rank
	}
	if r.local == nil {
		r.local = map[int]error{}
	}
	r.local[rank] = err
	r.add([]wireFailure{f}, 0)
}

// add adds the failures of others. A process that has stopped because of another failure
// counts only as long as there is no other.
func (r *report) add(failures []wireFailure, more int) {
	for _, f := range failures {
		if !f.Stopped {
			r.Failures = slices.DeleteFunc(r.Failures, func(f wireFailure) bool { return f.Stopped })
		}
		if !f.Stopped || len(r.Failures) == 0 {
			r.Failures = append(r.Failures, f)
		}
	}
	slices.SortStableFunc(r.Failures, func(a, b wireFailure) int { return cmp.Compare(a.Rank, b.Rank) })
	r.More += more
	if extra := len(r.Failures) - maxFailures; extra > 0 {
		r.More += extra
		r.Failures = r.Failures[:maxFailures]
	}
}

// merge adds the reports of others.
func (r *report) merge(others []report, merge Merge, rank int) {
	values := [][]byte{r.Value}
	for _, o := range others {
		r.add(o.Failures, o.More)
		values = append(values, o.Value)
		switch {
		case o.Lacks || len(o.Failures) > 0 || o.What == r.What && o.Phase == r.Phase:
		case r.Phase == endPhase && len(r.Failures) == 0:
			r.fail(rank, errors.New("it has ended the operation early"))
		case r.Phase != endPhase:
			r.fail(o.rank, fmt.Errorf("it is at phase %s of %s", o.Phase, o.What))
		}
	}
	if len(r.Failures) > 0 {
		r.Value = nil
		return
	}
	if merge == nil || len(others) == 0 {
		return
	}
	var err error
	if r.Value, err = merge(values); err != nil {
		r.fail(rank, err)
	}
}

// err returns the failures as an *Error, or nil.
func (r *report) err() error {
	if len(r.Failures) == 0 {
		return nil
	}
	e := &Error{What: r.What, More: r.More, Unknown: r.Unknown}
	for _, f := range r.Failures {
		err := r.local[f.Rank]
		switch {
		case err != nil:
		case f.Lost != nil:
			err = &LostError{*f.Lost}
		case f.Stopped:
			err = ErrStopped
		case f.Late:
			err = fmt.Errorf("%s%w", strings.TrimSuffix(f.Text, ErrTimeout.Error()), ErrTimeout)
		default:
			err = fault.Remote(f.Text, f.Classes)
		}
		e.Failures = append(e.Failures, &Failure{f.Rank, f.Phase, err})
	}
	return e
}

// encode returns the report as a line of JSON, and its value.
func (r *report) encode() []byte {
	head, err := json.Marshal(r)
	if err != nil {
		panic(err) // it has only strings and numbers
	}
	return append(append(head, '\n'), r.Value...)
}

func parseReport(doc []byte) (r report, err error) {
	head, value, ok := bytes.Cut(doc, []byte{'\n'})
	if !ok {
		return r, errors.New("its report is cut short")
	}
	if err := json.Unmarshal(head, &r); err != nil {
		return r, fmt.Errorf("its report: %w", err)
	}
	r.Value = value
	return r, nil
}
