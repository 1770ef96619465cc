// Package tcp lets the processes of a load reach each other over TCP.
package tcp

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/handover"
)

// Network is the TCP network as a [handover.Network].
type Network struct{}

// maxAddresses is the number of its addresses that a process gives to the others.
const maxAddresses = 8

// Listen listens at an address; see [handover.Network]. Without a host the result has
// all addresses of the machine: a process that dials tries one after the other, and knows
// from the handshake whether it has reached the right process.
func (Network) Listen(ctx context.Context, address string) (handover.Listener, []string, error) {
	host, port := strings.Trim(address, "[]"), "0"
	if h, p, err := net.SplitHostPort(address); err == nil {
		host, port = h, p
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, err
	}
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	hosts := []string{host}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		hosts = hostsHere()
	}
	for i := range hosts {
		hosts[i] = net.JoinHostPort(hosts[i], port)
	}
	return listener{l}, hosts, nil
}

// hostsHere returns the addresses of this machine that others may reach, or that of the
// machine itself if there are none.
func hostsHere() (hosts []string) {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	if len(hosts) == 0 {
		return []string{"localhost"}
	}
	slices.SortStableFunc(hosts, func(a, b string) int { return strings.Count(a, ":") - strings.Count(b, ":") })
	return hosts[:min(len(hosts), maxAddresses)]
}

// listener is a [net.Listener] as a [handover.Listener].
type listener struct{ net.Listener }

func (l listener) Accept() (handover.Conn, error) { return l.Listener.Accept() }

// Dial connects to an address; see [handover.Network].
func (Network) Dial(ctx context.Context, address string, timeout time.Duration) (handover.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	return dialer.DialContext(ctx, "tcp", address)
}
