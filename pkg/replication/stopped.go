package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/mysqlctl"
)

// stopped remembers that the agent has stopped the replication, and has yet to start it again. A replication that an
// operator has stopped is not noted, and so not started. The note outlives the agent, in a file of one line,
// REASON|TEXT, which is on disk before the replication is stopped. Only the follower uses it.
type stopped struct {
	path string // "": no file is kept
	disk Disk
	why  stopReason
}

// stopReason is why the agent has stopped the replication.
type stopReason string

// The reasons, as they are in the file.
const (
	runs      stopReason = ""          // the agent has not stopped it
	offline   stopReason = "offline"   // the host is ADMIN_OFFLINE
	following stopReason = "following" // this slave is being pointed at a new writer
)

// load reads the note of the agent that ran before this one. Where the note can't be read, a warning says so and the
// replication stays as it is.
func (s *stopped) load(ctx context.Context, log *slog.Logger) {
	if s.path == "" {
		return
	}
	found := make(chan []byte, 1)
	err := durable.Within(ctx, func() error {
		text, err := s.disk.ReadFile(s.path)
		found <- text
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var text []byte
	select {
	case text = <-found:
	default: // the disk hangs
	}
	reason, _, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), "|")
	switch why := stopReason(reason); {
	case err == nil && (why == runs || why == offline || why == following):
		s.why = why
		return
	case err == nil:
		err = fmt.Errorf("%s: want REASON|TEXT, not %q", s.path, mysqlctl.Printable(string(text)))
	}
	log.Warn(fmt.Sprintf("Can't tell whether this agent has stopped the replication (%v): start it by hand if it stands still (START SLAVE)", err))
}

// set notes why the agent has stopped the replication, or that it has not (runs). When set returns without an error the
// note is on disk.
func (s *stopped) set(why stopReason, text string) error {
	if s.why == why {
		return nil
	}
	line := ""
	if why != runs {
		line = string(why) + "|" + text + "\n"
	}
	if s.path != "" {
		if err := s.disk.Replace(s.path, []byte(line)); err != nil {
			return fmt.Errorf("note whether this agent has stopped the replication: %w", err)
		}
	}
	s.why = why
	return nil
}
