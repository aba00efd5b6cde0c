package config

import (
	"slices"
	"strconv"
	"strings"
)

// notation is how messages write sections and variables: in the syntax of the file that the message is about.
type notation int

const (
	classicNotation notation = iota
	hclNotation
)

const hclSuffix = ".hcl"

// notationOf goes by the file's suffix, which also decides the syntax in which the file is read.
func notationOf(file string) notation {
	if strings.HasSuffix(file, hclSuffix) {
		return hclNotation
	}
	return classicNotation
}

func (p pos) notation() notation { return notationOf(p.file) }

// section writes a section with its name, "" where it has none.
func (n notation) section(typ, name string) string {
	if n == classicNotation {
		return tag(typ, name)
	}
	if name == "" || secretName(typ) {
		return typ
	}
	return typ + " " + strconv.Quote(name)
}

// any says how a section of this type is written.
func (n notation) any(s sectionRule) string {
	switch {
	case s.typ == "":
		return "the top level"
	case s.named:
		return n.section(s.typ, "NAME")
	}
	return n.section(s.typ, "")
}

// block says how a section of this type begins as a statement.
func (n notation) block(s sectionRule) string {
	if n == hclNotation {
		return n.any(s) + " { ... }"
	}
	return n.any(s)
}

// variable says how a variable is set.
func (n notation) variable(name string) string {
	if n == hclNotation {
		return name + " = VALUE"
	}
	return name + " VALUE"
}

// tag writes a section's opening tag for messages.
func tag(typ, name string) string {
	if name == "" || secretName(typ) {
		return "<" + typ + ">"
	}
	return "<" + typ + " " + name + ">"
}

// quoteName quotes a section's name for messages.
func quoteName(typ, name string) string {
	if secretName(typ) {
		return "of " + tag(typ, name)
	}
	return strconv.Quote(name)
}

// secretName tells whether the name of a section of this type must not be shown. Where the type is none that we know,
// the name may be a password: <agent_password SECRET>.
func secretName(typ string) bool { return meantType(typ) == "" }

// meantType is the type of section that a word was probably meant to be; "" where there is none, and where the word may
// as well be the name of a secret.
func meantType(word string) string {
	types := sectionTypes()
	if slices.Contains(types, word) {
		return word
	}
	if nearest(word, secretNames()) != "" {
		return ""
	}
	return nearest(word, types)
}
