package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

func state(n, bytes int) map[string]any {
	m := map[string]any{}
	x := uint64(88172645463325252)
	for i := range n {
		d := make([]float32, bytes/4)
		for j := range d {
			x ^= x << 13; x ^= x >> 7; x ^= x << 17
			d[j] = float32(x>>40) / (1 << 24)
		}
		m[fmt.Sprintf("w%05d", i)] = array.Of(d, len(d)/16, 16)
	}
	return m
}

func TestQuick(t *testing.T) {
	dir := os.Getenv("BENCH_DIR")
	if dir == "" { t.Skip() }
	ctx := context.Background()
	for _, c := range []struct{ n, b int }{{64, 16 << 20}, {4000, 64 << 10}} {
		s := state(c.n, c.b)
		for range 3 {
			p := filepath.Join(dir, "ck")
			os.RemoveAll(p)
			t0 := time.Now()
			if err := orbax.Save(ctx, p, s); err != nil { t.Fatal(err) }
			t1 := time.Now()
			if err := orbax.LoadInto(ctx, p, &s); err != nil { t.Fatal(err) }
			t2 := time.Now()
			if err := orbax.LoadInto(ctx, p, &s); err != nil { t.Fatal(err) }
			t3 := time.Now()
			fmt.Println(c.n, c.b, "save", t1.Sub(t0), "cold load", t2.Sub(t1), "warm load", t3.Sub(t2))
		}
	}
}
