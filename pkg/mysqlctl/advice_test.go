package mysqlctl

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// obey executes a text for people on a server as it stands, each … filled in with the next of the values. It does not
// use Instance.Exec, which would translate the words.
func obey(t *testing.T, i *mysqltest.Instance, text string, values ...string) {
	t.Helper()
	db := i.DB("root", "")
	for _, v := range values {
		if !strings.Contains(text, "…") {
			t.Fatalf("there is nothing to fill in for %s: %s", v, text)
		}
		text = strings.Replace(text, "…", v, 1)
	}
	for statement := range strings.SplitSeq(strings.TrimSuffix(text, ";"), "; ") {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v (of %s)", statement, err, text)
		}
	}
}

// TestAdvice: each text does on a real server what it is meant for, with and without GTIDs and with a channel.
func TestAdvice(t *testing.T) { each(t, testAdvice) }

func testAdvice(t *testing.T, kind string) {
	source, onSource := server(t, mysqltest.Options{Server: kind, ServerID: 1, GTID: true})
	skip := "--skip-slave-start"
	if source.Kind.MySQL {
		skip = "--skip-replica-start"
	}
	replica := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 2, GTID: true, Args: []string{skip}})
	source.Exec("CREATE USER repl@'%' IDENTIFIED BY 'replpw'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
	first := agent(t, replica, "first").cfg
	ctx := within(t, 90*time.Second)
	for _, gtid := range []bool{true, false} {
		for _, channel := range []string{"", "it's"} {
			t.Run(fmt.Sprintf("gtid %v, channel %q", gtid, channel), func(t *testing.T) {
				reset := "RESET MASTER"
				if source.Kind.MySQL {
					reset = "RESET BINARY LOGS AND GTIDS"
				}
				replica.Exec("STOP ALL SLAVES", reset)
				if !replica.Kind.MySQL {
					replica.Exec("SET GLOBAL gtid_slave_pos=''")
				}
				cfg := first
				cfg.Channel = channel
				s := New(cfg)
				t.Cleanup(s.Close)
				setup := func() Setup {
					set, err := s.Setup(ctx)
					fatal(t, err)
					return set
				}
				running := func(what string) {
					t.Helper()
					var r Replica
					defer func() {
						if t.Failed() {
							t.Logf("its replication: %+v", r)
						}
					}()
					eventually(t, what, func() (ok bool) {
						var err error
						r, err = s.Replica(ctx)
						return err == nil && r.IORunning == "Yes" && r.SQLRunning == "Yes" && r.UsesGTID == gtid &&
							r.SourcePort == source.Port
					})
				}
				place := func() (values []string) {
					end, err := onSource.Position(ctx)
					fatal(t, err)
					if !gtid {
						return []string{end.File, fmt.Sprint(end.Offset)}
					}
					return nil
				}
				pos := func() []string {
					if gtid && !source.Kind.MySQL {
						return []string{source.Query("SELECT @@gtid_binlog_pos")}
					}
					return nil
				}
				if source.Kind.MySQL {
					// The replica has the same data, and must not execute those transactions again.
					replica.Exec("SET GLOBAL gtid_purged='" + source.Query("SELECT @@gtid_executed") + "'")
				}
				obey(t, replica, setup().FollowText(channel, "127.0.0.1", source.Port, gtid),
					append(append(pos(), "repl", "replpw"), place()...)...)
				running("it follows")
				// On a busy machine the source may not have noticed yet that the replica's old connection is gone, and
				// refuse the new one once.
				f := detect(setup().Version, "")
				obey(t, replica, strings.Join([]string{f.stopText(channel),
					f.changeText("MASTER_CONNECT_RETRY=1", channel), f.startText(channel)}, " "))
				running("it tries again soon")
				if got := setup().NotStarted(); got != "" {
					t.Errorf("it runs, and %s is to blame", got)
				}
				obey(t, replica, setup().FollowText(channel, "127.0.0.1", source.Port, gtid), place()...)
				running("it follows another source")
				obey(t, replica, setup().ReconnectText(channel))
				running("its I/O thread was started anew")
				if source.Kind.MySQL {
					obey(t, replica, setup().RetryText(channel))
					running("it tries for longer")
				}
				replica.Stop() // a killed server can leave a temporary file that keeps its SQL thread from starting
				replica.Restart()
				want := map[bool]string{true: "skip_replica_start", false: "skip_slave_start"}[source.Kind.MySQL]
				if got := setup().NotStarted(); got != want {
					t.Errorf("%q is to blame, want %s", got, want)
				}
				obey(t, replica, setup().StartText(channel))
				running("it was started")
				if !gtid {
					gtid = true
					obey(t, replica, setup().UseGTIDText(channel))
					running("it uses GTIDs")
				}
				fatal(t, s.StopReplication(ctx))
				if source.Kind.MySQL {
					replica.Exec("RESET REPLICA ALL")
				} else {
					replica.Exec("RESET SLAVE " + map[bool]string{true: "'it''s' "}[channel != ""] + "ALL")
				}
			})
		}
	}
}
