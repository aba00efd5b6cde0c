package mysqlctl

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestTransactions: a slave's log has the same transactions as its master's, at other places.
func TestTransactions(t *testing.T) { each(t, transactions) }

func transactions(t *testing.T, kind string) {
	master, onMaster := server(t, mysqltest.Options{Server: kind, ServerID: 1, GTID: true})
	slave, s := server(t, mysqltest.Options{Server: kind, ServerID: 2, GTID: true})
	ctx := within(t, time.Minute)
	slave.Exec("DROP DATABASE test", "DROP USER agent@'%'")
	slave.Follow(master)
	eventually(t, "the slave has the master's account for agents", func() bool {
		return slave.Query("SELECT user FROM mysql.user WHERE user='agent'") == "agent"
	})
	level := func() (onItsOwn, onTheSlave Position) {
		t.Helper()
		end, err := onMaster.Position(ctx)
		fatal(t, err)
		fatal(t, s.WaitExecuted(ctx, end))
		there, err := s.Position(ctx)
		fatal(t, err)
		return end, there
	}
	master.Exec("CREATE TABLE test.t (id INT PRIMARY KEY) ENGINE=InnoDB")
	start, startThere := level()
	master.Exec("INSERT INTO test.t VALUES (1)", "ALTER TABLE test.t ADD COLUMN c INT", "FLUSH BINARY LOGS",
		"INSERT INTO test.t VALUES (2,2), (3,3)")
	slave.Exec("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
	middle, middleThere := level()
	master.Exec("UPDATE test.t SET c=1", "DELETE FROM test.t WHERE id=3")
	end, endThere := level()

	was, err := onMaster.Transactions(ctx, start, end, 100)
	fatal(t, err)
	now, err := s.Transactions(ctx, startThere, endThere, 100)
	fatal(t, err)
	if len(was) != 5 || len(now) != 5 {
		t.Fatalf("the master has %v, the slave %v: want 5 each", was, now)
	}
	of := "0-1-"
	if master.Kind.MySQL {
		of = master.Query("SELECT @@server_uuid") + ":"
	}
	for i, tr := range was {
		if tr.ServerID != 1 || tr.GTID != now[i].GTID || !strings.HasPrefix(tr.GTID, of) {
			t.Errorf("transaction %d: %v on the master, %v on the slave", i, tr, now[i])
		}
	}
	part, err := onMaster.Transactions(ctx, start, middle, 100)
	fatal(t, err)
	if got, err := Translate(part, now, endThere); err != nil || got != middleThere {
		// Nothing was logged between the end of one transaction and the begin of the next, so the places are equal.
		t.Errorf("%s of the master is %s on the slave (%v), want %s", middle, got, err, middleThere)
	}
	if got, err := Translate(was, now, endThere); err != nil || got != endThere {
		t.Errorf("the end of the master is %s on the slave (%v), want %s", got, err, endThere)
	}
	if first, err := onMaster.Transactions(ctx, start, end, 2); err != nil || !slices.Equal(first, was[:2]) {
		t.Errorf("the first two are %v (%v), want %v", first, err, was[:2])
	}
	if none, err := onMaster.Transactions(ctx, end, end, 100); err != nil || len(none) != 0 {
		t.Errorf("at the end there is %v (%v)", none, err)
	}

	if _, err := onMaster.Transactions(ctx, Position{"bin.000900", 4}, Position{"bin.000901", 4}, 100); !errors.Is(err,
		ErrLogGone) {
		t.Errorf("a file that is not there: %v, want ErrLogGone", err)
	}
}

func TestTranslate(t *testing.T) {
	at := func(n uint64) Position { return Position{"bin.000007", n} }
	log := func(ids ...string) (list []Transaction) {
		for i, id := range ids {
			list = append(list, Transaction{At: at(uint64(i)), ServerID: 2, GTID: id})
		}
		return list
	}
	foreign := log("0-2-1")
	foreign[0].ServerID = 1
	for name, c := range map[string]struct {
		was, now []Transaction
		want     Position // zero: an error is wanted
	}{
		"nothing":                  {nil, log("0-2-1"), at(0)},
		"nothing, at the end":      {nil, nil, at(99)},
		"a part":                   {log("0-2-1", "0-2-2"), log("0-2-1", "0-2-2", "0-2-3"), at(2)},
		"all":                      {log("0-2-1", "0-2-2"), log("0-2-1", "0-2-2"), at(99)},
		"more than there is":       {log("0-2-1", "0-2-2"), log("0-2-1"), Position{}},
		"another one":              {log("0-2-1", "0-2-9"), log("0-2-1", "0-2-2"), Position{}},
		"another server's":         {foreign, log("0-2-1"), Position{}},
		"no GTIDs, equal numbers":  {log("", ""), log("", "", ""), at(2)},
		"no GTIDs, another server": {foreign, log(""), Position{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Translate(c.was, c.now, at(99))
			if got != c.want || (err != nil) != (c.want == Position{}) {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
		})
	}
}

func TestBeginning(t *testing.T) {
	for _, c := range []struct {
		kind, info string
		gtid       string
		begins     bool
	}{
		{"Gtid", "BEGIN GTID 0-1-105 cid=12", "0-1-105", true},               // MariaDB
		{"Gtid", "GTID 3-7-9", "3-7-9", true},                                // MariaDB, a statement of its own
		{"Gtid", "XA START X'31',X'',1 GTID 0-1-4", "0-1-4", true},           // MariaDB, XA
		{"Anonymous_Gtid", "SET @@SESSION.GTID_NEXT= 'ANONYMOUS'", "", true}, // MySQL, gtid_mode=OFF
		{"Gtid", "SET @@SESSION.GTID_NEXT= '3e11fa47-71ca-11e1-9e33-c80aa9429562:23'",
			"3e11fa47-71ca-11e1-9e33-c80aa9429562:23", true},
		{"Gtid_tagged", "SET @@SESSION.GTID_NEXT= '3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:2'",
			"3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:2", true},
		{"Gtid_list", "[0-1-4]", "", false},
		{"Query", "BEGIN", "", false},
		{"Xid", "COMMIT /* xid=9 */", "", false},
	} {
		gtid, begins := beginning(row{"Event_type": c.kind, "Info": c.info})
		if gtid != c.gtid || begins != c.begins {
			t.Errorf("%s %s: got %q, %v", c.kind, c.info, gtid, begins)
		}
	}
}

func TestDescribe(t *testing.T) {
	at := func(n uint64) Transaction { return Transaction{At: Position{"bin.000003", n}} }
	gtid := func(names ...string) (list []Transaction) {
		for _, n := range names {
			list = append(list, Transaction{GTID: n})
		}
		return list
	}
	for _, c := range []struct {
		list []Transaction
		want string
	}{
		{nil, ""},
		{gtid("0-1-7"), "0-1-7"},
		{gtid("0-1-7", "0-1-8", "0-1-9"), "0-1-7 to 0-1-9"},
		{gtid("0-1-7", "0-1-9", "1-1-10"), "0-1-7, 0-1-9, 1-1-10"},
		{gtid("ab-cd:7", "ab-cd:8"), "ab-cd:7 to ab-cd:8"},
		{gtid("a:1", "b:2", "c:3", "d:4", "e:5", "f:6"), "a:1, b:2, c:3, d:4, e:5, ..."},
		{[]Transaction{at(4)}, "bin.000003:4"},
		{[]Transaction{at(4), at(90), at(200)}, "bin.000003:4 to bin.000003:200"},
	} {
		if got := Describe(c.list); got != c.want {
			t.Errorf("%v: got %q, want %q", c.list, got, c.want)
		}
	}
}
