package transfer

import "context"

// Copy returns copies of src, made in parallel.
func Copy(ctx context.Context, src [][]byte) ([][]byte, error) {
	type piece struct{ dst, src []byte }
	var pieces []piece
	out := make([][]byte, len(src))
	slab := pageBuffer(smallBytes(src))
	for i, s := range src {
		if len(s) >= pageValue {
			out[i] = pageBuffer(len(s))[:len(s)]
		} else {
			out[i] = slab[:len(s):len(s)]
			slab = slab[min(cap(slab), align(len(s))):cap(slab)]
		}
		for d := out[i]; len(d) > 0; {
			n := min(len(d), unitBytes)
			pieces = append(pieces, piece{d[:n], s[:n]})
			d, s = d[n:], s[n:]
		}
	}
	return out, run(ctx, len(pieces), none, none, func(_ context.Context, i int, _ func() []byte) error {
		copy(pieces[i].dst, pieces[i].src)
		return nil
	})
}

// align keeps copies that share memory fit for elements of every size.
func align(n int) int { return (n + 63) &^ 63 }

// smallBytes is what the copies take that are not worth memory of their own.
func smallBytes(src [][]byte) int {
	n := 0
	for _, s := range src {
		if len(s) < pageValue {
			n += align(len(s))
		}
	}
	return n
}
