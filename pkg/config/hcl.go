package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// parseHCL reads HCL's native syntax (github.com/hashicorp/hcl, spec.md) into the raw tree of the classic format. Where
// the syntax is wrong it reports nothing else, as what follows may be misread. The library's own error texts are not
// passed on: they quote the file, and the quote may be a password.
func parseHCL(file string, text []byte) ([]node, Errors) {
	p := hclParser{file: file}
	return p.parse(text)
}

func (p *hclParser) parse(text []byte) ([]node, Errors) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	f, problems := hclsyntax.ParseConfig(text, p.file, hcl.InitialPos)
	if problems.HasErrors() {
		return nil, p.complain(problems)
	}
	body, ok := f.Body.(*hclsyntax.Body)
	if !ok {
		panic(fmt.Sprintf("config: HCL in a %T", f.Body))
	}
	if p.keep {
		p.comments(text)
	}
	return p.statements(body, ""), p.errs
}

const lostQuote = "Invalid multi-line string"

// remedies are for the mistakes of people who know the classic format, by the library's name for the mistake.
var remedies = map[string]string{
	"Argument or block definition required":  `write NAME = VALUE, or TYPE "NAME" { ... }`,
	"Attribute redefined":                    "each variable can be set once in a block; keep one",
	"Invalid argument name":                  "names are written without quotes",
	"Invalid block definition":               `write NAME = VALUE, or TYPE "NAME" { ... }`,
	"Invalid character":                      "text is written in quotes",
	"Invalid expression":                     "text is written in quotes",
	"Invalid escape sequence":                `write \\ for a backslash`,
	lostQuote:                                "close the quotes in the same line",
	"Invalid number literal":                 "text, such as an address, is written in quotes",
	"Missing item separator":                 "put a comma between the elements of a list",
	"Missing newline after argument":         "one statement a line; text, such as an address, is written in quotes",
	"Missing newline after block definition": "begin the next statement in a new line",
	"Unclosed configuration block":           "add the missing }",
	"Unterminated template string":           "close the quotes",
	"Invalid character encoding":             "save the file as UTF-8",
}

// complain reports the first mistake of each line by the library's name for it, with a remedy where there is one.
func (p *hclParser) complain(problems hcl.Diagnostics) Errors {
	line := 0
	for _, d := range problems {
		if d.Subject.Start.Line == line {
			continue
		}
		line = d.Subject.Start.Line
		text := strings.ToLower(d.Summary[:1]) + d.Summary[1:]
		if remedy, ok := remedies[d.Summary]; ok {
			text += "; " + remedy
		}
		p.errs.add(p.at(*d.Subject), "%s", text)
		if d.Summary == lostQuote {
			break // from here on the library takes texts for what is between texts, and the other way round
		}
	}
	return p.errs
}

type hclParser struct {
	file string
	keep bool      // comments
	rest []comment // comments that have no place among the statements yet
	errs Errors
}

func (p *hclParser) at(r hcl.Range) pos {
	return pos{file: p.file, line: r.Start.Line, column: r.Start.Column}
}

// statements gives the statements of the file (in is ""), or of a block of type in, in their order.
func (p *hclParser) statements(b *hclsyntax.Body, in string) []node {
	var nodes []node
	for _, a := range b.Attributes {
		if a.Name == includeWord {
			nodes = append(nodes, p.includes(a, in)...)
			continue
		}
		n := p.value(a.Expr)
		n.at, n.key = p.at(a.NameRange), a.Name
		nodes = append(nodes, n)
	}
	for _, block := range b.Blocks {
		if n, ok := p.block(block, in); ok {
			nodes = append(nodes, n)
		}
	}
	nodes = p.place(nodes, b.SrcRange, in == "")
	// Stable: the files of one include have one position, and their order counts.
	slices.SortStableFunc(nodes, func(a, b node) int {
		return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
	})
	return nodes
}

