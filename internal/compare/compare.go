// Package compare finds out whether all processes of an operation mean to do the same.
package compare

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/exchanged"
	"github.com/go-orbax/orbax/internal/fault"
)

// Line is a part of what a process does: the leaf at a path of an item and how it is
// stored, or the handler of an item, or the options. All processes of an operation must
// have the same lines.
type Line struct{ Item, Path, Text string }

// hash is a part of the SHA-256 of a line.
type hash [8]byte

// hash identifies a line.
func (l Line) hash() hash {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%q %q %q", l.Item, l.Path, l.Text)))
	return hash(sum[:8])
}

// comparison compares the lines of one process with those of the others.
type comparison struct {
	op    *coord.Op
	rank  int
	phase string
	lines iter.Seq[Line]
	verb  string
}

// Lines is a phase of an operation. It fails if the processes do not have the same lines,
// with an error that shows both sides of the first differences. verb says what they do, such as
// "save". rank is that of this process. err is its outcome so far; see [coord.Op.Agree].
//
// choices are bytes that every process gets: those of all processes, combined by or.
func Lines(ctx context.Context, op *coord.Op, rank int, phase, verb string, lines iter.Seq[Line], choices [][]byte, err error) ([][]byte, error) {
	c := &comparison{op, rank, phase, lines, verb}
	whole := sha256.New()
	for l := range lines {
		h := l.hash()
		whole.Write(h[:])
	}
	own := plans{Lowest: hashed{rank, whole.Sum(nil)}, Choices: choices}
	doc, err := op.Exchange(ctx, phase, exchanged.Encode(own), err, mergePlans)
	if err != nil {
		return nil, err
	}
	all, err := exchanged.Decode[plans](doc)
	if err != nil {
		return nil, err
	}
	if all.Other != nil {
		return nil, c.differ(ctx, all.Lowest.Rank, all.Other.Rank)
	}
	return all.Choices, nil
}

// plans are the plans of one or several processes.
type plans struct {
	Lowest  hashed  // of the lowest rank
	Other   *hashed // of a process whose lines differ from those of Lowest, if there is one
	Choices [][]byte
}

// hashed is the hash of the lines of one process.
type hashed struct {
	Rank int
	Sum  []byte
}

// mergePlans merges the plans of several processes.
func mergePlans(docs [][]byte) ([]byte, error) {
	var all []plans
	for _, doc := range docs {
		p, err := exchanged.Decode[plans](doc)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b plans) int { return a.Lowest.Rank - b.Lowest.Rank })
	merged := all[0]
	for _, p := range all[1:] {
		for _, other := range []*hashed{p.Other, &p.Lowest} {
			if other != nil && merged.Other == nil && !bytes.Equal(other.Sum, merged.Lowest.Sum) {
				merged.Other = other
			}
		}
		for i, choices := range p.Choices {
			for j, c := range choices {
				if i < len(merged.Choices) && j < len(merged.Choices[i]) { // otherwise the plans differ
					merged.Choices[i][j] |= c
				}
			}
		}
	}
	return exchanged.Encode(merged), nil
}

// maxDifferences is the number of differences that an error shows, and maxCompared the
// number of lines that are compared for them.
const (
	maxDifferences = 8
	maxCompared    = 50_000
)

