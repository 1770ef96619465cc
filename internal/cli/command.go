package cli

import (
	"context"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/go-orbax/orbax/internal/fault"
)

// command returns a command line of this program for a hint, with words after the
// program's name. It stands in backquotes, and can be pasted into a shell.
func command(words ...string) string {
	var line strings.Builder
	line.WriteString("`orbax")
	for _, w := range words {
		line.WriteString(" " + shellWord(w))
	}
	return line.String() + "`"
}

// shellWord returns a word as a shell takes it: in single quotes if it has characters that
// mean something to a shell. A word with characters that do not print is quoted as in Go,
// so that it cannot mislead; it has to be typed in another way.
func shellWord(w string) string {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != filepath.Separator && !strings.ContainsRune("@%+=:,./_-", r)
	}
	switch {
	case w == "":
		return "''"
	case strings.ContainsFunc(w, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }):
		return fault.Shown(w)
	case strings.ContainsFunc(w, special):
		return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return w
}

// repairCommand returns the command that reports on the repair of the checkpoint at path.
func repairCommand(ctx context.Context, path string) string {
	if _, follow := flagOf(ctx, followName); follow {
		return command("repair", "--"+followName, path)
	}
	return command("repair", path)
}
