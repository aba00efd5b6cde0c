package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"blank lines and comments", "\n \t \n# a\n   # b\n", ""},
		{"variable", "this db1", "1 this=db1\n"},
		{"blanks around", " \t this \t db1 \t ", "1 this=db1\n"},
		{"value with blanks inside", "iptables_block_cmd iptables -I INPUT  -j DROP ",
			"1 iptables_block_cmd=iptables -I INPUT  -j DROP\n"},
		{"unknown names are the rules' business", "foo bar", "1 foo=bar\n"},
		{"trailing comment", "this db2 # me", "1 this=db2\n"},
		{"trailing comment after a tab", "this db2\t#me", "1 this=db2\n"},
		{"several signs", "this db2  ## ⁄ 현재 (db1,db2,db3 ..)", "1 this=db2\n"},
		{"chinese comment", "peer MySQL-M2 #MySQL-M2 服务器主机名", "1 peer=MySQL-M2\n"},
		{"comment that is not UTF-8", "peer db2 # \xb8\xb4\xd6\xc6", "1 peer=db2\n"},
		{"value that is not UTF-8", "agent_password \xb8\xb4", "1 agent_password=\xb8\xb4\n"},
		{"sign within a value", "agent_password a#b##c", "1 agent_password=a#b##c\n"},
		{"escaped sign", `agent_password \#a \# b\#`, "1 agent_password=#a # b#\n"},
		{"other backslashes stay", `agent_password a\b\\`, "1 agent_password=a\\b\\\\\n"},
		{"only the last backslash escapes", `agent_password \\#`, "1 agent_password=\\#\n"},
		{"value that is only a comment", "peer # who?", "1 peer=\n"},
		{"no value", "peer", "1 peer=\n"},
		{"CRLF", "this db1\r\n<monitor>\r\n ip 192.0.2.1\r\n</monitor>\r\n",
			"1 this=db1\n2 <monitor >\n3 ip=192.0.2.1\n</monitor>\n"},
		{"byte order mark", "\xef\xbb\xbfthis db1", "1 this=db1\n"},
		{"unique section", "<monitor>\nport 1\n</monitor>\nthis x", "1 <monitor >\n2 port=1\n</monitor>\n4 this=x\n"},
		{"named section", "<host db-1_A.example.com>\nip 1\n</host>", "1 <host db-1_A.example.com>\n2 ip=1\n</host>\n"},
		{"empty sections", "<monitor/>\n<host db1/>\n<host db2 />",
			"1 <monitor >\n</monitor>\n2 <host db1>\n</host>\n3 <host db2>\n</host>\n"},
		{"blanks in tags", " < host  db1 > \n </ host > ", "1 <host db1>\n</host>\n"},
		{"comments after tags", "<host db1> # one\n</host> # end", "1 <host db1>\n</host>\n"},
		{"the same section twice", "<host a/>\n<host a/>", "1 <host a>\n</host>\n2 <host a>\n</host>\n"},
		{"include", "include mmm_common.conf # shared", "1 include mmm_common.conf\n"},
		{"include in a section", "<monitor>\ninclude x\n</monitor>", "1 <monitor >\n2 include x\n</monitor>\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes, errs := parse("f.conf", []byte(tt.text))
			if len(errs) > 0 {
				t.Fatalf("errors:\n%v", errs)
			}
			if got := dump(nodes); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"equals sign", "agent_password=secret",
			"f.conf:1: no '=' between name and value; write: agent_password VALUE"},
		{"none of these", "[mysqld]\n= secret",
			"f.conf:1: this line is no variable (NAME VALUE), no section (<TYPE>, <TYPE NAME>), no include and no comment\n" +
				"f.conf:2: this line is no variable (NAME VALUE), no section (<TYPE>, <TYPE NAME>), no include and no comment"},
		{"no-break space", "mode\u00a0master",
			"f.conf:1: a space that is no blank (a no-break space, as web pages and word processors have); this mends it: " +
				`sed -i 's/\xc2\xa0/ /g; s/\xe3\x80\x80/ /g; s/\xe2\x80\x8b//g' f.conf`},
		{"include without name", "include # what?", "f.conf:1: include lacks the name of a file"},
		{"include of two", "include a b", "f.conf:1: include takes one file name, without blanks"},
		{"tag without end", "<host db1", "f.conf:1: a section tag must end in '>': <TYPE>, <TYPE NAME> or </TYPE>"},
		{"tag without words", "<>", "f.conf:1: malformed section tag; write <TYPE> or <TYPE NAME>"},
		{"tag of three words", "<host a b>", "f.conf:1: malformed section tag; write <TYPE> or <TYPE NAME>"},
		{"closing tag without words", "</>", "f.conf:1: malformed closing tag; write </TYPE>"},
		{"bad name", "<host db/1>\n</host>",
			`f.conf:1: section name "db/1": only letters, digits, '_', '-' and '.' can be used`},
		{"never closed", "\n<host db1>\nip x", "f.conf:2: section <host db1> is never closed; add </host>"},
		{"closed by another", "<host db1>\n</role>",
			"f.conf:2: closing tag </role> does not match <host db1>, opened on line 1; write </host>"},
		{"nothing to close", "</host>", "f.conf:1: closing tag </host>, but no section is open"},
		{"closing tag with name", "<host db1>\n</host db1>", "f.conf:2: a closing tag takes no name; write </host>"},
		{"nested", "<monitor>\n<host db1>\n</host>\n</monitor>",
			"f.conf:1: section <monitor> is not closed before <host db1> begins on line 2; sections can't be nested: add </monitor>"},
		{"forgotten closing tag", "<host db1>\n<host db2>\n</host>\n</role>",
			"f.conf:1: section <host db1> is not closed before <host db2> begins on line 2; sections can't be nested: add </host>\n" +
				"f.conf:4: closing tag </role>, but no section is open"},
		{"UTF-16", "\xff\xfet\x00h\x00",
			"f.conf:1: a NUL byte: this is no plain text (UTF-16 perhaps); save it as UTF-8"},
		{"all at once", "include\n<a b c>\n</d>", "f.conf:1: include lacks the name of a file\n" +
			"f.conf:2: malformed section tag; write <TYPE> or <TYPE NAME>\nf.conf:3: closing tag </d>, but no section is open"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, errs := parse("f.conf", []byte(tt.text)); errs.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", errs, tt.want)
			}
		})
	}
}

