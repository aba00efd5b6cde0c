package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// Program is what the two daemons do alike: arguments, configtest, log, background, pid file, tasks.
type Program struct {
	Name    string
	Version string
	// Load reads the configuration; its error has everything that is wrong, a line each.
	Load func(inv Invocation) (Settings, error)
}

// Settings is what a configuration says of the process itself.
type Settings struct {
	PIDFile string
	Debug   bool
	// Tasks makes what runs. It opens what can fail, such as listeners, and starts nothing.
	Tasks func(log *slog.Logger) ([]Task, error)
}

// Main runs the program and returns its exit status.
func (p Program) Main(args []string, stdout, stderr io.Writer) int {
	inv, err := ParseArgs(p.Name, args)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if inv.Version {
		fmt.Fprintf(stdout, "%s %s\n", p.Name, p.Version)
		return 0
	}
	set, err := p.Load(inv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		Started(err)
		if InWorker() {
			return ExitRefused
		}
		return 1
	}
	if inv.ConfigTest {
		fmt.Fprintln(stdout, "OK")
		return 0
	}
	if inv.PIDFile == "" {
		inv.PIDFile = set.PIDFile
	}
	foreground := inv.Foreground || set.Debug
	openLog := func() (*LogFile, *slog.Logger, error) { return logger(inv, set, foreground, stdout) }
	if !foreground {
		if done, status := Background(p.Name, inv.PIDFile, func() (*slog.Logger, error) { _, log, err := openLog(); return log, err }); done {
			return status
		}
	}
	file, log, err := openLog()
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		Started(err)
		return 1
	}
	log.Info("STARTING...")
	if err := p.run(inv, set, file, log); err != nil {
		Started(err)
		var second *SecondCopyError
		if !errors.As(err, &second) {
			err = fmt.Errorf("%s: %w", p.Name, err)
		}
		log.Log(context.Background(), LevelFatal, err.Error())
		if !foreground {
			return 1
		}
		fmt.Fprintln(stderr, err)
		return 1
	}
	log.Info("END")
	return 0
}

func (p Program) run(inv Invocation, set Settings, file *LogFile, log *slog.Logger) error {
	if !InWorker() {
		pid, err := TakePIDFile(inv.PIDFile, p.Name)
		if err != nil {
			return err
		}
		defer pid.Release()
		if pid.Stale {
			log.Warn("Unclean start - found stale pid file!")
		}
	}
	tasks, err := set.Tasks(log)
	if err != nil {
		return err
	}
	Started(nil)
	defer Stopping()
	return Run(context.Background(), log, file.Reopen, tasks...)
}

func logger(inv Invocation, set Settings, foreground bool, stdout io.Writer) (*LogFile, *slog.Logger, error) {
	level := slog.LevelInfo
	if set.Debug {
		level = slog.LevelDebug
	}
	var also io.Writer
	if foreground {
		also = stdout
	}
	file, err := OpenLog(inv.LogFile, also)
	if err != nil {
		return nil, nil, err
	}
	return file, slog.New(NewHandler(file, level)), nil
}

// ExitWith ends the process with Main's status. It stands here so that each main is one line.
func ExitWith(p Program) { os.Exit(p.Main(os.Args[1:], os.Stdout, os.Stderr)) }
