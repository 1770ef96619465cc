package inspect

import (
	"bufio"
	"strings"
)

// maxIndent is the level of a document down to which each value has a line of its
// own. What is deeper follows on the line of its parent: the indentation of a
// document of 64 MiB that is 10,000 levels deep would be terabytes.
const maxIndent = 32

var indentation = "\n" + strings.Repeat("  ", maxIndent)

// WriteIndented writes a JSON document as json.Indent does down to maxIndent,
// without holding it in memory a second time. Errors of w stay in it.
func WriteIndented(w *bufio.Writer, doc []byte) {
	depth := 0
	newline := func() {
		if depth <= maxIndent {
			w.WriteString(indentation[:1+2*depth])
		}
	}
	opened := false // nothing of the innermost list or object is written yet
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; c {
		case ' ', '\t', '\r', '\n':
			continue
		case ']', '}':
			depth--
			if !opened && depth < maxIndent {
				newline()
			}
			opened = false
			w.WriteByte(c)
			continue
		case ',':
			w.WriteByte(c)
			if depth > maxIndent {
				w.WriteByte(' ')
			}
			newline()
			continue
		case ':':
			w.WriteString(": ")
			continue
		}
		if opened {
			newline()
		}
		switch c := doc[i]; c {
		case '[', '{':
			depth++
			opened = true
			w.WriteByte(c)
		case '"':
			end := i + 1
			for end < len(doc) && doc[end] != '"' {
				if doc[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(doc)-1)
			opened = false
			w.Write(doc[i : end+1])
			i = end
		default:
			opened = false
			w.WriteByte(c)
		}
	}
}
