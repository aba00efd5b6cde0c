// Mmm_agentd is the agent: it makes its host what the monitor orders.
package main

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"mysql-mmm/pkg/app"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
)

var version = "dev" // set by the linker

func main() {
	// An agent does little at a time, and often: a second processor would bring less than it costs to wake that one up.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	// An agent makes little garbage, and shares its machine with a database server: there the memory is worth more than
	// the time of the garbage collector.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	os.Exit(daemon.Main(daemon.Program{Name: "mmm_agentd", Version: version, Load: load}, os.Args[1:], os.Stdout,
		os.Stderr))
}

func load(inv daemon.Invocation) (daemon.Settings, error) {
	read := func() (*config.Config, error) {
		return config.Load(config.Agent, config.Source{Cluster: inv.Cluster, File: inv.ConfigFile, Dir: inv.ConfigDir})
	}
	c, err := read()
	if err != nil {
		return daemon.Settings{}, err
	}
	build := func(log *slog.Logger) (daemon.Service, error) {
		log.Info("STARTING...")
		daemon.KeepResponsive(log)
		return app.NewAgent(app.Options{Config: c, Read: read, Name: inv.Cluster, Version: version, Log: log})
	}
	return daemon.Settings{PIDFile: c.Local().PIDPath, Debug: c.Debug, Log: daemon.LogStyle(c.Log),
		Warnings: c.Warnings.Texts(), Build: build}, nil
}
