package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"unicode/utf8"
)

// maxName is how long a name may be on the file systems that matter.
const maxName = 255

// idLength is that of what follows the TempMarker in our names: a hyphen and 16
// hexadecimal digits.
const idLength = 17

// tempPrefix returns what the names of all temporary directories of a target begin
// with. Of a long name the end is a hash, so that it fits with what is added.
func tempPrefix(base string) string {
	room := maxName - len(TempMarker) - idLength
	if len(base) > room {
		sum := sha256.Sum256([]byte(base))
		hash := "-" + hex.EncodeToString(sum[:8])
		cut := room - len(hash)
		for cut > 0 && !utf8.RuneStart(base[cut]) {
			cut--
		}
		base = base[:cut] + hash
	}
	return base + TempMarker + "-"
}

// tempName returns a new name for a temporary directory beside target.
func tempName(target string) string {
	var id [8]byte
	rand.Read(id[:])
	return path.Join(path.Dir(target), tempPrefix(path.Base(target))+hex.EncodeToString(id[:]))
}

// isTempOf reports whether name is that of a temporary directory of a target called
// base, and not of one who removes such a directory, which has two marks.
func isTempOf(name, base string) bool {
	id, ok := strings.CutPrefix(name, tempPrefix(base))
	return ok && !strings.Contains(id, TempMarker)
}
