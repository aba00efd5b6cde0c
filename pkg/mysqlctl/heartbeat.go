package mysqlctl

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Beat is one row of a heartbeat table as pt-heartbeat of the Percona Toolkit keeps it, one for each server that was
// written to.
type Beat struct {
	ServerID uint32
	// At is when the row was written, by the clock and in the time zone of the program that wrote it. It can be
	// compared with other beats of the same server_id, and with nothing else.
	At time.Time
}

// maxBeats is how many rows are read at most, in case the table is no heartbeat table.
const maxBeats = 100

// Heartbeats reads the table, "DB.TABLE", with the kept connection as in Ping.
func (c *Conn) Heartbeats(ctx context.Context, table string) ([]Beat, error) {
	rows, err := c.ask(ctx, func(f flavour) statement { return f.showBeats(table) })
	if err != nil {
		return nil, err
	}
	var beats []Beat
	for _, r := range rows {
		b, err := readBeat(r)
		if err != nil {
			return nil, fmt.Errorf("read the heartbeats in %s on %s: %w", table, c.cfg.Addr, err)
		}
		beats = append(beats, b)
	}
	return beats, nil
}

// readBeat reads one row. The column ts is a text such as 2026-11-21T08:38:25.001230, or has a type for times. In the
// layout of older versions of pt-heartbeat it has no fraction of a second.
func readBeat(r row) (Beat, error) {
	id, err := strconv.ParseUint(r["server_id"], 10, 32)
	if err != nil {
		return Beat{}, fmt.Errorf("read server_id: %w", err)
	}
	at, err := time.Parse("2006-01-02 15:04:05.999999999", strings.Replace(r["ts"], "T", " ", 1))
	if err != nil {
		return Beat{}, fmt.Errorf("read ts: %w", err)
	}
	return Beat{ServerID: uint32(id), At: at}, nil
}

func (f flavour) showBeats(table string) statement {
	name := quoteName(table)
	return statement{what: "read the heartbeats in " + table, sql: "SELECT server_id, ts FROM " + name + " LIMIT " +
		strconv.Itoa(maxBeats), need: readTable, on: name}
}

// quoteName quotes DB.TABLE.
func quoteName(table string) string {
	db, name, _ := strings.Cut(table, ".")
	quote := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
	return quote(db) + "." + quote(name)
}
