package handover

import (
	"context"
	"io"
	"time"
)

// Network connects the processes of a load. Package tcp has the one that programs use. It
// is an interface, so that a program that loads alone links no code for networks.
type Network interface {
	// Listen begins to listen, and returns the addresses at which others may reach this
	// process. address is a host, or a host and a port as in "10.0.0.7:7000". Without a
	// port Listen chooses one, and without a host it listens at all addresses of the
	// machine.
	Listen(ctx context.Context, address string) (Listener, []string, error)
	// Dial connects to an address that another process has got from Listen.
	Dial(ctx context.Context, address string, timeout time.Duration) (Conn, error)
}

// Listener accepts connections. Close ends a running Accept.
type Listener interface {
	Accept() (Conn, error)
	Close() error
}

// Conn is a connection. Its methods do what those of a net.Conn do: Close and a deadline
// end calls that are running.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}
