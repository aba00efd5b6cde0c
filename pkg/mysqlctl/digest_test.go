package mysqlctl

import (
	"slices"
	"strings"
	"testing"
)

// TestDigest: the digest of a statement tells which statement it is, and shows none of its values.
func TestDigest(t *testing.T) {
	for sql, want := range map[string]string{
		"UPDATE app.t SET v=v+1+SLEEP(0.01)":                "UPDATE app.t SET v=v+?+SLEEP(?.?)",
		"INSERT INTO `a b`.t2 (id, v2) VALUES (7,'SECRET')": "INSERT INTO `a b`.t2 (id, v2) VALUES (?,?)",
		"SET  PASSWORD\n= \"SECRET\"":                       "SET PASSWORD = ?",
		"SELECT 'it''s SECRET', 2":                          "SELECT ??, ?",
		`SELECT 'a\', 'SECRET'`:                             "SELECT ?",
		"SELECT x'5EC8E7', _utf8'SECRET', 0x5EC8E7":         "SELECT x?, _utf8?, ?",
		"SELECT 'SECRET":                                    "SELECT ?",
		"SELECT 1 /* it's SECRET */ + 2 -- SECRET\n+ 3":     "SELECT ? + ? + ?",
		"SELECT 5--'SECRET'":                                "SELECT ?--?",
		"DELETE # 'SECRET\nFROM t":                          "DELETE FROM t",
		"/* SECRET":                                         "",
		"CREATE FUNCTION f() LANGUAGE JS AS $$SECRET$$":     "CREATE FUNCTION f() LANGUAGE JS AS ?",
		"SELECT 'é', \"日本SECRET\", é":                       "SELECT ?, ?, é",
		"":                                                  "",
		strings.Repeat("x", 61):                             strings.Repeat("x", 60) + "…",
	} {
		if got := digest(sql); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}

// FuzzDigest: no quoted value is ever shown, and the digest is short.
func FuzzDigest(f *testing.F) {
	for _, before := range []string{"", "SELECT ", "a'b", "/*", `'\`, "-- ", "#", "`", `"`, "$$", "x'\n"} {
		f.Add(before, "z")
	}
	f.Fuzz(func(t *testing.T, sql, after string) {
		if got := []rune(digest(sql + after)); len(got) > digestLength+1 {
			t.Errorf("%d characters", len(got))
		}
		if strings.ContainsAny(sql, "'\"`#/-\\$") {
			return // where a literal begins depends on that
		}
		got := digest(sql + " 'SECRET' " + after)
		if strings.Contains(got, "SECRET") && !strings.Contains(sql+after, "SECRET") {
			t.Errorf("%q shows it: %q", sql, got)
		}
	})
}

// TestInTheWay: statements that write come first, in each kind the longest first, killed ones that still roll back too.
// Connections that are idle, or are no client's, are not named.
func TestInTheWay(t *testing.T) {
	list := []process{
		{id: 1, user: "app", command: "Query", seconds: "900", statement: "SELECT ? FROM t"},
		{id: 2, user: "app", command: "Query", seconds: "7", statement: "UPDATE t SET v=?"},
		{id: 3, user: "app", command: "Killed", seconds: "12", statement: "DELETE FROM t"},
		{id: 4, user: "app", command: "Sleep", seconds: "1000"},
		{id: 5, user: "system user", command: "Connect", seconds: "5000"},
		{id: 6, user: "mmm_agent", command: "Query", seconds: "5000", statement: "SET GLOBAL read_only=?"},
	}
	var ids []uint64
	for _, p := range inTheWay(list, map[uint64]bool{6: true}) {
		ids = append(ids, p.id)
	}
	if !slices.Equal(ids, []uint64{3, 2, 1}) {
		t.Errorf("in the way: %v", ids)
	}
	if got, want := list[1].String(), "2 (app, Query for 7 s: ) UPDATE t SET v=?"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
