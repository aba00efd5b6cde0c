// Mmm_mond is the monitor: it checks the hosts, decides who holds which role, and tells the agents.
package main

import (
	"log/slog"
	"os"

	"mysql-mmm/pkg/app"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
)

var version = "dev" // set by the linker

func main() {
	os.Exit(daemon.Main(daemon.Program{Name: "mmm_mond", Version: version, Load: load}, os.Args[1:], os.Stdout,
		os.Stderr))
}

func load(inv daemon.Invocation) (daemon.Settings, error) {
	read := func() (*config.Config, error) {
		return config.Load(config.Monitor, config.Source{Cluster: inv.Cluster, File: inv.ConfigFile,
			Dir: inv.ConfigDir})
	}
	c, err := read()
	if err != nil {
		return daemon.Settings{}, err
	}
	build := func(log *slog.Logger) (daemon.Service, error) {
		log.Info("STARTING...")
		return app.NewCluster(app.Options{Config: c, Read: read, Name: inv.Cluster, Version: version, Log: log})
	}
	return daemon.Settings{PIDFile: c.Monitor.PIDPath, Debug: c.Debug, Log: daemon.LogStyle(c.Log),
		Warnings: c.Warnings.Texts(), Build: build}, nil
}
