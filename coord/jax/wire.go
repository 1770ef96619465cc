package jax

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/go-orbax/orbax/coord"
)

// method is a call of the service. There are no others than those in methods.
type method string

const (
	insert method = "InsertKeyValue"
	get    method = "GetKeyValue" // waits until the key has a value
	tryGet method = "TryGetKeyValue"
	getDir method = "GetKeyValueDir"
	remove method = "DeleteKeyValue"
)

var methods = []method{insert, get, tryGet, getDir, remove}

func (m method) path() string { return "/xla.coordination.CoordinationService/" + string(m) }

// codec passes messages through that are encoded already.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("jax: a message of type %T", v)
	}
	return *b, nil
}

func (codec) Unmarshal(b []byte, v any) error {
	to, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("jax: a message of type %T", v)
	}
	*to = append([]byte(nil), b...)
	return nil
}

// observer is the number of a task that no job has. The service does not look for it.
const observer = 1 << 20

// The messages of jaxlib 0.10:
//
//	every request       1: Incarnations {1: task, 2: incarnation of the task (fixed64), 3: of the service (fixed64)}
//	InsertKeyValue      2: KeyValue {1: key, 2: value}, 3: overwrite
//	GetKeyValue         2: key → 1: KeyValue
//	TryGetKeyValue      2: key → 1: KeyValue
//	GetKeyValueDir      2: key → 2: repeated KeyValue
//	DeleteKeyValue      2: key, 3: is a directory

func header(service uint64) []byte {
	h := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), observer)
	h = protowire.AppendFixed64(protowire.AppendTag(h, 2, protowire.Fixed64Type), 1)
	h = protowire.AppendFixed64(protowire.AppendTag(h, 3, protowire.Fixed64Type), service)
	return bytesField(nil, 1, h)
}

func bytesField(to []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), v)
}

func flag(to []byte, n protowire.Number) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, n, protowire.VarintType), 1)
}

func keyField(key string) []byte { return bytesField(nil, 2, []byte(key)) }

func entryField(key string, value []byte, overwrite bool) []byte {
	b := bytesField(nil, 2, bytesField(bytesField(nil, 1, []byte(key)), 2, value))
	if overwrite {
		b = flag(b, 3)
	}
	return b
}

func removal(key string) []byte { return flag(keyField(key), 3) }

var errMessage = errors.New("it has sent a message that cannot be read")

// fields calls f for each field of a message that has bytes.
func fields(b []byte, f func(n protowire.Number, v []byte) error) error {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errMessage
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(n, typ, b); size < 0 {
			return errMessage
		}
		if typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			if err := f(n, v); err != nil {
				return err
			}
		}
		b = b[size:]
	}
	return nil
}

// entriesOf returns the keys and values of a reply, which have a number in it.
func entriesOf(reply []byte, number protowire.Number) (entries []coord.Entry, err error) {
	err = fields(reply, func(n protowire.Number, v []byte) error {
		if n != number {
			return nil
		}
		var e coord.Entry
		if err := fields(v, func(n protowire.Number, v []byte) error {
			switch n {
			case 1:
				e.Key = string(v)
			case 2:
				e.Value = v
			}
			return nil
		}); err != nil {
			return err
		}
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

func byKey(a, b coord.Entry) int { return strings.Compare(a.Key, b.Key) }

var (
	mismatch = regexp.MustCompile(`(?s)grpc-status=(\w+), grpc-message="(.*?)", grpc-status-details-bin=`)
	refusal  = regexp.MustCompile(`wrong service incarnation: requested \d+, currently (\d+)`)
)

// statusOf returns the code and the message of an error. The service sends two details
// with some errors, which the client library reports as an error of its own that quotes
// both.
func statusOf(err error) (codes.Code, string) {
	s := status.Convert(err)
	if g := mismatch.FindStringSubmatch(s.Message()); s.Code() == codes.Internal && g != nil {
		for code := codes.OK; code <= codes.Unauthenticated; code++ {
			if code.String() == g[1] {
				return code, g[2]
			}
		}
	}
	return s.Code(), s.Message()
}

// refusedBy returns the incarnation of a service that has refused a request to another
// one.
func refusedBy(err error) (incarnation uint64, ok bool) {
	_, text := statusOf(err)
	g := refusal.FindStringSubmatch(text)
	if g == nil {
		return 0, false
	}
	incarnation, perr := strconv.ParseUint(g[1], 10, 64)
	return incarnation, perr == nil
}
