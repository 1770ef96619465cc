package handler

import (
	"cmp"
	"slices"

	"github.com/go-orbax/orbax/storage"
)

// choose returns which files of a record a save shares that wants some chunks: each
// with those of its chunks that are wanted, and the files with the most bytes of them
// first. sizes are those of the files that are there with all their chunks. The others
// are dropped, and the save writes what it wants of them: files that freshEvery saves
// have by now, those of which more than a share of maxDead is not wanted, and, of more
// than maxShared files, those with the fewest bytes.
func (r *record) choose(wanted map[chunkID]bool, sizes map[string]int64, freshEvery int, maxDead float64) []recordFile {
	type candidate struct {
		recordFile
		live int64
	}
	var all []candidate
	for _, f := range r.files {
		size, ok := sizes[f.name]
		if !ok || f.age+1 >= freshEvery {
			continue
		}
		c := candidate{recordFile: recordFile{name: f.name, age: f.age}}
		for _, k := range f.chunks {
			if wanted[k.id] {
				c.chunks = append(c.chunks, k)
				c.live += k.length
			}
		}
		dead := size - c.live - storage.PageSize // files are written in pages
		if len(c.chunks) > 0 && float64(dead) <= maxDead*float64(size) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.live, a.live) })
	files := make([]recordFile, min(len(all), maxShared))
	for i := range files {
		files[i] = all[i].recordFile
	}
	return files
}
