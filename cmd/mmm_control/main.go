// Command mmm_control sends one command to a monitor and prints its answer (mmm_control(1)).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

// Exit codes. The original ended with 0 after every answer; scripts can now tell a refusal from a success.
const (
	exitOK          = 0
	exitUnreachable = 1
	exitRefused     = 2   // the monitor refused the command, or the configuration or an option is wrong
	exitNoCommand   = 255 // as the original
)

// statusVariable is an environment variable. "classic" brings back the original's exit status: 0 after every answer of
// the monitor.
const statusVariable = "MMM_CONTROL_STATUS"

// answerTimeout bounds a command, from the connection to the end of the answer. The longest commands wait for servers
// to catch up.
const answerTimeout = 5 * time.Minute

// helpTimeout is how long a monitor may take to answer `help`, before this program prints its own help. The monitor is
// asked because an older one, or an original one, has other commands.
const helpTimeout = 2 * time.Second

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, func(src config.Source) (*config.Config, error) {
		return config.Load(config.Control, src)
	}))
}

func run(args []string, stdout, stderr io.Writer, load func(config.Source) (*config.Config, error)) int {
	call, err := parseArgs(args)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "mmm_control: %v\n", err)
		return exitRefused
	case call.version:
		return printVersion(stdout)
	case len(call.words) == 0:
		fmt.Fprintln(stderr, "See 'mmm_control help' for usage information")
		return exitNoCommand
	case call.words[0] == "__complete": // first, as all that follows is only to be completed
		return answerShell(call.words[1:], stdout)
	case asksUsage(call.words):
		fmt.Fprint(stdout, usageOf(call.words[0]))
		return exitOK
	case asksVersion(call.words):
		return printVersion(stdout)
	case call.words[0] == "doctor":
		return examine(call, stdout, stderr)
	case call.words[0] == "config":
		return configure(call.words[1:], stdout, stderr)
	case call.words[0] == "completion":
		return completion(call.words[1:], stdout, stderr)
	}
	dialer := wire.Dialer{}
	conf, err := load(call.source)
	if err == nil && conf.Socket.SSL {
		s := conf.Socket
		dialer.TLS, err = wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile)
	}
	switch {
	case err != nil && call.asksHelp():
		return help(stdout)
	case err != nil:
		fmt.Fprintln(stderr, err)
		return exitRefused
	}
	addr := netip.AddrPortFrom(conf.Monitor.IP, uint16(conf.Monitor.Port)).String()
	switch strings.Join(call.words, " ") {
	case "watch":
		return watch(dialer, addr, stdout)
	case "watch --json":
		return watchJSON(dialer, addr, stdout)
	}
	limit := answerTimeout
	if call.asksHelp() {
		limit = helpTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answer, err := dialer.Control(ctx, addr, strings.Join(call.words, " "))
	if err != nil {
		if call.asksHelp() {
			return help(stdout)
		}
		return unreachable(answer, err, stdout, stderr)
	}
	fmt.Fprintln(stdout, answer)
	refused := strings.HasPrefix(answer, "ERROR:") || strings.HasPrefix(answer, "Invalid command")
	if refused && os.Getenv(statusVariable) != "classic" {
		return exitRefused
	}
	return exitOK
}

func printVersion(stdout io.Writer) int {
	fmt.Fprintf(stdout, "mmm_control %s\n", version)
	return exitOK
}

// help prints the help that a monitor of this version gives. Whoever asks for it may have no configuration yet.
func help(stdout io.Writer) int {
	fmt.Fprintf(stdout, "%s\n", cluster.Help)
	return exitOK
}

// unreachable prints the classic sentence where there was no connection, or else what has come of the answer, and then
// the cause as a comment. The original kept the cause to itself.
func unreachable(answer string, err error, stdout, stderr io.Writer) int {
	if _, ok := errors.AsType[*wire.ConnectError](err); ok {
		answer = "ERROR: Can't connect to monitor daemon!"
	}
	if answer != "" {
		fmt.Fprintln(stdout, answer)
	}
	fmt.Fprintf(stderr, "# %v\n", err)
	return exitUnreachable
}
