package mysqlctl

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestEvents: an account with EVENT sees the events that run, and those that came by replication and sleep. WakeText
// lets such an event run, and keeps its definer. An account without EVENT is told which GRANT it lacks.
func TestEvents(t *testing.T) { each(t, testEvents) }

func testEvents(t *testing.T, kind string) {
	source, onSource := server(t, mysqltest.Options{Server: kind, ServerID: 1})
	replica := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 2})
	ctx := within(t, time.Minute)
	blind := New(account(replica, "blind", replica.Kind.MonitorRights()))
	seeing := New(account(replica, "seeing", replica.Kind.MonitorRights()+", EVENT"))
	t.Cleanup(blind.Close)
	t.Cleanup(seeing.Close)
	replica.Exec("DROP DATABASE test")
	replica.Follow(source)
	source.Exec("CREATE USER owner@'10.%'", "GRANT ALL ON *.* TO owner@'10.%'",
		"CREATE DEFINER=owner@'10.%' EVENT test.`it's` ON SCHEDULE EVERY 1 DAY DO DO 1",
		"CREATE EVENT test.off ON SCHEDULE EVERY 1 DAY DISABLE DO DO 1")
	end, err := onSource.Position(ctx)
	fatal(t, err)
	agent := New(account(replica, "hands", replica.Kind.AgentRights()))
	t.Cleanup(agent.Close)
	fatal(t, agent.WaitExecuted(ctx, end))
	replica.Exec("STOP SLAVE", "SET GLOBAL event_scheduler = ON")

	set, err := blind.Setup(ctx)
	fatal(t, err)
	if len(set.Events) > 0 || set.EventGrant != "GRANT EVENT ON *.* TO 'blind'@'%'" || !set.EventScheduler {
		t.Errorf("without the privilege: %v, %q", set.Events, set.EventGrant)
	}
	set, err = seeing.Setup(ctx)
	fatal(t, err)
	want := []Event{{"test", "it's", "owner@10.%", false, true}, {"test", "off", set.Events[1].Definer, false, false}}
	if set.EventGrant != "" {
		t.Errorf("with the privilege it lacks %s", set.EventGrant)
	}
	// A disabled event is put to sleep as well on some servers.
	set.Events[1].Asleep = false
	if !slices.Equal(set.Events, want) {
		t.Errorf("%+v, want %+v", set.Events, want)
	}
	obey(t, replica, set.Events[0].WakeText())
	set, err = seeing.Setup(ctx)
	fatal(t, err)
	if e := set.Events[0]; !e.Enabled || e.Asleep || e.Definer != "owner@10.%" {
		t.Errorf("it was woken: %+v", e)
	}
	if !replica.Kind.MySQL {
		if err := agent.SetEventScheduler(ctx, false); err == nil ||
			!strings.Contains(err.Error(), "GRANT SUPER ON *.* TO 'hands'@'%'") {
			t.Errorf("MariaDB lets only SUPER set it: %v", err)
		}
		replica.Exec("GRANT SUPER ON *.* TO hands@'%'")
	}
	for _, on := range []bool{false, true} {
		if err := agent.SetEventScheduler(ctx, on); err != nil {
			t.Fatal(err)
		}
		if _, now, err := agent.WritableAndScheduler(ctx); err != nil || now != on {
			t.Errorf("the scheduler is %v (%v)", now, err)
		}
	}
}
