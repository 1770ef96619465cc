package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/lfs"
	"github.com/go-orbax/orbax/internal/memory"
)

// ReadHeader reads and checks the header of a file of size bytes. Every tensor must lie
// in the file and have the length of its dtype and shape. The tensors must cover the file
// from the end of the header to the end of the file without gap or overlap. ReadHeader
// reads only the header.
//
// A file that breaks a rule, or that is shorter than its header says, is an error that
// matches orbax.ErrCorrupt. A Git LFS pointer in place of the file matches
// orbax.ErrIncomplete. An unknown dtype is not an error of the file; see [Tensor.Err].
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	raw, err := readRaw(r, size)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	if err := place(h.Tensors, prefixLen+int64(len(raw)), size); err != nil {
		return nil, err
	}
	return h, nil
}

// readRaw returns the JSON header's bytes.
func readRaw(r io.ReaderAt, size int64) ([]byte, error) {
	if size < prefixLen {
		return nil, fmt.Errorf("%w: safetensors file of %d bytes has no header", fault.ErrCorrupt, size)
	}
	var prefix [prefixLen]byte
	if err := readFull(r, prefix[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader { // the text of a pointer would give such a number
		if err := refuseLFSPointer(r, size); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: safetensors header of %d bytes, at most %d are allowed: not a safetensors file?", fault.ErrCorrupt, n, maxHeader)
	}
	if int64(n) > size-prefixLen {
		return nil, fmt.Errorf("%w: safetensors header of %d bytes in a file of %d: the file is truncated", fault.ErrCorrupt, n, size)
	}
	raw, err := memory.Bytes(int64(n))
	if err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	if err := readFull(r, raw, prefixLen); err != nil {
		return nil, err
	}
	return raw, nil
}

// refuseLFSPointer returns an error if the file is the text that Git LFS leaves in place
// of a file that it has not fetched.
func refuseLFSPointer(r io.ReaderAt, size int64) error {
	if size >= lfs.MaxSize {
		return nil
	}
	text := make([]byte, size)
	if err := readFull(r, text, 0); err != nil {
		return err
	}
	if lfs.IsPointer(text) {
		return fmt.Errorf("%w: a Git LFS pointer in place of the safetensors file: fetch it with `git lfs pull`", fault.ErrNotFetched)
	}
	return nil
}

// readFull fills b from offset off. If the reader ends early, the file is truncated.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: safetensors file ends at byte %d, within its header", fault.ErrCorrupt, off+int64(n))
	default:
		return fmt.Errorf("safetensors header: %w", err)
	}
}

// place sorts tensors into file order, turns offsets within the data into offsets within
// the file, and checks that the tensors cover the data.
func place(tensors []Tensor, dataStart, size int64) error {
	// The sort is stable, so that empty tensors at one offset keep the header's order.
	slices.SortStableFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length))
	})
	var end int64
	for i := range tensors {
		t := &tensors[i]
		if t.Offset != end {
			return fmt.Errorf("%w: safetensors tensor %q starts at data offset %d, the one before it ends at %d", fault.ErrCorrupt, t.Name, t.Offset, end)
		}
		end = t.Offset + t.Length
		if end > size-dataStart {
			return fmt.Errorf("%w: safetensors tensor %q ends at data offset %d, the file has %d bytes of data: the file is truncated", fault.ErrCorrupt, t.Name, end, size-dataStart)
		}
		t.Offset += dataStart
	}
	if end != size-dataStart {
		return fmt.Errorf("%w: safetensors header describes %d bytes of data, the file has %d", fault.ErrCorrupt, end, size-dataStart)
	}
	return nil
}

// parseTensor makes a Tensor from an entry of the header. Its Offset is within the data.
func parseTensor(name string, e entry) (Tensor, error) {
	dtype, err := parseDType(e.dtype)
	if err != nil { // the place of its bytes is known, and the other tensors are readable
		if e.end < e.begin {
			return Tensor{}, fmt.Errorf("%w: safetensors tensor %q: its data_offsets are [%d, %d]", fault.ErrCorrupt, name, e.begin, e.end)
		}
		return Tensor{Name: name, Shape: e.shape, Offset: e.begin, Length: e.end - e.begin, Err: err}, nil
	}
	want, err := byteLen(dtype, e.shape)
	if err != nil {
		return Tensor{}, fmt.Errorf("%w: safetensors tensor %q: %v", fault.ErrCorrupt, name, err)
	}
	begin, end := e.begin, e.end
	if end < begin || end-begin != want {
		return Tensor{}, fmt.Errorf("%w: safetensors tensor %q: %s of shape %v takes %d bytes, its data_offsets are [%d, %d]", fault.ErrCorrupt, name, e.dtype, e.shape, want, begin, end)
	}
	return Tensor{Name: name, DType: dtype, Shape: e.shape, Offset: begin, Length: want}, nil
}

// parseHeader reads the JSON document. The tensors' offsets are within the data.
func parseHeader(raw []byte) (*Header, error) {
	r, err := memory.ReserveFor(int64(len(raw)), parsedFactor)
	if err != nil {
		return nil, fmt.Errorf("safetensors header of %d bytes: %w", len(raw), err)
	}
	defer r.Release()
	p, err := newParser(raw)
	if err != nil {
		return nil, err
	}
	h := &Header{}
	seen := map[string]bool{}
	err = p.object(func(name string) error {
		if seen[name] {
			return fmt.Errorf("%w: safetensors header names %q twice", fault.ErrCorrupt, name)
		}
		seen[name] = true
		if name == metadataKey {
			m, err := p.metadata()
			h.Metadata = m
			return err
		}
		e, err := p.entry()
		if err != nil {
			return fmt.Errorf("safetensors tensor %q: %w", name, err)
		}
		t, err := parseTensor(name, e)
		if err != nil {
			return err
		}
		h.Tensors = append(h.Tensors, t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}
