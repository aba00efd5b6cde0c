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
	"syscall"

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
	PIDFile string // Invocation.PIDFile goes before it
	Debug   bool   // stay in the foreground, log more
	Log     LogStyle

	Warnings []string // about the configuration, for configtest; the program itself logs them

	// Build makes the program and opens its sockets; it starts nothing. When it returns, the start counts as
	// successful.
	Build func(log *slog.Logger) (Service, error)
}

// Service is a program that is ready to run.
type Service struct {
	Tasks []Task
	Ping  func(ctx context.Context) // as Notifier.Ping
	Log   LogStyle                  // how the log is written while this one runs, where it follows another

	// Reload reads the configuration again and makes the service that is to follow this one, which goes on meanwhile
	// and ends before that runs. Where it returns an error everything stays as it is: ErrUnchanged, or what is wrong,
	// line by line. nil: never.
	Reload func(ctx context.Context) (Service, error)
}

// Main is the whole of a daemon's main function (mmm_mond(8), mmm_agentd(8)); it returns the exit code. The program
// ends, with 0, on SIGTERM, SIGINT or SIGQUIT, and, with 1, when a task fails; a second such signal ends it at once.
// SIGHUP reopens the log and reads the configuration again.
//
// It runs in the foreground, or starts a watcher in the background, which starts the program proper and starts it again
// when it dies.
func Main(p Program, args []string, stdout, stderr io.Writer) int {
	// First of all: what comes during the start must not be lost, nor kill us.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	// Else a reader of our stdout that goes away would take us with it. Not ignored but caught, as hooks and commands
	// would inherit the former.
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

// process is one of the processes that a start can lead to.
type process struct {
	program  Program
	inv      Invocation
	settings Settings
	parent   parent
	hup      <-chan os.Signal
}

// openLog gives the log of the process. Everything goes to mirror too, unless that is nil.
func (p *process) openLog(mirror io.Writer) (*LogFile, *Handler, error) {
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
	return file, handler, nil
}

// acquire takes the pid file; its error is in the log already.
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
	file, handler, err := p.openLog(stdout)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer file.Close()
	log := slog.New(handler)
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
	context.AfterFunc(ctx, stop) // the second one has its usual effect
	file, handler, err := p.openLog(mirror)
	if err != nil {
		p.parent.say(err.Error())
		return 1
	}
	defer file.Close()
	log := slog.New(handler)
	manager := NewNotifier(os.Getenv)
	os.Unsetenv("NOTIFY_SOCKET") // hooks and commands have nothing to tell
	service, err := p.settings.Build(log)
	if err != nil {
		Fatal(log, err.Error())
		p.parent.say(err.Error())
		return 1
	}
	services := &succession{reload: make(chan struct{}, 1), log: log, restyle: handler.SetStyle}
	services.current.Store(&service)
	manager.Ping = services.ping
	p.parent.say(started)
	if err := manager.Send("READY=1"); err != nil {
		log.Warn("Can't tell the service manager that we have started", "cause", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return Run(ctx, log, manager, housekeeper{file, p.hup, log, manager, services.reload}) })
	group.Go(func() error { return services.Run(ctx) })
	if err := group.Wait(); err != nil {
		Fatal(log, err.Error())
		return 1
	}
	return 0
}

// housekeeper reopens the log on SIGHUP, asks for a reload, and tells the world when the program begins to end.
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
			_ = h.manager.Send("STOPPING=1") // the manager has asked for it, most likely
			return nil
		case <-h.hup:
			if err := h.file.Reopen(); err != nil {
				h.log.Warn("Can't reopen the log", "cause", err)
			}
			select {
			case h.reload <- struct{}{}:
			default: // one is asked for already
			}
		}
	}
}

func (h housekeeper) String() string { return "housekeeper" }
