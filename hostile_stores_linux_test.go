package orbax_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/race"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/training"
)

// What a reader of one hostile store may take: memory, and time of the processor for
// each way of reading. That of the clock is longer, as the machine may be busy.
const (
	hostileMemory = 512 << 20
	hostileTime   = 10 * time.Second
	hostileClock  = 5 * time.Minute
)

// readStore is the job of a child process that reads a store, and does nothing else.
const readStore = "read a hostile store"

// TestHostileStores reads stores that are made to take memory or time without end, each
// in a process of its own that may have 512 MiB: none ends it, or takes long.
func TestHostileStores(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector needs more memory than the limit leaves")
	}
	if job, path, ok := testenv.Child(); ok && job == readStore {
		if err := readHostile(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	stores := hostileStores(t)
	t.Logf("%d stores", len(stores))
	if len(stores) < 200 {
		t.Errorf("%d stores, want 200", len(stores))
	}
	const every = 32 // of which one is in a quick run, and those besides that have ended a program with little work
	for i, s := range stores {
		big := s.name == "sums-safetensors-tensors" // takes half a minute of a processor
		if longTests || i%every == 0 && !big || s.name == "sums-parts" {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "store")
				s.make(dir)
				readInChild(t, program, dir)
			})
		}
	}
}

func readInChild(t *testing.T, program, dir string) {
	ctx, cancel := context.WithTimeout(t.Context(), hostileClock)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.run=^TestHostileStores$", "-test.v")
	testenv.SetChild(cmd, readStore, dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out[:min(len(out), 3000)])
		return
	}
	t.Logf("%v of the processor\n%s", cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), out)
}

// readHostile reads a store in all ways within the limits.
func readHostile(path string) error {
	limit := unix.Rlimit{Cur: hostileMemory, Max: hostileMemory}
	// Of the address space the runtime reserves more than it uses; this is what it
	// may write to.
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		return err
	}
	var failed []error
	for _, way := range []struct {
		name string
		read func(ctx context.Context) error
	}{
		{"metadata", func(ctx context.Context) error {
			_, err := orbax.Metadata(ctx, path)
			return err
		}},
		{"checkpointables", func(ctx context.Context) error {
			_, err := orbax.CheckpointablesMetadata(ctx, path)
			return err
		}},
		{"region", func(ctx context.Context) error { return readRegions(ctx, path) }},
		{"verify", func(ctx context.Context) error { return orbax.Verify(ctx, path) }},
		{"hash", func(ctx context.Context) error {
			_, err := orbax.Hash(ctx, path)
			return err
		}},
		{"load", func(ctx context.Context) error {
			_, err := orbax.Load(ctx, path)
			return err
		}},
		{"parts", func(ctx context.Context) error {
			_, err := orbax.LoadCheckpointables(ctx, path, nil)
			return err
		}},
		{"steps", func(ctx context.Context) error {
			steps, err := training.Steps(ctx, path, training.ReadOptions{})
			for _, s := range steps {
				err = errors.Join(err, s.Err)
			}
			return err
		}},
	} {
		before := cpuTime()
		start := time.Now()
		err := way.read(context.Background())
		used := cpuTime() - before
		fmt.Printf("%s: %v, %v: %.300v\n", way.name, used.Round(time.Millisecond), time.Since(start).Round(time.Millisecond), err)
		if used > hostileTime {
			failed = append(failed, fmt.Errorf("%s took %v: %v", way.name, used, err))
		}
	}
	peak := peakMemory()
	fmt.Printf("%d MiB of memory\n", peak>>20)
	if peak > hostileMemory {
		failed = append(failed, fmt.Errorf("%d MiB of memory", peak>>20))
	}
	return errors.Join(failed...)
}

