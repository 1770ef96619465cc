package main

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"math/rand/v2"
)

//go:embed data/digits.u8.gz
var packed []byte

const (
	pixels  = 64 // of an image
	classes = 10
)

// images are pictures of digits, scaled to 0…1, with their labels.
type images struct {
	pixels []float32 // pixels of them for each label
	labels []uint8
}

func (im *images) add(record []byte) {
	for _, p := range record[:pixels] {
		im.pixels = append(im.pixels, float32(p)/16)
	}
	im.labels = append(im.labels, record[pixels])
}

// loadDigits unpacks the data set. Every fifth image is for testing.
func loadDigits() (training, testing images, err error) {
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return images{}, images{}, fmt.Errorf("digits: %w", err)
	}
	defer zr.Close()
	record := make([]byte, pixels+1)
	for i := 0; ; i++ {
		switch _, err := io.ReadFull(zr, record); {
		case err == io.EOF:
			return training, testing, nil
		case err != nil:
			return images{}, images{}, fmt.Errorf("digits: %w", err)
		case i%5 == 0:
			testing.add(record)
		default:
			training.add(record)
		}
	}
}

// Batches deals out the training images in random order, again and again. It is
// a part of the state: a run that is resumed must see the images that it would
// have seen.
type Batches struct {
	RNG   RNG     `orbax:"rng"`
	Order []int32 `orbax:"order"`
	Next  int     `orbax:"next"` // position in Order
}

func newBatches(n int, seed uint64) Batches {
	b := Batches{Order: make([]int32, n), Next: n}
	b.RNG.Seed(seed, 0)
	for i := range b.Order {
		b.Order[i] = int32(i)
	}
	return b
}

// take returns the indices of the next size images.
func (b *Batches) take(size int) []int32 {
	if b.Next+size > len(b.Order) {
		rand.New(&b.RNG).Shuffle(len(b.Order), func(i, j int) {
			b.Order[i], b.Order[j] = b.Order[j], b.Order[i]
		})
		b.Next = 0
	}
	batch := b.Order[b.Next : b.Next+size]
	b.Next += size
	return batch
}

// RNG is a random generator that a checkpoint can hold. Its fields are
// unexported, so it says itself, as a tree.Node, what is to be saved: the bytes
// that it encodes itself as.
type RNG struct{ rand.PCG }

// TreeFlatten implements tree.Node.
func (r *RNG) TreeFlatten() (any, error) { return r.MarshalBinary() }

// TreeUnflatten implements tree.Node.
func (r *RNG) TreeUnflatten(v any) error {
	b, ok := v.([]byte)
	if !ok {
		return fmt.Errorf("a random generator is not a %T", v)
	}
	return r.UnmarshalBinary(b)
}
