package mysqlctl

import (
	"strings"
	"unicode"
)

// digestLength is how much of a statement is shown: enough to know it again.
const digestLength = 60

// digest returns the beginning of a statement as it may be shown to anybody: without comments, and with ? in the place
// of each literal, which may be a secret. Where a literal with a backslash ends depends on the sql_mode of its
// connection: everything after that backslash is left out. So is the rest of a literal that the server has cut off.
func digest(sql string) string {
	var b strings.Builder
	rest := []rune(sql)
	for len(rest) > 0 && b.Len() <= 4*digestLength {
		var n int
		var shown string
		switch r := rest[0]; {
		case unicode.IsSpace(r):
			n, shown = 1, " "
		case r == '\'' || r == '"':
			n, shown = literal(rest), "?"
		case r == '`':
			n = quoted(rest)
			shown = string(rest[:n])
		case r == '#', hasPrefix(rest, "-- "), hasPrefix(rest, "--\t"), hasPrefix(rest, "--\n"):
			n, shown = until(rest, "\n"), " "
		case hasPrefix(rest, "/*"):
			n, shown = until(rest, "*/"), " "
		case r == '$' && hasPrefix(rest, "$$"):
			n, shown = len(rest), "?"
		case unicode.IsDigit(r):
			n, shown = word(rest), "?"
		case inWord(r):
			n = word(rest)
			shown = string(rest[:n])
		default:
			n, shown = 1, string(r)
		}
		b.WriteString(shown)
		rest = rest[n:]
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	if runes := []rune(text); len(runes) > digestLength {
		text = string(runes[:digestLength]) + "…"
	}
	return text
}

// literal returns the length of the quoted text that rest begins with. A doubled quote counts as the end of one literal
// and the beginning of the next, which hides just as much.
func literal(rest []rune) int {
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case rest[0]:
			return i + 1
		case '\\':
			return len(rest)
		}
	}
	return len(rest)
}

// quoted returns the length of the name in backticks that rest begins with.
func quoted(rest []rune) int {
	for i := 1; i < len(rest); i++ {
		if rest[i] == '`' {
			return i + 1
		}
	}
	return len(rest)
}

// until returns the length of the comment that rest begins with, up to and with end.
func until(rest []rune, end string) int {
	if i := strings.Index(string(rest[1:]), end); i >= 0 {
		return 1 + len([]rune(string(rest[1:])[:i])) + len([]rune(end))
	}
	return len(rest)
}

func word(rest []rune) int {
	n := 1
	for n < len(rest) && inWord(rest[n]) {
		n++
	}
	return n
}

func inWord(r rune) bool {
	return r == '_' || r == '@' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

func hasPrefix(rest []rune, s string) bool {
	return len(rest) >= len(s) && string(rest[:len(s)]) == s
}