func (p *hclParser) block(b *hclsyntax.Block, in string) (node, bool) {
	n := node{kind: sectionNode, at: p.at(b.TypeRange), key: b.Type}
	switch {
	case in != "":
		p.errs.add(n.at, "a block can't be within another; put it behind the block %s", in)
		return node{}, false
	case len(b.Labels) > 1:
		p.errs.add(n.at, `a block takes one name at most; write TYPE { ... } or TYPE "NAME" { ... }`)
		n.value = b.Labels[0]
	case len(b.Labels) == 1:
		n.value = b.Labels[0]
	}
	if b.Type == includeWord {
		if n.value == "" || len(b.Body.Attributes)+len(b.Body.Blocks) > 0 {
			p.errs.add(n.at,
				`an include has the name of a file and nothing else; write include "FILE" {} or include = ["FILE"]`)
			return node{}, false
		}
		n.kind = includeNode
		return n, true
	}
	if n.value != "" && !isWord(n.value, nameSigns) {
		p.errs.add(p.at(b.LabelRanges[0]), badName, quoteName(n.key, n.value))
	}
	n.note = p.takeNote(b.OpenBraceRange.Start.Line)
	n.body = p.statements(b.Body, b.Type)
	return n, true
}

// includes reads include = ["FILE", ...]; one FILE needs no list.
func (p *hclParser) includes(a *hclsyntax.Attribute, in string) []node {
	at := p.at(a.NameRange)
	if in != "" {
		p.errs.add(at, "an include can't be within a block; put it before the block %s", in)
		return nil
	}
	v, f := p.evaluate(a.Expr)
	if f != nil {
		p.errs.add(f.at, "include %s", f.msg)
		return nil
	}
	files, ok := texts(v)
	if !ok || len(files) == 0 || slices.Contains(files, "") {
		p.errs.add(at, `include must be a list of files; write include = ["FILE"]`)
		return nil
	}
	var nodes []node
	for _, file := range files {
		nodes = append(nodes, node{kind: includeNode, at: at, value: file})
	}
	return nodes
}

// value gives a variable's node without its name and place.
func (p *hclParser) value(e hclsyntax.Expression) node {
	v, f := p.evaluate(e)
	n := node{kind: variableNode, fault: f}
	if f != nil {
		return n
	}
	bad := func(format string, args ...any) node {
		n.fault = &fault{at: p.at(e.Range()), msg: fmt.Sprintf(format, args...)}
		return n
	}
	switch t := v.Type(); {
	case v.IsNull():
		return bad("is null; leave the variable out, or give it a value")
	case t == cty.String:
		n.value, n.shape = v.AsString(), textShape
	case t == cty.Number:
		n.value, n.shape = v.AsBigFloat().Text('f', -1), numberShape
	case t == cty.Bool:
		n.value, n.shape = map[bool]string{false: "false", true: "true"}[v.True()], boolShape
	default:
		list, ok := texts(v)
		if !ok {
			return bad(`must be text, a number, true or false, or a list of texts: ["A", "B"]`)
		}
		for _, text := range list {
			if strings.Trim(text, blanks) == "" || strings.Contains(text, ",") {
				return bad("has an empty element, or one with a comma; each element is one name or address")
			}
		}
		n.value, n.shape = strings.Join(list, ", "), listShape
	}
	if strings.ContainsFunc(n.value, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return bad("must be one line, without control characters")
	}
	return n
}

// texts gives the elements of a list of texts, or a single text as a list of one.
func texts(v cty.Value) ([]string, bool) {
	t := v.Type()
	if v.IsNull() {
		return nil, false
	}
	if t == cty.String {
		return []string{v.AsString()}, true
	}
	if !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		return nil, false
	}
	var list []string
	for _, e := range v.AsValueSlice() {
		if e.IsNull() || e.Type() != cty.String {
			return nil, false
		}
		list = append(list, e.AsString())
	}
	return list, true
}
