package servers_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
)

func TestMain(m *testing.M) {
	if job, arg, ok := testenv.Child(); ok && job == "serve" {
		http.ListenAndServe(arg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("here")) }))
		os.Exit(1)
	}
	servers.Main(m)
}

// echo is a server that this program plays itself.
func echo() *servers.Server {
	return &servers.Server{
		Command: func(t testing.TB, addr, data string) *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			testenv.SetChild(cmd, "serve", addr)
			return cmd
		},
		Ready: func(ctx context.Context, addr string) error { return get(ctx, addr) },
	}
}

func get(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr, nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return r.Body.Close()
}

// A server ends with the test that has started it.
func TestStart(t *testing.T) {
	var addr string
	t.Run("in", func(t *testing.T) { addr = echo().Start(t) })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := get(ctx, addr); err == nil {
		t.Error("the server still answers after the end of its test")
	}
}

// Shared starts one server, also for tests that run at the same time.
func TestShared(t *testing.T) {
	s := echo()
	addrs := make([]string, 4)
	var wait sync.WaitGroup
	for i := range addrs {
		wait.Go(func() { addrs[i] = s.Shared(t) })
	}
	wait.Wait()
	for _, a := range addrs {
		if a == "" || a != addrs[0] {
			t.Errorf("got the addresses %q, want the same one", addrs)
		}
	}
	if err := get(t.Context(), addrs[0]); err != nil {
		t.Error(err)
	}
}

// versitygw starts and answers.
func TestS3(t *testing.T) {
	if addr := servers.S3.Start(t); addr == "" {
		t.Error("no address")
	}
}

// A server does not outlive the process that has started it, even if that one is killed.
func TestParentDies(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	if _, addr, ok := testenv.Child(); ok { // the parent: it starts a server and is killed
		os.WriteFile(addr, []byte(echo().Start(t)), 0o600)
		select {}
	}
	file := filepath.Join(t.TempDir(), "addr")
	cmd := exec.Command(os.Args[0], "-test.run=^TestParentDies$")
	testenv.SetChild(cmd, "parent", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addr []byte
	for len(addr) == 0 && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond)
		addr, _ = os.ReadFile(file)
	}
	if err := get(t.Context(), string(addr)); err != nil {
		t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for range 200 {
		if get(t.Context(), string(addr)) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the server lives after the death of its parent")
}
