package mysqlctl

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// This file is about the event scheduler, which writes inside the server without a client that could be ended
// (docs/replication.md, "Events").

// Event is one event of the scheduler.
type Event struct {
	Schema, Name string
	Definer      string // USER@HOST
	Enabled      bool   // it runs on this server while the scheduler is on
	Asleep       bool   // it came by replication and does not run on this server (DISABLE ON SLAVE)
}

// mostEvents is how many events are read at most, as people may make any number.
const mostEvents = 100

// String names it for people.
func (e Event) String() string { return e.Schema + "." + e.Name }

// WakeText returns the statement that lets an event run on the server on which it is executed. It names the event's
// definer, because ALTER EVENT would else make the account that executes it the definer. Where the statement is written
// to the binary log, it puts the event to sleep on all other hosts.
func (e Event) WakeText() string {
	user, host, _ := cutLast(e.Definer, "@")
	quote := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
	return fmt.Sprintf("ALTER DEFINER=%s@%s EVENT %s.%s ENABLE;", quote(user), quote(host), quote(e.Schema),
		quote(e.Name))
}

// events returns the events of the schemas on which the user has EVENT. grant is the statement that lets the user see
// the events of all schemas; "" where it sees them already.
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

// WritableAndScheduler tells whether the server takes writes of ordinary users, and whether its event scheduler is on.
func (s *Server) WritableAndScheduler(ctx context.Context) (writable, scheduler bool, err error) {
	v, err := s.variables(ctx, "read_only", "super_read_only", "event_scheduler")
	if err != nil {
		return false, false, err
	}
	return isOff(v["read_only"]) && isOff(v["super_read_only"]), isOn(v["event_scheduler"]), nil
}

// SetEventScheduler turns the event scheduler on or off. To turn it off does not end the events that are running.
func (s *Server) SetEventScheduler(ctx context.Context, on bool) error {
	return s.change(ctx, func(f flavour) statement { return f.setEventScheduler(on) }, during{})
}

func (f flavour) setEventScheduler(on bool) statement {
	value := map[bool]string{true: "ON", false: "OFF"}[on]
	sql := "SET GLOBAL event_scheduler = " + value
	return statement{what: "set event_scheduler " + value, sql: sql, need: setScheduler}
}
