// Mmm_control is the operator's hand: it sends one command to the monitor and prints the answer.
package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

var version = "dev" // set by the linker

// Exit statuses (control manual, "Wire").
const (
	exitOK          = 0
	exitUnreachable = 1
	exitRefused     = 2   // the monitor answers with an error, or the configuration is wrong
	exitUsage       = 255 // as the original
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	src, words := options(args)
	switch {
	case len(words) == 0:
		fmt.Fprintln(stderr, "See 'mmm_control help' for usage information")
		return exitUsage
	case words[0] == "--version":
		fmt.Fprintf(stdout, "mmm_control %s\n", version)
		return exitOK
	}
	c, err := config.Load(config.Control, src)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitRefused
	}
	answer, err := ask(c, strings.Join(words, " "))
	if err != nil {
		fmt.Fprintln(stdout, "ERROR: Can't connect to monitor daemon!")
		fmt.Fprintln(stderr, err)
		return exitUnreachable
	}
	fmt.Fprintln(stdout, answer)
	if strings.HasPrefix(answer, "ERROR:") || strings.HasPrefix(answer, "Invalid command") {
		return exitRefused
	}
	return exitOK
}

// options takes our own options off; they come before the command. What follows belongs to the command, except that --json may
// stand on either side of it.
func options(args []string) (config.Source, []string) {
	var src config.Source
	json := false
	for len(args) > 0 {
		name, value, inline := strings.Cut(args[0], "=")
		taken := 1
		if !inline && len(args) > 1 {
			value, taken = args[1], 2
		}
		switch cluster, isCluster := strings.CutPrefix(args[0], "@"); {
		case isCluster:
			src.Cluster, taken = cluster, 1
		case name == "--config":
			src.File = value
		case name == "--config-dir":
			src.Dir = value
		case args[0] == "--json":
			json, taken = true, 1
		default:
			if json && !slices.Contains(args, "--json") {
				args = append(slices.Clone(args), "--json")
			}
			return src, args
		}
		args = args[taken:]
	}
	return src, nil
}

func ask(c *config.Config, line string) (string, error) {
	var d wire.Dialer
	if s := c.Socket; s.SSL {
		tls, err := wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile)
		if err != nil {
			return "", err
		}
		d.TLS = tls
	}
	return d.Control(context.Background(), netip.AddrPortFrom(c.Monitor.IP, uint16(c.Monitor.Port)).String(), line)
}
