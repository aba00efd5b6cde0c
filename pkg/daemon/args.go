package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Invocation is what the arguments of a daemon say.
type Invocation struct {
	Cluster    string // of @CLUSTER; "" where there is one cluster only
	ConfigFile string // absolute, as are the next three; "" where not given
	ConfigDir  string
	LogFile    string
	PIDFile    string
	Foreground bool // stay in the foreground, and log to stdout too
	Version    bool // print the version and end
	ConfigTest bool // check the configuration and end
}

// Usage is the text for --help and for wrong arguments.
func Usage(name string) string {
	return "Usage: " + name + ` [@CLUSTER] [OPTION…] [configtest]

    @CLUSTER           read the configuration of this cluster
    configtest         check the configuration and end

    --config FILE      read this file
    --config-dir DIR   look for the configuration in this folder
    --foreground       stay in the foreground, log to stdout too
    --log-file FILE    log to this file
    --pid-file FILE    write the process id to this file
    --version          print the version and end
    --help, -h         print this text and end
`
}

// ParseArgs reads the arguments of a daemon, options and words in any order. The error is flag.ErrHelp where --help is
// among them.
func ParseArgs(args []string) (Invocation, error) {
	var inv Invocation
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard) // the caller prints errors and usage
	set.Usage = func() {}
	set.StringVar(&inv.ConfigFile, "config", "", "")
	set.StringVar(&inv.ConfigDir, "config-dir", "", "")
	set.StringVar(&inv.LogFile, "log-file", "", "")
	set.StringVar(&inv.PIDFile, "pid-file", "", "")
	set.BoolVar(&inv.Foreground, "foreground", false, "")
	set.BoolVar(&inv.Version, "version", false, "")
	for {
		// Parse stops at the first word.
		if err := set.Parse(args); err != nil {
			return Invocation{}, asTyped(err)
		}
		if set.NArg() == 0 {
			break
		}
		if err := inv.word(set.Arg(0)); err != nil {
			return Invocation{}, err
		}
		args = set.Args()[1:]
	}
	// The background has another working directory.
	for _, file := range []*string{&inv.ConfigFile, &inv.ConfigDir, &inv.LogFile, &inv.PIDFile} {
		if *file == "" {
			continue
		}
		abs, err := filepath.Abs(*file)
		if err != nil {
			return Invocation{}, fmt.Errorf("find %s: %w", *file, err)
		}
		*file = abs
	}
	return inv, nil
}

// asTyped names an option as people write it. The errors of package flag have one hyphen only.
func asTyped(err error) error {
	if name, found := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); found {
		if len(name) > 1 {
			name = "-" + name
		}
		return fmt.Errorf("unknown option -%s", name)
	}
	if name, found := strings.CutPrefix(err.Error(), "flag needs an argument: -"); found {
		return fmt.Errorf("--%s needs a value", name)
	}
	return err
}

func (inv *Invocation) word(w string) error {
	cluster, isCluster := strings.CutPrefix(w, "@")
	switch {
	case w == "configtest":
		inv.ConfigTest = true
	case !isCluster:
		return fmt.Errorf("unknown argument %q", w)
	case cluster == "" || strings.ContainsAny(cluster, "/\x00"):
		return fmt.Errorf("%q is no cluster name", cluster) // it becomes part of file names
	case inv.Cluster != "" && inv.Cluster != cluster:
		return errors.New("more than one cluster")
	default:
		inv.Cluster = cluster
	}
	return nil
}

// Args gives the arguments from which ParseArgs makes inv.
func (inv Invocation) Args() []string {
	var args []string
	if inv.Cluster != "" {
		args = append(args, "@"+inv.Cluster)
	}
	for _, o := range []struct{ name, value string }{
		{"--config", inv.ConfigFile}, {"--config-dir", inv.ConfigDir}, {"--log-file", inv.LogFile},
		{"--pid-file", inv.PIDFile},
	} {
		if o.value != "" {
			args = append(args, o.name, o.value)
		}
	}
	for _, o := range []struct {
		name string
		set  bool
	}{{"--foreground", inv.Foreground}, {"--version", inv.Version}, {"configtest", inv.ConfigTest}} {
		if o.set {
			args = append(args, o.name)
		}
	}
	return args
}

// LogPath is where the program called name logs for this invocation.
func (inv Invocation) LogPath(name string) string {
	if inv.LogFile != "" {
		return inv.LogFile
	}
	if inv.Cluster != "" {
		name += "_" + inv.Cluster
	}
	return filepath.Join("/var/log/mysql-mmm", name+".log")
}
