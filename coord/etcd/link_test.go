package etcd_test

import (
	"net"
	"sync"
	"testing"
)

// link forwards connections to the server until it is stopped.
type link struct {
	net.Listener
	mu      sync.Mutex
	conns   []net.Conn
	cut     bool
	silent  bool
	running sync.WaitGroup
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := openLink(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func openLink(to string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{Listener: listener}
	l.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			if !l.add(in, out) {
				in.Close()
				out.Close()
				continue
			}
			l.running.Go(func() { l.forward(in, out) })
			l.running.Go(func() { l.forward(out, in) })
		}
	})
	return l, nil
}

// forward copies what one side sends. In silence it goes nowhere.
func (l *link) forward(to, from net.Conn) {
	defer to.Close()
	data := make([]byte, 1<<15)
	for {
		n, err := from.Read(data)
		if err == nil && !l.isSilent() {
			_, err = to.Write(data[:n])
		}
		if err != nil {
			return
		}
	}
}

func (l *link) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, conns...)
	return !l.cut
}

func (l *link) isSilent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
}

// silence keeps the connections, and lets nothing through.
func (l *link) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
}

// drop ends all connections. New ones may begin.
func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// stop ends all connections and lets none begin.
func (l *link) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, c := range l.conns {
		c.Close()
	}
}

func (l *link) close() {
	l.Close()
	l.stop()
	l.running.Wait()
}
