package partial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/transfer"
)

// partsDoc is the document layout.PartsFile at the root of a checkpoint. It lists the
// parts of which the checkpoint was made.
type partsDoc struct {
	Parts []string `json:"parts"`
}

// madeOf returns the ids of the parts of which the checkpoint at s.final was made. It
// returns nil if there is no checkpoint, or if it was not made of parts.
func (s *session) madeOf(ctx context.Context) ([]string, error) {
	parts, err := s.partsOf(ctx)
	if parts == nil || err != nil {
		return nil, err
	}
	complete, err := found.Committed(ctx, s.final)
	if err == nil && !complete {
		err = fault.ErrUnfinished
	}
	return parts, err
}

// partsOf is madeOf that does not ask whether the checkpoint is complete.
func (s *session) partsOf(ctx context.Context) ([]string, error) {
	info, err := s.final.Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Dir {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := transfer.ReadFile(ctx, s.final, layout.PartsFile, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var d partsDoc
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", fault.ErrCorrupt, layout.PartsFile, err)
	}
	return d.Parts, nil
}

// interrupted reports whether a finalize of this path has died, in a store that cannot
// rename, and has left an unfinished checkpoint.
func (s *session) interrupted(ctx context.Context) (bool, error) {
	if s.marker() == "" {
		return false, nil
	}
	parts, err := s.partsOf(ctx)
	if parts == nil || err != nil {
		return false, err
	}
	complete, err := found.Committed(ctx, s.final)
	return !complete, err
}

// clear removes what a finalize that has died has left at the path of the checkpoint.
func (s *session) clear(ctx context.Context) error {
	died, err := s.interrupted(ctx)
	if !died || err != nil {
		return err
	}
	edit, err := s.final.Store.Edit(ctx, s.final.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(edit.RemoveAll(ctx, proof.Remains(s.final.Store)), edit.Close())
}
