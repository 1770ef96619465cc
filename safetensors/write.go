package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// headerAlign divides the offset at which the data starts.
const headerAlign = 8

// Layout plans a file with the given tensors, of which it uses Name, DType and Shape. It
// returns the header, with Offset and Length filled in, and the bytes at the start of the
// file; the first tensor follows them.
//
// The tensors in the header are in the order in which the reference implementation writes
// them: wide element types first, which aligns every tensor for its type, then by name.
// Layout does not change its arguments, and copies the shapes.
//
// A dtype that the format lacks is an error that matches orbax.ErrDType. A repeated name
// matches orbax.ErrKeyCollision. A name that is not UTF-8, or is "__metadata__", matches
// orbax.ErrReservedName. A negative or too large shape matches orbax.ErrShape. The error
// names the tensor.
func Layout(tensors []Tensor, metadata map[string]string) (*Header, []byte, error) {
	ranks, err := checkTensors(tensors)
	if err != nil {
		return nil, nil, err
	}
	for k, v := range metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, nil, fmt.Errorf("%w: safetensors metadata %q: %q is not UTF-8", fault.ErrReservedName, k, v)
		}
	}
	h := &Header{Tensors: append([]Tensor(nil), tensors...), Metadata: maps.Clone(metadata)}
	slices.SortFunc(h.Tensors, func(a, b Tensor) int {
		if d := ranks[b.Name] - ranks[a.Name]; d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	end, err := assignOffsets(h.Tensors)
	if err != nil {
		return nil, nil, err
	}
	head := appendHeader(make([]byte, prefixLen), h)
	for len(head)%headerAlign != 0 {
		head = append(head, ' ')
	}
	n := len(head) - prefixLen
	if n > maxHeader {
		return nil, nil, fmt.Errorf("%w: safetensors header of %d bytes, at most %d are allowed: split the tensors over several files", fault.ErrUnsupported, n, maxHeader)
	}
	if end > math.MaxInt64-int64(len(head)) {
		return nil, nil, fmt.Errorf("%w: safetensors file is too large", fault.ErrShape)
	}
	binary.LittleEndian.PutUint64(head, uint64(n))
	for i := range h.Tensors {
		h.Tensors[i].Offset += int64(len(head))
	}
	return h, head, nil
}

// checkTensors checks names and dtypes, and returns each tensor's rank by name.
func checkTensors(tensors []Tensor) (map[string]int, error) {
	ranks := make(map[string]int, len(tensors))
	for _, t := range tensors {
		if t.Name == metadataKey {
			return nil, fmt.Errorf("%w: safetensors keeps its metadata under %q: rename the tensor", fault.ErrReservedName, t.Name)
		}
		if !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("%w: safetensors tensor %q: the name is not UTF-8", fault.ErrReservedName, t.Name)
		}
		if _, ok := ranks[t.Name]; ok {
			return nil, fmt.Errorf("%w: two safetensors tensors %q", fault.ErrKeyCollision, t.Name)
		}
		if len(t.Shape) > maxRank {
			return nil, fmt.Errorf("%w: safetensors tensor %q: %d dimensions, at most %d are allowed", fault.ErrShape, t.Name, len(t.Shape), maxRank)
		}
		r, err := rank(t.DType)
		if err != nil {
			return nil, fmt.Errorf("safetensors tensor %q: %w", t.Name, err)
		}
		ranks[t.Name] = r
	}
	return ranks, nil
}

// assignOffsets sets each tensor's Length, and its Offset within the data. It
// returns the length of the data.
func assignOffsets(tensors []Tensor) (int64, error) {
	var end int64
	for i := range tensors {
		t := &tensors[i]
		n, err := byteLen(t.DType, t.Shape)
		if err != nil {
			return 0, fmt.Errorf("safetensors tensor %q: %w", t.Name, err)
		}
		if n > math.MaxInt64-end {
			return 0, fmt.Errorf("%w: safetensors tensor %q: the file is too large", fault.ErrShape, t.Name)
		}
		t.Shape = append([]int{}, t.Shape...)
		t.Offset, t.Length = end, n
		end += n
	}
	return end, nil
}

// appendHeader appends the JSON header with offsets within the data: compact and in file
// order, as the reference implementation writes it.
func appendHeader(b []byte, h *Header) []byte {
	b = append(b, '{')
	if h.Metadata != nil {
		b = append(appendString(b, metadataKey), ":{"...)
		for i, k := range slices.Sorted(maps.Keys(h.Metadata)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k), ':')
			b = appendString(b, h.Metadata[k])
		}
		b = append(b, '}')
	}
	for i, t := range h.Tensors {
		if i > 0 || h.Metadata != nil {
			b = append(b, ',')
		}
		b = appendTensor(b, t)
	}
	return append(b, '}')
}

func appendTensor(b []byte, t Tensor) []byte {
	r, _ := rank(t.DType) // checkTensors has checked d
	b = append(appendString(b, t.Name), `:{"dtype":`...)
	b = append(appendString(b, dtypeNames[r].name), `,"shape":[`...)
	for i, d := range t.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(d), 10)
	}
	b = append(b, `],"data_offsets":[`...)
	b = append(strconv.AppendInt(b, t.Offset, 10), ',')
	b = strconv.AppendInt(b, t.Offset+t.Length, 10)
	return append(b, "]}"...)
}

// appendString appends s as a JSON string. Unlike json.Marshal it leaves <, > and & as
// they are, so that names with them stay legible.
func appendString(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
