package layout

import (
	"slices"

	"github.com/go-orbax/orbax/internal/jsonscan"
)

// scanner reads documents that have an entry for each leaf.
type scanner struct {
	*jsonscan.Scanner
	ints []int // scratch
}

func newScanner(doc []byte) scanner { return scanner{Scanner: jsonscan.New(doc)} }

// entryBytes is less than the usual size of an entry in the document.
const entryBytes = 128

// members is the set of the members of an object that were read.
type members uint8

// once fails the document if an object has a member twice: encoding/json decides which
// one counts.
func (s *scanner) once(seen *members, member members) {
	if *seen&member != 0 {
		s.Fail()
	}
	*seen |= member
}

// only reads an object whose only member has the given name. value reads the value of
// that member.
func (s *scanner) only(name string, value func()) {
	var seen members
	for s.Begin('{'); s.Next('}'); {
		if string(s.Name()) != name {
			s.Fail()
		}
		s.once(&seen, 1)
		value()
	}
	if seen == 0 {
		s.Fail()
	}
}

// shape reads a list of integers. It returns last if that is equal.
func (s *scanner) shape(last []int) []int {
	s.ints = s.AppendInts(s.ints[:0])
	if last != nil && slices.Equal(s.ints, last) {
		return last
	}
	return append([]int{}, s.ints...)
}

// share returns text as a string, and uses s if it is equal.
func share(text []byte, s string) string {
	if string(text) == s {
		return s
	}
	return string(text)
}
