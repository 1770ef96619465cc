package failstore

import (
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/storage"
)

// Counter counts the operations on a store in a directory and in its parent directory. It
// leaves out operations above the parent, because their number depends on the depth of
// the directory. It counts reads of and writes to open files separately, because their
// number depends on the amount of data.
type Counter struct {
	store storage.Store
	dir   string

	mu sync.Mutex
	n  map[string]int // by operation and name
	Counts
}

// Counts are the numbers of operations of each class.
type Counts struct{ Operations, Reads, Writes int }

// NewCounter returns a [Counter] of the operations on store in dir. File names in its
// results are relative to dir.
func NewCounter(store storage.Store, dir string) *Counter {
	c := &Counter{dir: dir, n: map[string]int{}}
	c.store = New(NewReads(readCounter{store, c}, c.note), c.note)
	return c
}

// Store returns the store whose operations are counted.
func (c *Counter) Store() storage.Store { return c.store }

// Take returns the counts since the last call of Take. The text has a line for each
// operation and name, with the number of times that it occurred. Words for their meaning
// replace random names.
func (c *Counter) Take() (Counts, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	for _, op := range slices.Sorted(maps.Keys(c.n)) {
		fmt.Fprintf(&text, "%3d %s\n", c.n[op], op)
	}
	counts := c.Counts
	c.n, c.Counts = map[string]int{}, Counts{}
	return counts, text.String()
}

func (c *Counter) note(op, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch op {
	case "entry": // of a listing, which is counted
		return nil
	case "write":
		c.Writes++
		return nil
	}
	if short, in := c.short(name); in {
		c.Operations++
		c.n[strings.TrimSpace(op+" "+short)]++
	}
	return nil
}

func (c *Counter) read() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Reads++
}

// randomName is a name that is made at random: of a data file of a database.
var randomName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// short returns a name as Take has it: relative to the directory. in reports whether its
// operations count. Names in a stage are relative already.
func (c *Counter) short(name string) (short string, in bool) {
	above := path.Dir(c.dir)
	switch {
	case name == c.dir:
		return ".", true
	case name == above:
		return "..", true
	case strings.HasPrefix(name, c.dir+"/"):
		name = name[len(c.dir)+1:]
	case strings.HasPrefix(name, above+"/"):
		name = ".." + name[len(above):]
	case filepath.IsAbs(filepath.FromSlash(name)):
		return "", false
	}
	elements := strings.Split(name, "/")
	for i, e := range elements {
		if of, _, temporary := strings.Cut(e, storage.TempMarker); temporary {
			elements[i] = of + storage.TempMarker + "-*"
		} else if randomName.MatchString(e) {
			elements[i] = "*"
		}
	}
	return strings.Join(elements, "/"), true
}

type readCounter struct {
	storage.Store
	counter *Counter
}

func (s readCounter) Confined(root string, outside bool) storage.Store {
	return readCounter{storage.Confine(s.Store, root, outside), s.counter}
}

func (s readCounter) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := s.Store.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return readCounter{in, s.counter}, nil
}

func (s readCounter) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return countedReader{r, s.counter}, nil
}

type countedReader struct {
	storage.Reader
	counter *Counter
}

func (r countedReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.counter.read()
	return r.Reader.ReadAt(ctx, p, off)
}
