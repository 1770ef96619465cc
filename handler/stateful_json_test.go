package handler

import (
	"errors"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// stateText is an iterator whose position is any text.
type stateText string

func (s stateText) State() ([]byte, error) { return []byte(s), nil }
func (s stateText) SetState([]byte) error  { return nil }

// A save refuses an iterator's position before anything is written, unless it is JSON or
// JSON with Python's extra words.
func TestIteratorStateIsJSON(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"next": 3}`: true, `7`: true, `[NaN, -Infinity]`: true, ` null `: true, `"text"`: true,
		`notjson`: false, ``: false, `{`: false, `{} {}`: false, "\x00": false, `{'a': 1}`: false,
	} {
		_, err := DatasetIterator(stateText(text)).SaveState(t.Context())
		if (err == nil) != ok || err != nil && !errors.Is(err, fault.ErrLeafType) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
