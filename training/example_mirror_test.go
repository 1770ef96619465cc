package training_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// A run saves to the local disk, and its steps are copied to a bucket in the background.
// When the disk is lost, the run continues from the bucket.
func ExampleMirror() {
	ctx := context.Background()
	disk, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(disk)
	bucket := object.New(membucket.New(), object.Options{}) // or the Root "gs://bucket/run" and no Store
	open := func(root string) *training.Checkpointer {
		ckpts, err := training.New(ctx, root, training.Options{
			SaveDecision: training.FixedIntervalPolicy{Interval: 1},
			Preservation: training.LatestN{N: 1},
			Mirror: training.Mirror{
				Root: "run", Store: bucket,
				Preservation: training.AnyPreservationPolicy{training.LatestN{N: 1}, training.EveryNSteps{Interval: 2}},
			},
		})
		if err != nil {
			log.Fatal(err)
		}
		return ckpts
	}

	ckpts := open(filepath.Join(disk, "a"))
	for step := range 4 {
		if _, err := ckpts.Save(ctx, step, map[string]any{"w": []float32{float32(step)}}); err != nil {
			log.Fatal(err)
		}
	}
	if err := ckpts.Close(); err != nil { // waits for the mirror
		log.Fatal(err)
	}

	ckpts = open(filepath.Join(disk, "b")) // another machine
	var state struct {
		W []float32 `orbax:"w"`
	}
	step, err := ckpts.Resume(ctx, &state)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("resumed from step", step, "with", state.W)
	for _, at := range ckpts.Checkpoints() {
		fmt.Println("step", at.Step, "in the mirror:", at.InMirror)
	}
	if err := ckpts.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// resumed from step 3 with [3]
	// step 0 in the mirror: true
	// step 2 in the mirror: true
	// step 3 in the mirror: true
}

// A program that has little time left waits for the mirror only for so long.
func ExampleCheckpointer_WaitMirror() {
	ctx := context.Background()
	checkpoints, err := training.New(ctx, "/local/run", training.Options{
		Preservation: training.LatestN{N: 2}, // on the local disk
		Mirror: training.Mirror{
			Root: "gs://bucket/run", // or a path, or a name in Mirror.Store
			Preservation: training.AnyPreservationPolicy{
				training.LatestN{N: 3},
				training.EveryNSteps{Interval: 10000},
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoints.Close()
	// …
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := checkpoints.WaitMirror(ctx); err != nil {
		log.Print(err) // how many steps and bytes are missing, and why
	}
}
