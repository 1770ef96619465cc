// Package exchanged has the form of the values that the processes of a group exchange, and
// the time that one of them leaves the others at the end.
package exchanged

import (
	"encoding/json"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Encode returns the document of a value that JSON can express.
func Encode(v any) []byte {
	doc, err := json.Marshal(v)
	if err != nil {
		panic(err) // the values have only strings, numbers, bytes and times
	}
	return doc
}

// Decode returns the value of a document. The error matches fault.ErrCorrupt.
func Decode[T any](doc []byte) (v T, err error) {
	if err := json.Unmarshal(doc, &v); err != nil {
		return v, fmt.Errorf("%w: what another process has sent: %w", fault.ErrCorrupt, err)
	}
	return v, nil
}
