package transfer

import (
	"cmp"
	"runtime"

	"github.com/go-orbax/orbax/storage"
)

// sizes are the sizes and the number of requests that suit a store. What its properties
// leave open is chosen for a disk.
type sizes struct {
	joined  int64 // reads up to this size are joined with neighbours
	gap     int64 // the largest gap that is read in vain to save another request
	read    int   // the most bytes that one request asks for
	step    int   // likewise where the bytes are looked at as they arrive
	write   int   // the number of bytes of a write
	dear    bool  // a request costs so much that none is made for a few bytes more
	workers int   // requests at the same time; 0: see [workers]
}

const (
	// diskUnit reaches the full rate of a disk, and a few of them are little memory.
	diskUnit = 8 << 20
	// stepBytes keeps a piece in a core's cache between reading and verifying.
	stepBytes = 256 << 10
	// cheapRead is the largest ReadUnit of a store whose requests cost so little that each
	// brings one step.
	cheapRead = 512 << 10
)

// sizesOf returns the sizes for a store. Those of buffers leave room in the budget for
// several.
func (e *Engine) sizesOf(p storage.Properties) sizes {
	most := int64(diskUnit)
	if e != nil {
		most = max(most, e.budget()/4)
	}
	// A store may say nothing that makes sense, and is then taken for a disk.
	p.ReadUnit, p.ReadGap, p.WriteUnit = max(p.ReadUnit, 0), max(p.ReadGap, 0), max(p.WriteUnit, 0)
	s := sizes{
		joined:  min(cmp.Or(p.ReadUnit, cheapRead), most),
		gap:     cmp.Or(p.ReadGap, 64<<10),
		read:    max(diskUnit, int(p.ReadUnit)),
		step:    stepBytes,
		write:   int(min(cmp.Or(p.WriteUnit, diskUnit), most)),
		workers: p.Concurrency,
	}
	if s.dear = IsDear(p); s.dear {
		s.read, s.step = int(p.ReadUnit), int(p.ReadUnit)
	}
	return s
}

// IsDear reports whether a request to a store costs so much that one for more bytes than
// are wanted is better than several.
func IsDear(p storage.Properties) bool { return p.ReadUnit > cheapRead }

// AtOnce returns how many of at most n functions that read documents may run at the same
// time: as many as the store can do.
func AtOnce(p storage.Properties, n int) int {
	if p.Concurrency > 0 {
		n = min(n, p.Concurrency)
	}
	return n
}

// workers returns how many of so many jobs are in flight at the same time: as many as the
// store can do, or enough to keep every core encoding while the device has something
// queued. jobs is 0 if it is not known. The budget holds back those that take memory.
func workers(jobs, wanted int) int {
	n := wanted
	if n <= 0 {
		n = min(runtime.GOMAXPROCS(0)+2, maxWorkers)
	}
	if jobs > 0 {
		n = min(n, jobs)
	}
	return n
}

// maxWorkers is enough to keep any device or memory busy.
const maxWorkers = 32
