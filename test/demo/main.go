// Demo shows the main job of MMM on real servers, told while it happens: start, failover, return, planned move.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"mysql-mmm/test/lab"
)

// limit is how long all of it may take.
const limit = 3 * time.Minute

func main() {
	os.Exit(lab.Main(func(ctx context.Context) int {
		s := newScreen(os.Stdout)
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := run(ctx, s); err != nil {
			if ctx.Err() == context.Canceled {
				s.say("interrupted; nothing is left behind")
				return 130
			}
			s.say("FAILED: %v", err)
			return 1
		}
		return 0
	}))
}

// story is the cluster and what has been measured on it so far.
type story struct {
	*screen
	*lab.Cluster
	load *lab.Load
	rows [][]string
}

func run(ctx context.Context, out *screen) error {
	out.head("Setting up five hosts in network namespaces: mon, db1, db2, db3, client")
	c, err := lab.New(ctx, lab.Options{Bin: os.Getenv("MMM_BIN"), CheckPeriod: time.Second, TrapPeriod: 2 * time.Second, AutoSetOnline: 2})
	if err != nil {
		return err
	}
	version, err := c.Node("db1").Server.Value(ctx, "SELECT VERSION()")
	if err != nil {
		return err
	}
	out.say("MariaDB %s runs on db1, db2 and db3; db1 and db2 replicate from each other (semi-synchronously), db3 from db1", version)
	out.say("checks every second, trap_period 2 s, auto_set_online 2 s (the defaults are 5 s, 10 s and by hand)")
	s := &story{screen: out, Cluster: c}
	for _, step := range []func(context.Context) error{s.start, s.failover, s.comeBack, s.move, s.balance} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) start(ctx context.Context) error {
	s.head("Starting mmm_agentd on each database host and mmm_mond on mon")
	if err := s.StartAll(ctx); err != nil {
		return err
	}
	s.control(ctx, "show")
	s.control(ctx, "checks", "db1")
	s.head("A client begins to write 200 rows a second through the writer address " + lab.WriterIP)
	var err error
	if s.load, err = s.StartLoad(ctx, 200); err != nil {
		return err
	}
	return s.writes(ctx, 400)
}

func (s *story) failover(ctx context.Context) error {
	s.head("kill -9 of mariadbd on db1, the writer")
	since := time.Now()
	if err := s.Node("db1").Server.Kill(); err != nil {
		return err
	}
	if err := s.load.WaitServer(ctx, 2); err != nil {
		return err
	}
	s.say("the client writes again, now to db2")
	if err := s.writes(ctx, 100); err != nil {
		return err
	}
	s.event("kill -9 of the writer's server", since)
	s.control(ctx, "show")
	s.logs("mon", s.Monitor, "db1' has failed", "from ONLINE to HARD_OFFLINE", "'writer(")
	s.logs("db2", s.Node("db2").Agent, "Added:   ", "catching up")
	return nil
}

func (s *story) comeBack(ctx context.Context) error {
	s.head("mariadbd on db1 is started again")
	joined, err := s.Rejoin(ctx, s.Node("db1"))
	if err != nil {
		return err
	}
	if !joined {
		return errors.New("db1 died between writing a transaction and sending it, and has one now that nobody else has (no client was promised it): " +
			"it would have to be set up anew. This happens once in a while; start the demo again")
	}
	s.say("db1 has come back through AWAITING_RECOVERY; the writer stays where it is")
	s.logs("mon", s.Monitor, "'db1' changed from HARD_OFFLINE", "'db1' changed from AWAITING_RECOVERY to ONLINE because it was")
	s.logs("db3", s.Node("db3").Agent, "Changing active master to 'db2'")
	s.control(ctx, "show")
	return nil
}

func (s *story) move(ctx context.Context) error {
	s.head("The operator moves the writer back to db1")
	since := time.Now()
	s.control(ctx, "move_role", "writer", "db1")
	if err := s.load.WaitServer(ctx, 1); err != nil {
		return err
	}
	if err := s.writes(ctx, 200); err != nil {
		return err
	}
	s.event("move_role writer db1", since)
	s.control(ctx, "show")
	return s.WaitWhole(ctx)
}

// balance compares what the client was told with what the servers have.
func (s *story) balance(ctx context.Context) error {
	s.head("What it cost")
	s.load.Stop()
	if err := s.WaitLevel(ctx, s.DBs...); err != nil {
		return err
	}
	s.table([]string{"event", "write gap"}, s.rows)
	acked, _ := s.load.Acked()
	failed, _ := s.load.Errors()
	lost := 0
	for _, n := range s.DBs {
		missing, err := s.load.Lost(ctx, n.Server)
		if err != nil {
			return err
		}
		lost = max(lost, len(missing))
	}
	s.table([]string{"writes", ""}, [][]string{
		{"acknowledged", fmt.Sprint(acked)}, {"refused or failed, told to the client", fmt.Sprint(failed)}, {"acknowledged and lost", fmt.Sprint(lost)},
	})
	s.say("CHECKSUM TABLE is the same on db1, db2 and db3")
	if lost > 0 {
		return fmt.Errorf("%d acknowledged writes were lost", lost)
	}
	return nil
}

// event notes the longest time between two acknowledged writes since a moment.
func (s *story) event(name string, since time.Time) {
	gap := s.load.Gap(since)
	s.rows = append(s.rows, []string{name, fmt.Sprintf("%d ms", gap.Milliseconds())})
	s.say("write gap seen by the client: %d ms", gap.Milliseconds())
}

// writes waits for n more acknowledged writes.
func (s *story) writes(ctx context.Context, n int) error {
	before, _ := s.load.Acked()
	return lab.Wait(ctx, "writes to be acknowledged", func() (bool, string) {
		now, server := s.load.Acked()
		_, err := s.load.Errors()
		return now >= before+n, fmt.Sprintf("%d since, by server %d, last error: %v", now-before, server, err)
	})
}

// control shows a command and what it prints.
func (s *story) control(ctx context.Context, args ...string) {
	s.prompt("mmm_control " + strings.Join(args, " "))
	out, _, err := s.Control(ctx, args...)
	if err != nil {
		out = err.Error()
	}
	s.quote(strings.TrimRight(out, "\n"))
}

// logs shows those lines of a daemon's log that have one of the texts.
func (s *story) logs(host string, d *lab.Daemon, texts ...string) {
	s.prompt(fmt.Sprintf("%s: log of %s", host, d.Name()))
	for line := range strings.Lines(d.Log()) {
		for _, t := range texts {
			if strings.Contains(line, t) {
				s.quote(strings.TrimRight(line, "\n"))
				break
			}
		}
	}
}
