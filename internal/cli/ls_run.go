package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/training"
)

// runListing is what ls prints of a run; its JSON is described in the verb's help.
type runListing struct {
	Path        string      `json:"path"`
	Checkpoints []runMember `json:"checkpoints"`
	Unfinished  []string    `json:"unfinished"`
	Custom      jsonValues  `json:"custom_metadata"`

	err error // the errors of checkpoints that cannot be read
}

// runMember is a checkpoint in the directory of a run.
type runMember struct {
	Name        string     `json:"name"`
	Step        *int       `json:"step"`
	CommitTime  *time.Time `json:"commit_time"`
	Leaves      int        `json:"leaves"`
	Bytes       int64      `json:"bytes"`
	StoredBytes int64      `json:"stored_bytes"`
	Metrics     jsonValues `json:"metrics"`
	Error       *string    `json:"error"`
}

// list describes the checkpoints of a run. It reads their documents only.
func (r *stepsDir) list(ctx context.Context, fill fillFlag) (*runListing, error) {
	l := &runListing{Path: r.path, Checkpoints: []runMember{}, Unfinished: append([]string{}, r.unfinished...)}
	var errs []error
	for _, name := range slices.Concat(r.steps, r.others) {
		c, err := list(ctx, join(r.path, name), "", fill)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if isUnfinishedSave(err) {
			l.Unfinished = append(l.Unfinished, name)
			continue
		}
		if isNone(err) {
			continue // no checkpoint, or one that was removed since
		}
		m := runMember{Name: name}
		if n, ok := stepNumber(name); ok {
			m.Step = &n
		}
		if err == nil {
			m.describe(c)
			err = c.err
		}
		if err != nil {
			var lib *orbax.Error
			if errors.As(err, &lib) {
				err = lib.Err // without the path
			}
			text := err.Error()
			m.Error = &text
			errs = append(errs, fmt.Errorf("%s: %w", shown(name), err))
		}
		l.Checkpoints = append(l.Checkpoints, m)
	}
	m, err := training.Metadata(ctx, r.path, training.ReadOptions{OpenOptions: openOptions(ctx)})
	if err != nil {
		var ours *training.Error
		if errors.As(err, &ours) {
			err = ours.Err // without the path
		}
		errs = append(errs, fmt.Errorf("metadata of the run: %w", err))
	} else if len(m.Custom) > 0 {
		l.Custom = jsonValues{m.Custom}
	}
	if len(errs) > 0 {
		l.err = inCheckpoint(r.path, errors.Join(errs...))
	}
	return l, nil
}

func (m *runMember) describe(l *listing) {
	m.CommitTime, m.Metrics = l.CommitTime, l.Metrics
	for _, p := range l.Parts {
		if p.pytree != nil {
			m.Leaves += len(p.Leaves)
			m.Bytes += p.Bytes
			m.StoredBytes += p.StoredBytes
		}
	}
}

// maxShownMetrics is how many characters a table shows of a step's metrics.
const maxShownMetrics = 60

// print writes the listing as a table.
func (l *runListing) print(w io.Writer) error {
	rows := [][]string{{"CHECKPOINT", "COMMITTED", "LEAVES", "SIZE", "METRICS"}}
	var bytes, stored int64
	for _, m := range l.Checkpoints {
		row := []string{shown(m.Name), "", fmt.Sprint(m.Leaves), fault.Size(m.Bytes), ""}
		if m.CommitTime != nil {
			row[1] = m.CommitTime.Format(time.RFC3339)
		}
		if m.Error != nil {
			row[2], row[3] = "", "unreadable"
		}
		if m.Metrics.v != nil {
			row[4] = m.Metrics.oneLine(maxShownMetrics)
		}
		bytes += m.Bytes
		stored += m.StoredBytes
		rows = append(rows, row)
	}
	b := bufio.NewWriter(w)
	table(b, rows, 2, 3)
	fmt.Fprintf(b, "total %s, %s, stored in %s\n", plural(len(l.Checkpoints), "checkpoint"), fault.Size(bytes), fault.Size(stored))
	if len(l.Unfinished) > 0 {
		fmt.Fprintf(b, "unfinished: %s\n", fault.List(l.Unfinished))
	}
	if !l.Custom.isEmpty() {
		fmt.Fprintf(b, "custom metadata %s\n", l.Custom.oneLine(maxShownValue))
	}
	return b.Flush()
}
