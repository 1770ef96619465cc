package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// maxAddresses is the number of its addresses that a process gives to the others.
const maxAddresses = 8

// listen listens for the other processes of a load and returns the addresses at which they
// may reach this process. address is a host, or a host and a port as in "10.0.0.7:7000". Without
// a port the system chooses one. Without a host these are all addresses of the machine: a
// process that dials tries one after the other, and knows from the handshake whether it has
// reached the right process.
func listen(ctx context.Context, address string) (net.Listener, []string, error) {
	host, port := strings.Trim(address, "[]"), "0"
	if h, p, err := net.SplitHostPort(address); err == nil {
		host, port = h, p
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: a process that gets bytes of others has to listen; set the Address of multihost.Together: %w", fault.ErrUnsupported, err)
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
	return l, hosts, nil
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

// tryTime bounds the first try of each of several addresses of a process.
const tryTime = 5 * time.Second

// dial connects to a process at one of its addresses. greet is the handshake; dial takes
// the first connection with which it succeeds.
func dial(ctx context.Context, addresses []string, timeout time.Duration, greet func(net.Conn) error) (net.Conn, error) {
	if len(addresses) == 0 {
		return nil, errors.New("it does not listen")
	}
	var errs []error
	for _, limit := range []time.Duration{min(tryTime, timeout), timeout} {
		errs = nil
		for _, address := range addresses {
			conn, err := dialOne(ctx, address, limit, greet)
			if err == nil {
				return conn, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			errs = append(errs, err)
		}
	}
	return nil, errors.Join(errs...)
}

func dialOne(ctx context.Context, address string, timeout time.Duration, greet func(net.Conn) error) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	// The end of ctx ends the handshake too.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = conn.SetDeadline(time.Now().Add(timeout))
	if err == nil && ctx.Err() == nil {
		err = greet(conn)
	}
	if !stop() || err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", address, errorOr(err, ctx.Err())), conn.Close())
	}
	return conn, conn.SetDeadline(time.Time{})
}

// errorOr returns err, or other if err is nil.
func errorOr(err, other error) error {
	if err == nil {
		return other
	}
	return err
}
