package storage

import "path"

// Another process that may write to a directory can move its entries away and put links
// in their place while a stage is written. So nothing in a stage is made by its path.
// Each file is made as an entry of an open directory, which stays the same directory even
// if its path leads elsewhere by then.

// entry is a name in an open directory. Without a directory it is a path, and links on
// the path are followed.
type entry struct {
	in   *openDir
	name string
}

func at(path string) entry { return entry{name: path} }

// path returns the path of the entry at the time when its directory was opened.
func (e entry) path() string {
	if e.in == nil {
		return e.name
	}
	return path.Join(e.in.path, e.name)
}

func (osSystem) open(e entry) (folder, error) {
	if e.in == nil {
		return openOwn(e.name, ".")
	}
	d, err := e.in.openReal(e.name, e.path())
	return d, asLink(err)
}
