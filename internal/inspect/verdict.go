package inspect

import (
	"context"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/view"
)

// These are the statuses of a [Verdict].
const (
	StatusOK         = "ok"         // intact
	StatusDamaged    = "damaged"    // data is lost or differs from the written data
	StatusError      = "error"      // there is no checkpoint, or it could not be read
	StatusUnfinished = "unfinished" // a save that is running or has died, which is not damage
)

// Verdict is the result of verifying one checkpoint.
type Verdict struct {
	Path          string   `json:"path"`
	Status        string   `json:"status"`
	Leaves        int      `json:"leaves"`
	Bytes         int64    `json:"bytes"`
	Digests       *bool    `json:"digests"`
	Unchecksummed int      `json:"unchecksummed"`
	Missing       int      `json:"missing_chunks"`
	Unchecked     []string `json:"unchecked"`
	Seconds       float64  `json:"seconds"`
	Problems      []string `json:"problems"`
	// Reason, for an unfinished checkpoint, says what the checkpoint lacks.
	Reason *string `json:"reason,omitempty"`

	// Given is the path as given. Path is for reports: it has no credentials.
	Given string `json:"-"`
	Trees int    `json:"-"`
	// Err is the error behind Problems, for hints about it.
	Err error `json:"-"`
	// NeedsIndex says that Orbax in Python cannot load a pytree without an index. No data
	// is lost.
	NeedsIndex bool   `json:"-"`
	Note       string `json:"-"` // describes something that is not a checkpoint
	None       bool   `json:"-"` // no checkpoint is there, or only an unfinished one
	IsRun      bool   `json:"-"` // the verdict is about a directory of steps
	InRun      bool   `json:"-"` // the checkpoint was found in a run and was not an argument
}

// Verify reads everything in the checkpoint at path and checks it.
func (in Inspector) Verify(ctx context.Context, path string) *Verdict {
	v := &Verdict{Path: fault.Redacted(path), Given: path, Status: StatusOK, Unchecked: []string{}, Problems: []string{}}
	start := time.Now()
	err := in.check(ctx, v)
	v.Seconds = time.Since(start).Seconds()
	if err != nil {
		v.fail(err)
		v.None = isNone(err)
		in.explain(ctx, v, err)
	}
	return v
}

// fail sets the status and the problems for the error of a check.
func (v *Verdict) fail(err error) {
	v.Status, v.Err, v.Problems = StatusError, err, []string{}
	if IsDamage(err) {
		v.Status = StatusDamaged
	}
	for _, p := range Problems(err) {
		v.Problems = append(v.Problems, strings.TrimPrefix(p, v.Path+": "))
	}
}

func (in Inspector) check(ctx context.Context, v *Verdict) error {
	ck, err := in.Open(ctx, v.Given)
	if err != nil {
		return err
	}
	defer ck.Close()
	if err := ck.Verify(ctx, OptionsOf[orbax.VerifyOption](in.Fill())...); err != nil {
		return err
	}
	m, err := Look(ctx, ck, "", in.Fill()...)
	if err != nil {
		return err
	}
	digests := m.Digests // a pointer into m would keep the metadata of all leaves
	v.Digests = &digests
	in.lookForIndexes(ctx, v)
	for _, name := range PartNames(ck, "") {
		t := TreeOf(m, name)
		if t == nil {
			if !m.Digests {
				v.Unchecked = append(v.Unchecked, name)
			}
			continue
		}
		v.Trees++
		v.Leaves += len(t.Leaves)
		v.Bytes += t.Bytes()
		for _, l := range t.Leaves {
			v.Missing += l.MissingChunks
			if l.DType != array.Invalid && !m.Digests && !checksummed(&l, t.Format) {
				v.Unchecksummed++
			}
		}
	}
	return nil
}

// lookForIndexes sets NeedsIndex if a pytree has only the databases of several processes.
// Orbax needs an index over them and cannot load the pytree.
func (in Inspector) lookForIndexes(ctx context.Context, v *Verdict) {
	found, err := orbax.Repair(ctx, v.Given, OptionsOf[orbax.RepairOption](in.Opening())...)
	if err != nil {
		return // the result is used for a hint only
	}
	for _, t := range found.Trees {
		if t.Damage != nil {
			v.NeedsIndex = true
		}
	}
}

func checksummed(l *view.LeafMetadata, format string) bool {
	return strings.Contains(l.Codecs, "crc32c") || strings.HasPrefix(format, "ocdbt") && l.StoredBytes <= layout.MaxInline
}
