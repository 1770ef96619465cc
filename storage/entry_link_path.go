//go:build !unix || solaris

package storage

import "os"

// link goes by the path, as package unix has no other call here.
func (osSystem) link(old string, new entry) error {
	if err := new.samePath(); err != nil {
		return linkError("link", old, new.path(), err)
	}
	return os.Link(old, new.path())
}

// samePath fails if the path leads to another directory than the one that is open.
func (e entry) samePath() error {
	if e.in == nil {
		return nil
	}
	d, err := openOwn(e.in.path, ".")
	if err != nil {
		return err
	}
	defer d.close()
	is, err := e.in.id()
	if err == nil {
		err = d.mustBe(is, e.in.path)
	}
	return err
}
