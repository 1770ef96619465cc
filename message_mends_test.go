package orbax_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/view"
)

// wantText requires an error that matches kind and has each of the texts, once.
func wantText(t *testing.T, err, kind error, texts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
		return
	}
	for _, text := range texts {
		if strings.Count(err.Error(), text) != 1 {
			t.Errorf("got %v, want %q once", err, text)
		}
	}
}

// noTree is a handler of pytrees that opens none.
type noTree struct{ handler.PyTreeHandler }

func (noTree) Type() string { return "example.com/none.Handler" }
func (noTree) OpenTree(context.Context, *handler.ReadDir, handler.OpenOptions) (*view.Tree, error) {
	return nil, nil
}
func (h noTree) Metadata(ctx context.Context, dir *handler.ReadDir) (any, error) {
	return handler.TreeMetadata(ctx, h, dir)
}

// noOperation does not pass the Operation on.
type noOperation struct{ handler.PyTreeHandler }

func (h noOperation) Save(ctx context.Context, v any, o handler.SaveOptions) (handler.WriteFunc, error) {
	o.Operation = nil
	return h.PyTreeHandler.Save(ctx, v, o)
}

// The errors say what is wrong and what to do.
func TestMessagesSayWhatToDo(t *testing.T) {
	ctx := t.Context()
	in := orbax.In(mem.New())
	state := map[string]any{"a": []float32{1}}

	t.Run("a handler without a tree", func(t *testing.T) {
		var r handler.Registry
		r.Bind("state", noTree{})
		if err := orbax.Save(ctx, "none", state, in, orbax.Handlers(&r)); err != nil {
			t.Fatal(err)
		}
		_, err := orbax.Hash(ctx, "none", in, orbax.Handlers(&r))
		wantText(t, err, orbax.ErrUnsupported, "example.com/none.Handler returned neither a tree nor an error")
		_, err = orbax.Metadata(ctx, "none", in, orbax.Handlers(&r))
		wantText(t, err, orbax.ErrUnsupported, "neither a tree nor an error")
	})
	t.Run("a handler without the operation", func(t *testing.T) {
		var r handler.Registry
		r.Bind("state", noOperation{})
		err := partial.Save(ctx, "part", state, in, orbax.Handlers(&r))
		wantText(t, err, orbax.ErrLeafType, "does not pass the Operation")
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		wantText(t, orbax.Save(ended, "ended", state, in), context.Canceled, "context canceled")
		wantText(t, orbax.Save(ended, filepath.Join(t.TempDir(), "ended"), state), context.Canceled, "context canceled")
	})
	t.Run("leaves that the session has", func(t *testing.T) {
		if err := partial.Save(ctx, "session", state, in); err != nil {
			t.Fatal(err)
		}
		err := partial.Save(ctx, "session", state, in)
		wantText(t, err, orbax.ErrKeyCollision, "leaf a", "the session session.partial_save has", "replaces none")
	})
	t.Run("no pytree", func(t *testing.T) {
		if err := orbax.SaveCheckpointables(ctx, "doc", map[string]any{"conf": json.RawMessage("1")}, in); err != nil {
			t.Fatal(err)
		}
		_, err := orbax.Hash(ctx, "doc", in, orbax.Name("conf"))
		wantText(t, err, orbax.ErrStructure, "orbax: hash doc", `not a pytree: "conf" was saved by`, "JsonHandler")
	})
	t.Run("an unknown handler", func(t *testing.T) {
		if err := orbax.SaveCheckpointables(ctx, "own", map[string]any{"v": ownFiles{names: []string{"a"}}}, in, ownFilesRegistry()); err != nil {
			t.Fatal(err)
		}
		_, err := orbax.LoadCheckpointables(ctx, "own", map[string]any{"v": nil}, in)
		wantText(t, err, orbax.ErrUnsupported, "example.com/files.Handler", "option Handlers")
	})
	t.Run("an empty tree", func(t *testing.T) {
		wantText(t, orbax.Save(ctx, "empty", map[string]any{}, in), orbax.ErrStructure, "the tree is empty (Dict), and Orbax saves no tree without a leaf")
	})
	t.Run("an empty path", func(t *testing.T) {
		for _, err := range []error{orbax.Save(ctx, "", state), orbax.Save(ctx, "", state, in)} {
			wantText(t, err, orbax.ErrUsage, "empty path")
			wantText(t, err, fs.ErrInvalid)
		}
	})
	t.Run("ambiguous fields", func(t *testing.T) {
		type E1 struct{ A float32 }
		type E2 struct{ A float32 }
		type both struct {
			E1
			E2
		}
		wantText(t, orbax.Save(ctx, "both", both{}, in), orbax.ErrKeyCollision, "(E1.A and E2.A)")
	})
	t.Run("a value in itself", func(t *testing.T) {
		type cycle struct{ Next *cycle }
		c := &cycle{}
		c.Next = c
		wantText(t, orbax.Save(ctx, "cycle", c, in), orbax.ErrLeafType, "is the one at the root")
	})
	t.Run("a document that is too long", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ck")
		if err := orbax.Save(ctx, path, map[string]any{"a": []float32{1}, "s": "t"}); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(path, "state", "_strings.json"), 1<<40); err != nil {
			t.Skip(err) // the file system has no such files
		}
		wantText(t, orbax.Verify(ctx, path), orbax.ErrCorrupt, "\n\tcorrupt data: 1099511627776 bytes of state/_strings.json, more than")
	})
}