// peakMemory returns the most memory that the process has had, which getrusage does not
// report: it counts that of the one that started it.
func peakMemory() (n int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	if _, rest, ok := strings.Cut(string(b), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n << 10
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// readRegions reads the first elements of some leaves.
func readRegions(ctx context.Context, path string) error {
	ck, err := orbax.Open(ctx, path)
	if err != nil {
		return err
	}
	defer ck.Close()
	tree, err := ck.Tree(ctx)
	if err != nil {
		return err
	}
	var errs []error
	n := 0
	for _, leaf := range tree.Leaves() {
		m := leaf.Metadata()
		size := make([]int, len(m.Shape))
		for i, d := range m.Shape {
			size[i] = min(d, 2)
		}
		if _, err := leaf.Region(ctx, make([]int, len(size)), size); err != nil {
			errs = append(errs, err)
		}
		if n++; n == 8 {
			break
		}
	}
	return errors.Join(errs...)
}

// hostileStore makes a store at a path that does not exist.
type hostileStore struct {
	name string
	make func(dir string)
}

// hostileStores returns all stores, in the order of their names, so that a sample is of
// all kinds.
func hostileStores(t *testing.T) (stores []hostileStore) {
	stores = append(stores, codecBombs(t)...)
	stores = append(stores, databaseBombs(t)...)
	stores = append(stores, documentBombs(t)...)
	stores = append(stores, safetensorsBombs(t)...)
	stores = append(stores, linkStores(t)...)
	stores = append(stores, specialFiles(t)...)
	stores = append(stores, sumStores(t)...)
	slices.SortFunc(stores, func(a, b hostileStore) int { return strings.Compare(a.name, b.name) })
	return stores
}

// hostileBases are checkpoints to spoil, by the way in which they are stored.
func hostileBases(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]any{
		"w": array.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3), "n": int64(7), "s": "text",
		"deep": map[string]any{"b": array.Of([]int16{1, 2}, 2)},
	}
	bases := map[string]string{}
	for name, s := range map[string]handler.StorageOptions{
		"database": {}, "files": {PlainFiles: true}, "zarr2": {PlainFiles: true, Zarr2: true},
	} {
		dir := filepath.Join(t.TempDir(), name)
		err := orbax.SaveCheckpointables(t.Context(), dir, map[string]any{"state": state, "config": handler.JSON{Value: map[string]any{"a": 1}}},
			orbax.Storage(s), orbax.CustomMetadata(map[string]any{"k": "v"}))
		if err != nil {
			t.Fatal(err)
		}
		bases[name] = dir
	}
	return bases
}

// spoiled returns a store that is a copy of base with something done to a file, and
// without digests, as another writer's.
func spoiled(t *testing.T, name, base, file string, spoil func(file string) error) hostileStore {
	return hostileStore{name, func(dir string) {
		if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
			t.Fatal(err)
		}
		if file != "digests.sha256" {
			os.Remove(filepath.Join(dir, "digests.sha256"))
		}
		if err := spoil(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}}
}

// isDocument reports whether a file is one that is parsed as a whole.
func isDocument(name string) bool {
	switch base := filepath.Base(name); base {
	case "orbax.checkpoint", "commit_success.txt":
		return false
	default:
		return strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".z") || strings.HasSuffix(base, ".json") ||
			base == "process_0" || base == "digests.sha256" || base == "manifest.ocdbt"
	}
}

// documentBombs are documents that are huge, deep or wide.
func documentBombs(t *testing.T) (stores []hostileStore) {
	sparse := func(size int64) func(string) error {
		return func(file string) error { return os.Truncate(file, size) }
	}
	text := func(s func() string) func(string) error {
		return func(file string) error { return os.WriteFile(file, []byte(s()), 0o666) }
	}
	const n = 4 << 20
	for base, dir := range hostileBases(t) {
		for _, file := range readFiles(t, dir).names() {
			if !isDocument(file) {
				continue
			}
			for how, spoil := range map[string]func(string) error{
				"huge":  sparse(60 << 30),
				"large": sparse(900 << 20),
				"deep":  text(func() string { return strings.Repeat("[", n) }),
				"wide":  text(func() string { return "[" + strings.Repeat("[],", n) + "[]]" }),
				"keys":  text(func() string { return wideObject(n / 8) }),
			} {
				stores = append(stores, spoiled(t, fmt.Sprint(how, "-", base, "-", strings.ReplaceAll(file, "/", "_")), dir, file, spoil))
			}
		}
	}
	return stores
}

func wideObject(n int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		fmt.Fprintf(&b, `"%x":{},`, i)
	}
	b.WriteString(`"z":0}`)
	return b.String()
}

// specialFiles are what is no file in the place of each file.
func specialFiles(t *testing.T) (stores []hostileStore) {
	for base, dir := range hostileBases(t) {
		for i, file := range readFiles(t, dir).names() {
			kinds := []struct {
				how   string
				spoil func(string) error
			}{
				{"fifo", func(f string) error { return unix.Mkfifo(f, 0o666) }},
				{"zero", func(f string) error { return os.Symlink("/dev/zero", f) }},
				{"directory", func(f string) error { return os.Mkdir(f, 0o777) }},
				{"passwd", func(f string) error { return os.Symlink("/etc/passwd", f) }},
				{"self", func(f string) error { return os.Symlink(filepath.Base(f), f) }},
				{"socket", socket},
			}
			for k := range 3 {
				kind := kinds[(i+k*2)%len(kinds)]
				stores = append(stores, spoiled(t, fmt.Sprint(kind.how, "-", base, "-", strings.ReplaceAll(file, "/", "_")), dir, file,
					func(f string) error { return errors.Join(os.Remove(f), kind.spoil(f)) }))
			}
		}
	}
	return stores
}

