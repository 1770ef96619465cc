package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/layout"
)

// partFiles is a checkpointable that is copied file by file.
type partFiles struct {
	typ string // handler to record
	// only, if not empty, are the possible names of the only file; the one that exists is
	// copied. It keeps its name, because some readers of a document look for one name
	// only.
	only   []string
	dir    *handler.ReadDir
	buffer []byte // of copyFile
}

// copy copies the files. It checks each against its digest, if the checkpoint has one.
// The files keep their names, also names that handlers can no longer write.
func (p *partFiles) copy(ctx context.Context, dir *handler.WriteDir) error {
	to := (*ckdir.WriteDir)(dir)
	if len(p.only) == 0 {
		return p.copyDir(ctx, to, ".")
	}
	for _, name := range p.only {
		if err := p.copyFile(ctx, to, name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%w: missing file %s", orbax.ErrCorrupt, p.only[0])
}

func (p *partFiles) copyDir(ctx context.Context, to *ckdir.WriteDir, dir string) error {
	entries, err := p.dir.List(ctx, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		switch {
		case e.Dir:
			err = p.copyDir(ctx, to, name)
		case name != layout.CommitFile: // Orbax v0 puts it into every checkpointable, and v1 into none
			err = p.copyFile(ctx, to, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyBytes is how much of a file is in memory at a time.
const copyBytes = 4 << 20

// copyFile copies a file of any size. Nothing is written if the file does not exist.
func (p *partFiles) copyFile(ctx context.Context, to *ckdir.WriteDir, name string) error {
	from, err := p.dir.Open(ctx, name)
	if err != nil {
		return err
	}
	defer from.Close()
	w, err := to.Create(ctx, name)
	if err != nil {
		return err
	}
	if p.buffer == nil {
		p.buffer = make([]byte, copyBytes)
	}
	_, err = io.CopyBuffer(w, from, p.buffer)
	return errors.Join(err, w.Close())
}

// filesHandler saves partFiles in place of the handler that has saved the files. It loads
// nothing.
type filesHandler struct{ typ string }

func (h filesHandler) Type() string { return h.typ }

func (h filesHandler) CanSave(v any) bool {
	p, ok := v.(*partFiles)
	return ok && p.typ == h.typ
}

func (h filesHandler) Save(_ context.Context, v any, _ handler.SaveOptions) (handler.WriteFunc, error) {
	return v.(*partFiles).copy, nil
}

func (h filesHandler) CanLoad(any) bool { return false }

func (h filesHandler) Load(context.Context, *handler.ReadDir, any, handler.LoadOptions) (any, error) {
	return nil, errors.ErrUnsupported
}

func (h filesHandler) Metadata(context.Context, *handler.ReadDir) (any, error) { return nil, nil }
