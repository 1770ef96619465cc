package object

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// NameIn returns the name in a [Store] that the path of a URL means: without slashes at its
// ends and empty elements, and with "." for the root. As in a path on a disk, ".." means the
// directory above; one that leads out of the bucket is an error that matches io/fs.ErrInvalid.
func NameIn(urlPath string) (string, error) {
	depth := 0
	for element := range strings.SplitSeq(urlPath, "/") {
		switch element {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return "", fmt.Errorf("%w: the path leads out of the bucket by its \"..\"; write the name of the other bucket", fs.ErrInvalid)
		}
	}
	name := strings.TrimPrefix(path.Clean("/"+urlPath), "/")
	if name == "" {
		name = "."
	}
	return name, nil
}