// differ finds the differences between the lines of two processes, and returns them as an
// error in all. First process a sends the hashes of its lines, then b its lines that are
// not among them, then a its lines for the others.
func (c *comparison) differ(ctx context.Context, a, b int) error {
	var lines []Line
	if rank := c.rank; rank == a || rank == b {
		lines = slices.Collect(c.lines)
		lines = lines[:min(len(lines), maxCompared)]
	}
	var hashes []byte
	if c.rank == a {
		for _, l := range lines {
			h := l.hash()
			hashes = append(hashes, h[:]...)
		}
	}
	hashes, err := c.op.Exchange(ctx, c.phase+": hashes", hashes, nil, onlyValue)
	if err != nil {
		return err
	}
	var onlyB difference
	if len(hashes)%len(hash{}) != 0 {
		err = fmt.Errorf("%w: the hashes of process %d are cut short", fault.ErrCorrupt, a)
	} else if c.rank == b {
		onlyB = missing(lines, hashes)
	}
	doc, err := c.op.Exchange(ctx, c.phase+": process "+fmt.Sprint(b), exchanged.Encode(onlyB), err, onlyDifference)
	if err != nil {
		return err
	}
	if onlyB, err = exchanged.Decode[difference](doc); err != nil {
		return err
	}
	var onlyA difference
	if c.rank == a {
		for _, l := range lines {
			h := l.hash()
			if bytes.Contains(onlyB.Missing, h[:]) && len(onlyA.Lines) < maxDifferences {
				onlyA.Lines = append(onlyA.Lines, l)
			}
		}
	}
	doc, err = c.op.Exchange(ctx, c.phase+": process "+fmt.Sprint(a), exchanged.Encode(onlyA), nil, onlyDifference)
	if err != nil {
		return err
	}
	if onlyA, err = exchanged.Decode[difference](doc); err != nil {
		return err
	}
	return errDifferent(c.verb, a, b, onlyA.Lines, onlyB.Lines)
}

// difference has lines that the other process does not have, and the hashes of lines that
// only the other process has.
type difference struct {
	Lines   []Line
	Missing []byte
}

// missing compares lines with the hashes of another process.
func missing(lines []Line, hashes []byte) (d difference) {
	theirs := map[hash]bool{}
	for h := range slices.Chunk(hashes, len(hash{})) {
		theirs[hash(h)] = true
	}
	for _, l := range lines {
		h := l.hash()
		if !theirs[h] && len(d.Lines) < maxDifferences {
			d.Lines = append(d.Lines, l)
		}
		delete(theirs, h)
	}
	for h := range slices.Chunk(hashes, len(hash{})) {
		if theirs[hash(h)] && len(d.Missing) < len(hash{})*maxDifferences {
			d.Missing = append(d.Missing, h...)
		}
	}
	return d
}

// errDifferent describes the lines that only process a or only process b has.
func errDifferent(verb string, a, b int, onlyA, onlyB []Line) error {
	var text []string
	for _, l := range onlyA {
		other := "has no such leaf"
		i := slices.IndexFunc(onlyB, func(o Line) bool { return o.Item == l.Item && o.Path == l.Path })
		if i >= 0 {
			other = "has " + onlyB[i].Text
			onlyB = slices.Delete(slices.Clone(onlyB), i, i+1)
		}
		text = append(text, fmt.Sprintf("%s: process %d has %s, process %d %s", l.name(), a, l.Text, b, other))
	}
	for _, l := range onlyB {
		text = append(text, fmt.Sprintf("%s: process %d has %s, process %d has no such leaf", l.name(), b, l.Text, a))
	}
	if len(text) == 0 {
		text = append(text, fmt.Sprintf("processes %d and %d have different leaves", a, b))
	}
	return fmt.Errorf("%w: the processes do not %s the same: %s", fault.ErrStructure, verb, strings.Join(text, "; "))
}

func (l Line) name() string {
	switch {
	case l.Item == "" && l.Path == "":
		return "options"
	case l.Item == "":
		return l.Path
	case l.Path == "":
		return fmt.Sprintf("checkpointable %q", l.Item)
	}
	return fmt.Sprintf("%s in %q", l.Path, l.Item)
}

// onlyValue returns the value that is not empty.
func onlyValue(values [][]byte) ([]byte, error) { return bytes.Join(values, nil), nil }

// onlyDifference returns the difference that is not empty.
func onlyDifference(docs [][]byte) ([]byte, error) {
	for _, doc := range docs {
		if d, err := exchanged.Decode[difference](doc); err != nil || len(d.Lines)+len(d.Missing) > 0 {
			return doc, err
		}
	}
	return docs[0], nil
}
