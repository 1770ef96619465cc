package orbax_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/training"
)

const (
	metadataFile = "_CHECKPOINT_METADATA"
	recordFile   = "_CHECKPOINT_DELETION"
)

// stepFiles is a step of a run with metrics, custom metadata and three
// checkpointables, and what loading it gives.
func stepFiles(t testing.TB) (files, map[string]any) {
	t.Helper()
	root := t.TempDir()
	c, err := training.New(t.Context(), root, training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	items := map[string]any{
		"state": map[string]any{"w": array.Of([]float32{1, 2.5, -3}), "n": 7},
		"cfg":   handler.JSON{Value: map[string]any{"lr": 0.5}},
		"data":  handler.JSON{Value: []any{1, "ä"}},
	}
	custom := map[string]any{"epoch": 3, "rate": 1e-7, "text": "ä\u2028", "best": math.Inf(-1), "worst": []any{math.NaN()}}
	if _, err := c.SaveCheckpointables(t.Context(), 5, items, orbax.Metrics(map[string]any{"loss": 0.25}),
		orbax.CustomMetadata(custom)); err != nil {
		t.Fatal(err)
	}
	f := readFiles(t, root+"/5")
	got, err := loadFiles(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyFiles(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	return f, got
}

// without returns f without what is below a directory.
func (f files) without(dir string) files {
	c := maps.Clone(f)
	maps.DeleteFunc(c, func(name string, _ []byte) bool { return strings.HasPrefix(name, dir+"/") })
	return c
}

// orbaxDeletes returns f at each stage of the deletion of a checkpointable by Orbax.
func orbaxDeletes(t testing.TB, f files, name string) (stages map[string]files) {
	t.Helper()
	r, err := layout.NewDeletion(f[metadataFile], name)
	if err != nil {
		t.Fatal(err)
	}
	updated, err := r.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	begun := f.with(recordFile, r.Document())
	stages = map[string]files{"begun": begun}
	for _, file := range f.names() {
		if strings.HasPrefix(file, name+"/") {
			stages["without "+file] = begun.with(file, nil)
		}
	}
	removed := begun.without(name)
	stages["removed"] = removed
	stages["rewritten"] = removed.with(metadataFile, updated)
	stages["finished"] = stages["rewritten"].with(recordFile, nil)
	return stages
}

// What Orbax does to a checkpoint when it deletes a checkpointable is no damage, at
// any point of it, nor is the next deletion.
func TestDeletedPart(t *testing.T) {
	f, want := stepFiles(t)
	check := func(what string, f files, names ...string) {
		t.Helper()
		wanted := map[string]any{}
		for _, name := range names {
			wanted[name] = want[name]
		}
		got, err := loadFiles(t.Context(), f)
		if verr := verifyFiles(t.Context(), f); err != nil || verr != nil || !same(got, wanted) {
			t.Errorf("%s: %v, %v, %v", what, got, err, verr)
		}
	}
	for stage, f := range orbaxDeletes(t, f, "cfg") {
		check(stage, f, "state", "data")
		if stage != "finished" {
			continue
		}
		for stage, f := range orbaxDeletes(t, f, "data") {
			check("second "+stage, f, "state")
		}
	}
}

// The same in any other way is damage.
func TestDeletedPartOtherwise(t *testing.T) {
	f, _ := stepFiles(t)
	stages := orbaxDeletes(t, f, "cfg")
	finished := stages["finished"]
	updated := finished[metadataFile]
	misspelled := func(doc []byte) []byte {
		return bytes.ReplaceAll(doc, []byte("item_handlers"), []byte("item_hanXlers"))
	}
	for name, f := range map[string]files{
		"only removed":                 f.without("cfg"),
		"only rewritten":               f.with(metadataFile, updated),
		"handlers misspelled":          f.with(metadataFile, misspelled(f[metadataFile])),
		"handlers misspelled later":    finished.with(metadataFile, misspelled(updated)),
		"metrics removed":              f.without("metrics"),
		"metrics removed later":        finished.without("metrics"),
		"metrics deleted":              orbaxDeletes(t, f, "metrics")["finished"],
		"another record":               stages["removed"].with(recordFile, orbaxDeletes(t, f, "data")["begun"][recordFile]),
		"another record, rewritten":    stages["rewritten"].with(recordFile, orbaxDeletes(t, f, "data")["begun"][recordFile]),
		"record damaged":               f.with(recordFile, []byte(`{"checkpointable_`)),
		"record of another handler":    stages["rewritten"].with(recordFile, bytes.Replace(stages["begun"][recordFile], []byte(".JsonHandler"), []byte(".JsonHandlez"), 1)),
		"another's file removed":       finished.with("state/_METADATA", nil),
		"another removed too":          finished.without("data"),
		"one back":                     finished.with("cfg/data.json", f["cfg/data.json"]),
		"custom metadata changed":      finished.with(metadataFile, bytes.Replace(updated, []byte(`"epoch": 3`), []byte(`"epoch": 4`), 1)),
		"time changed":                 finished.with(metadataFile, bytes.Replace(updated, []byte(`nsecs": 1`), []byte(`nsecs": 2`), 1)),
		"written in another form":      finished.with(metadataFile, bytes.Replace(updated, []byte(`, `), []byte(`,`), 1)),
		"metadata of before the other": orbaxDeletes(t, finished, "data")["finished"].with(metadataFile, updated),
	} {
		_, lerr := loadFiles(t.Context(), f)
		err := verifyFiles(t.Context(), f)
		if !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("%s: Verify says %v", name, err)
		}
		if !errors.Is(lerr, orbax.ErrCorrupt) && !strings.HasPrefix(name, "metrics removed") { // they are not loaded
			t.Errorf("%s: load says %v", name, lerr)
		}
	}
}

// No bit of the metadata, of the record and of the digests can change unseen, at any
// point of a deletion. Of the record Orbax itself writes a random number that nothing
// can be compared with.
func TestDeletedPartEveryBit(t *testing.T) {
	f, _ := stepFiles(t)
	stages := orbaxDeletes(t, f, "cfg")
	stages["begun again"] = orbaxDeletes(t, stages["finished"], "data")["begun"]
	for _, stage := range slices.Sorted(maps.Keys(stages)) {
		f := stages[stage]
		for _, file := range []string{metadataFile, recordFile, "digests.sha256"} {
			stride := testenv.Pick(1, 67) // no multiple of 8
			at := bytes.Index(f[file], []byte(`"operation_id": "`)) + len(`"operation_id": "`)
			for bit := 0; bit < 8*len(f[file]); bit += stride {
				data := bytes.Clone(f[file])
				data[bit/8] ^= 1 << (bit % 8)
				id := file == recordFile && bit/8 >= at && bit/8 < at+32 && strings.Contains("0123456789abcdef", string(data[bit/8]))
				if err := verifyFiles(t.Context(), f.with(file, data)); (err == nil) != id {
					t.Errorf("%s: bit %d of byte %d of %s: %v", stage, bit%8, bit/8, file, err)
				}
			}
		}
	}
}

// TestLostParts removes the directories of checkpoints of Orbax, which have no
// digests: what their metadata name and they lack is reported, and what is left can be
// asked for.
func TestLostParts(t *testing.T) {
	f, want := stepFiles(t)
	if err := verifyFiles(t.Context(), f.with("digests.sha256", nil)); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("without digests beside what only comes with them: %v", err)
	}
	for name, old := range f { // either shows it alone
		if base := path.Base(name); base == "go-orbax.places" || base == "go-orbax.chunks" {
			one := foreign(f).with(name, old)
			if err := verifyFiles(t.Context(), one); !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), "always written with "+name) {
				t.Errorf("without digests beside %s: %v", name, err)
			}
		}
	}
	f = foreign(f) // now nothing shows who wrote it
	if err := verifyFiles(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state", "cfg", "metrics"} {
		lost := f.without(name)
		err := verifyFiles(t.Context(), lost)
		if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("without %s: Verify says %v", name, err)
		}
		if name == "metrics" {
			continue
		}
		if _, err := orbax.LoadCheckpointables(t.Context(), "ckpt", nil, lost.in()); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("without %s: LoadCheckpointables says %v", name, err)
		}
		_, err = orbax.Load(t.Context(), "ckpt", lost.in())
		if lost := name == "state"; errors.Is(err, orbax.ErrCorrupt) != lost || !lost && err != nil {
			t.Errorf("without %s: Load says %v", name, err)
		}
		got, err := orbax.LoadCheckpointables(t.Context(), "ckpt", map[string]any{"data": nil}, lost.in())
		if err != nil || !same(got, map[string]any{"data": want["data"]}) {
			t.Errorf("without %s: %v, %v", name, got, err)
		}
		if deleted := orbaxDeletes(t, lost, name)["finished"]; verifyFiles(t.Context(), deleted) != nil {
			t.Errorf("without %s, deleted: %v", name, verifyFiles(t.Context(), deleted))
		}
	}
}

