package tensors

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/lfs"
	"github.com/go-orbax/orbax/safetensors"
)

// tensorIndex says which file of a directory holds each tensor.
type tensorIndex struct{ of map[string]tensorEntry }

// tensorEntry is the entry of a tensor in an index.
type tensorEntry struct {
	file  string
	index string // name of the index document
	err   error  // why the tensor cannot be read
}

// readTensorIndex reads the indexes of a directory of safetensors files. It returns nil
// if no index names a tensor.
func readTensorIndex(ctx context.Context, dir *ckdir.ReadDir) (*tensorIndex, error) {
	entries, err := dir.List(ctx, ".")
	if err != nil {
		return nil, err
	}
	x := tensorIndex{map[string]tensorEntry{}}
	for _, e := range entries {
		if e.Dir || !strings.HasSuffix(e.Name, safetensors.Ext+".index.json") {
			continue
		}
		doc, err := dir.ReadFile(ctx, e.Name)
		if err != nil {
			return nil, err
		}
		if err := x.add(e.Name, doc); err != nil {
			return nil, err
		}
	}
	if len(x.of) == 0 {
		return nil, nil
	}
	return &x, nil
}

// add adds the entries of the document called name.
func (x *tensorIndex) add(name string, doc []byte) error {
	if lfs.IsPointer(doc) {
		return lfs.Error(name)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(doc, &index); err != nil {
		return fmt.Errorf("%w: %s: %v", fault.ErrCorrupt, name, err)
	}
	for tensor, file := range index.WeightMap {
		e := tensorEntry{file: file, index: name}
		switch other, taken := x.of[tensor]; {
		case !fs.ValidPath(file):
			e.err = fmt.Errorf("%w: %s says that it is in %q, which is no file of the directory", fault.ErrCorrupt, name, file)
		case taken && other.file != file:
			e.err = fmt.Errorf("%w: %s says that it is in %s, and %s in %s; to read one of the files give its path",
				fault.ErrKeyCollision, other.index, other.file, name, file)
			e.file = ""
		}
		x.of[tensor] = e
	}
	return nil
}

// files returns, in order, the names of the files that hold tensors.
func (x *tensorIndex) files() []string {
	files := map[string]bool{}
	for _, e := range x.of {
		if e.err == nil {
			files[e.file] = true
		}
	}
	return slices.Sorted(maps.Keys(files))
}
