package handover

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tryTime bounds the first try of each of several addresses of a process.
const tryTime = 5 * time.Second

// dial connects to a process at one of its addresses. greet is the handshake; dial takes
// the first connection with which it succeeds.
func dial(ctx context.Context, network Network, addresses []string, timeout time.Duration, greet func(Conn) error) (Conn, error) {
	if len(addresses) == 0 {
		return nil, errors.New("it does not listen")
	}
	var errs []error
	for _, limit := range []time.Duration{min(tryTime, timeout), timeout} {
		errs = nil
		for _, address := range addresses {
			conn, err := dialOne(ctx, network, address, limit, greet)
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

func dialOne(ctx context.Context, network Network, address string, timeout time.Duration, greet func(Conn) error) (Conn, error) {
	conn, err := network.Dial(ctx, address, timeout)
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
