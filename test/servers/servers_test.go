package servers

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSQL: statements in MariaDB's words become those of MySQL, and privileges and other names stay.
func TestSQL(t *testing.T) {
	for maria, mysql := range map[string]string{
		"STOP SLAVE SQL_THREAD":                   "STOP REPLICA SQL_THREAD",
		"SHOW SLAVE STATUS":                       "SHOW REPLICA STATUS",
		"SHOW MASTER STATUS":                      "SHOW BINARY LOG STATUS",
		"CHANGE MASTER TO MASTER_DELAY=2":         "CHANGE REPLICATION SOURCE TO SOURCE_DELAY=2",
		"STOP ALL SLAVES":                         "STOP REPLICA",
		"GRANT REPLICATION SLAVE ON *.* TO r":     "GRANT REPLICATION SLAVE ON *.* TO r",
		"GRANT " + mysqlAgent + " ON *.* TO a":    "GRANT " + mysqlAgent + " ON *.* TO a",
		"SELECT variable FROM t WHERE master = 1": "SELECT variable FROM t WHERE master = 1",
	} {
		if got := (Kind{}).SQL(maria); got != maria {
			t.Errorf("MariaDB is told %q for %q", got, maria)
		}
		if got := (Kind{MySQL: true}).SQL(maria); got != mysql {
			t.Errorf("MySQL is told %q, want %q", got, mysql)
		}
	}
}

// TestFolder: what is written is what was read, and holes stay holes.
func TestFolder(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "data")
	sparse := make([]byte, 10*blockSize+7)
	sparse[3*blockSize+5], sparse[10*blockSize+6] = 1, 2
	files := map[string][]byte{"empty": {}, "zeros": make([]byte, 2*blockSize), "sub/sparse": sparse,
		"text": []byte("text")}
	if err := os.Mkdir(filepath.Join(from, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(from, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := read(from)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f["sub/sparse"].blocks); n != 2 {
		t.Errorf("%d blocks are kept of a file with zeros in all but 2", n)
	}
	if err := f.write(to); err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
}

// TestFetchFails: a server that can't be fetched is an error that names it, and nothing is left in the folder.
func TestFetchFails(t *testing.T) {
	deaf := filepath.Join(t.TempDir(), "apt.conf")
	if err := os.WriteFile(deaf,
		[]byte(`Acquire::http::Proxy "http://127.0.0.1:1"; Acquire::https::Proxy "http://127.0.0.1:1";`),
		0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"mysql-4.0": "no such server: mysql-4.0",
		"mysql-9.7": "can't get mysql-9.7 (mysql-server-core of Debian sid)",
	} {
		folder := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "./fetch", folder, name)
		cmd.Env = append(os.Environ(), "APT_CONFIG="+deaf)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "test/servers/fetch: "+want) {
			t.Errorf("%s: %v, says\n%s", name, err, out)
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%s: it leaves %v (%v)", name, left, err)
		}
	}
}
