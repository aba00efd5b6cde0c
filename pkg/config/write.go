package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// writeHCL writes statements in HCL's native syntax. Nothing of a value is in an error.
func writeHCL(nodes []node) (string, Errors) {
	w := hclWriter{}
	includes := 0
	for _, n := range nodes {
		if n.kind == includeNode {
			includes++
		}
	}
	w.block = includes > 1 // an attribute can be there only once
	w.body("", nodes)
	return string(hclwrite.Format([]byte(w.out.String()))), w.errs
}

type hclWriter struct {
	out   strings.Builder
	block bool // an include is written as a block
	errs  Errors
}

func (w *hclWriter) body(section string, nodes []node) {
	for _, n := range nodes {
		switch n.kind {
		case commentNode:
			w.line(n.value, "")
		case includeNode:
			if w.block {
				w.line(includeWord+" "+w.quote(n)+" {}", n.note)
			} else {
				w.line(includeWord+" = ["+w.quote(n)+"]", n.note)
			}
		case variableNode:
			w.line(n.key+" = "+w.value(section, n), n.note)
		case sectionNode:
			head := n.key
			if n.value != "" {
				head += " " + w.quote(n)
			}
			w.line(head+" {", n.note)
			w.body(n.key, n.body)
			w.line("}", "")
		}
	}
}

// line writes one line with the comment behind it. A comment may be in any encoding: what is not UTF-8 is replaced.
func (w *hclWriter) line(text, note string) {
	if note != "" {
		text += " " + note
	}
	w.out.WriteString(strings.ToValidUTF8(text, string(utf8.RuneError)) + "\n")
}

func (w *hclWriter) quote(n node) string {
	if !utf8.ValidString(n.value) {
		w.errs.add(n.at, "HCL is written in UTF-8, and this is another encoding; save the file as UTF-8")
		return `""`
	}
	return quote(n.value)
}

func quote(s string) string { return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()) }

// value writes a variable's value in the way in which HCL has values of its kind.
func (w *hclWriter) value(section string, n node) string {
	r, _ := variableRule(section, n.key)
	switch r.kind {
	case boolKind:
		if yes, err := parseBool(n.value); err == nil {
			return fmt.Sprint(yes)
		}
	case countKind, portKind, durationKind, periodKind:
		if isNumber(n.value) {
			return n.value
		}
	case namesKind, addrsKind, hostsKind, choicesKind:
		if list, err := splitList(n.value); err == nil {
			for i := range list {
				list[i] = w.quote(node{at: n.at, value: list[i]})
			}
			return "[" + strings.Join(list, ", ") + "]"
		}
	default: // a text
	}
	return w.quote(n)
}

// isNumber tells whether s is a number as HCL writes them, and without leading zeros.
func isNumber(s string) bool {
	whole, part, point := strings.Cut(s, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return digits(whole) && (whole == "0" || whole[0] != '0') && (!point || digits(part))
}

// writeClassic writes statements in the classic format.
func writeClassic(nodes []node) (string, Errors) {
	w := classicWriter{}
	w.body(nodes, "")
	return w.out.String(), w.errs
}

type classicWriter struct {
	out  strings.Builder
	errs Errors
}

func (w *classicWriter) body(nodes []node, indent string) {
	width := 0
	for _, n := range nodes {
		if n.kind == variableNode {
			width = max(width, len(n.key))
		}
	}
	for _, n := range nodes {
		switch n.kind {
		case commentNode:
			w.line(indent, n.value, "")
		case includeNode:
			w.line(indent, includeWord+" "+w.value(n), n.note)
		case variableNode:
			w.line(indent, fmt.Sprintf("%-*s  %s", width, n.key, w.value(n)), n.note)
		case sectionNode:
			w.line(indent, strings.TrimSuffix("<"+n.key+" "+n.value, " ")+">", n.note)
			w.body(n.body, indent+"    ")
			w.line(indent, "</"+n.key+">", "")
		}
	}
}

func (w *classicWriter) line(indent, text, note string) {
	if note != "" {
		text += "  " + note
	}
	w.out.WriteString(strings.TrimRight(indent+text, blanks) + "\n")
}

func (w *classicWriter) value(n node) string {
	switch {
	case n.fault != nil:
		w.errs.add(n.fault.at, "'%s' %s", n.key, n.fault.msg)
	case n.kind == includeNode && strings.ContainsAny(n.value, blanks):
		w.errs.add(n.at, "a classic include can't have blanks in the file's name; rename the file")
	case n.value != strings.Trim(n.value, blanks):
		w.errs.add(n.at, "'%s' begins or ends with a blank, which a classic file can't say; change the value", n.key)
	}
	return strings.ReplaceAll(n.value, "#", `\#`)
}
