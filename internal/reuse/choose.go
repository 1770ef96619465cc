package reuse

import (
	"cmp"
	"slices"

	"github.com/go-orbax/orbax/storage"
)

// Choose returns which files of a record a save shares that wants some chunks: each
// with those of its chunks that are wanted, and the files with the most bytes of them
// first. sizes are those of the files that are there with all their chunks. The others
// are dropped, and the save writes what it wants of them: files that freshEvery saves
// have by now, those of which more than a share of maxDead is not wanted, and, of more
// than maxShared files, those with the fewest bytes.
func (r *Record) Choose(wanted map[ID]bool, sizes map[string]int64, freshEvery int, maxDead float64) []File {
	type candidate struct {
		File
		live int64
	}
	var all []candidate
	for _, f := range r.Files {
		size, ok := sizes[f.Name]
		if !ok || f.Age+1 >= freshEvery {
			continue
		}
		c := candidate{File: File{Name: f.Name, Age: f.Age}}
		for _, k := range f.Chunks {
			if wanted[k.ID] {
				c.Chunks = append(c.Chunks, k)
				c.live += k.Length
			}
		}
		dead := size - c.live - storage.PageSize // files are written in pages
		if len(c.Chunks) > 0 && float64(dead) <= maxDead*float64(size) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.live, a.live) })
	files := make([]File, min(len(all), maxShared))
	for i := range files {
		files[i] = all[i].File
	}
	return files
}

// maxShared bounds the files of a save. It matters for a run of which each save
// changes little; those that it drops have the fewest bytes to share.
const maxShared = 128
