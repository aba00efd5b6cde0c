package config

import (
	"bytes"
	"strings"
)

// pos says where a statement stands. The zero line means the file as a whole. Where a statement is always a line,
// column is 0.
type pos struct {
	file   string
	line   int
	column int
}

type nodeKind int

const (
	variableNode nodeKind = iota // key value
	sectionNode                  // <key value> body </key>
	includeNode                  // include value
	commentNode                  // value is "" for an empty line, else begins with #; only where comments are kept
)

// node is one statement of a configuration file as it was written: the raw tree that every syntax delivers.
type node struct {
	kind  nodeKind
	at    pos
	key   string // name of a variable, type of a section
	value string // text of a variable, name of a section ("" where it has none), file to include
	body  []node // of a section
	note  string // a comment behind it, where comments are kept

	// HCL only, which has expressions.
	shape shape // of a variable's value
	fault *fault
}

// shape is how a value was written.
type shape int

const (
	anyShape shape = iota // classic text, which may be a value of any kind
	textShape
	numberShape
	boolShape
	listShape
)

// fault is why a variable has no value. It is an error only for a program that reads the variable: the other programs
// may lack what the value is made of, such as an environment variable.
type fault struct {
	at  pos
	msg string // continues the variable's name; never shows a value
}

const (
	includeWord = "include"
	nameSigns   = "_-." // what names of sections have besides letters and digits
	badName     = "section name %s: only letters, digits, '_', '-' and '.' can be used"
)

// blanks is the white space of the classic format. It is what Perl's \s means for bytes: a no-break space is none.
const blanks = " \t\r\f\v"

// parse reads the classic line format. Bytes beyond ASCII are passed through, whatever their encoding: comments are
// written in many. A UTF-8 byte order mark and CRLF line ends are accepted. parse goes on after an error, so that all
// errors are found; what it can't make sense of is left out of the tree.
func parse(file string, text []byte) ([]node, Errors) {
	p := parser{at: pos{file: file}, left: map[string]int{}}
	return p.parse(text)
}

func (p *parser) parse(text []byte) ([]node, Errors) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if i := bytes.IndexByte(text, 0); i >= 0 {
		at := pos{file: p.at.file, line: 1 + bytes.Count(text[:i], []byte("\n"))}
		p.errs.add(at, "a NUL byte: this is no plain text (UTF-16 perhaps); save it as UTF-8")
		return nil, p.errs
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		p.at.line++
		p.line(p.copied.mend(p.at, strings.Trim(line, blanks)))
	}
	p.copied.report(&p.errs)
	if p.open != nil {
		p.errs.add(p.open.at, "section %s is never closed; add </%s>", tag(p.open.key, p.open.value), p.open.key)
		p.close()
	}
	return p.top, p.errs
}

type parser struct {
	at   pos
	keep bool // comments
	top  []node
	open *node          // the section that statements go to; nil at top level
	left map[string]int // by type: sections that were taken as closed without a closing tag, which may yet come
	errs Errors

	copied pasted
}

func (p *parser) line(s string) {
	switch {
	case s == "" || s[0] == '#':
		if p.keep {
			p.add(node{kind: commentNode, at: p.at, value: s})
		}
	case s[0] == '<':
		p.tag(uncomment(s), p.note(s))
	default:
		p.variable(s)
	}
}

func (p *parser) variable(s string) {
	name, rest := s, ""
	if i := strings.IndexAny(s, blanks); i >= 0 {
		name, rest = s[:i], s[i:]
	}
	if !isWord(name, "_") {
		// The text is not repeated: it may be a password.
		if before, _, ok := strings.Cut(name, "="); ok && isWord(before, "_") {
			p.errs.add(p.at, "no '=' between name and value; write: %s VALUE", before)
			return
		}
		p.errs.add(p.at,
			"this line is no variable (NAME VALUE), no section (<TYPE>, <TYPE NAME>), no include and no comment")
		return
	}
	value := uncomment(rest)
	if name != includeWord {
		p.add(node{kind: variableNode, at: p.at, key: name, value: value, note: p.note(rest)})
		return
	}
	switch {
	case value == "":
		p.errs.add(p.at, "include lacks the name of a file")
	case strings.ContainsAny(value, blanks):
		p.errs.add(p.at, "include takes one file name, without blanks")
	default:
		p.add(node{kind: includeNode, at: p.at, value: value, note: p.note(rest)})
	}
}

