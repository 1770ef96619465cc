package orbax_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/zarr"
)

// position is a Stateful checkpointable of one file.
type position struct{ at string }

func (p *position) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		return dir.WriteFile(ctx, "position.txt", []byte(p.at))
	}, nil
}

func (p *position) LoadState(ctx context.Context, dir *handler.ReadDir) error {
	b, err := dir.ReadFile(ctx, "position.txt")
	p.at = string(b)
	return err
}

// covered is a set of files in which every bit is covered, but for those that unread
// names.
type covered struct {
	files  files
	verify func(ctx context.Context, f files) error
	// load returns what the files hold, in a form that can be compared; nil for files of
	// which Verify alone is tried.
	load   func(ctx context.Context, f files) (map[string]any, error)
	unread func(f files, file string, bit int) bool
	// gone is the directory of a checkpointable that is being deleted, of which nothing
	// is read any more.
	gone string
	// sparse is how many bits apart the long test is, unless allBits; 0 flips each. What
	// the real Orbax leaves differs from what TestDeletedPartEveryBit makes up in no
	// document of ours.
	sparse int
}

// read returns the names of the files that count.
func (c *covered) read() []string {
	return slices.DeleteFunc(c.files.names(), func(name string) bool { return c.gone != "" && strings.HasPrefix(name, c.gone+"/") })
}

// trainSteps saves n steps of a run, each with metrics, custom metadata and three
// checkpointables, the later sharing bytes with the earlier, and returns all its files.
func trainSteps(t testing.TB, n int, s handler.StorageOptions) files {
	t.Helper()
	root := t.TempDir()
	c, err := training.New(t.Context(), root, training.Options{
		SaveDecision: training.FixedIntervalPolicy{Interval: 1}, CustomMetadata: map[string]any{"run": "ä", "seed": 17},
		SaveOptions: []orbax.SaveCheckpointablesOption{orbax.Storage(s)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	long := make([]float32, 300) // noise, out of line
	for i, x := 0, uint32(1); i < len(long); i++ {
		x = x*1664525 + 1013904223
		long[i] = float32(x) / 7
	}
	for step := range n {
		other := make([]float32, 300) // of each step its own, out of line
		for i := range other {
			other[i] = float32(step*len(other) + i)
		}
		items := map[string]any{
			"state": map[string]any{
				"other": array.Of(other), "long": array.Of(long).WithSharding(sharding.SingleDevice("cpu:0")),
				"w": array.Of([]int16{1, 2, int16(step)}),
				"n": step, "s": "text", "e": []any{nil},
			},
			"cfg":  handler.JSON{Value: map[string]any{"lr": 0.5, "step": step}},
			"data": &position{fmt.Sprint("at ", step)},
		}
		if _, err := c.SaveCheckpointables(t.Context(), step, items, orbax.Metrics(map[string]any{"loss": 0.25}),
			orbax.CustomMetadata(map[string]any{"epoch": step, "rate": 1e-7})); err != nil {
			t.Fatal(err)
		}
	}
	return readFiles(t, root)
}

// below returns the files below a directory, by their names there.
func (f files) below(dir string) files {
	c := files{}
	for name, data := range f {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			c[rest] = data
		}
	}
	return c
}

// loadStep loads a step of trainSteps.
func loadStep(ctx context.Context, f files) (map[string]any, error) {
	p := &position{}
	got, err := orbax.LoadCheckpointables(ctx, "ckpt", map[string]any{"state": nil, "cfg": nil, "data": p}, f.in())
	if err != nil {
		return nil, err
	}
	got["data"] = p.at
	return got, nil
}

// verifyRun verifies all steps of a run, and reads the metadata of its root.
func verifyRun(ctx context.Context, f files) error {
	store := f.store()
	steps := map[string]bool{}
	for name := range f {
		if dir, _, _ := strings.Cut(name, "/"); dir != "metadata" {
			steps[dir] = true
		}
	}
	for step := range steps {
		if err := orbax.Verify(ctx, "ckpt/"+step, orbax.In(store)); err != nil {
			return err
		}
	}
	c, err := training.New(ctx, "ckpt", training.Options{Store: store})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.RootMetadata(ctx)
	return err
}

// unreadInFrames reports whether a bit of a file of compressed chunks has no part in what
// they decode to: unread, and tableSpelling.
func unreadInFrames(f files, file string, bit int) bool {
	return unread(f[file], bit) || tableSpelling(f[file], bit)
}

// tableSpelling reports whether a bit of the description of the Huffman weights of the
// first block of a zstd frame (RFC 8878, 4.2.1) makes no other weights. It may fill up the
// last byte of the table by which they are coded (4.1.1), at which decoders do not look;
// or be one of the last that are read of the weights, where several states of the table
// stand for one weight.
func tableSpelling(data []byte, bit int) bool {
	for at := 0; ; at++ {
		next := bytes.Index(data[at:], []byte{0x28, 0xb5, 0x2f, 0xfd})
		if next < 0 {
			return false
		}
		at += next
		head := data[at+4]
		block := at + 5 + [4]int{0, 2, 4, 8}[head>>6]
		if single := head&0x20 != 0; !single || head>>6 == 0 {
			block++
		}
		if block+8 > len(data) || data[block]>>1&3 != 2 || data[block+3]&3 != 2 { // literals with a table
			continue
		}
		tree := block + 3 + [4]int{3, 3, 4, 5}[data[block+3]>>2&3]
		if data[tree] >= 128 { // weights as they are
			continue
		}
		table := data[tree+1:]
		end := tableBits(table)
		if from := 8*(tree+1) + end; bit >= from && bit < (from+7)/8*8 {
			return true
		}
		if bit >= 8*(tree+1)+end && bit < 8*(tree+1+int(data[tree])) {
			flipped := bytes.Clone(data)
			flipped[bit/8] ^= 1 << (bit % 8)
			was, is := frameContent(data[at:]), frameContent(flipped[at:])
			return was != nil && bytes.Equal(was, is)
		}
	}
}

// frameContent returns what the frame holds at the beginning of b, nil if it cannot be
// decoded.
func frameContent(b []byte) []byte {
	var h zstd.Header
	if h.Decode(b) != nil || !h.HasFCS {
		return nil
	}
	r, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil
	}
	defer r.Close()
	content := make([]byte, h.FrameContentSize)
	if _, err := io.ReadFull(r, content); err != nil {
		return nil
	}
	return content
}

// tableBits returns how many bits the description of an FSE table takes.
func tableBits(b []byte) int {
	at := 0
	peek := func(n int) (v int) {
		for i := range n {
			if p := at + i; p/8 < len(b) {
				v |= int(b[p/8]>>(p%8)&1) << i
			}
		}
		return v
	}
	log := 5 + peek(4)
	at += 4
	remaining, threshold, bits := 1<<log+1, 1<<log, log+1
	for zero := false; remaining > 1 && at < 8*len(b); {
		for n := 3; zero && n == 3; at += 2 {
			n = peek(2)
		}
		most := 2*threshold - 1 - remaining
		count := peek(bits) & (threshold - 1)
		if count < most {
			at += bits - 1
		} else {
			if count = peek(bits); count >= threshold {
				count -= most
			}
			at += bits
		}
		count--
		remaining -= max(count, -count)
		zero = count == 0
		for remaining < threshold && threshold > 1 {
			bits--
			threshold >>= 1
		}
	}
	return at
}

func coveredForms(t *testing.T) map[string]covered {
	frames := handler.StorageOptions{ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}}
	files2 := handler.StorageOptions{PlainFiles: true, Zarr2: true}
	forms := map[string]covered{}
	for name, s := range map[string]handler.StorageOptions{"step": {}, "compressed": frames, "files": files2} {
		c := covered{files: trainSteps(t, 1, s).below("0"), verify: verifyFiles, load: loadStep}
		if name != "step" {
			c.unread = unreadInFrames
		}
		forms[name] = c
	}
	forms["run"] = covered{files: trainSteps(t, 2, handler.StorageOptions{}), verify: verifyRun}
	for stage, f := range goldenDeletions(t) {
		c := covered{files: f, verify: verifyFiles, load: loadFiles, sparse: 13}
		if record := f[recordFile]; record != nil {
			const member = `"operation_id": "`
			at := bytes.Index(record, []byte(member)) + len(member)
			c.gone = "opt"
			c.unread = func(f files, file string, bit int) bool { // a random number of Orbax's
				flipped := f[file][bit/8] ^ 1<<(bit%8)
				return file == recordFile && bit/8 >= at && bit/8 < at+32 && strings.ContainsRune("0123456789abcdef", rune(flipped))
			}
		}
		forms["deleted by Orbax, "+stage] = c
	}
	return forms
}

