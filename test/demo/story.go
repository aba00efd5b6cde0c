package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"mysql-mmm/test/lab"
)

// story is the cluster, its client, and what has been measured so far.
type story struct {
	*screen
	*lab.Cluster
	load  *lab.Load
	feed  feed
	since time.Time  // when the present event began
	costs [][]string // event, write gap
}

func tell(ctx context.Context, out *screen) error {
	out.head("Set up five hosts in network namespaces: mon, db1, db2, db3 and a client")
	c, err := lab.New(ctx, lab.Options{Bin: os.Getenv("MMM_BIN"), TrapPeriod: time.Second, Lease: 3, FastFailover: true,
		AutoSetOnline: 2})
	if err != nil {
		return err
	}
	version, err := c.Node("db1").Server.Value(ctx, "SELECT VERSION()")
	if err != nil {
		return err
	}
	out.say("real servers on db1, db2, db3: MariaDB %s", version)
	out.say("replication:  db1 <-> db2 (a ring of masters, semi-synchronous), db1 -> db3")
	out.say("settings:     those of the sample configuration: checks every 0.25 s, trap_period 1 s, fast_failover, writer_lease 3 s; auto_set_online 2 s")
	s := &story{screen: out, Cluster: c}
	for _, step := range []func(context.Context) error{s.start, s.write, s.failover, s.comeBack, s.move, s.balance} {
		if err := step(ctx); err != nil {
			if ctx.Err() != context.Canceled {
				s.lastWords()
			}
			return err
		}
	}
	return nil
}

func (s *story) start(ctx context.Context) error {
	s.head("Start mmm_agentd on db1, db2, db3 and mmm_mond on mon")
	if err := s.StartAll(ctx); err != nil {
		return err
	}
	s.feed.skip(s) // the words of the start are not the story
	return s.control(ctx, "show", "checks")
}

func (s *story) write(ctx context.Context) error {
	s.head("A client writes 200 rows a second through the writer address " + lab.WriterIP + ", from now on")
	s.since = time.Now()
	var err error
	if s.load, err = s.StartLoad(ctx, 200); err != nil {
		return err
	}
	if err := s.writes(ctx, 400); err != nil {
		return err
	}
	if err := s.Node("db1").Server.WaitSemiSync(ctx); err != nil {
		return err
	}
	s.event("nothing happens")
	return nil
}

func (s *story) failover(ctx context.Context) error {
	s.head("kill -9 of the writer's mariadbd (db1)")
	s.say("The kill strikes between two writes: a write in flight might be on the dead server alone,")
	s.say("which would have to be set up anew then.")
	s.since = time.Now()
	if err := s.load.Between(s.Node("db1").Server.Kill); err != nil {
		return err
	}
	if err := s.writesTo(ctx, "db2"); err != nil {
		return err
	}
	if err := s.state(ctx, "db1", "HARD_OFFLINE"); err != nil {
		return err
	}
	if err := s.writes(ctx, 100); err != nil {
		return err
	}
	s.event("kill -9 of the writer's mariadbd")
	return s.control(ctx, "show")
}

func (s *story) comeBack(ctx context.Context) error {
	s.head("The server on db1 is started again")
	s.since = time.Now()
	if err := s.Node("db1").Server.Start(ctx); err != nil {
		return err
	}
	if err := s.state(ctx, "db1", "ONLINE"); err != nil {
		return err
	}
	if err := s.WaitWhole(ctx); err != nil {
		return err
	}
	if err := s.writes(ctx, 100); err != nil {
		return err
	}
	if n, _ := s.Control(ctx, "show"); s.Writer(n) != s.Node("db2") {
		return fmt.Errorf("the writer did not stay on db2:\n%s", n)
	}
	s.event("the old server returns, the writer stays on db2")
	return s.control(ctx, "show")
}

func (s *story) move(ctx context.Context) error {
	s.head("The operator moves the writer back to db1")
	s.since = time.Now()
	if err := s.control(ctx, "move_role writer db1"); err != nil {
		return err
	}
	if err := s.writesTo(ctx, "db1"); err != nil {
		return err
	}
	if err := s.WaitWhole(ctx); err != nil {
		return err
	}
	if err := s.writes(ctx, 100); err != nil {
		return err
	}
	s.event("move_role writer db1")
	return s.control(ctx, "show")
}

