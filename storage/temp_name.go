package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"unicode/utf8"
)

// maxName is the longest name that the common file systems allow.
const maxName = 255

// idLength is the length of the text after the TempMarker in names of this package: a
// hyphen and 16 hexadecimal digits.
const idLength = 17

// tempPrefix returns the beginning of the names of all temporary directories of a target.
// A long name is cut and gets a hash at its end, so that the whole fits.
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

// tempName returns a new name for a temporary directory in the directory of target. The
// name records its use: "", the marker of a stage that writes to the target itself, or
// forEdit. So a ticket cannot give the directory another use.
func tempName(target, use string) string {
	for {
		var random [4]byte
		rand.Read(random[:])
		id := hex.EncodeToString(random[:])
		id += useMark(id, use)
		// Without a letter the id would look like a time, as in names of old versions of
		// Orbax.
		if !isNumber(id[:len(id)-len(oldMark)]) {
			return path.Join(path.Dir(target), tempPrefix(path.Base(target))+id)
		}
	}
}

// forEdit is the use of the temporary directory of an [Edit]. No marker has this name.
const forEdit = "/"

// useMark returns the digits in the name of a temporary directory that record its use.
// They follow the random ones.
func useMark(random, use string) string {
	sum := sha256.Sum256([]byte(random + use))
	return hex.EncodeToString(sum[:4])
}

// isUsedAs reports whether the name of a temporary directory records a use.
func isUsedAs(name, use string) bool {
	id := name[strings.LastIndex(name, "-")+1:]
	return len(id) == idLength-1 && id[8:] == useMark(id[:8], use)
}

// oldMark replaces the last digits in the name of a directory that is being replaced, on
// file systems that cannot exchange directories.
const oldMark = "-old"

// oldName returns the name of the directory that the one called temp replaces, on those
// file systems. It is no longer than temp.
func oldName(temp string) string { return temp[:len(temp)-len(oldMark)] + oldMark }

// IsReplaced reports whether name is a temporary name of this package for a directory that
// is being replaced, on a file system that cannot exchange directories.
func IsReplaced(name string) bool {
	_, ours := IsTemporary(name)
	return ours && strings.HasSuffix(name, oldMark)
}

// IsTemporary reports whether name is a name for the directory of an unfinished save or
// removal. The names of Orbax and of this package count. ours reports that the name is of
// this package: then the process that works on the directory holds a lock on it, where
// the file system has locks.
func IsTemporary(name string) (temporary, ours bool) {
	at := strings.LastIndex(name, TempMarker)
	if at <= 0 {
		return false, false
	}
	id := name[at+len(TempMarker):]
	if id == "" {
		return true, false // Orbax's names today, and this package's for a directory that is being removed
	}
	digits, ok := strings.CutPrefix(id, "-")
	if !ok || digits == "" {
		return false, false
	}
	if isNumber(digits) {
		return true, false // the time, in names of old versions of Orbax
	}
	length := idLength - 1
	if cut, old := strings.CutSuffix(digits, oldMark); old {
		digits, length = cut, length-len(oldMark)
	}
	ours = len(digits) == length && strings.Trim(digits, "0123456789abcdef") == "" && !isNumber(digits)
	return ours, ours
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// isLeftOf reports whether a dead writer of the target base can have left name, or a
// process that was removing the directory of one.
func isLeftOf(name, base string) bool {
	_, ours := IsTemporary(name)
	return ours && strings.HasPrefix(name, tempPrefix(base))
}

// isTempOf reports whether name is a temporary directory of a target called base. The
// directory of a process that removes such a one has two TempMarkers and does not count.
func isTempOf(name, base string) bool {
	id, ok := strings.CutPrefix(name, tempPrefix(base))
	return ok && !strings.Contains(id, TempMarker)
}
