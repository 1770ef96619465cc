package transfer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/storage"
)

func TestPack(t *testing.T) {
	size := rapid.OneOf(rapid.IntRange(0, 5000), rapid.IntRange(PageValue-2, PageValue+2), rapid.IntRange(0, 3*diskUnit))
	rapid.Check(t, func(t *rapid.T) {
		bounds := rapid.SliceOf(size).Draw(t, "bounds")
		items := make([]Item, len(bounds))
		for i, n := range bounds {
			items[i].Bound = n
		}
		next := 0
		for _, u := range pack(items, storage.PageSize, diskUnit) {
			if u.first != next || u.end <= u.first {
				t.Fatalf("unit %+v follows item %d", u, next)
			}
			next = u.end
			if u.bound%storage.PageSize != 0 {
				t.Errorf("unit %+v does not end on a page", u)
			}
			if u.bound > diskUnit && u.end-u.first > 1 {
				t.Errorf("unit %+v is larger than %d and has several items", u, diskUnit)
			}
			// The bound must hold whatever the items turn out to take.
			longest := 0
			for _, n := range bounds[u.first:u.end] {
				if n >= PageValue {
					longest = roundUp(longest)
				}
				longest += n
			}
			if roundUp(longest) > u.bound {
				t.Errorf("unit %+v can take %d bytes", u, longest)
			}
		}
		if next != len(items) {
			t.Errorf("%d of %d items are in a unit", next, len(items))
		}
	})
}

func TestPackJoinsSmallItems(t *testing.T) {
	items := make([]Item, 10_000)
	for i := range items {
		items[i].Bound = 4000
	}
	if n := len(pack(items, storage.PageSize, diskUnit)); n > 6 {
		t.Errorf("40 MB in %d units", n)
	}
}

func TestPlan(t *testing.T) {
	length := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(cheapRead-2, cheapRead+2), rapid.Int64Range(0, 2*diskUnit))
	offset := rapid.OneOf(rapid.Int64Range(0, 1<<20), rapid.Int64Range(0, 1<<40))
	rapid.Check(t, func(t *rapid.T) {
		reads := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Read {
			return Read{Extent: Extent{
				rapid.SampledFrom([]string{"a", "b"}).Draw(t, "file"), offset.Draw(t, "offset"), length.Draw(t, "length"),
			}}
		})).Draw(t, "reads")
		count := map[Extent]int{}
		for _, r := range reads {
			count[r.Extent]++
		}
		next := 0
		for _, s := range join(reads, new(Engine).sizesOf(storage.Local().Properties())) {
			if s.first != next || s.end <= s.first {
				t.Fatalf("span %+v follows read %d", s, next)
			}
			next = s.end
			wanted, at := int64(0), s.offset
			for _, r := range reads[s.first:s.end] {
				if r.File != reads[s.first].File || r.Offset < s.offset || r.Offset+r.Length > s.offset+s.len {
					t.Errorf("span %+v does not cover %+v", s, r.Extent)
				}
				if end := r.Offset + r.Length; end > at {
					wanted += end - max(at, r.Offset)
					at = end
				}
				count[r.Extent]--
			}
			if s.end-s.first == 1 {
				continue
			}
			if s.len > diskUnit {
				t.Errorf("span %+v is larger than %d", s, diskUnit)
			}
			if waste := s.len - wanted; waste > (64<<10)*int64(s.end-s.first-1) {
				t.Errorf("span %+v reads %d bytes for nothing", s, waste)
			}
		}
		for e, n := range count {
			if n != 0 {
				t.Errorf("%+v is read %d times too few", e, n)
			}
		}
	})
}

// Many small reads with gaps between them do not read as much in vain; a few do.
func TestPlanReadsLittleInVain(t *testing.T) {
	for _, c := range []struct {
		reads, length, gap int
		spans              int // 0: any number
	}{{5, 8 << 10, 60 << 10, 1}, {10, 8 << 10, 60 << 10, 10}, {1000, 8 << 10, 60 << 10, 1000}, {1000, 60 << 10, 1 << 10, 0}} {
		var reads []Read
		for i := range c.reads {
			reads = append(reads, Read{Extent: Extent{"f", int64(i * (c.length + c.gap)), int64(c.length)}})
		}
		var all int64
		spans := join(reads, new(Engine).sizesOf(storage.Local().Properties()))
		for _, s := range spans {
			all += s.len
		}
		wanted := int64(c.reads * c.length)
		if c.spans != 0 && len(spans) != c.spans || all-wanted > max(wanted/32, 256<<10) {
			t.Errorf("%+v: %d spans read %d bytes, %d are wanted", c, len(spans), all, wanted)
		}
	}
}

func TestPlanJoinsNeighbours(t *testing.T) {
	var reads []Read
	for i := range 100 {
		reads = append(reads, Read{Extent: Extent{"f", int64(i) * 1000, 900}})
	}
	slices.Reverse(reads)
	if spans := join(reads, new(Engine).sizesOf(storage.Local().Properties())); len(spans) != 1 {
		t.Errorf("100 neighbours are read by %d calls", len(spans))
	}
}
