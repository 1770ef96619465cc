package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/coordtest"
	"github.com/go-orbax/orbax/coord/etcd"
	"github.com/go-orbax/orbax/coord/etcd/embedded"
)

// newClients returns a function that makes clients of a server that runs for the test.
func newClients(t *testing.T) func(t *testing.T) *clientv3.Client {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Forget: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return func(t *testing.T) *clientv3.Client {
		t.Helper()
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, DialTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}
}

func TestDriver(t *testing.T) {
	newClient := newClients(t)
	groups := 0
	coordtest.Test(t, func(t *testing.T, n int) []coord.Driver {
		groups++
		drivers := make([]coord.Driver, n)
		var wg sync.WaitGroup
		for rank := range n {
			client := newClient(t)
			wg.Go(func() {
				g, err := etcd.Join(t.Context(), client, etcd.Options{Name: fmt.Sprint("test", groups), Rank: rank, Size: n})
				if err != nil {
					t.Error(err)
					return
				}
				drivers[rank] = g.Driver()
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
		for _, d := range drivers {
			t.Cleanup(func() { d.Close() })
		}
		return drivers
	})
	left, err := newClient(t).Get(t.Context(), "test", clientv3.WithPrefix())
	if err != nil || len(left.Kvs) > 0 {
		t.Errorf("keys are left: %v, %v", left, err)
	}
}

// A process that cannot join says what it has waited for.
func TestJoinWaits(t *testing.T) {
	newClient := newClients(t)
	client := newClient(t)
	nowhere, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	taken, err := etcd.Join(t.Context(), client, etcd.Options{Name: "taken", Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, c := range map[string]struct {
		client *clientv3.Client
		etcd.Options
	}{
		"etcd does not answer at 127.0.0.1:1":                                                {nowhere, etcd.Options{Name: "nowhere", Size: 1}},
		"waiting for the processes [0 2] of 3":                                               {client, etcd.Options{Name: "alone", Rank: 1, Size: 3}},
		"waiting for the processes [2] of 3 to join; process 0 is in a group of 1 processes": {client, etcd.Options{Name: "taken", Rank: 1, Size: 3}},
		"another process has rank 0":                                                         {client, etcd.Options{Name: "taken", Size: 1}},
	} {
		for within := time.Second; ; within *= 5 { // a busy machine may be slow to learn the reason
			ctx, cancel := context.WithTimeout(t.Context(), within)
			_, err := etcd.Join(ctx, c.client, c.Options)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), want) {
				break
			}
			if within > 20*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v; want that it says %q", err, want)
				break
			}
		}
	}
}
