package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"
)

// Program is one of the daemons.
type Program struct {
	Name    string // as in its log file, and in "Can't run second copy of NAME"
	Version string

	// Load reads and checks the configuration. Its error is printed as it is.
	Load func(Invocation) (Settings, error)
}

// Settings is what Main needs of a configuration.
type Settings struct {
	PIDFile string // where Invocation.PIDFile is empty
	Debug   bool   // stay in the foreground, log more
	Log     LogStyle

	Warnings []string // about the configuration, for configtest; the program itself logs them

	// Build makes the program and opens its sockets; it starts nothing. When it returns, the start counts as
	// successful.
	Build func(log *slog.Logger) (Service, error)
}

// Main is the whole of a daemon's main function (mmm_mond(8), mmm_agentd(8)); it returns the exit code. SIGTERM, SIGINT
// and SIGQUIT end the program with exit code 0; a second such signal ends it at once. A task that fails ends it with 1.
// SIGHUP reopens the log and reads the configuration again.
//
// The program runs in the foreground, or Main starts a watcher in the background, which starts the program proper and
// starts it again when it dies.
func Main(p Program, args []string, stdout, stderr io.Writer) int {
	// First of all: a SIGHUP during the start must neither be lost nor kill us.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	// Without this, a reader of our stdout that goes away would end us with SIGPIPE. The signal is caught and not
	// ignored, since hooks and commands would inherit that it is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	stage, parent := takeStage()
	inv, err := ParseArgs(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, Usage(p.Name))
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n%s", p.Name, err, Usage(p.Name))
		return 2
	case inv.Version:
		fmt.Fprintf(stdout, "%s %s\n", p.Name, p.Version)
		return 0
	}
	settings, err := p.Load(inv)
	switch {
	case err != nil && stage != stageFirst:
		parent.say(err.Error())
		return exitRefused
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 1
	case inv.ConfigTest:
		fmt.Fprintln(stdout, "OK")
		for _, w := range settings.Warnings {
			fmt.Fprintf(stderr, "# warning: %s\n", w)
		}
		return 0
	}
	if inv.PIDFile != "" {
		settings.PIDFile = inv.PIDFile
	}
	process := process{program: p, inv: inv, settings: settings, parent: parent, hup: hup}
	switch stage {
	case stageWatcher:
		return process.watch()
	case stageWorker:
		return process.work(nil)
	}
	if inv.Foreground || settings.Debug {
		return process.foreground(stdout, stderr)
	}
	return launch(inv, stderr)
}

// process is one of the processes of a daemon: the program in the foreground, the watcher or the worker.
type process struct {
	program  Program
	inv      Invocation
	settings Settings
	parent   parent
	hup      <-chan os.Signal
}

// openLog gives the log of the process. Everything goes to mirror too, unless that is nil.
func (p *process) openLog(mirror io.Writer) (*LogFile, *slog.Logger, error) {
	file, err := OpenLog(p.inv.LogPath(p.program.Name), mirror)
	if err != nil {
		return nil, nil, err
	}
	level := slog.LevelInfo
	if p.settings.Debug {
		level = slog.LevelDebug
	}
	handler := NewHandler(file, level)
	handler.SetStyle(p.settings.Log)
	return file, slog.New(handler), nil
}

// acquire takes the pid file. It logs its error itself.
func (p *process) acquire(log *slog.Logger) (*PIDFile, error) {
	pid, err := AcquirePID(p.settings.PIDFile, p.program.Name)
	if err != nil {
		Fatal(log, err.Error())
		return nil, err
	}
	if pid.Stale {
		log.Warn("Unclean start - found stale pid file!")
	}
	return pid, nil
}

func (p *process) foreground(stdout, stderr io.Writer) int {
	file, log, err := p.openLog(stdout)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer file.Close()
	pid, err := p.acquire(log)
	if err != nil {
		return 1
	}
	code := p.work(stdout)
	if err := pid.Release(); err != nil {
		log.Warn("Can't remove the pid file", "cause", err)
	}
	return code
}

// work runs the program until its end.
func (p *process) work(mirror io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	file, log, err := p.openLog(mirror)
	if err != nil {
		p.parent.say(err.Error())
		return 1
	}
	defer file.Close()
	manager := NewNotifier()
	service, err := p.settings.Build(log)
	if err != nil {
		Fatal(log, err.Error())
		p.parent.say(err.Error())
		return 1
	}
	manager.Ping = service.Ping
	reload := reloader{service: service, asked: make(chan struct{}, 1), manager: manager, log: log}
	p.parent.say(started)
	if err := manager.Send(sd.SdNotifyReady); err != nil {
		log.Warn("Can't tell the service manager that we have started", "cause", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return Run(ctx, log, manager, housekeeper{file, p.hup, log, manager, reload.asked}, reload)
	})
	group.Go(func() error { return service.Run(ctx) })
	if err := group.Wait(); err != nil {
		Fatal(log, err.Error())
		return 1
	}
	return 0
}

// housekeeper reopens the log on SIGHUP and asks for a reload. When the program begins to end, it says so in the log
// and to the service manager.
type housekeeper struct {
	file    *LogFile
	hup     <-chan os.Signal
	log     *slog.Logger
	manager Notifier
	reload  chan<- struct{} // one slot
}

func (h housekeeper) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			h.log.Info("Ending", "cause", context.Cause(ctx))
			_ = h.manager.Send(sd.SdNotifyStopping) // failure does no harm: most likely the manager itself ends us
			return nil
		case <-h.hup:
			if err := h.file.Reopen(); err != nil {
				h.log.Warn("Can't reopen the log", "cause", err)
			}
			select {
			case h.reload <- struct{}{}:
			default: // a reload is asked for already
			}
		}
	}
}

func (h housekeeper) String() string { return "housekeeper" }

// reloader has the service reload when the housekeeper asks, and tells the result to the log and the service manager.
type reloader struct {
	service Service
	asked   chan struct{} // one slot
	manager Notifier      // hears of each reload when it begins, and once more when it has ended
	log     *slog.Logger
}

// The results of a reload, for the log and the service manager.
const (
	nowCounts   = "The new configuration counts"
	unchanged   = "Nothing to do: "
	notReloaded = "Not reloaded, the old configuration still counts: "
)

func (r reloader) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.asked:
		}
		r.logFailure(r.manager.Reloading())
		if err := r.service.Reload(ctx); !ended(ctx, err) {
			r.logFailure(r.manager.Ready(r.report(err)))
		}
	}
}

// report writes the result of a reload to the log, and returns it as one line. Generations logs a new configuration
// that counts.
func (r reloader) report(err error) string {
	switch {
	case err == nil:
		return nowCounts
	case errors.Is(err, ErrUnchanged):
		r.log.Info(unchanged + err.Error())
		return unchanged + err.Error()
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		r.log.Error(notReloaded + line)
	}
	status, more, _ := strings.Cut(err.Error(), "\n")
	if more != "" {
		status += " (the log has more)"
	}
	return notReloaded + status
}

// logFailure logs that the service manager could not be told.
func (r reloader) logFailure(err error) {
	if err != nil {
		r.log.Warn("Can't tell the service manager of the reload", "cause", err)
	}
}

func (r reloader) String() string { return "reloader" }