func TestUncomment(t *testing.T) {
	for text, want := range map[string]string{"": "", "#": "", "# a": "", `\#`: "#", "a": "a", " a #": "a",
		"a# b": "a# b", "a\v#b": "a", `\`: `\`} {
		if got := uncomment(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The statements around one that can't be understood are read.
func TestParseGoesOn(t *testing.T) {
	nodes, errs := parse("f.conf", []byte("a=1\n<host db1>\nip x\n<host db2>\nip y\n</role>\nthis z"))
	want := "2 <host db1>\n3 ip=x\n</host>\n4 <host db2>\n5 ip=y\n</host>\n7 this=z\n"
	if got := dump(nodes); got != want || len(errs) != 3 {
		t.Errorf("got\n%s\nerrors\n%v", got, errs)
	}
}

// FuzzParse: nothing panics, every error has a line of the file, and what was understood can be written and read again.
// build is run on the tree too: it may panic for none.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.conf")
	if err != nil || len(files) == 0 {
		f.Fatalf("seeds: %v, %v", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("<host a>\n<role b>\n</host>\n</host>\n\\# \\#\n<x/>\n</ y>\ninclude z\r\na=b\n"))
	f.Add([]byte("<r //   >"))
	f.Add([]byte(valid))
	f.Fuzz(func(t *testing.T, text []byte) {
		nodes, errs := parse("f.conf", text)
		checkLines(t, errs, text)
		// A section with a bad name is kept in the tree, and can't be written.
		badName := func(e *Error) bool { return strings.HasPrefix(e.Msg, "section name ") }
		if !slices.ContainsFunc(errs, badName) {
			again, errs := parse("f.conf", []byte(print(nodes)))
			if len(errs) > 0 {
				t.Fatalf("parse what was printed: %v", errs)
			}
			if got, want := strip(again), strip(nodes); !reflect.DeepEqual(got, want) {
				t.Fatalf("printed and parsed again:\n%s\nwas\n%s", dump(again), dump(nodes))
			}
		}
		for _, p := range []Program{Monitor, Agent, Control} {
			c, errs := build(p, "f.conf", withoutIncludes(nodes), nil, true)
			if (c == nil) != (len(errs) > 0) {
				t.Fatalf("config %v, errors %v", c, errs)
			}
			checkLines(t, errs, text)
		}
	})
}

func checkLines(t *testing.T, errs Errors, text []byte) {
	t.Helper()
	for _, e := range errs {
		if e.File != "f.conf" || e.Line < 1 || e.Line > 1+bytes.Count(text, []byte("\n")) || e.Msg == "" ||
			strings.Contains(e.Msg, "\n") {
			t.Fatalf("bad error: %+v", e)
		}
	}
}

// dump shows a tree with its lines.
func dump(nodes []node) string {
	var b strings.Builder
	for _, n := range nodes {
		switch n.kind {
		case variableNode:
			fmt.Fprintf(&b, "%d %s=%s\n", n.at.line, n.key, n.value)
		case includeNode:
			fmt.Fprintf(&b, "%d include %s\n", n.at.line, n.value)
		case sectionNode:
			fmt.Fprintf(&b, "%d <%s %s>\n%s</%s>\n", n.at.line, n.key, n.value, dump(n.body), n.key)
		case commentNode:
		}
	}
	return b.String()
}

// print writes a tree in the classic format.
func print(nodes []node) string {
	var b strings.Builder
	for _, n := range nodes {
		value := strings.ReplaceAll(n.value, "#", `\#`)
		switch n.kind {
		case variableNode:
			fmt.Fprintf(&b, "%s %s\n", n.key, value)
		case includeNode:
			fmt.Fprintf(&b, "include %s\n", value)
		case sectionNode:
			fmt.Fprintf(&b, "<%s %s>\n%s</%s>\n", n.key, value, print(n.body), n.key)
		case commentNode:
		}
	}
	return b.String()
}

func strip(nodes []node) []node {
	var out []node
	for _, n := range nodes {
		n.at, n.body = pos{}, strip(n.body)
		out = append(out, n)
	}
	return out
}

func withoutIncludes(nodes []node) []node {
	var out []node
	for _, n := range nodes {
		if n.kind != includeNode {
			n.body = withoutIncludes(n.body)
			out = append(out, n)
		}
	}
	return out
}
