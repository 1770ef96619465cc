package storage

import "path"

// Whoever may write to a directory can move what is in it away and put a link there
// while it is being written. So nothing of a stage is made by its path: it is an entry
// of a directory that is open, which stays the same whatever its path leads to by then.

// entry is a name in an open directory; without one, a path, and links on the way are
// followed.
type entry struct {
	in   *openDir
	name string
}

func at(path string) entry { return entry{name: path} }

// path is where the entry was when its directory was opened.
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
