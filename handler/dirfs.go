package handler

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/go-orbax/orbax/storage"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// fileInfo is a storage.Info in the terms of io/fs.
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
