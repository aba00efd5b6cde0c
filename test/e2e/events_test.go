package e2e

import (
	"fmt"
	"testing"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

// schedulers waits until the event scheduler of one host is ON, and those of all others are OFF.
func (b *bench) schedulers(on string) {
	b.Helper()
	for _, n := range b.DBs {
		want := map[bool]string{true: "ON", false: "OFF"}[n.Name == on]
		b.must(lab.Wait(b.ctx, "the event scheduler of "+n.Name+" to be "+want, func() (bool, string) {
			got, err := n.Server.Value(b.ctx, "SELECT @@GLOBAL.event_scheduler")
			return err == nil && got == want, fmt.Sprint(got, err)
		}))
	}
}

// TestEventScheduler: without further care an event runs on the former writer after a move, and is disabled on the new
// one. The doctor finds both, and its remedies mend them. With event_scheduler 1 the scheduler is on where the writer
// role is, also when a server is restarted that turns it on at its start.
func TestEventScheduler(t *testing.T) {
	for _, kind := range servers.Tested()[:2] {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			b := start(t, lab.Options{Server: kind, Common: secret})
			db1 := b.Node("db1")
			b.must(db1.Server.Exec(b.ctx, "GRANT EVENT ON *.* TO mmm_monitor@'10.77.0.%'"))
			if kind == "" {
				b.must(db1.Server.Exec(b.ctx, "GRANT SUPER ON *.* TO mmm_agent@'10.77.0.%'"))
			}
			for _, n := range b.DBs[:2] {
				b.must(n.Server.Exec(b.ctx, "SET GLOBAL event_scheduler = ON"))
			}
			b.must(b.DBs[2].Server.Exec(b.ctx, "SET GLOBAL event_scheduler = OFF"))
			b.must(db1.Server.Exec(b.ctx, "CREATE EVENT app.tick ON SCHEDULE EVERY 1 DAY DO DO 1"))
			b.must(b.WaitLevel(b.ctx, b.DBs...))
			b.well()
			b.moved("db2")
			b.finds([]breakage{
				{name: "event-running", host: "db1", what: "app.tick", mend: "on db1: SET GLOBAL event_scheduler = OFF",
					strike: func(*bench) error { return nil },
					heal: func(b *bench) error {
						if err := asSaid("")(b); err != nil {
							return err
						}
						findings, _ := b.doctor()
						for _, f := range findings {
							if f.Name == "event-asleep" && f.Host == "db2" {
								b.said = f.Mend
								return asSaid("ALTER")(b)
							}
						}
						return fmt.Errorf("event-asleep was not found: %v", findings)
					}},
			})

			b.edit("mmm_common.conf", "<host default>\n", "<host default>\n event_scheduler 1\n")
			for _, n := range b.DBs {
				b.reload(n.Agent, reloaded)
			}
			b.schedulers("db2")
			b.must(b.DBs[2].Server.Exec(b.ctx, "SET GLOBAL event_scheduler = ON"))
			b.moved("db1")
			b.schedulers("db1")
			b.finds([]breakage{{name: "event-asleep", host: "db1", what: "app.tick",
				mend: "on db1: SET sql_log_bin = 0; ALTER DEFINER=", strike: func(*bench) error { return nil },
				heal: asSaid("")}})
			status, err := b.Node("db2").Server.Value(b.ctx, "SELECT STATUS FROM information_schema.EVENTS")
			if err != nil || status != "ENABLED" {
				t.Errorf("the event is %s on db2, want ENABLED (%v)", status, err)
			}
			if kind == "" { // for MySQL it is the same, and a restart takes long
				b.must(restarted("db2", "--event-scheduler=ON")(b))
				b.schedulers("db1")
			}
		})
	}
}

// moved moves the writer role. It fails where the role is not there when mmm_control answers.
func (b *bench) moved(to string) {
	b.Helper()
	if out, status := b.control("move_role writer " + to); status != 0 || b.writer() != to {
		b.Fatalf("move_role: %s", out)
	}
}
