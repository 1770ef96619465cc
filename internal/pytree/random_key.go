package pytree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// randomKey is the state of a random generator as JaxRandomKeySave and NumpyRandomKeySave
// of Orbax v0 store it. One directory has a pytree. A second directory, with "_metadata"
// at the end of its name, has a document that says what the pytree is. The pytree is a
// single array or PRNG key of JAX, or the tuple or dict that NumPy returns as the state
// of a generator.
type randomKey struct {
	name string // name of the first directory
	// The document has one of these members. "typed" says whether a key of JAX is a PRNG
	// key; "legacy" says whether a state of NumPy is a tuple.
	Typed, Legacy *bool
}

// randomKeyMetadata is the end of the second directory's name.
const randomKeyMetadata = "_metadata"

// IsRandomKey reports whether a directory has the state of a random generator as a separate
// checkpointable. Open opens that as a pytree. IsRandomKey finds out by the files there.
func IsRandomKey(ctx context.Context, at storage.Location) (bool, error) {
	k, err := findRandomKey(ctx, ckdir.NewReadDir(ckdir.Place{Root: at}))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fault.ErrCorrupt) {
		return false, nil // the directory has something else
	}
	return k != nil, err
}

// findRandomKey finds the state of a random generator. It returns nil if there is none.
func findRandomKey(ctx context.Context, dir *ckdir.ReadDir) (*randomKey, error) {
	entries, err := dir.List(ctx, ".")
	if err != nil {
		return nil, err
	}
	isDir := func(name string) bool {
		return slices.ContainsFunc(entries, func(e storage.Info) bool { return e.Dir && e.Name == name })
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name, randomKeyMetadata)
		if !ok || !e.Dir || !isDir(name) {
			continue
		}
		doc, err := dir.ReadOptional(ctx, path.Join(e.Name, "metadata"))
		if err != nil {
			return nil, err
		}
		k := &randomKey{name: name}
		if json.Unmarshal(doc, k) == nil && (k.Typed != nil) != (k.Legacy != nil) {
			return k, nil
		}
	}
	return nil, nil
}

// openRandomKey opens the state of a random generator. It returns nil if there is none.
func openRandomKey(ctx context.Context, dir *ckdir.ReadDir, options Options) (*stored, error) {
	k, err := findRandomKey(ctx, dir)
	if k == nil || err != nil {
		return nil, err
	}
	in := dir.Sub(k.name)
	o, err := describeTree(ctx, in, options)
	if err == nil && o == nil {
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, path.Join(in.Name(), layout.TreeFile))
	}
	if err != nil {
		return nil, err
	}
	o.keysUnnamed = k.Typed != nil && *k.Typed
	leaves, err := o.leaves(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case k.Typed != nil && (len(leaves) != 1 || len(leaves[0].Metadata().Path) != 1):
		return nil, fmt.Errorf("%w: %s has %d leaves, where a key of JAX is one", fault.ErrCorrupt, in.Name(), len(leaves))
	case k.Typed != nil:
		leaves[0] = leaves[0].At(nil)
	case *k.Legacy:
		for i, l := range leaves {
			leaves[i] = l.At(inTuple(l.Metadata().Path))
		}
	}
	return &stored{view.New(o.format(), leaves), o}, nil
}

// inTuple returns p with its first key changed from a position in a list to one in a
// tuple.
func inTuple(p tree.Path) tree.Path {
	p = slices.Clone(p)
	if len(p) > 0 && p[0].Seq {
		p[0].Tuple = true
	}
	return p
}

// keyImpl returns the generator of a PRNG key that was stored without its generator's
// name, if the data allow only one. Keys of two words are Threefry's. Keys of four words
// may be those of two generators, so they stay an array.
func keyImpl(shape []int) string {
	if n := len(shape); n > 0 && shape[n-1] == 2 {
		return "threefry2x32"
	}
	return ""
}
