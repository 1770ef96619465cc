//go:build unix

package etcd_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/testenv"
)

// Wherever processes die while the others join, the group assembles as soon as the places of
// the dead ones are free.
func TestJoinAgain(t *testing.T) {
	testenv.NeedLong(t, "waits for the end of many leases")
	client := newClients(t)(t)
	var fields sync.WaitGroup
	for i := range 8 {
		f := &killField{T: t, client: client, name: fmt.Sprint("field", i), what: fmt.Sprint("field ", i), dir: t.TempDir()}
		f.path = filepath.Join(f.dir, "ckpt")
		fields.Go(func() {
			defer f.close()
			for range 8 {
				start := time.Now()
				f.join()
				if took := time.Since(start); took > 2*ttl+2*time.Second {
					f.Errorf("joining has taken %v", took)
				}
				if t.Failed() {
					return
				}
				for _, rank := range []int{0, 3} {
					f.all[rank].end()
					f.all[rank] = nil
					time.Sleep(time.Duration(rand.Float64() * float64(ttl)))
				}
				f.each(everySaver, f.leave)
			}
		})
	}
	fields.Wait()
}
