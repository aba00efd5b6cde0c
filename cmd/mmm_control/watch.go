package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"mysql-mmm/pkg/wire"
)

const (
	watchPeriod  = 500 * time.Millisecond
	watchTimeout = 2 * time.Second // for both questions; then the monitor counts as away
)

// What a terminal understands (ECMA-48): the alternate screen keeps what was there before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	restOfLine  = "\x1b[K"
	restOfAll   = "\x1b[J"
)

// watch shows status and checks, again at each change, until it is interrupted.
func watch(dialer wire.Dialer, addr string, stdout io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	fmt.Fprint(stdout, enterScreen)
	defer fmt.Fprint(stdout, leaveScreen)
	follow(ctx, time.Now, func(ctx context.Context) string { return look(ctx, dialer, addr) }, stdout)
	return exitOK
}

// follow draws what look returns whenever it is not what is there, until ctx ends.
func follow(ctx context.Context, now func() time.Time, look func(context.Context) string, screen io.Writer) {
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	last := ""
	for {
		if text := look(ctx); text != last && ctx.Err() == nil {
			last = text
			text += "\nSince " + now().Format("15:04:05") + ". End with ctrl-C."
			fmt.Fprint(screen, home+strings.ReplaceAll(text, "\n", restOfLine+"\n")+restOfLine+restOfAll)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look is what there is to see now.
func look(ctx context.Context, dialer wire.Dialer, addr string) string {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	show, err := dialer.Control(ctx, addr, "show")
	var checks string
	if err == nil {
		checks, err = dialer.Control(ctx, addr, "checks")
	}
	if err != nil {
		return fmt.Sprintf("ERROR: Can't connect to monitor daemon!\n# %v\n", err)
	}
	return show + "\n" + checks
}