// goldenDeletions are the stages of the deletion of a checkpointable from a step that
// this package wrote, by the real Orbax; see TestWriteDeleted in package interop.
func goldenDeletions(t *testing.T) map[string]files {
	t.Helper()
	z, err := zip.OpenReader("interop/testdata/deleted.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	stages := map[string]files{}
	for _, zf := range z.File {
		stage, name, _ := strings.Cut(zf.Name, "/")
		if strings.HasSuffix(name, "/") || name == "" {
			continue
		}
		r, err := zf.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if stages[stage] == nil {
			stages[stage] = files{}
		}
		stages[stage][name] = data
	}
	if len(stages) < 4 {
		t.Fatalf("only the stages %q", slices.Sorted(maps.Keys(stages)))
	}
	return stages
}

// change returns the files with one of them replaced, and all that are the same file:
// steps of a run share bytes by links.
func (f files) change(file string, data []byte) files {
	c := f.with(file, data)
	for name, other := range f {
		if name != file && path.Base(name) == path.Base(file) && len(other) > 0 && path.Base(path.Dir(name)) == "d" && bytes.Equal(other, f[file]) {
			c = c.with(name, data)
		}
	}
	return c
}

// TestEveryBitOfARun flips each bit of each file of steps with metrics, custom metadata,
// three checkpointables and shared bytes, of a run, and of what Orbax has left that
// deleted a checkpointable. Verify must find it, and a load that succeeds must give what
// was saved. The exceptions are named, and in no document of ours: the two fields of a
// zstd frame's header that no checksum covers (see unread), and the bits that fill up the
// last byte of a table in it (see tableSpelling), the random number in the
// record of a deletion under way, and the files that it is about to remove.
func TestEveryBitOfARun(t *testing.T) {
	stride := 601 // no multiple of 8, so that it meets all bits of bytes
	if longTests {
		stride = 1
	}
	for name, c := range coveredForms(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.verify(t.Context(), c.files); err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			if c.load != nil {
				var err error
				if want, err = c.load(t.Context(), c.files); err != nil {
					t.Fatal(err)
				}
			}
			flips, stride := 0, stride
			if longTests && !allBits {
				stride = max(stride, c.sparse)
			}
			for _, file := range c.read() {
				if small := len(c.files[file]) < 200; small && stride > 17 {
					flips += c.flip(t, file, 17, want)
				} else {
					flips += c.flip(t, file, stride, want)
				}
			}
			t.Logf("%d files, %d flips", len(c.files), flips)
		})
	}
}

