package mysqlctl

import "strings"

// Printable makes a text that a stranger sent fit for one line of an answer and for a terminal: control characters and
// broken UTF-8 become "?", and a text of more than 200 bytes is cut off.
func Printable(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
