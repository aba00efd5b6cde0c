package mysqlctl

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// This file is about the event scheduler: what writes inside the server, without a client that could be ended.

// Event is one event of the scheduler.
type Event struct {
	Schema, Name string
	Definer      string // USER@HOST
	Enabled      bool   // it runs while the scheduler is on
	Asleep       bool   // it came by replication, and is not to run here (DISABLE ON SLAVE)
}

// mostEvents bounds what is read; there are as many as people make.
const mostEvents = 100

// String names it for people.
func (e Event) String() string { return e.Schema + "." + e.Name }

// WakeText is the statement that lets an event run here. It keeps its definer, who is else whoever says it; where it
// replicates, the event is put to sleep on all other hosts.
func (e Event) WakeText() string {
	user, host, _ := cutLast(e.Definer, "@")
	quote := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
	return fmt.Sprintf("ALTER DEFINER=%s@%s EVENT %s.%s ENABLE;", quote(user), quote(host), quote(e.Schema),
		quote(e.Name))
}

// events are those that the user may see: of schemas on which it has EVENT. grant is what it lacks to see them all.
func (s *Server) events(ctx context.Context) (events []Event, grant string, err error) {
	rows, err := s.ask(ctx, flavour.showEventsOf)
	if err != nil {
		return nil, "", err
	}
	for _, r := range rows {
		events = append(events, Event{Schema: r["EVENT_SCHEMA"], Name: r["EVENT_NAME"], Definer: r["DEFINER"],
			Enabled: r["STATUS"] == "ENABLED", Asleep: strings.HasSuffix(r["STATUS"], "SIDE_DISABLED")})
	}
	if rows, err = s.ask(ctx, flavour.showGrants); err != nil {
		return nil, "", err
	}
	have := grants(rows)
	if slices.Contains(have, "EVENT") || slices.Contains(have, "ALL PRIVILEGES") {
		return events, "", nil
	}
	who, err := s.ask(ctx, flavour.showUser)
	if err != nil || len(who) != 1 {
		return nil, "", err
	}
	user, host, _ := cutLast(who[0]["user"], "@")
	return events, fmt.Sprintf("GRANT EVENT ON *.* TO '%s'@'%s'", user, host), nil
}

func (f flavour) showEventsOf() statement {
	const list = "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, STATUS FROM information_schema.EVENTS ORDER BY EVENT_SCHEMA, EVENT_NAME LIMIT %d"
	return statement{what: "list events", sql: fmt.Sprintf(list, mostEvents)}
}

// Inside tells whether ordinary users may write, and whether the event scheduler is on.
func (s *Server) Inside(ctx context.Context) (writable, scheduler bool, err error) {
	v, err := s.variables(ctx, "read_only", "super_read_only", "event_scheduler")
	if err != nil {
		return false, false, err
	}
	return isOff(v["read_only"]) && isOff(v["super_read_only"]), isOn(v["event_scheduler"]), nil
}

// SetEventScheduler lets events run, or keeps them from running. Those that run are not ended.
func (s *Server) SetEventScheduler(ctx context.Context, on bool) error {
	return s.change(ctx, func(f flavour) statement { return f.setEventScheduler(on) }, during{})
}

func (f flavour) setEventScheduler(on bool) statement {
	value := map[bool]string{true: "ON", false: "OFF"}[on]
	sql := "SET GLOBAL event_scheduler = " + value
	return statement{what: "set event_scheduler " + value, sql: sql, need: setScheduler}
}
