package config

import (
	"slices"
	"strconv"
	"strings"
)

// notation is how messages write sections and variables: as the file does that they are about.
type notation int

const (
	classicNotation notation = iota
	hclNotation
)

const hclSuffix = ".hcl"

// notationOf goes by the file's name, as the choice of the syntax does.
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

// block is any with what makes it a statement.
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

// secretName tells that a section's name must not be shown. Where the type is none that we know, it may be a password:
// <agent_password SECRET>.
func secretName(typ string) bool { return meantType(typ) == "" }

// meantType is the type of section that a word was probably meant to be; "" where it may as well be a secret's name.
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
