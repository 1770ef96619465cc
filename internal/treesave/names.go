package treesave

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/zarr"
)

// checkFiles refuses names that cannot be file names when every leaf has its own
// directory: unsafe names, and names of files of another leaf or of documents.
func (p *Plan) checkFiles() error {
	if !p.storage.PlainFiles {
		return nil
	}
	arrays := make(map[string]*zarr.Metadata, len(p.arrays))
	for _, a := range p.arrays {
		arrays[a.name] = a.zarr
	}
	var errs []error
	for _, a := range p.arrays {
		err := checkFileName(a.name)
		if err == nil {
			err = checkDirectory(a.name, arrays)
		}
		if err != nil {
			errs = append(errs, &fault.Leaf{Path: a.name, Err: err})
		}
	}
	return errors.Join(errs...)
}

func checkFileName(name string) error {
	if name == "" {
		return nil // a bare leaf lies in the tree's own directory
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\\\x00") || len(part) > 255 {
			return fmt.Errorf("%w: %q cannot be a directory; save without plain files", fault.ErrReservedName, name)
		}
	}
	return nil
}

// checkDirectory refuses a name if a part of it is the name of a file.
func checkDirectory(name string, arrays map[string]*zarr.Metadata) error {
	for end := range len(name) + 1 {
		if end < len(name) && name[end] != '/' {
			continue
		}
		switch dir := name[:end]; dir {
		case layout.TreeFile, layout.ShardingFile, layout.StringsFile, layout.ArrayFile, layout.PlacesFile:
			return fmt.Errorf("%w: %s is a document of the tree; save without plain files", fault.ErrReservedName, dir)
		default:
			if owner, ok := ownerOf(dir, arrays); ok {
				return fmt.Errorf("%w: %s is a file of leaf %q; save without plain files", fault.ErrKeyCollision, dir, owner)
			}
		}
	}
	return nil
}

// ownerOf returns the array whose document or chunk is called file.
func ownerOf(file string, arrays map[string]*zarr.Metadata) (string, bool) {
	if m, ok := arrays[""]; ok && isKeyOf(m, file) {
		return "", true
	}
	for i := range len(file) {
		if file[i] == '/' {
			if m, ok := arrays[file[:i]]; ok && isKeyOf(m, file[i+1:]) {
				return file[:i], true
			}
		}
	}
	return "", false
}

// isKeyOf reports whether key has the form of a key of the array, for a grid of any size.
func isKeyOf(m *zarr.Metadata, key string) bool {
	if key == m.MetadataName() {
		return true
	}
	model := m.Key(make([]int, len(m.Shape)))
	digits := func(c rune) rune {
		if '0' <= c && c <= '9' {
			return '0'
		}
		return c
	}
	key = strings.Map(digits, key)
	for strings.Contains(key, "00") {
		key = strings.ReplaceAll(key, "00", "0")
	}
	return key == model
}
