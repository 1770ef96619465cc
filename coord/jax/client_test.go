package jax_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-orbax/orbax/coord/jax"
)

// serve starts a gRPC server that answers every call as f does, and returns its address.
func serve(t *testing.T, f func(method string) error) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		return f(method)
	}))
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func refusal() error {
	return status.Error(codes.Internal, "wrong service incarnation: requested 0, currently 15654122822225411456")
}

func TestDialects(t *testing.T) {
	for name, c := range map[string]struct {
		answer error
		want   string // "" if the service is accepted
	}{
		"0.10":               {refusal(), ""},
		"another service":    {status.Error(codes.Unimplemented, ""), "jaxlib before"},
		"no incarnations":    {status.Error(codes.NotFound, "Config key orbax-go not found."), "without incarnations"},
		"another message":    {status.Error(codes.InvalidArgument, "cannot parse"), "InvalidArgument: cannot parse"},
		"another refusal":    {status.Error(codes.Internal, "wrong incarnation"), "unknown protocol"},
		"a huge incarnation": {status.Error(codes.Internal, "wrong service incarnation: requested 0, currently 99999999999999999999"), "unknown protocol"},
	} {
		address := serve(t, func(string) error { return c.answer })
		client, err := jax.Dial(t.Context(), address)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			client.Close()
			continue
		}
		var dialect *jax.DialectError
		if !errors.As(err, &dialect) || dialect.Address != address || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want a DialectError with %q", name, err, c.want)
		}
	}
}

// A program may start before the job.
func TestDialWaits(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := jax.Dial(ctx, "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no service: %v", err)
	}
	var calls atomic.Int64
	address := serve(t, func(string) error {
		if calls.Add(1) < 3 {
			return status.Error(codes.Unavailable, "starting")
		}
		return refusal()
	})
	client, err := jax.Dial(t.Context(), address)
	must(t, err)
	must(t, client.Close())
}

// The calls that are for the processes of the job do not leave this process.
func TestOnlyKeys(t *testing.T) {
	var other atomic.Value
	address := serve(t, func(method string) error {
		if !strings.HasSuffix(method, "KeyValue") && !strings.HasSuffix(method, "KeyValueDir") {
			other.Store(method)
		}
		return refusal()
	})
	client, err := jax.Dial(t.Context(), address)
	must(t, err)
	defer client.Close()
	for _, method := range []string{
		"Barrier", "CancelBarrier", "RegisterTask", "ShutdownTask", "Heartbeat", "ResetTask", "WaitForAllTasks", "GetAliveTasks",
		"ReportErrorToTask", "ReportErrorToService", "PollForError", "WatchTasks", "WatchJobState", "IncrementKeyValue", "insertkeyvalue", "",
	} {
		for _, service := range []string{"/xla.coordination.CoordinationService/", "/tensorflow.CoordinationService/"} {
			if err := client.Call(t.Context(), service+method); !errors.Is(err, jax.ErrForbidden) {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
	if m := other.Load(); m != nil {
		t.Errorf("the service was asked for %v", m)
	}
}

// A service that takes the place of another one belongs to another job.
func TestAnotherJob(t *testing.T) {
	client, err := jax.Dial(t.Context(), serve(t, func(string) error { return refusal() }))
	must(t, err)
	defer client.Close()
	if _, err := jax.Join(t.Context(), client, jax.Options{Name: "g", Size: 1}); !errors.Is(err, jax.ErrGone) {
		t.Errorf("%v; want ErrGone", err)
	}
}
