package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// manyFiles is how many files a directory has that a reader must never see in part.
const manyFiles = 40

// saveWatched writes the directory ck and commits it, while a goroutine lists it and
// reads one of its files. It fails the test if the goroutine sees a part of the
// directory, or bytes that are neither was nor contents. The directory may be missing
// only if was is "".
func (e *env) saveWatched(o storage.BeginOptions, was, contents string) {
	e.Helper()
	look := func() error {
		infos, err := e.store.List(e.Context(), e.at("ck"))
		if err == nil && len(infos) != manyFiles {
			err = fmt.Errorf("it has %d files, want %d", len(infos), manyFiles)
		}
		if err == nil {
			var data []byte
			data, err = e.read(e.at("ck/0"))
			if err == nil && string(data) != was && string(data) != contents {
				err = fmt.Errorf("a file has %q, want %q or %q", data, was, contents)
			}
		}
		if errors.Is(err, fault.ErrBusy) || errors.Is(err, fs.ErrNotExist) && (was == "" || e.steps) {
			return nil
		}
		return err
	}
	s := e.begin("ck", o)
	for i := range manyFiles {
		e.put(s, fmt.Sprint(i), contents)
	}
	begun, stop := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		err := look()
		close(begun)
		for ; err == nil; err = look() {
			select {
			case <-stop:
				return
			default:
			}
		}
		e.Errorf("a reader during Commit: %v", err)
	})
	<-begun
	err := s.Commit(e.Context())
	close(stop)
	group.Wait()
	e.must(err)
}
