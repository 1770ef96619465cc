package object

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/storage"
)

// overlays are the stages of a Store that replace a directory, by their temporary
// directories. Such a stage is in two places: files whose names the old directory may have
// are in the temporary one, and the others in the directory itself. To this Store, the name
// of the temporary directory is that of the stage as a whole.
type overlays struct {
	mu     sync.RWMutex
	stages map[string]*stage
}

func (o *overlays) add(g *stage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stages == nil {
		o.stages = map[string]*stage{}
	}
	o.stages[g.temp] = g
}

func (o *overlays) remove(g *stage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.stages, g.temp)
}

// other returns the second place of a file or a directory whose key is in the temporary
// directory of a stage, and the stage.
func (o *overlays) other(key string) (other string, g *stage) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if len(o.stages) == 0 {
		return "", nil
	}
	for temp, g := range o.stages {
		if rest, inside := strings.CutPrefix(key, temp); inside && (rest == "" || rest[0] == '/') {
			return g.dir + rest, g
		}
	}
	return "", nil
}

// statOverlay describes what is at the first of two places where something is. What was in
// the directory before does not count.
func (s *Store) statOverlay(ctx context.Context, key, other string, g *stage) (storage.Info, error) {
	info, err := s.statKey(ctx, key)
	if !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	if _, old := g.keep[other]; old {
		return info, err
	}
	info, oerr := s.statKey(ctx, other)
	if oerr == nil && info.Dir {
		if entries, lerr := s.newIn(ctx, other, g); lerr != nil || len(entries) == 0 {
			return storage.Info{}, errors.Join(err, lerr)
		}
	}
	if errors.Is(oerr, fs.ErrNotExist) {
		return storage.Info{}, err
	}
	return info, oerr
}

// newIn returns the entries of a directory that a stage has made.
func (s *Store) newIn(ctx context.Context, dir string, g *stage) (infos []storage.Info, err error) {
	objects, _, err := s.all(ctx, dir)
	seen := map[string]bool{}
	for _, o := range objects {
		if _, old := g.keep[o.Key]; old {
			continue
		}
		name, rest, isDir := strings.Cut(strings.TrimPrefix(o.Key, below(dir)), "/")
		switch {
		case name == "" || seen[name]:
		case isDir:
			infos = append(infos, storage.Info{Name: name, Dir: true})
		case rest == "":
			infos = append(infos, infoOf(o))
		}
		seen[name] = true
	}
	return infos, err
}

// listOverlay returns the entries of a directory in both places.
func (s *Store) listOverlay(ctx context.Context, key, other string, g *stage) ([]storage.Info, error) {
	infos, err := s.listKey(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	more, merr := s.newIn(ctx, other, g)
	if merr != nil {
		return nil, merr
	}
	if len(more) == 0 {
		return infos, err
	}
	return byName(append(infos, more...)), nil
}