func (p *parser) tag(s, note string) {
	inner, ok := strings.CutSuffix(s[1:], ">")
	if !ok {
		p.errs.add(p.at, "a section tag must end in '>': <TYPE>, <TYPE NAME> or </TYPE>")
		return
	}
	inner = strings.Trim(inner, blanks)
	if rest, ok := strings.CutPrefix(inner, "/"); ok {
		p.closingTag(splitBlanks(rest))
		return
	}
	inner, empty := strings.CutSuffix(inner, "/")
	words := splitBlanks(inner)
	if len(words) == 0 || len(words) > 2 || !isWord(words[0], "_") {
		p.errs.add(p.at, "malformed section tag; write <TYPE> or <TYPE NAME>")
		return
	}
	n := node{kind: sectionNode, at: p.at, key: words[0], note: note}
	if len(words) == 2 {
		n.value = words[1]
		if !isWord(n.value, nameSigns) {
			p.errs.add(p.at, badName, quoteName(n.key, n.value))
		}
	}
	if p.open != nil {
		p.errs.add(p.open.at,
			"section %s is not closed before %s begins on line %d; sections can't be nested: add </%s>",
			tag(p.open.key, p.open.value), tag(n.key, n.value), p.at.line, p.open.key)
		p.left[p.open.key]++
		p.close()
	}
	p.open = &n
	if empty {
		p.close()
	}
}

func (p *parser) closingTag(words []string) {
	switch {
	case len(words) == 0 || !isWord(words[0], "_"):
		p.errs.add(p.at, "malformed closing tag; write </TYPE>")
	case p.open == nil && p.left[words[0]] > 0:
		p.left[words[0]]--
	case p.open == nil:
		p.errs.add(p.at, "closing tag </%s>, but no section is open", words[0])
	case words[0] != p.open.key:
		p.errs.add(p.at, "closing tag </%s> does not match %s, opened on line %d; write </%s>",
			words[0], tag(p.open.key, p.open.value), p.open.at.line, p.open.key)
		p.close()
	default:
		if len(words) > 1 {
			p.errs.add(p.at, "a closing tag takes no name; write </%s>", words[0])
		}
		p.close()
	}
}

func (p *parser) add(n node) {
	if p.open != nil {
		p.open.body = append(p.open.body, n)
		return
	}
	p.top = append(p.top, n)
}

func (p *parser) close() {
	p.top = append(p.top, *p.open)
	p.open = nil
}

// note is the comment that uncomment cuts off, where comments are kept.
func (p *parser) note(s string) string {
	if _, at := cutComment(s); p.keep && at >= 0 {
		return s[at:]
	}
	return ""
}

// uncomment cuts off a comment, turns \# into #, and trims blanks.
func uncomment(s string) string {
	text, _ := cutComment(s)
	return strings.Trim(text, blanks)
}

// cutComment gives the text before a comment, and where the comment begins; -1: nowhere. A comment begins with a '#' at
// the start or after a blank.
func cutComment(s string) (string, int) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '#':
			i++
		case s[i] == '#' && (i == 0 || strings.IndexByte(blanks, s[i-1]) >= 0):
			return out.String(), i
		}
		out.WriteByte(s[i])
	}
	return out.String(), -1
}

func splitBlanks(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(blanks, r) })
}

// isWord tells whether s is not empty and has only ASCII letters, digits and the given others.
func isWord(s, others string) bool {
	for i := range len(s) {
		b := s[i]
		if (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') && strings.IndexByte(others, b) < 0 {
			return false
		}
	}
	return s != ""
}
