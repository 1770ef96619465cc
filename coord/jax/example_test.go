package jax_test

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"sync"

	"github.com/go-orbax/orbax/coord/jax"
	"github.com/go-orbax/orbax/guest"
)

// A data loader in Go beside a JAX job. Its position is a checkpointable of each
// checkpoint of the job.
func ExampleServe() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	client, err := jax.Dial(ctx, os.Getenv("JAX_COORDINATOR_ADDRESS"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var mu sync.Mutex // held while the loader moves on
	position := struct{ Epoch, Cursor int }{}
	err = jax.Serve(ctx, client, "loader", func(ctx context.Context, p jax.Part) error {
		mu.Lock()
		now := position
		mu.Unlock()
		return guest.WritePart(ctx, p.Dir, p.Name, now)
	})
	if errors.Is(err, jax.ErrGone) {
		log.Print("the job has ended")
	}
}

// Four Go processes beside a JAX job do something together.
func ExampleJoin() {
	ctx := context.Background()
	client, err := jax.Dial(ctx, "10.0.0.1:1234")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	group, err := jax.Join(ctx, client, jax.Options{Name: "loaders", Rank: 0, Size: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer group.Close()
	if err := group.Barrier(ctx, "epoch 1"); err != nil {
		log.Fatal(err) // it names the process that is lost, has failed or was late
	}
}
