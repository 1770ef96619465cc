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
	for {
		var id [8]byte
		rand.Read(id[:])
		// Without a letter it would look like a time, as in names of old versions of Orbax.
		if id := hex.EncodeToString(id[:]); !isNumber(id[:len(id)-len(oldMark)]) {
			return path.Join(path.Dir(target), tempPrefix(path.Base(target))+id)
		}
	}
}

// oldMark takes the place of the last digits in the name of what is replaced, where the
// file system cannot exchange directories.
const oldMark = "-old"

// IsTemporary reports whether name is one that this package or Orbax gives to the
// directory of a save or a removal that is not finished. ours says that it is of this
// package: then whoever works on it holds a lock on it, where the file system has
// locks, for as long as he lives.
func IsTemporary(name string) (temporary, ours bool) {
	at := strings.LastIndex(name, TempMarker)
	if at <= 0 {
		return false, false
	}
	id := name[at+len(TempMarker):]
	if id == "" {
		return true, false // Orbax's today, and ours for what is being removed
	}
	digits, ok := strings.CutPrefix(id, "-")
	if !ok || digits == "" {
		return false, false
	}
	if isNumber(digits) {
		return true, false // the time, in old versions of Orbax
	}
	length := idLength - 1
	if cut, old := strings.CutSuffix(digits, oldMark); old {
		digits, length = cut, length-len(oldMark)
	}
	ours = len(digits) == length && strings.Trim(digits, "0123456789abcdef") == "" && !isNumber(digits)
	return ours, ours
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// isLeftOf reports whether name can be that of what a dead writer of a target called
// base has left, or one who removed that.
func isLeftOf(name, base string) bool {
	_, ours := IsTemporary(name)
	return ours && strings.HasPrefix(name, tempPrefix(base))
}

// isTempOf reports whether name is that of a temporary directory of a target called
// base, and not of one who removes such a directory, which has two marks.
func isTempOf(name, base string) bool {
	id, ok := strings.CutPrefix(name, tempPrefix(base))
	return ok && !strings.Contains(id, TempMarker)
}
