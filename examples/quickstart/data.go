package main

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
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
	pixels []float32 // pixels of each label's image
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

// Batches returns training images in random order, again and again. Its position is saved
// with the state, so that a resumed run sees the images that it would have seen without a
// crash: Batches is a handler.Iterator. The order follows from seed and epoch, so the
// position is three numbers, however large the data is.
type Batches struct {
	images
	at    position
	order []int // of the images in this epoch
}

type position struct {
	Seed  uint64 `json:"seed"`
	Epoch uint64 `json:"epoch"`
	Next  int    `json:"next"` // in the epoch
}

func newBatches(im images, seed uint64) *Batches {
	b := &Batches{images: im, at: position{Seed: seed}}
	b.shuffle()
	return b
}

// State implements handler.Iterator.
func (b *Batches) State() ([]byte, error) { return json.Marshal(b.at) }

// SetState implements handler.Iterator.
func (b *Batches) SetState(state []byte) error {
	var at position
	if err := json.Unmarshal(state, &at); err != nil {
		return err
	}
	if at.Next < 0 || at.Next > len(b.labels) {
		return fmt.Errorf("position %d in %d images", at.Next, len(b.labels))
	}
	b.at = at
	b.shuffle()
	return nil
}

// take returns the indices of the next size images.
func (b *Batches) take(size int) []int {
	if b.at.Next+size > len(b.order) {
		b.at.Epoch, b.at.Next = b.at.Epoch+1, 0
		b.shuffle()
	}
	batch := b.order[b.at.Next : b.at.Next+size]
	b.at.Next += size
	return batch
}

// shuffle makes the order of the epoch.
func (b *Batches) shuffle() {
	b.order = rand.New(rand.NewPCG(b.at.Seed, b.at.Epoch)).Perm(len(b.labels))
}
