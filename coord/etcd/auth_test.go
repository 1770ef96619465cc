package etcd_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax/coord/etcd"
	"github.com/go-orbax/orbax/coord/etcd/embedded"
)

// In a cluster with authentication a user needs the right to read and write the keys below
// the name of the group, and no other.
func TestAuthentication(t *testing.T) {
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Forget: true})
	must(t, err)
	defer server.Close()
	connect := func(user string) *clientv3.Client {
		config := clientv3.Config{Endpoints: []string{server.Endpoint()}, DialTimeout: 10 * time.Second}
		if user != "" {
			config.Username, config.Password = user, "secret"
		}
		client, err := clientv3.New(config)
		must(t, err)
		t.Cleanup(func() { client.Close() })
		return client
	}
	admin := connect("")
	allow := func(user, prefix string) {
		_, err := admin.UserAdd(t.Context(), user, "secret")
		must(t, err)
		role := user
		if user != "root" {
			_, err = admin.RoleAdd(t.Context(), role)
			must(t, err)
			_, err = admin.RoleGrantPermission(t.Context(), role, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
			must(t, err)
		}
		_, err = admin.UserGrantRole(t.Context(), user, role)
		must(t, err)
	}
	allow("root", "")
	allow("trainer", "run7/")
	allow("other", "run8/")
	_, err = admin.AuthEnable(t.Context())
	must(t, err)

	trainer := connect("trainer")
	var all sync.WaitGroup
	for rank := range 3 {
		all.Go(func() {
			group, err := etcd.Join(t.Context(), trainer, etcd.Options{Name: "run7", Rank: rank, Size: 3, TTL: time.Minute}) // the server is slow: it hashes passwords
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 3 {
				if err := group.Barrier(t.Context(), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
			if err := group.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	left, err := trainer.Get(t.Context(), "run7/", clientv3.WithPrefix())
	must(t, err)
	if len(left.Kvs) > 0 {
		t.Errorf("keys are left: %v", left.Kvs)
	}
	for _, client := range []*clientv3.Client{connect("other"), admin} {
		_, err := etcd.Join(t.Context(), client, etcd.Options{Name: "run7", Size: 1})
		if err == nil || !errors.Is(err, rpctypes.ErrPermissionDenied) && !errors.Is(err, rpctypes.ErrUserEmpty) {
			t.Errorf("without the right: %v", err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
