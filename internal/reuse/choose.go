package reuse

import (
	"cmp"
	"slices"

	"github.com/go-orbax/orbax/storage"
)

// Choose returns the files of the record that a save shares, each with its wanted chunks.
// The file with the most wanted bytes comes first. wanted has the chunks that the save
// needs. sizes has the sizes of the files that exist with all their chunks. Choose drops
// all other files, files that are in freshEvery saves by now, and files of which more
// than the share maxDead is not wanted. If more than maxShared files remain, it drops
// those with the fewest wanted bytes. The save itself writes the wanted chunks of dropped
// files.
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

// maxShared is the largest number of files that a save shares. It matters in runs whose
// saves each change little. The files that it drops have the fewest bytes to share.
const maxShared = 128
