package database

import (
	"strings"
)

// JoinKey returns the key of a document or chunk of a parameter, as TensorStore
// makes it.
func JoinKey(name, key string) string {
	name, separator := keyPrefix(name)
	return name + separator + key
}

// AppendKey appends what JoinKey returns.
func AppendKey(b []byte, name, key string) []byte {
	name, separator := keyPrefix(name)
	b = append(b, name...)
	b = append(b, separator...)
	return append(b, key...)
}

// keyPrefix returns what the keys of a parameter begin with: the name and a slash,
// but nothing for that of a bare leaf, whose name is empty, and for the name "/",
// and no second slash for a name that ends with one.
func keyPrefix(name string) (prefix, separator string) {
	switch {
	case name == "" || name == "/":
		return "", ""
	case strings.HasSuffix(name, "/"):
		return name, ""
	}
	return name, "/"
}
