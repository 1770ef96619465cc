package inspect

import (
	"bufio"
	"strings"
)

// maxIndent is the deepest level of a document at which each value has its own line.
// Deeper values follow on the line of their parent: the indentation of a document of 64
// MiB that is 10,000 levels deep would be terabytes.
const maxIndent = 32

var indentation = "\n" + strings.Repeat("  ", maxIndent)

// writeIndented writes a JSON document, indented down to maxIndent as [json.Indent] does.
// It makes no second copy in memory. w keeps its own errors.
func writeIndented(w *bufio.Writer, doc []byte) {
	depth := 0
	newline := func() {
		if depth <= maxIndent {
			w.WriteString(indentation[:1+2*depth])
		}
	}
	opened := false // nothing of the innermost list or object has been written yet
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
