package cli

import (
	"context"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/view"
)

const (
	statusOK      = "ok"
	statusDamaged = "damaged"
	statusError   = "error"
	// statusUnfinished is that of a save which goes on or has died: no damage.
	statusUnfinished = "unfinished"
)

// verdict is what was found out about one checkpoint.
type verdict struct {
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

	trees int
	// Err is the error that the problems are from, for hints about it.
	Err error `json:"-"`
	// NeedsIndex says that Orbax in Python cannot load a pytree without an index, and
	// nothing is lost.
	NeedsIndex bool   `json:"-"`
	note       string // of what is no checkpoint
	none       bool   // no checkpoint is there
	isRun      bool   // it is about a directory of steps
	inRun      bool   // it was found in one, and was no argument
	unfinished int    // saves in it
}

// Verify reads everything in the checkpoint at path and checks it.
func (in Inspector) Verify(ctx context.Context, path string) *verdict {
	v := &verdict{Path: path, Status: statusOK, Unchecked: []string{}, Problems: []string{}}
	start := time.Now()
	err := in.check(ctx, v)
	v.Seconds = time.Since(start).Seconds()
	if err == nil {
		return v
	}
	v.Status = statusError
	if IsDamage(err) {
		v.Status = statusDamaged
	}
	v.Err = err
	for _, p := range problems(err) {
		v.Problems = append(v.Problems, strings.TrimPrefix(p, path+": "))
	}
	v.none = isNone(err)
	in.explain(ctx, v, err)
	return v
}

func (in Inspector) check(ctx context.Context, v *verdict) error {
	ck, err := in.Open(ctx, v.Path)
	if err != nil {
		return err
	}
	defer ck.Close()
	if err := ck.Verify(ctx, optionsOf[orbax.VerifyOption](in.fill())...); err != nil {
		return err
	}
	m, err := look(ctx, ck, "", in.fill()...)
	if err != nil {
		return err
	}
	digests := m.Digests // a pointer into m would keep the metadata of all leaves
	v.Digests = &digests
	v.lookForIndexes(ctx)
	for _, name := range partNames(ck, "") {
		t := treeOf(m, name)
		if t == nil {
			if !m.Digests {
				v.Unchecked = append(v.Unchecked, name)
			}
			continue
		}
		v.trees++
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

// lookForIndexes sees to it that somebody hears of pytrees that Orbax, which
// needs an index of the databases of several processes, cannot load.
func (v *verdict) lookForIndexes(ctx context.Context) {
	found, err := orbax.Repair(ctx, v.Path)
	if err != nil {
		return // the result is used for a hint only
	}
	for _, t := range found.Trees {
		if t.Damage != nil {
			v.NeedsIndex = true
		}
	}
}

// maxInline is the longest value that Orbax stores in a database's own nodes,
// which have checksums.
const maxInline = 1024

func checksummed(l *view.LeafMetadata, format string) bool {
	return strings.Contains(l.Codecs, "crc32c") || strings.HasPrefix(format, "ocdbt") && l.StoredBytes <= maxInline
}
