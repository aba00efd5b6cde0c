package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// Converted is a configuration file in the other syntax.
type Converted struct {
	Text     string
	Includes []string // the files that it includes and that must be converted too
}

// ToHCL converts a classic file, ToClassic a file in HCL. Comments stay. Includes stay too, under the name that the
// included file gets when it is converted. Of an expression only its value is written. The error is of type Errors: a
// file with errors is not converted.
func ToHCL(file string) (Converted, error) { return convert(file, classicNotation, hclNotation) }

// ToClassic is the opposite of ToHCL.
func ToClassic(file string) (Converted, error) { return convert(file, hclNotation, classicNotation) }

func convert(file string, from, to notation) (Converted, error) {
	if notationOf(file) != from {
		return Converted{}, Errors{{File: file, Msg: "is in that syntax already, as its name says"}}
	}
	f, err := os.Open(file)
	if err != nil {
		return Converted{}, Errors{{File: file, Msg: err.Error()}}
	}
	defer func() { _ = f.Close() }()
	text, _, err := readTrusted(f)
	if err != nil {
		return Converted{}, Errors{{File: file, Msg: err.Error()}}
	}
	nodes, errs := parseWithComments(file, text)
	if errs = append(errs, judge(file, nodes)...); len(errs) > 0 {
		return Converted{}, errs.sorted([]string{file})
	}
	var c Converted
	nodes = renameIncludes(lastOnly(nodes), to, &c.Includes)
	write := writeHCL
	if to == classicNotation {
		write = writeClassic
	}
	if c.Text, errs = write(nodes); len(errs) > 0 {
		return Converted{}, errs.sorted([]string{file})
	}
	c.Text = strings.TrimRight(c.Text, "\n") + "\n"
	if err := sameStatements(nodes, c.Text, to); err != nil {
		return Converted{}, Errors{{File: file, Msg: err.Error()}}
	}
	return c, nil
}

func parseWithComments(file string, text []byte) ([]node, Errors) {
	if notationOf(file) == hclNotation {
		p := hclParser{file: file, keep: true}
		return p.parse(text)
	}
	p := parser{at: pos{file: file}, keep: true, left: map[string]int{}}
	return p.parse(text)
}

// judge reports what is wrong with the statements of a file for any program. What is missing is not reported: the file
// may be a part of a configuration.
func judge(file string, nodes []node) Errors {
	var all Errors
	plain := statements("", nodes)
	for _, p := range []Program{Monitor, Agent, Control} {
		_, errs := build(p, file, plain, nil, false)
		all = append(all, errs...)
	}
	return all
}

// statements are the nodes of a section without comments, includes and variables that name a file with a secret or with
// certificates: such a file need not be on this machine.
func statements(section string, nodes []node) []node {
	var plain []node
	for _, n := range nodes {
		r, _ := variableRule(section, n.key)
		if n.kind == sectionNode || n.kind == variableNode && !r.kind.elsewhere() {
			n.body = statements(n.key, n.body)
			plain = append(plain, n)
		}
	}
	return plain
}

// lastOnly leaves out variables that are set again in the same section of the file: HCL allows each only once. Sections
// with includes are split around them, as an include in a section is read at the top level.
func lastOnly(nodes []node) []node {
	var out []node
	for i, n := range nodes {
		again := func(later node) bool { return later.kind == variableNode && later.key == n.key }
		switch {
		case n.kind == variableNode && slices.ContainsFunc(nodes[i+1:], again):
		case n.kind == sectionNode:
			out = append(out, apart(n)...)
		default:
			out = append(out, n)
		}
	}
	return out
}

func apart(section node) []node {
	var out []node
	part := section
	part.body = nil
	for _, n := range lastOnly(section.body) {
		if n.kind == includeNode {
			out = append(out, part, n)
			part.body, part.note = nil, ""
			continue
		}
		part.body = append(part.body, n)
	}
	return append(out, part)
}

// renameIncludes gives includes the names of converted files.
func renameIncludes(nodes []node, to notation, names *[]string) []node {
	from, suffix := classicSuffix, hclSuffix
	if to == classicNotation {
		from, suffix = hclSuffix, classicSuffix
	}
	out := slices.Clone(nodes)
	for i, n := range out {
		if n.kind != includeNode || strings.HasSuffix(n.value, suffix) {
			continue
		}
		*names = append(*names, n.value)
		out[i].value = strings.TrimSuffix(n.value, from) + suffix
	}
	return out
}

// sameStatements reads back the converted text. It must say what the file said, to the letter of every password.
func sameStatements(meant []node, text string, as notation) error {
	file := "converted" + classicSuffix
	if as == hclNotation {
		file = "converted" + hclSuffix
	}
	nodes, errs := parseWithComments(file, []byte(text))
	if len(errs) > 0 {
		return fmt.Errorf("can't be converted: what comes out is no configuration: %w", errs)
	}
	want, lines := meanings(meant)
	got, _ := meanings(nodes)
	for i, m := range want {
		if i >= len(got) || !reflect.DeepEqual(m, got[i]) {
			return fmt.Errorf("line %d can't be written in the other syntax", lines[i])
		}
	}
	if len(got) > len(want) {
		return errors.New("can't be converted: something would be added")
	}
	return nil
}

// meaning is what a statement says, however it is written.
type meaning struct {
	section, key string
	value        any
}

// meanings gives what the statements say, and the line of each.
func meanings(nodes []node) (all []meaning, lines []int) {
	add := func(n node, m meaning) { all, lines = append(all, m), append(lines, n.at.line) }
	for _, n := range nodes {
		switch n.kind {
		case sectionNode:
			label := n.key + " " + n.value
			add(n, meaning{section: label})
			for _, v := range n.body {
				if v.kind == variableNode {
					add(v, meaning{label, v.key, valueOf(n.key, v)})
				}
			}
		case variableNode:
			add(n, meaning{key: n.key, value: valueOf("", n)})
		case includeNode:
			add(n, meaning{key: includeWord, value: n.value})
		case commentNode:
		}
	}
	return all, lines
}

// valueOf is a variable's value, or its text where the text gives no value, as with a variable that nobody reads.
func valueOf(section string, n node) any {
	if n.fault != nil {
		return n.fault
	}
	r, ok := variableRule(section, n.key)
	if !ok || r.kind == ignoredKind || r.kind.elsewhere() {
		return n.value
	}
	v, err := r.interpret(n.value)
	if err != nil {
		return n.value
	}
	return v
}

func variableRule(section, name string) (rule, bool) {
	for _, s := range ruleset() {
		if s.typ == section {
			return s.variable(name)
		}
	}
	return rule{}, false
}