// Of what Orbax has written without checksums Verify reads the documents too.
func TestUncoveredDocuments(t *testing.T) {
	f, _ := stepFiles(t)
	f = foreign(f)
	for name, f := range map[string]files{
		"metrics missing":   f.with("metrics/metrics", nil).with("metrics/other", []byte("{}")),
		"metrics cut":       f.with("metrics/metrics", f["metrics/metrics"][:5]),
		"metrics empty":     f.with("metrics/metrics", []byte{}),
		"JSON cut":          f.with("cfg/data.json", f["cfg/data.json"][:5]),
		"JSON of old Orbax": f.with("cfg/data.json", nil).with("cfg/metadata", []byte("{")),
		"JSON renamed":      f.with("cfg/data.json", nil).with("cfg/conf.json", []byte("{")),
	} {
		if err := verifyFiles(t.Context(), f); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := verifyFiles(t.Context(), f.with("cfg/data.json", nil).with("cfg/conf.json", []byte("{}"))); err != nil {
		t.Errorf("a document of another name: %v", err)
	}
}

// A pytree that was copied out of its checkpoint never had the digests.
func TestPyTreeCopiedOut(t *testing.T) {
	f := trainSteps(t, 2, handler.StorageOptions{}).below("1/state")
	if f["go-orbax.places"] == nil || f["go-orbax.chunks"] == nil {
		t.Fatal(f.names())
	}
	if err := verifyFiles(t.Context(), f); err != nil {
		t.Error(err)
	}
}