// balance compares what the client was told with what the servers have.
func (s *story) balance(ctx context.Context) error {
	s.head("What it cost the client")
	s.load.Stop()
	if err := s.WaitLevel(ctx, s.DBs...); err != nil {
		return err
	}
	lost, err := s.load.Lost(ctx, s.Node("db1").Server)
	if err != nil {
		return err
	}
	acked, _ := s.load.Acked()
	failed, _ := s.load.Errors()
	s.table("event", "write gap", s.costs)
	s.table("writes of the client", "", [][]string{
		{"acknowledged", fmt.Sprint(acked)}, {"failed, and the client was told", fmt.Sprint(failed)},
		{"acknowledged, but lost", fmt.Sprint(len(lost))},
	})
	s.say("The table's checksum is the same on db1, db2 and db3.")
	s.say("A gap is the longest time between two acknowledged writes; the client tries anew every 100 ms at the latest.")
	if len(lost) > 0 {
		return fmt.Errorf("db1 lacks acknowledged rows: %v", lost)
	}
	return nil
}

// event notes the longest time between two acknowledged writes since the event began.
func (s *story) event(name string) {
	s.costs = append(s.costs, []string{name, fmt.Sprintf("%d ms", s.load.Gap(s.since).Milliseconds())})
}

// wait is lab.Wait, and tells what the daemons log and what happens to the client meanwhile.
func (s *story) wait(ctx context.Context, what string, done func() (bool, string)) error {
	defer s.feed.tell(s)
	return lab.Wait(ctx, what, func() (bool, string) {
		s.feed.tell(s)
		return done()
	})
}

// writes waits for n more acknowledged writes.
func (s *story) writes(ctx context.Context, n int) error {
	before, _ := s.load.Acked()
	return s.wait(ctx, fmt.Sprintf("%d writes", n), func() (bool, string) {
		now, server := s.load.Acked()
		_, err := s.load.Errors()
		return now >= before+n, fmt.Sprintf("%d, by db%d, last error: %v", now-before, server, err)
	})
}

// writesTo waits until a host acknowledges writes.
func (s *story) writesTo(ctx context.Context, host string) error {
	return s.wait(ctx, "writes to reach "+host, func() (bool, string) {
		_, server := s.load.Acked()
		_, err := s.load.Errors()
		return fmt.Sprintf("db%d", server) == host, fmt.Sprintf("db%d, last error: %v", server, err)
	})
}

// state waits until `show` says that a host is in a state.
func (s *story) state(ctx context.Context, host, state string) error {
	return s.wait(ctx, host+" to be "+state, func() (bool, string) {
		show, err := s.Control(ctx, "show")
		for line := range strings.Lines(show) {
			if strings.HasPrefix(line, "  "+host+"(") && strings.Contains(line, "/"+state+".") {
				return true, show
			}
		}
		return false, fmt.Sprint(show, err)
	})
}

// Control runs mmm_control. A command that is refused is an error.
func (s *story) Control(ctx context.Context, args ...string) (string, error) {
	out, status, err := s.Cluster.Control(ctx, args...)
	if err == nil && status != 0 {
		err = fmt.Errorf("mmm_control %s: exit status %d: %s", strings.Join(args, " "), status, out)
	}
	return out, err
}

// control runs commands and shows them with what they print.
func (s *story) control(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		out, err := s.Control(ctx, strings.Fields(c)...)
		if err != nil {
			return err
		}
		s.quote("mmm_control "+c, out)
	}
	return nil
}

// lastWords shows the state of replication and the newest lines of every daemon's log. It has a time limit of its own,
// as the story's may be over.
func (s *story) lastWords() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s.head("It failed. What was seen last:")
	for _, n := range s.DBs {
		r, err := n.Server.Replica(ctx)
		if err != nil {
			s.say("%s: %v", n.Name, err)
			continue
		}
		s.say("%s: replicates from %s, receives: %s, executes: %s %s %s", n.Name, r["Master_Host"],
			r["Slave_IO_Running"], r["Slave_SQL_Running"], r["Last_IO_Error"], r["Last_SQL_Error"])
	}
	for _, v := range s.voices() {
		lines := strings.Split(strings.TrimSpace(v.daemon.Log()), "\n")
		s.quote(v.host+": newest lines of "+v.daemon.Name()+"'s log", strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
}
