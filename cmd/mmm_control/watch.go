package main

import (
	"context"
	"encoding/json"
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
	watchTimeout = 2 * time.Second // for show and checks together; then the monitor counts as away
)

// Control sequences of a terminal (ECMA-48; the alternate screen is one of xterm). On the alternate screen watch does
// not overwrite what stood on the terminal before.
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
	follow(ctx, func(ctx context.Context) string { return look(ctx, dialer, addr) }, func(text string) error {
		return draw(stdout, time.Now(), text)
	})
	return exitOK
}

// watchJSON prints a line with status and checks at each change, until it is interrupted.
func watchJSON(dialer wire.Dialer, addr string, stdout io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	follow(ctx, func(ctx context.Context) string { return lookJSON(ctx, dialer, addr) }, func(text string) error {
		_, err := fmt.Fprintln(stdout, text)
		return err
	})
	return exitOK
}

// follow calls look again and again, and tell with each text that differs from the last, until ctx ends or tell fails.
func follow(ctx context.Context, look func(context.Context) string, tell func(text string) error) {
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	last := ""
	for {
		if text := look(ctx); text != last && ctx.Err() == nil {
			last = text
			if tell(text) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// draw puts a text on the screen in place of the last text.
func draw(screen io.Writer, now time.Time, text string) error {
	text += "\nSince " + now.Format("15:04:05") + ". End with ctrl-C."
	_, err := fmt.Fprint(screen, home+strings.ReplaceAll(text, "\n", restOfLine+"\n")+restOfLine+restOfAll)
	return err
}

// look gives the text for the screen: the monitor's answers to show and checks, or why there are none.
func look(ctx context.Context, dialer wire.Dialer, addr string) string {
	show, checks, err := ask(ctx, dialer, addr, "")
	if err != nil {
		return fmt.Sprintf("ERROR: Can't connect to monitor daemon!\n# %v\n", err)
	}
	return show + "\n" + checks
}

// watched is one line of `watch --json` (docs/api/schema/watch.json).
type watched struct {
	Error  string          `json:"error,omitempty"`
	Show   json.RawMessage `json:"show,omitempty"`
	Checks json.RawMessage `json:"checks,omitempty"`
}

func (w watched) String() string {
	text, err := json.Marshal(w)
	if err != nil {
		text, _ = json.Marshal(watched{Error: fmt.Sprintf("read the monitor's answers: %v", err)})
	}
	return string(text)
}

// lookJSON gives what look gives, as one line of JSON.
func lookJSON(ctx context.Context, dialer wire.Dialer, addr string) string {
	show, checks, err := ask(ctx, dialer, addr, " --json")
	if err != nil {
		return watched{Error: err.Error()}.String()
	}
	return watched{Show: json.RawMessage(show), Checks: json.RawMessage(checks)}.String()
}

func ask(ctx context.Context, dialer wire.Dialer, addr, option string) (show, checks string, err error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	if show, err = dialer.Control(ctx, addr, "show"+option); err != nil {
		return "", "", err
	}
	checks, err = dialer.Control(ctx, addr, "checks"+option)
	return show, checks, err
}
