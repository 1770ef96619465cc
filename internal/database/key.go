package database

import (
	"strings"
)

// JoinKey returns the key of a document or chunk of a parameter, in TensorStore's form.
func JoinKey(name, key string) string {
	name, separator := keyPrefix(name)
	return name + separator + key
}

// AppendKey appends to b the key that JoinKey returns.
func AppendKey(b []byte, name, key string) []byte {
	name, separator := keyPrefix(name)
	b = append(b, name...)
	b = append(b, separator...)
	return append(b, key...)
}

// keyPrefix returns the beginning of the keys of a parameter: its name and a slash. A
// name that ends with a slash gets no second one. The prefix is empty for the name "/",
// and for a bare leaf, whose name is empty.
func keyPrefix(name string) (prefix, separator string) {
	switch {
	case name == "" || name == "/":
		return "", ""
	case strings.HasSuffix(name, "/"):
		return name, ""
	}
	return name, "/"
}
