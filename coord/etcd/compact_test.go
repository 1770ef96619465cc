package etcd_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/etcd"
)

// compactTTL is longer than a connection takes to come back on a busy machine.
const compactTTL = 5 * time.Second

// A cluster forgets its history now and then. A process that connects anew after that is
// not lost, and still learns who is.
func TestCompacted(t *testing.T) {
	admin := newClients(t)(t)
	l := newLink(t, admin.Endpoints()[0])
	groups := make([]*coord.Group, 3)
	var all sync.WaitGroup
	for rank := range groups {
		client := admin
		if rank == 1 {
			var err error
			if client, err = clientv3.New(clientv3.Config{Endpoints: []string{l.Addr().String()}, DialTimeout: 5 * time.Second}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
		}
		all.Go(func() {
			var err error
			if groups[rank], err = etcd.Join(t.Context(), client, etcd.Options{Name: "compacted", Rank: rank, Size: 3, TTL: compactTTL}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	// The watch of a key begins before the compaction, too.
	all.Go(func() {
		if _, err := groups[1].Driver().Wait(t.Context(), "key", 0); err != nil {
			t.Errorf("a wait: %v", err)
		}
	})
	time.Sleep(compactTTL / 10)
	revision := int64(0)
	for i := range 5 { // by another user of the cluster
		r, err := admin.Put(t.Context(), "other", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		revision = r.Header.Revision
	}
	if _, err := admin.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	l.drop()
	time.Sleep(compactTTL / 2)
	if err := groups[0].Driver().Set(t.Context(), "key", []byte("value")); err != nil {
		t.Error(err)
	}
	for rank, g := range groups {
		all.Go(func() {
			if err := g.Barrier(t.Context(), "after"); err != nil {
				t.Errorf("process %d: %v", rank, err)
			}
		})
	}
	all.Wait()
	if err := groups[2].Close(); err != nil {
		t.Error(err)
	}
	for until := time.Now().Add(compactTTL); ; time.Sleep(compactTTL / 50) {
		lost, err := groups[1].Driver().Lost(t.Context())
		if err == nil && slices.Equal(lost, []int{2}) {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("process 1 takes %v for lost, and not process 2: %v", lost, err)
		}
	}
	for _, g := range groups[:2] {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
