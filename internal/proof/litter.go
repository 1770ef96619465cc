package proof

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// litterFiles are files that desktops put into every directory that a user looks at.
var litterFiles = map[string]bool{
	".DS_Store": true, "Thumbs.db": true, "ehthumbs.db": true, "desktop.ini": true, "Desktop.ini": true, ".directory": true,
}

// appleDouble begins the files in which macOS keeps the attributes of other files.
var appleDouble = []byte{0x00, 0x05, 0x16, 0x07}

// litter takes an entry that a desktop, a file system or a notebook server has made.
func (w *walk) litter(dir string, e storage.Entry) (bool, error) {
	name := path.Join(dir, e.Name)
	switch {
	case !e.Type.IsRegular():
		return false, nil
	case litterFiles[e.Name], isNFS(e.Name):
	case strings.HasPrefix(e.Name, "._"):
		first, err := transfer.ReadFile(w.ctx, w.top, name, 0, int64(len(appleDouble)))
		if err != nil && w.ctx.Err() != nil {
			return false, err
		}
		if !bytes.Equal(first, appleDouble) {
			return false, nil
		}
	default:
		return false, nil
	}
	w.take(name, e)
	return true, nil
}

// isNFS reports whether name is a name that NFS gives to a file that was removed while a
// program had it open.
func isNFS(name string) bool {
	id, ok := strings.CutPrefix(name, ".nfs")
	return ok && len(id) >= 8 && isHex(strings.ToLower(id))
}

// notebook takes the directory of a notebook server in dir, if it has only copies of
// files that still exist. The copy of a file that is gone may be the last one.
func (w *walk) notebook(dir string, beside []storage.Entry) (bool, error) {
	of := path.Join(dir, layout.NotebookDir)
	copies, err := storage.Entries(w.ctx, w.top.Store, w.top.Join(of).Name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	has := map[string]bool{}
	for _, e := range beside {
		has[e.Name] = e.Type.IsRegular()
	}
	for _, e := range copies {
		ext := path.Ext(e.Name)
		stem, ok := strings.CutSuffix(strings.TrimSuffix(e.Name, ext), "-checkpoint")
		if !e.Type.IsRegular() || !ok || !has[stem+ext] {
			return false, nil
		}
	}
	w.items = append(w.items, storage.Item{Name: of, Dir: true})
	for _, e := range copies {
		w.take(path.Join(of, e.Name), e)
	}
	return true, nil
}
