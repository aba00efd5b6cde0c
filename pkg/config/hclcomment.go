package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// comment is a comment or an empty line of an HCL file. The library's tree has neither.
type comment struct {
	node   node
	behind bool // something else stands before it in its line
}

// comments finds the comments and empty lines of the text.
func (p *hclParser) comments(text []byte) {
	tokens, _ := hclsyntax.LexConfig(text, p.file, hcl.InitialPos) // it has been parsed without problems
	fresh := true                                                  // nothing stands in this line yet
	for _, t := range tokens {
		switch {
		case t.Type == hclsyntax.TokenComment:
			at := p.at(t.Range)
			for line := range strings.Lines(string(t.Bytes)) {
				p.rest = append(p.rest, comment{node{kind: commentNode, at: at, value: classicComment(line)}, !fresh})
				at.line++
			}
			fresh = strings.HasSuffix(string(t.Bytes), "\n")
		case t.Type == hclsyntax.TokenNewline && fresh:
			p.rest = append(p.rest, comment{node{kind: commentNode, at: p.at(t.Range)}, false})
		default:
			fresh = t.Type == hclsyntax.TokenNewline
		}
	}
}

// classicComment turns a line of a comment into a comment that begins with #.
func classicComment(line string) string {
	line = strings.Trim(line, blanks+"\n")
	for _, mark := range []string{"#", "//", "/*", "*/", "*"} {
		if rest, ok := strings.CutPrefix(line, mark); ok {
			line = rest
			break
		}
	}
	return strings.TrimRight("#"+strings.TrimSuffix(line, "*/"), blanks)
}

// place puts the comments that stand in the range, or all comments, among the nodes.
func (p *hclParser) place(nodes []node, within hcl.Range, all bool) []node {
	for i := range nodes {
		if nodes[i].kind != sectionNode {
			nodes[i].note = p.takeNote(nodes[i].at.line)
		}
	}
	p.rest = slices.DeleteFunc(p.rest, func(c comment) bool {
		inside := all || c.node.at.line >= within.Start.Line && c.node.at.line <= within.End.Line
		if inside {
			nodes = append(nodes, c.node)
		}
		return inside
	})
	return nodes
}

// takeNote gives the comment that stands behind a statement in this line, and takes it out of p.rest.
func (p *hclParser) takeNote(line int) string {
	i := slices.IndexFunc(p.rest, func(c comment) bool { return c.behind && c.node.at.line == line })
	if i < 0 {
		return ""
	}
	note := p.rest[i].node.value
	p.rest = slices.Delete(p.rest, i, i+1)
	return note
}