func (c *covered) flip(t *testing.T, file string, stride int, want map[string]any) int {
	var next atomic.Int64
	var wg sync.WaitGroup
	bits := 8 * len(bytes.TrimRight(c.files[file], "\x00")) // padding is alike
	if !longTests {
		bits = 8 * len(c.files[file])
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				bit := int(next.Add(1)-1) * stride
				if bit >= bits || t.Failed() {
					return
				}
				data := bytes.Clone(c.files[file])
				data[bit/8] ^= 1 << (bit % 8)
				damaged := c.files.change(file, data)
				if err := c.verify(t.Context(), damaged); err == nil && (c.unread == nil || !c.unread(c.files, file, bit)) {
					t.Errorf("%s: Verify does not see bit %d of byte %d of %d", file, bit%8, bit/8, len(data))
				}
				if c.load == nil || stride == 1 && !allBits && bit%8 != bit/8%8 {
					continue
				}
				if got, err := c.load(t.Context(), damaged); err == nil && !same(got, want) {
					t.Errorf("%s: bit %d of byte %d of %d changes what is loaded, without an error", file, bit%8, bit/8, len(data))
				}
			}
		})
	}
	wg.Wait()
	return (bits + stride - 1) / stride
}

// TestEveryFileOfARun truncates, removes and exchanges each file of the same.
func TestEveryFileOfARun(t *testing.T) {
	for name, c := range coveredForms(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want map[string]any
			if c.load != nil {
				want, _ = c.load(t.Context(), c.files)
			}
			check := func(what string, damaged files) {
				t.Helper()
				if err := c.verify(t.Context(), damaged); err == nil {
					t.Errorf("Verify does not see: %s", what)
				}
				if c.load == nil {
					return
				}
				if got, err := c.load(t.Context(), damaged); err == nil && !same(got, want) {
					t.Errorf("a load gives something else, without an error: %s", what)
				}
			}
			names := c.read()
			for i, file := range names {
				data := c.files[file]
				optional := file == "metadata/digests.sha256" || strings.HasPrefix(file, "digests.") && c.files["state/go-orbax.chunks"] == nil
				if !optional && file != recordFile { // without the record it is another stage
					check(file+" removed", c.files.change(file, nil))
				}
				for _, n := range []int{0, len(data) / 3, len(data) - 1, len(data) + 1} {
					if n >= 0 && n != len(data) {
						check(fmt.Sprintf("%s with %d of %d bytes", file, n, len(data)), c.files.change(file, append(bytes.Clone(data), 0)[:n]))
					}
				}
				other := names[(i+1)%len(names)]
				if !bytes.Equal(c.files[other], data) {
					check(fmt.Sprintf("%s and %s exchanged", file, other), c.files.change(file, c.files[other]).change(other, data))
				}
			}
		})
	}
}

// A file of one step in the place of the same file of another is seen in both; so is a
// data file, whose name is random, in the place of any of another step.
func TestExchangedSteps(t *testing.T) {
	for name, s := range map[string]handler.StorageOptions{"database": {}, "files": {PlainFiles: true}} {
		t.Run(name, func(t *testing.T) {
			f := trainSteps(t, 2, s)
			for _, file := range f.below("0").names() {
				for _, other := range f.below("1").names() {
					a, b := "0/"+file, "1/"+other
					data := path.Base(path.Dir(file)) == "d" && path.Dir(file) == path.Dir(other) && f["0/"+other] == nil
					if file != other && !data || bytes.Equal(f[a], f[b]) {
						continue
					}
					for _, step := range []string{"0", "1"} {
						swapped := f.with(a, f[b]).with(b, f[a]).below(step)
						if err := verifyFiles(t.Context(), swapped); err == nil && file != "digests.sha256" || err != nil && !errors.Is(err, orbax.ErrCorrupt) {
							t.Errorf("step %s with %s in the place of %s: %v", step, other, file, err)
						}
					}
				}
			}
		})
	}
}
