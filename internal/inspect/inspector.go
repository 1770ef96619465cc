package inspect

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// Inspector opens checkpoints and describes them. Several goroutines may use one
// Inspector.
type Inspector struct {
	// Store, if not nil, is the store in which paths are names; see [orbax.In].
	Store storage.Store
	// FollowLinks allows symbolic links in a checkpoint to lead out of it.
	FollowLinks bool
	// FillMissing gives missing chunks the fill value.
	FillMissing bool
}

// Locate returns the location of path.
func (in Inspector) Locate(ctx context.Context, path string) (storage.Location, error) {
	return config.Locate(ctx, in.Store, path)
}

// Opening returns the options for opening a checkpoint.
func (in Inspector) Opening() []orbax.OpenOption { return append(in.links(), orbax.In(in.Store)) }

// links returns the options about symbolic links for opening a checkpoint.
func (in Inspector) links() []orbax.OpenOption {
	if !in.FollowLinks {
		return nil
	}
	return []orbax.OpenOption{orbax.FollowLinks()}
}

// Fill returns the options about missing chunks.
func (in Inspector) Fill() []orbax.FillOption {
	if !in.FillMissing {
		return nil
	}
	return []orbax.FillOption{orbax.FillMissing()}
}

// OptionsOf converts options to another kind of options that they also are.
func OptionsOf[O, From any](from []From) []O {
	options := make([]O, len(from))
	for i, o := range from {
		options[i] = any(o).(O)
	}
	return options
}

// Open opens a checkpoint for reading. If path is inside a checkpoint, the error has a
// hint; see [HintOf].
func (in Inspector) Open(ctx context.Context, path string) (*orbax.Checkpoint, error) {
	ck, err := orbax.Open(ctx, path, in.Opening()...)
	missing := errors.Is(err, orbax.ErrNotExist)
	if !missing && !errors.Is(err, orbax.ErrInvalidCheckpoint) {
		return ck, err
	}
	outer, rest := in.Enclosing(ctx, path)
	if outer == "" {
		return nil, err
	}
	if !missing {
		err = fmt.Errorf("%s: it is inside of the checkpoint %s", path, outer)
	}
	hint := Hint{Kind: OfCheckpoint, Checkpoint: outer}
	if rest == layout.MetricsName {
		hint.Kind, hint.Names = PrintsMetrics, []string{rest}
	}
	return nil, hintError{err, hint}
}

// Enclosing returns the checkpoint that contains the path of, at any depth, and the rest
// of the path. outer is "" if there is none, or if that cannot be found out.
func (in Inspector) Enclosing(ctx context.Context, of string) (outer, rest string) {
	at, err := in.Locate(ctx, of)
	if err != nil {
		return "", ""
	}
	around, inside, err := layout.Enclosing(ctx, at)
	if err != nil || !inside {
		return "", ""
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(at.Name, around.Name), "/")
	if is, _ := orbax.IsCheckpoint(ctx, around.Name, append(in.links(), orbax.In(at.Store))...); !is {
		return "", ""
	}
	if local, ok := around.LocalPath(); ok {
		return local, path.Clean(rest)
	}
	outer, query := around.String(), ""
	if at := strings.IndexAny(outer, "?#"); at >= 0 && layout.IsURL(outer) {
		outer, query = outer[:at], outer[at:]
	}
	return strings.TrimRight(outer, "/") + query, path.Clean(rest)
}

// IsDamage reports whether err means that data differs from the written data, or is
// incomplete.
func IsDamage(err error) bool {
	return errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, orbax.ErrIncomplete)
}
