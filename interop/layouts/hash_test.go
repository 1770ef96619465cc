package layouts

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// checkHash compares the digest with that of the values, by its definition.
func checkHash(t *testing.T, s *stored) {
	if got, want := s.hash(t), digest(s.values(t)); got != want {
		t.Errorf("Hash gives %v, the definition %v", got, want)
	}
}

func (s *stored) hash(t *testing.T) view.Digest {
	t.Helper()
	sum, err := orbax.Hash(t.Context(), s.path, s.options()...)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// digest is that of a tree; view.Digest defines it.
func digest(leaves []tree.Leaf) view.Digest {
	var records [][]byte
	for _, l := range leaves {
		r := binary.LittleEndian.AppendUint64(nil, uint64(len(l.Path)))
		for _, k := range l.Path {
			kind := byte('k')
			if k.Seq {
				kind = 'i'
			}
			r = append(r, kind)
			r = binary.LittleEndian.AppendUint64(r, uint64(len(k.Name)))
			r = append(r, k.Name...)
		}
		records = append(records, leafDigest(l.Value).Sum(r))
	}
	slices.SortFunc(records, bytes.Compare)
	return sha256.Sum256(append([]byte("orbax 1\n"), bytes.Join(records, nil)...))
}

func leafDigest(v any) hash.Hash {
	h := sha256.New()
	switch v := v.(type) {
	case string:
		fmt.Fprintf(h, "string\n%s", v)
	case tree.Empty:
		fmt.Fprintf(h, "empty\n%v", v)
	default:
		a := elements(v)
		shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(a.Shape()), " ", ","), "[]")
		fmt.Fprintf(h, "array\n%v\n%s\n%s\n", a.DType(), shape, a.PRNGImpl())
		for piece := range slices.Chunk(a.Bytes(), 1<<20) {
			sum := sha256.Sum256(piece)
			h.Write(sum[:])
		}
	}
	return h
}

// checkDiff compares the tree with itself, and with one in which one bit differs.
func checkDiff(t *testing.T, s *stored) {
	opened := s.open(t)
	strict := view.DiffOptions{Kinds: true, Shardings: true}
	if diffs, err := view.Diff(t.Context(), opened, s.open(t), strict); err != nil || len(diffs) > 0 {
		t.Errorf("it differs from itself: %+v, %v", diffs, err)
	}
	var leaves []*view.Leaf
	changed := ""
	values := s.values(t)
	for name, l := range opened.Leaves() {
		if a, ok := values[len(leaves)].Value.(*array.Array); ok && a.Len() > 0 && changed == "" {
			changed = name
			a = a.Clone()
			a.Bytes()[len(a.Bytes())-1] ^= 1
			var err error
			if l, err = view.Constant(l.Metadata().Path, a); err != nil {
				t.Fatal(err)
			}
		}
		leaves = append(leaves, l)
	}
	if changed == "" {
		return // there is no array
	}
	diffs, err := view.Diff(t.Context(), opened, view.New("", leaves), view.DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(diffs) != 1 || diffs[0].Name != changed || diffs[0].In != view.DiffersValues || diffs[0].Values.Count != 1 {
		t.Errorf("Diff says %+v, want one value of %s that differs", diffs, changed)
	}
}
