package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Invocation is how a daemon was called.
type Invocation struct {
	Name       string // of the program
	Cluster    string // from @CLUSTER
	ConfigFile string
	ConfigDir  string
	LogFile    string
	PIDFile    string // "" for the configured one
	Foreground bool
	Version    bool
	ConfigTest bool
}

// ParseArgs reads `[@CLUSTER] [OPTIONS] [configtest]`, in any order. The error is what the caller prints, with the usage.
func ParseArgs(name string, args []string) (Invocation, error) {
	inv := Invocation{Name: name}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&inv.ConfigFile, "config", "", "read this configuration `file` instead of looking one up")
	flags.StringVar(&inv.ConfigDir, "config-dir", "", "look configuration files up in this `folder` only")
	flags.StringVar(&inv.LogFile, "log-file", "", "write the log to this `file`")
	flags.StringVar(&inv.PIDFile, "pid-file", "", "write the process id to this `file`")
	flags.BoolVar(&inv.Foreground, "foreground", false, "stay in the foreground and log to standard output as well")
	flags.BoolVar(&inv.Version, "version", false, "print the version and end")
	usage := func(err error) error {
		var b strings.Builder
		fmt.Fprintf(&b, "usage: %s [@CLUSTER] [OPTIONS] [configtest]\n", name)
		flags.SetOutput(&b)
		flags.PrintDefaults()
		if err == nil || errors.Is(err, flag.ErrHelp) {
			return errors.New(b.String())
		}
		return fmt.Errorf("%s: %w\n%s", name, err, b.String())
	}
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return inv, usage(err)
		}
		if args = flags.Args(); len(args) == 0 {
			break
		}
		word := args[0]
		args = args[1:]
		cluster, isCluster := strings.CutPrefix(word, "@")
		switch {
		case isCluster && cluster != "" && inv.Cluster == "":
			inv.Cluster = cluster
		case word == "configtest":
			inv.ConfigTest = true
		default:
			return inv, usage(fmt.Errorf("unknown argument '%s'", word))
		}
	}
	if inv.LogFile == "" {
		inv.LogFile = "/var/log/mysql-mmm/" + name + ".log"
		if inv.Cluster != "" {
			inv.LogFile = "/var/log/mysql-mmm/" + name + "_" + inv.Cluster + ".log"
		}
	}
	return inv, nil
}
