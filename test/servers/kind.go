// Package servers knows the database servers that tests run on: where they are, how they are initialised and started,
// and what differs in their words. The lab and the unit tests start their servers with it; it runs nothing by itself.
package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// folderVariable names the folder that test/servers/fetch has filled.
const folderVariable = "MMM_SERVERS"

// alsoVariable lists more servers to test on, with spaces between them.
const alsoVariable = "MMM_ALSO"

// Tested returns the names of the kinds of servers for tests that run on each of them: the installed MariaDB (""),
// MySQL, and what MMM_ALSO names.
func Tested() []string {
	return append([]string{"", "mysql-9.7"}, strings.Fields(os.Getenv(alsoVariable))...)
}

// Kind is one make and version of a server.
type Kind struct {
	Name  string // as test/servers/fetch calls it; "" is the MariaDB that is installed
	MySQL bool   // else MariaDB
	tree  string // where it is unpacked; "" where it is installed
}

// Find returns the kind of that name. It is an error where a server that has to be fetched is not there.
func Find(name string) (Kind, error) {
	k := Kind{Name: name, MySQL: strings.HasPrefix(name, "mysql-")}
	if name == "" {
		return k, nil
	}
	folder := os.Getenv(folderVariable)
	if folder == "" {
		return k, fmt.Errorf("find %s: %s must name the folder of the servers (make servers; make test sets it)", name,
			folderVariable)
	}
	k.tree = filepath.Join(folder, name)
	if _, err := os.Stat(filepath.Join(k.tree, "version")); err != nil {
		return k, fmt.Errorf("find %s: %w (make servers fetches it)", name, err)
	}
	return k, nil
}

// String is the kind's name; "mariadb" is the MariaDB that is installed.
func (k Kind) String() string {
	if k.Name == "" {
		return "mariadb"
	}
	return k.Name
}

// program is the beginning of the server's command line, up to the first argument that differs from server to server. A
// fetched server runs under the loader, and with the libraries, of its own tree.
func (k Kind) program() ([]string, error) {
	if k.tree == "" {
		return []string{"mariadbd", "--no-defaults"}, nil
	}
	usr := filepath.Join(k.tree, "usr")
	loader, err := k.first("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/ld-2*.so")
	if err != nil {
		return nil, err
	}
	server, err := k.first("usr/sbin/mariadbd", "usr/sbin/mysqld")
	if err != nil {
		return nil, err
	}
	share, err := k.share()
	if err != nil {
		return nil, err
	}
	return []string{loader, "--library-path", filepath.Join(usr, "lib/x86_64-linux-gnu") + ":" +
		filepath.Join(k.tree, "lib/x86_64-linux-gnu"), server,
		"--no-defaults", "--basedir=" + usr, "--lc-messages-dir=" + share, "--character-sets-dir=" +
			filepath.Join(share, "charsets"),
		"--plugin-dir=" + filepath.Join(usr, "lib/mysql/plugin")}, nil
}

func (k Kind) share() (string, error) { return k.first("usr/share/mariadb", "usr/share/mysql") }

// first finds the first file of the tree that one of the patterns matches.
func (k Kind) first(patterns ...string) (string, error) {
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(k.tree, p))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("%s has no %s", k.tree, strings.Join(patterns, " and no "))
}
