package ckdir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// FS returns the directory as a file system. It reads and checks each file as a whole
// when the file is opened. ctx governs all reads.
func (d *ReadDir) FS(ctx context.Context) fs.ReadFileFS { return dirFS{ctx, d} }

type dirFS struct {
	ctx context.Context
	dir *ReadDir
}

func (f dirFS) ReadFile(name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	return f.dir.ReadFile(f.ctx, name)
}

func (f dirFS) Open(name string) (fs.File, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return file, nil
}

func (f dirFS) open(name string) (fs.File, error) {
	f.dir.noteUnproven() // no digest covers its size and time
	info, err := f.dir.Stat(f.ctx, name)
	switch {
	case NotExist(err) && f.dir.Covered(name):
		return nil, fmt.Errorf("%w: missing file", fault.ErrCorrupt)
	case err != nil:
		return nil, err
	case info.Dir:
		entries, err := f.dir.List(f.ctx, name)
		return &openDir{info: fileInfo{info}, entries: entries}, err
	}
	b, err := f.ReadFile(name)
	return &openFile{bytes.NewReader(b), fileInfo{info}}, err
}

// fileInfo makes an [fs.FileInfo] of a [storage.Info].
type fileInfo struct{ info storage.Info }

func (i fileInfo) Name() string       { return i.info.Name }
func (i fileInfo) Size() int64        { return i.info.Size }
func (i fileInfo) ModTime() time.Time { return i.info.ModTime }
func (i fileInfo) IsDir() bool        { return i.info.Dir }
func (i fileInfo) Sys() any           { return nil }

func (i fileInfo) Mode() fs.FileMode {
	if i.info.Dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

type openFile struct {
	*bytes.Reader
	info fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info    fileInfo
	entries []storage.Info
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.Name(), Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	take := len(d.entries)
	if n > 0 {
		if take == 0 {
			return nil, io.EOF
		}
		take = min(n, take)
	}
	out := make([]fs.DirEntry, take)
	for i := range out {
		out[i] = fs.FileInfoToDirEntry(fileInfo{d.entries[i]})
	}
	d.entries = d.entries[take:]
	return out, nil
}
