package handover

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/compare"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

// network is the TCP network. That of package tcp cannot be used here, because it imports
// this package.
type network struct{}

func (network) Listen(_ context.Context, address string) (Listener, []string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	return listener{l}, []string{l.Addr().String()}, nil
}

func (network) Dial(ctx context.Context, address string, timeout time.Duration) (Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	return dialer.DialContext(ctx, "tcp", address)
}

type listener struct{ net.Listener }

func (l listener) Accept() (Conn, error) { return l.Listener.Accept() }

// shareAll performs one task in all processes of a group of n. pieces returns those of a
// process. The memory of each is filled with the bytes of want.
func shareAll(n int, want []byte, pieces func(rank int) []Piece) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for rank, g := range coord.InProcess(n) {
		g.Timeout = 20 * time.Second
		all.Go(func() {
			defer g.Close()
			s := Begin(g, sharding.Process{Rank: rank, Size: n}, "path", network{}, "127.0.0.1:0")
			mine := pieces(rank)
			errs[rank] = s.End(context.Background(), s.Share(context.Background(), Task{
				Lines:  func(yield func(compare.Line) bool) { yield(compare.Line{Path: "w", Text: "x"}) },
				Pieces: mine,
				Read: func(ctx context.Context, parts []Part) error {
					for _, p := range parts {
						each := len(mine[p.Piece].Data) / mine[p.Piece].Rows
						copy(mine[p.Piece].Data[p.From*each:p.To*each], want[p.From*each:])
					}
					return nil
				},
			}))
		})
	}
	all.Wait()
	return errs
}

// Large pieces cross in many frames and parts.
func TestShareLarge(t *testing.T) {
	before := runtime.NumGoroutine()
	want := make([]byte, 70<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(want); i += 8 {
		binary.LittleEndian.PutUint64(want[i:], random.Uint64())
	}
	got := [2][]byte{make([]byte, len(want)), make([]byte, len(want))}
	errs := shareAll(2, want, func(rank int) []Piece { return []Piece{{Data: got[rank], Rows: 70 << 10, Step: 7}} })
	for rank, err := range errs {
		if err != nil || !bytes.Equal(got[rank], want) {
			t.Errorf("process %d: %v, the bytes are equal: %t", rank, err, bytes.Equal(got[rank], want))
		}
	}
	wantNoGoroutines(t, before)
}

func wantNoGoroutines(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines run, %d before", runtime.NumGoroutine(), before)
}

// lonely returns the mover of process 0 of two, which listens and gets data from process 1.
func lonely(t *testing.T, data []byte) (m *mover, address string) {
	t.Helper()
	g := coord.InProcess(2)[0]
	g.Timeout = time.Second
	m = newMover(g, network{}, map[int][]span{1: {{Part{0, 0, 1}, []int{0, 1}, data}}}, nil)
	m.secret = bytes.Repeat([]byte{7}, secretBytes)
	addresses, err := m.listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m, addresses[0]
}

// Connections from elsewhere have no effect on a load, whatever they send.
func TestStrangers(t *testing.T) {
	before := runtime.NumGoroutine()
	want := bytes.Repeat([]byte("data"), 1<<10)
	got := make([]byte, len(want))
	m, address := lonely(t, got)
	outcome := make(chan error, 1)
	go func() { outcome <- m.run(t.Context()) }()

	dialed := func(f func(conn net.Conn) error) error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		return f(conn)
	}
	var open []net.Conn
	for range maxStrangers / 2 { // which send nothing
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	wrong := bytes.Repeat([]byte{8}, secretBytes)
	for name, f := range map[string]func(conn net.Conn) error{
		"a wrong secret": func(conn net.Conn) error { return greet(conn, wrong, 1, 0) },
		"another target": func(conn net.Conn) error { return greet(conn, m.secret, 1, 2) },
		"an unknown process": func(conn net.Conn) error {
			if err := greet(conn, m.secret, 5, 0); err != nil {
				return err
			}
			_, err := io.ReadFull(conn, make([]byte, 1)) // it is closed
			return err
		},
		"garbage": func(conn net.Conn) error {
			_, err := conn.Write(bytes.Repeat([]byte{0xff}, 1<<12))
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, 100))
			}
			return err
		},
		"its own bytes": func(conn net.Conn) error {
			b := make([]byte, nonceBytes)
			if _, err := io.ReadFull(conn, b); err != nil {
				return err
			}
			if _, err := conn.Write(append(append(make([]byte, 4), b...), make([]byte, 32)...)); err != nil {
				return err
			}
			_, err := io.ReadFull(conn, make([]byte, 32))
			return err
		},
	} {
		if err := dialed(f); err == nil {
			t.Errorf("%s: the connection is accepted", name)
		} else if strings.Contains(err.Error(), string(m.secret)) {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
	if err := dialed(func(conn net.Conn) error {
		if err := greet(conn, m.secret, 1, 0); err != nil {
			return err
		}
		return writeSpan(conn, 0, want)
	}); err != nil {
		t.Error(err)
	}
	if err := <-outcome; err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %v; the bytes are equal: %t", err, bytes.Equal(got, want))
	}
	for _, conn := range open {
		conn.Close()
	}
	wantNoGoroutines(t, before)
}

