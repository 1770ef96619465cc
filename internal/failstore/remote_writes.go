package failstore

import (
	"context"
	"sync/atomic"

	"github.com/go-orbax/orbax/storage"
)

// Begin asks for a claim.
func (r *Remote) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	if err := o.Check(r.Properties()); err != nil {
		return nil, err
	}
	for _, op := range []string{"look at", "claim"} {
		if err := r.ask(ctx, op, dir); err != nil {
			return nil, err
		}
	}
	s, err := r.Store.Begin(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return &remoteStage{remoteFiles{s, r}, s, dir}, nil
}

func (r *Remote) Join(ctx context.Context, ticket string) (storage.Joined, error) {
	if err := r.ask(ctx, "join", ""); err != nil {
		return nil, err
	}
	j, err := r.Store.Join(ctx, ticket)
	if err != nil {
		return nil, err
	}
	return remoteJoined{remoteFiles{j, r}, j}, nil
}

func (r *Remote) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if err := r.ask(ctx, "claim", dir); err != nil {
		return nil, err
	}
	return r.Store.Edit(ctx, dir)
}

// remoteFiles counts the requests that write.
type remoteFiles struct {
	storage.Files
	r *Remote
}

func (f remoteFiles) Properties() storage.Properties { return f.r.Properties() }

// Mkdir takes no request: an object store has no directories.
func (f remoteFiles) Mkdir(ctx context.Context, name string) error { return f.Files.Mkdir(ctx, name) }

func (f remoteFiles) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	w, err := f.Files.Create(ctx, name, size)
	if err != nil {
		return nil, err
	}
	return &remoteWriter{Writer: w, r: f.r, name: name, size: size}, nil
}

func (f remoteFiles) Link(ctx context.Context, from, name string, o storage.LinkOptions) error {
	if err := f.r.ask(ctx, "copy", name); err != nil {
		return err
	}
	return f.Files.Link(ctx, from, name, o)
}

// remoteWriter is a file that is put in one request if it is small, and otherwise uploaded
// in parts.
type remoteWriter struct {
	storage.Writer
	r     *Remote
	name  string
	size  int64 // as expected
	parts atomic.Int64
}

func (w *remoteWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	if w.size < 0 || w.size > Unit {
		w.parts.Add(1)
		if err := w.r.ask(ctx, "part", w.name); err != nil {
			return err
		}
	}
	return w.Writer.WriteAt(ctx, p, off)
}

func (w *remoteWriter) Close() error {
	ops := []string{"put"}
	if w.parts.Load() > 0 {
		ops = []string{"begin upload", "complete"}
	}
	for _, op := range ops {
		if err := w.r.ask(context.Background(), op, w.name); err != nil {
			return err
		}
	}
	return w.Writer.Close()
}

type remoteStage struct {
	remoteFiles
	stage storage.Stage
	dir   string
}

func (s *remoteStage) Dir() string    { return s.stage.Dir() }
func (s *remoteStage) Ticket() string { return s.stage.Ticket() }
func (s *remoteStage) Abort() error   { return s.stage.Abort() }

// Commit gives up the claim; the mark has been put.
func (s *remoteStage) Commit(ctx context.Context) error {
	if err := s.r.ask(ctx, "unclaim", s.dir); err != nil {
		return err
	}
	return s.stage.Commit(ctx)
}

type remoteJoined struct {
	remoteFiles
	joined storage.Joined
}

func (j remoteJoined) Close(ctx context.Context) error { return j.joined.Close(ctx) }
