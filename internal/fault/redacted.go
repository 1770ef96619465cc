package fault

import (
	"regexp"
	"strings"
)

// urlSecrets matches in a URL what can hold credentials: the user of the host, and the
// query.
var urlSecrets = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#"@]*@)?([^\s?"]*)(\?[^\s"#]*)?`)

// Redacted returns a text in which no URL has credentials: "xxxxx" replaces its user and
// its password, and each value of its query.
func Redacted(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	var b strings.Builder
	last := 0
	for _, m := range urlSecrets.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(text[last:m[3]])
		if m[4] >= 0 {
			b.WriteString("xxxxx@")
		}
		b.WriteString(text[m[6]:m[7]])
		if m[8] >= 0 {
			b.WriteString(redactQuery(text[m[8]:m[9]]))
		}
		last = m[1]
	}
	return b.String() + text[last:]
}

// redactQuery returns a query, which begins with its question mark, without its values. A
// name without a value may be one.
func redactQuery(query string) string {
	end := len(strings.TrimRight(query, ":;,.?)'`")) // punctuation of the message follows
	if end <= 1 {
		return query
	}
	pairs := strings.Split(query[1:end], "&")
	for i, pair := range pairs {
		name, _, has := strings.Cut(pair, "=")
		if has {
			pairs[i] = name + "=xxxxx"
		} else {
			pairs[i] = "xxxxx"
		}
	}
	return "?" + strings.Join(pairs, "&") + query[end:]
}
