package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file is about files that look right and are not: copied from a web page or a word processor, or written for
// MMM 1. Each of their lines would be an error of its own, and none would say what has happened.

const (
	entitiesText = "&lt; for <, or &nbsp; for a blank: the file was copied as HTML%s; this mends it: " +
		`sed -i 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&nbsp;/ /g; s/&amp;/\&/g' %s`
	noBlankText = "a space that is no blank (a no-break space, as web pages and word processors have)%s; this mends it: " +
		`sed -i 's/\xc2\xa0/ /g; s/\xe3\x80\x80/ /g; s/\xe2\x80\x8b//g' %s`
	firstGenerationText = "'%s %s' without < > is the syntax of MMM 1, which is not read: write <%[1]s %[2]s>, then its lines, then </%[1]s>, " +
		"likewise for all hosts, roles and checks (docs/migration.md tells what else is called differently)"
)

// pasted has the places in a file where copying has put something else for what was written.
type pasted struct{ entities, blanks []pos }

// mend gives a line as it was meant.
func (f *pasted) mend(at pos, s string) string {
	if s == "" || s[0] == '#' {
		return s
	}
	if strings.HasPrefix(s, "&lt;") || strings.HasPrefix(s, "&nbsp;") {
		f.entities = append(f.entities, at)
		s = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&nbsp;", " ", "&amp;", "&").Replace(s)
		s = strings.Trim(s, blanks)
	}
	meant := blanked(s)
	if meant == s {
		return s
	}
	meant = strings.Trim(meant, blanks)
	if name, rest, _ := cutBlank(meant); rest != "" && (slices.Contains(secretNames(), name) ||
		strings.HasSuffix(name, "_cmd")) {
		// A password, or a command, may have any sign in it: only what comes before it is mended.
		at := len(s) - len(strings.TrimLeftFunc(strings.TrimLeftFunc(s, isOddBlank)[len(name):], isOddBlank))
		meant = name + " " + s[at:]
	}
	if value, _ := cutComment(meant); value == "" {
		return meant
	} else if was, _ := cutComment(s); was == value || strings.Join(splitBlanks(was),
		" ") == strings.Join(splitBlanks(value), " ") {
		return s // only the comment has odd blanks
	}
	f.blanks = append(f.blanks, at)
	return meant
}

func (f *pasted) report(errs *Errors) {
	for _, c := range []struct {
		at   []pos
		text string
	}{{f.entities, entitiesText}, {f.blanks, noBlankText}} {
		if len(c.at) == 0 {
			continue
		}
		more := ""
		if n := len(c.at) - 1; n == 1 {
			more = ", here and in another line"
		} else if n > 1 {
			more = ", here and in " + strconv.Itoa(n) + " other lines"
		}
		errs.add(c.at[0], c.text, more, shellWord(c.at[0].file))
	}
}

// isOddBlank tells whether r looks like a blank; blanks themselves do.
func isOddBlank(r rune) bool {
	switch {
	case r >= 0x2000 && r <= 0x200b, strings.ContainsRune(blanks, r):
		return true
	}
	return slices.Contains([]rune{0xa0, 0x202f, 0x205f, 0x3000, 0xfeff}, r)
}

// blanked puts a blank in place of everything that looks like a blank.
func blanked(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1 && s[i] == 0xa0: // a no-break space in Latin 1
			out.WriteByte(' ')
		case r > 0x7f && isOddBlank(r):
			out.WriteByte(' ')
		default:
			out.WriteString(s[i : i+size])
		}
		i += size
	}
	return out.String()
}

// cutBlank splits the first word from the rest.
func cutBlank(s string) (word, rest string, found bool) {
	i := strings.IndexAny(s, blanks)
	if i < 0 {
		return s, "", false
	}
	return s[:i], strings.Trim(s[i:], blanks), true
}

// firstGeneration finds what only files of MMM 1 have: several hosts, roles or checks that begin like variables. A
// single such line may be a slip. The node is the first of them.
func firstGeneration(nodes []node) (first node, found bool) {
	count := 0
	for _, n := range nodes {
		if n.kind == variableNode && slices.Contains([]string{"host", "role", "check", "log"}, n.key) && n.value != "" {
			if count++; count == 1 {
				first = n
			}
		}
	}
	return first, count > 1
}
