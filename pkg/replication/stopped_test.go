package replication

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// files is a made-up disk.
type files struct {
	content map[string]string
	fail    error
}

func (d *files) ReadFile(path string) ([]byte, error) {
	text, ok := d.content[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), d.fail
}

func (d *files) Replace(path string, content []byte) error {
	if d.fail == nil {
		d.content[path] = string(content)
	}
	return d.fail
}

// life is a slave's agent from one restart to the next.
type life struct {
	*follower
	last cluster.HostState
}

func born(s *sim, d *files, said *strings.Builder) *life {
	log := slog.New(slog.NewTextHandler(said, nil))
	f := newFollower(Config{Host: "db3", Slave: true, Writer: func(cluster.Order) bool { return false }, Local: s,
		Peers: s, Log: log, Sources: func(host string) (Source, bool) {
			ip, _, ok := s.ByName(host)
			return Source{Host: ip, Port: 3306}, ok
		}}, &embargo{}, &stopped{path: "stopped", disk: d})
	f.stopped.load(context.Background(), log)
	return &life{f, cluster.Unknown}
}

// told does with an order what Run does.
func (l *life) told(ctx context.Context, state cluster.HostState, sw cluster.Switch) error {
	err := l.try(ctx, cluster.Order{State: state, Master: sw.To, Extended: true, Switch: sw}, l.last)
	if err == nil {
		l.last = state
	}
	return err
}

func running() *sim {
	return &sim{fail: map[string]error{}, replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes",
		SQLRunning: "Yes", Received: at(100), Executed: at(100)}}
}

// TestStoppedOutlivesTheAgent: a replication that one agent has stopped, the next agent starts. One that an operator
// has stopped, no agent starts.
func TestStoppedOutlivesTheAgent(t *testing.T) {
	moved := cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
	const repoint = "repoint 10.0.0.2 bin.000001:500"
	type step struct {
		state   cluster.HostState
		sw      cluster.Switch
		restart bool // of the agent, before
		stop    bool // by an operator, before
		fail    string
		disk    error
		did     string
		noted   string // beginning of the file afterwards
	}
	for name, steps := range map[string][]step{
		"killed while it repointed": {
			{state: cluster.Online, sw: moved, fail: repoint, did: "wait bin.000001:100, stop replication",
				noted: "following|"},
			{state: cluster.ReplicationFail, sw: moved, restart: true, did: "start replication"},
		},
		"killed while it repointed, and the server is not there yet": {
			{state: cluster.Online, sw: moved, fail: repoint, did: "wait bin.000001:100, stop replication",
				noted: "following|"},
			{state: cluster.ReplicationFail, sw: moved, restart: true, fail: "start replication", noted: "following|"},
			{state: cluster.ReplicationFail, sw: moved, restart: true, did: "start replication"},
		},
		"killed while it repointed, then offline": {
			{state: cluster.Online, sw: moved, fail: repoint, did: "wait bin.000001:100, stop replication",
				noted: "following|"},
			{state: cluster.AdminOffline, restart: true, did: "stop replication", noted: "following|"},
			{state: cluster.Online, restart: true, did: "start replication"},
		},
		"repointed": {
			{state: cluster.Online, sw: moved, did: "wait bin.000001:100, stop replication, " + repoint},
			{state: cluster.Online, sw: moved, restart: true},
		},
		"restarted while offline": {
			{state: cluster.AdminOffline, did: "stop replication", noted: "offline|"},
			{state: cluster.Online, restart: true, did: "start replication"},
			{state: cluster.Online, restart: true},
		},
		"the writer has changed while it was offline": {
			{state: cluster.AdminOffline, did: "stop replication", noted: "offline|"},
			{state: cluster.Online, sw: moved, restart: true,
				did: "start replication, wait bin.000001:100, stop replication, " + repoint},
		},
		"stopped by an operator": {
			{state: cluster.Online},
			{state: cluster.Online, stop: true},
			{state: cluster.ReplicationFail, restart: true},
			{state: cluster.AdminOffline},
			{state: cluster.Online},
			{state: cluster.AdminOffline, restart: true},
			{state: cluster.Online, restart: true},
		},
		"it can't be noted": {
			{state: cluster.AdminOffline, disk: errors.New("no space left")},
			{state: cluster.Online, sw: moved, disk: errors.New("no space left"), did: "wait bin.000001:100"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, d, said := running(), &files{content: map[string]string{}}, &strings.Builder{}
			l := born(s, d, said)
			for i, step := range steps {
				s.done, s.fail, d.fail = nil, map[string]error{}, step.disk
				if step.fail != "" {
					s.fail[step.fail] = context.Canceled
				}
				if step.stop {
					s.replica.IORunning, s.replica.SQLRunning = "No", "No"
				}
				if step.restart {
					l = born(s, d, said)
				}
				err := l.told(t.Context(), step.state, step.sw)
				if failed := err != nil; failed != (step.fail != "" || step.disk != nil) || s.history() != step.did {
					t.Errorf("step %d: it did %q, want %q (%v)", i, s.history(), step.did, err)
				}
				if noted := d.content["stopped"]; (noted == "") != (step.noted == "") ||
					!strings.HasPrefix(noted, step.noted) {
					t.Errorf("step %d: it noted %q, want %q", i, noted, step.noted)
				}
			}
		})
	}
}

// TestForeignNote: a file that holds no note starts no replication, ends no agent, and later notes replace it.
func TestForeignNote(t *testing.T) {
	for name, c := range map[string]struct {
		disk *files
		said string
	}{
		"none":  {&files{content: map[string]string{}}, ""},
		"empty": {&files{content: map[string]string{"stopped": ""}}, ""},
		"foreign": {&files{content: map[string]string{"stopped": "\x00\x01ELF\n\n"}},
			"start it by hand if it stands still"},
		"unreadable": {&files{content: map[string]string{"stopped": "offline|"},
			fail: errors.New("input/output error")}, "input/output error"},
	} {
		t.Run(name, func(t *testing.T) {
			s, said := running(), &strings.Builder{}
			s.replica.IORunning, s.replica.SQLRunning = "No", "No"
			before := maps.Clone(c.disk.content)
			l := born(s, c.disk, said)
			if err := l.told(t.Context(), cluster.Online, cluster.Switch{}); err != nil || s.history() != "" ||
				!maps.Equal(c.disk.content, before) {
				t.Errorf("it did %s, and has %q (%v)", s.history(), c.disk.content, err)
			}
			if !strings.Contains(said.String(), c.said) || c.said == "" && said.Len() > 0 ||
				strings.Count(said.String(), "\n") > 1 {
				t.Errorf("it said %s", said.String())
			}
			c.disk.fail, s.replica.IORunning = nil, "Yes"
			for _, state := range []cluster.HostState{cluster.AdminOffline, cluster.Online} {
				if err := l.told(t.Context(), state, cluster.Switch{}); err != nil {
					t.Error(err)
				}
			}
			if s.history() != "stop replication, start replication" {
				t.Errorf("then it did %s", s.history())
			}
		})
	}
}