// socket makes one; its path may be too long for the system, and then a FIFO will do.
func socket(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if unix.Bind(fd, &unix.SockaddrUnix{Name: name}) != nil {
		return unix.Mkfifo(name, 0o666)
	}
	return nil
}

// linkStores have links that lead round, out, or to each other.
func linkStores(t *testing.T) (stores []hostileStore) {
	bases := hostileBases(t)
	add := func(name string, make func(dir string) error) {
		stores = append(stores, hostileStore{"links-" + name, func(dir string) {
			if err := errors.Join(os.MkdirAll(dir+"/a", 0o777), os.WriteFile(dir+"/a/.zarray", []byte(plainZarray), 0o666),
				os.WriteFile(dir+"/a/0", make8(), 0o666), make(dir)); err != nil {
				t.Fatal(err)
			}
		}})
	}
	link := func(to, name string) error {
		return errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.Symlink(to, name))
	}
	add("loop", func(d string) error { return errors.Join(link(".", d+"/x"), link(".", d+"/y")) })
	add("up", func(d string) error { return errors.Join(link("../..", d+"/g/x"), link("..", d+"/g/y")) })
	add("root", func(d string) error { return link("/", d+"/g") })
	add("proc", func(d string) error { return link("/proc", d+"/g") })
	add("doubling", func(d string) error {
		var errs []error
		for i := range 24 {
			errs = append(errs, link(fmt.Sprintf("../d%02d", i+1), fmt.Sprintf("%s/d%02d/x", d, i)),
				link(fmt.Sprintf("../d%02d", i+1), fmt.Sprintf("%s/d%02d/y", d, i)))
		}
		return errors.Join(append(errs, os.Mkdir(fmt.Sprintf("%s/d24", d), 0o777))...)
	})
	add("deep", func(d string) error { return os.MkdirAll(d+strings.Repeat("/g", 1000), 0o777) })
	for base, dir := range bases {
		for _, part := range []string{"state", "config"} {
			stores = append(stores, spoiled(t, fmt.Sprint("links-", base, "-", part, "-root"), dir, part, func(f string) error {
				return errors.Join(os.RemoveAll(f), os.Symlink("/", f))
			}), spoiled(t, fmt.Sprint("links-", base, "-", part, "-up"), dir, part, func(f string) error {
				return errors.Join(os.RemoveAll(f), os.Symlink(".", f))
			}))
		}
	}
	return stores
}

func make8() []byte { return make([]byte, 8) }

// safetensorsBombs are files whose headers claim much.
func safetensorsBombs(t *testing.T) (stores []hostileStore) {
	const n = 8 << 20
	one := `"dtype":"U8","shape":[1],"data_offsets":[0,1]`
	headers := map[string]func() string{
		"rank": func() string {
			return `{"a":{"dtype":"U8","shape":[` + strings.Repeat("1,", n) + `1],"data_offsets":[0,1]}}`
		},
		"metadata": func() string { return `{"__metadata__":{` + entries(n/16, `"%x":"",`) + `"z":""},"a":{` + one + `}}` },
		"tensors": func() string {
			return `{` + entries(n/32, `"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`) + `"z":{` + one + `}}`
		},
		"deep":    func() string { return `{"a":` + strings.Repeat("[", n) },
		"unknown": func() string { return `{"a":{` + one + `,"x":[` + strings.Repeat("[],", n) + `[]]}}` },
		"name":    func() string { return `{"` + strings.Repeat("n", n) + `":{` + one + `}}` },
		"large":   func() string { return `{"a":{"dtype":"F32","shape":[268435456],"data_offsets":[0,1073741824]}}` },
		"zeros":   func() string { return strings.Repeat("\x00", 99<<20) },
		"spaces":  func() string { return strings.Repeat(" ", 99<<20) },
	}
	for name, header := range headers {
		stores = append(stores, hostileStore{"safetensors-" + name, func(dir string) {
			h := header()
			size := []byte{byte(len(h)), byte(len(h) >> 8), byte(len(h) >> 16), byte(len(h) >> 24), 0, 0, 0, 0}
			file := filepath.Join(dir, "model.safetensors")
			if err := errors.Join(os.MkdirAll(dir, 0o777), os.WriteFile(file, append(append(size, h...), 'x'), 0o666)); err != nil {
				t.Fatal(err)
			}
			if name == "large" { // what it claims is there, and takes no room on the disk; reading takes the time of 1 GiB, twice the memory
				if err := os.Truncate(file, int64(8+len(h))+1<<30); err != nil {
					t.Log(err)
				}
			}
		}})
	}
	return stores
}

func entries(n int, format string) string {
	var b bytes.Buffer
	for i := range n {
		_, _ = io.WriteString(&b, fmt.Sprintf(format, i))
	}
	return b.String()
}
