package servers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Server is a server that tests start.
type Server struct {
	// Command returns the command of the server that listens at addr (a host and a port)
	// and keeps its data in the empty directory data. It may skip the test.
	Command func(t testing.TB, addr, data string) *exec.Cmd
	// Ready returns nil once the server at addr answers.
	Ready func(ctx context.Context, addr string) error

	mu     sync.Mutex
	shared *process
}

// Shared starts the server for all tests of this process, at the first call, and returns
// its address. [Main] ends it.
func (s *Server) Shared(t testing.TB) (addr string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil || s.shared.ended() {
		data, err := os.MkdirTemp("", "orbax-server-")
		if err != nil {
			t.Fatal(err)
		}
		started.Lock()
		started.ends = append(started.ends, func() { os.RemoveAll(data) })
		started.Unlock()
		p := s.start(t, data)
		started.Lock()
		started.ends = append(started.ends, p.end)
		started.Unlock()
		s.shared = p
	}
	return s.shared.addr
}

// Start starts a server that ends with the test, and returns its address.
func (s *Server) Start(t testing.TB) (addr string) {
	t.Helper()
	p := s.start(t, t.TempDir())
	t.Cleanup(p.end)
	return p.addr
}

// started has the ends of the shared servers and of their directories.
var started struct {
	sync.Mutex
	ends []func()
}

// Main is the TestMain of a package whose tests call Shared:
//
//	func TestMain(m *testing.M) { servers.Main(m) }
func Main(m *testing.M) {
	status := m.Run()
	started.Lock()
	for i := len(started.ends) - 1; i >= 0; i-- {
		started.ends[i]()
	}
	os.Exit(status)
}

// startTime is how long a server may take until it answers, on a busy machine.
const startTime = time.Minute

// start starts the server. Its port is free when it is chosen; should another process take
// it, another port is tried.
func (s *Server) start(t testing.TB, data string) *process {
	t.Helper()
	var err error
	for range 3 {
		var addr string
		if addr, err = freePort(); err != nil {
			t.Fatal(err)
		}
		p := &process{addr: addr, done: make(chan struct{})}
		if err = p.run(s.Command(t, addr, data)); err != nil {
			t.Fatal(err)
		}
		if err = p.wait(t.Context(), s.Ready); err == nil {
			return p
		}
		p.end()
	}
	t.Fatal(err)
	return nil
}

// freePort returns a loopback address with a port that is free now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// process is a server that runs.
type process struct {
	addr string
	cmd  *exec.Cmd
	out  bytes.Buffer  // complete when done is closed
	done chan struct{} // closed when the server has ended
}

// run starts a command. The server ends when this process ends, where the system can do
// that.
func (p *process) run(cmd *exec.Cmd) error {
	p.cmd = cmd
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.WaitDelay = 5 * time.Second
	dieWithParent(cmd)
	result := make(chan error, 1)
	go func() {
		// The system kills the child when the thread that has started it ends. This
		// goroutine keeps the thread as long as the server lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		result <- err
		if err == nil {
			cmd.Wait()
		}
		close(p.done)
	}()
	return <-result
}

// wait waits until the server answers.
func (p *process) wait(ctx context.Context, ready func(context.Context, string) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := ready(ctx, p.addr)
		if err == nil && !p.ended() {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended before it answered:\n%s", p.cmd.Path, tail(p.out.Bytes()))
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer at %s: %w", p.cmd.Path, p.addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end kills the server and waits until it has ended.
func (p *process) end() {
	p.cmd.Process.Kill()
	<-p.done
}
