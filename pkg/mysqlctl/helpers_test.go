package mysqlctl

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
	"mysql-mmm/test/servers"
)

const password = "ag'e\\nt-\"s3cret"

// TestMain looks for leaks as goleak.VerifyTestMain does, except for the two goroutines that the driver leaves behind
// when it panics in TestBrokenServers, "greets with nothing".
func TestMain(m *testing.M) {
	const watcher = "github.com/go-sql-driver/mysql.(*mysqlConn).startWatcher.func1"
	code := m.Run()
	if err := goleak.Find(goleak.IgnoreAnyFunction(watcher)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if n := strings.Count(string(stacks), watcher+"()"); n > 2 {
		fmt.Fprintf(os.Stderr, "%d connections were not closed\n", n)
		code = 1
	}
	os.Exit(code)
}

// within gives a context for one call.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// each runs a test on every kind of server, all at the same time.
func each(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range servers.Tested() {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// account makes a user with the rights and returns the Config to log in as that user.
func account(i *mysqltest.Instance, user, rights string) Config {
	i.Exec(fmt.Sprintf("CREATE USER %s@'%%' IDENTIFIED BY '%s'", user,
		strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(password)),
		fmt.Sprintf("GRANT %s ON *.* TO %s@'%%'", rights, user))
	return Config{Addr: i.Addr, User: user, Password: password}
}

// server starts a server and an agent's Server for it.
func server(t *testing.T, opts mysqltest.Options) (*mysqltest.Instance, *Server) {
	t.Helper()
	i := mysqltest.Start(t, opts)
	return i, agent(t, i, "agent")
}

// agent is a Server of a new user with the rights of an agent.
func agent(t *testing.T, i *mysqltest.Instance, user string) *Server {
	t.Helper()
	s := New(account(i, user, i.Kind.AgentRights()))
	t.Cleanup(s.Close)
	return s
}

// eventually polls until ok or fails after half a minute.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
