package training_test

import (
	"archive/zip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// A run whose steps are in MessagePack, as releases of Orbax and Flax wrote them until
// 2024, goes on where it was.
func TestResumeOldRuns(t *testing.T) {
	for row, want := range map[string]int{
		"orbax_0_2_3_manager":         2,
		"orbax_0_3_5_manager":         2,
		"orbax_0_4_4_manager":         2,
		"orbax_0_5_10_manager":        2,
		"flax_0_6_11_save_checkpoint": 300,
		"flax_0_8_5_save_checkpoint":  300,
	} {
		t.Run(row, func(t *testing.T) {
			r, err := zip.OpenReader(filepath.Join("..", "interop", "layouts", "testdata", "layouts", row+".zip"))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			dir := t.TempDir()
			if err := os.CopyFS(dir, r); err != nil {
				t.Fatal(err)
			}
			options := training.Options{}
			var state map[string]any
			if strings.HasPrefix(row, "flax") {
				// Steps of other names must not be taken for none.
				_, err := training.New(t.Context(), filepath.Join(dir, "run"), options)
				_, latestErr := training.Latest(t.Context(), filepath.Join(dir, "run"), training.ReadOptions{})
				for _, err := range []error{err, latestErr} {
					if !errors.Is(err, orbax.ErrUnsupported) || errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), "checkpoint_300") {
						t.Errorf("without the names of the steps: %v", err)
					}
				}
				options.StepNameFormat = training.StandardNameFormat{Prefix: "checkpoint"}
			}
			c, err := training.New(t.Context(), filepath.Join(dir, "run"), options)
			if err != nil {
				t.Fatal(err)
			}
			step, err := c.Resume(t.Context(), &state)
			if err != nil || int(step) != want || state["step"] != 12 {
				t.Fatalf("Resume gives %v, %v, and the state %v", step, err, state)
			}
			if saved, err := c.Save(t.Context(), step+1, state); err != nil || !saved {
				t.Errorf("Save gives %v, %v", saved, err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A run goes on over a step of an old manager that is damaged.
func TestSaveOverDamagedOldStep(t *testing.T) {
	for _, file := range []string{"_METADATA"} {
		r, err := zip.OpenReader(filepath.Join("..", "interop", "layouts", "testdata", "layouts", "orbax_0_4_4_manager.zip"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		dir := t.TempDir()
		if err := os.CopyFS(dir, r); err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(dir, "run")
		if err := os.Truncate(filepath.Join(root, "2", "default", file), 100); err != nil {
			t.Fatal(err)
		}
		c := openRun(t, root, training.Options{})
		var state map[string]any
		if step, err := c.Resume(t.Context(), &state); err != nil || step != 1 {
			t.Fatalf("%s: Resume gives %v, %v", file, step, err)
		}
		if saved, err := c.Save(t.Context(), 2, state); err != nil || !saved {
			t.Errorf("%s: Save gives %v, %v", file, saved, err)
		}
	}
}

// Readers refuse the path of a checkpoint as New does, and do not wait for steps in it.
func TestReadersRefuseCheckpoint(t *testing.T) {
	ck := filepath.Join(t.TempDir(), "250")
	if err := orbax.Save(t.Context(), ck, map[string]any{"a": 1}); err != nil {
		t.Fatal(err)
	}
	check := func(what string, err error) {
		if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.Contains(err.Error(), "is a checkpoint; the root is") {
			t.Errorf("%s gives %v", what, err)
		}
	}
	_, err := training.Latest(t.Context(), ck, training.ReadOptions{})
	check("Latest", err)
	_, err = training.Steps(t.Context(), ck, training.ReadOptions{})
	check("Steps", err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = nil
	for _, err = range training.Watch(ctx, ck, training.ReadOptions{}) {
		break
	}
	check("Watch", err)
}
