package jax

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/go-orbax/orbax/coord"
)

// FuzzReply reads replies and errors that a service could send.
func FuzzReply(f *testing.F) {
	f.Add([]byte("\x12\x0a\x0a\x05o/a/1\x12\x01v\x12\x07\x0a\x03o/b\x12\x00"))
	f.Add([]byte("\x0a\x03\x0a\x01e"))
	f.Add([]byte("wrong service incarnation: requested 0, currently 15654122822225411456"))
	f.Add([]byte("grpc-status-details-bin mismatch: grpc-status=NotFound, grpc-message=\"no\", grpc-status-details-bin=1:\"\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		code, text := statusOf(status.Error(codes.Internal, string(b)))
		if code == codes.OK && text == "" {
			t.Errorf("%q is no error", b)
		}
		refusedBy(status.Error(codes.Internal, string(b)))
		for _, number := range []protowire.Number{1, 2} {
			entries, err := entriesOf(b, number)
			if err != nil {
				continue
			}
			var again []byte
			for _, e := range entries {
				again = bytesField(again, number, bytesField(bytesField(nil, 1, []byte(e.Key)), 2, e.Value))
			}
			same := func(a, b coord.Entry) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }
			if got, err := entriesOf(again, number); err != nil || !slices.EqualFunc(got, entries, same) {
				t.Errorf("number %d: %v, %v; want %v", number, got, err, entries)
			}
		}
	})
}

func TestStatus(t *testing.T) {
	err := status.Error(codes.Internal, `grpc-status-details-bin mismatch: grpc-status=NotFound, grpc-message="Config key x not found.", grpc-status-details-bin=1:"\n7type"`)
	if code, text := statusOf(err); code != codes.NotFound || text != "Config key x not found." {
		t.Errorf("%v, %q", code, text)
	}
}