// A process of the group that sends something else makes the load fail, with an error that
// names it.
func TestWrongFrames(t *testing.T) {
	data := bytes.Repeat([]byte("data"), 1<<10)
	var good bytes.Buffer
	if err := writeSpan(&good, 0, data); err != nil {
		t.Fatal(err)
	}
	var elsewhere bytes.Buffer
	if err := writeSpan(&elsewhere, 5, data); err != nil {
		t.Fatal(err)
	}
	changed := func(at int, b byte) []byte {
		doc := slices.Clone(good.Bytes())
		doc[at] ^= b
		return doc
	}
	for name, c := range map[string]struct {
		sent  []byte
		class error
	}{
		"a byte":          {changed(headBytes+100, 1), fault.ErrCorrupt},
		"the checksum":    {changed(12, 1), fault.ErrCorrupt},
		"the place":       {changed(0, 1), fault.ErrCorrupt},
		"another place":   {elsewhere.Bytes(), fault.ErrCorrupt},
		"a huge length":   {changed(11, 0x7f), fault.ErrCorrupt},
		"a short length":  {changed(8, 1), fault.ErrCorrupt},
		"nothing":         {nil, nil},
		"a part":          {good.Bytes()[:1000], nil},
		"a part of heads": {good.Bytes()[:7], nil},
	} {
		before := runtime.NumGoroutine()
		m, address := lonely(t, make([]byte, len(data)))
		outcome := make(chan error, 1)
		go func() { outcome <- m.run(t.Context()) }()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := greet(conn, m.secret, 1, 0); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(c.sent)
		conn.Close()
		if err := <-outcome; err == nil || !strings.Contains(err.Error(), "process 1") || c.class != nil && !errors.Is(err, c.class) {
			t.Errorf("%s: %v", name, err)
		}
		wantNoGoroutines(t, before)
	}
}

// A second connection of the same process is refused.
func TestSecondConnection(t *testing.T) {
	m, address := lonely(t, make([]byte, 100))
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error, 1)
	go func() { outcome <- m.run(ctx) }()
	for i := range 2 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := greet(conn, m.secret, 1, 0); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = conn.Read(make([]byte, 1))
		if timeout := net.Error(nil); i == 0 != (errors.As(err, &timeout) && timeout.Timeout()) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	cancel()
	if err := <-outcome; !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancellation: %v", err)
	}
}

// If one address of a process leads elsewhere, the next one is tried.
func TestDialTriesAll(t *testing.T) {
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	go func() {
		for {
			conn, err := elsewhere.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(make([]byte, 1000))
			conn.Close()
		}
	}()
	m, address := lonely(t, nil)
	go func() { _, _ = m.listener.Accept() }()
	ok := 0
	conn, err := dial(t.Context(), network{}, []string{"127.0.0.1:1", elsewhere.Addr().String(), address}, time.Second, func(conn Conn) error {
		if conn.(net.Conn).RemoteAddr().String() == address {
			ok++
			return nil
		}
		return greet(conn, m.secret, 1, 0)
	})
	if err != nil || ok != 1 {
		t.Fatalf("got %v", err)
	}
	conn.Close()
	if _, err := dial(t.Context(), network{}, []string{"127.0.0.1:1"}, time.Second, nil); err == nil {
		t.Error("a port without a listener")
	}
	if _, err := dial(t.Context(), network{}, nil, time.Second, nil); err == nil {
		t.Error("no address")
	}
}

// FuzzReadSpan gives whatever it likes to the parser of frames. It accepts only what
// writeSpan writes.
func FuzzReadSpan(f *testing.F) {
	for _, n := range []int{0, 1, 5, 100} {
		var b bytes.Buffer
		_ = writeSpan(&b, uint64(n), bytes.Repeat([]byte{byte(n)}, n))
		f.Add(uint64(n), n, b.Bytes())
	}
	f.Fuzz(func(t *testing.T, at uint64, n int, doc []byte) {
		data := make([]byte, min(max(n, 0), 1<<12))
		if err := readSpan(bytes.NewReader(doc), at, data); err != nil {
			return
		}
		var b bytes.Buffer
		if err := writeSpan(&b, at, data); err != nil || !bytes.HasPrefix(doc, b.Bytes()) {
			t.Errorf("%x is accepted as %x", doc, data)
		}
	})
}

// FuzzAnswer gives whatever it likes to the handshake, which accepts none of it.
func FuzzAnswer(f *testing.F) {
	f.Add(make([]byte, 4+nonceBytes+32+1))
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(sent), io.Discard}
		if from, err := answer(conn, make([]byte, secretBytes), 0); err == nil {
			t.Errorf("accepted as process %d", from)
		}
	})
}
