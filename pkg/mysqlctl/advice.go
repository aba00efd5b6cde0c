package mysqlctl

import (
	"fmt"
	"strings"
)

// This file has the SQL that people are told to execute by hand. A test executes every text, on servers with the fault
// that the text mends.

// spoken returns a statement with the quoted channel where the dialect wants it: MariaDB between head and tail, MySQL
// at the end.
func (f flavour) spoken(head, tail, channel string) string {
	quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(channel) + "'"
	switch {
	case channel == "":
		return head + tail + ";"
	case f.dialect == mariaDB:
		return head + " " + quoted + tail + ";"
	}
	return head + tail + " FOR CHANNEL " + quoted + ";"
}

func (f flavour) changeText(options, channel string) string {
	head := "CHANGE MASTER"
	if f.dialect == mysqlNew {
		head = "CHANGE REPLICATION SOURCE"
	}
	return f.spoken(head, " TO "+f.words(options), channel)
}

func (f flavour) startText(channel string) string {
	return f.spoken(f.words("START SLAVE"), "", channel)
}
func (f flavour) stopText(channel string) string { return f.spoken(f.words("STOP SLAVE"), "", channel) }

// FollowText returns the statements that make this server replicate from a host whose data it has, by GTID or by file
// and position. A "…" stands for what the person has to fill in: an account, a position. A server on which replication
// is set up already keeps its account, and every option that the statements don't name.
func (s Setup) FollowText(channel, host string, port int, gtid bool) string {
	f := detect(s.Version, "")
	var texts []string
	options := fmt.Sprintf("MASTER_HOST='%s', MASTER_PORT=%d", host, port)
	if s.Replica != nil {
		texts = append(texts, f.stopText(channel)) // while replication runs the next one fails (1198, 3021)
	} else {
		options += ", MASTER_USER='…', MASTER_PASSWORD='…'"
	}
	if !gtid {
		options += ", MASTER_LOG_FILE='…', MASTER_LOG_POS=…"
	}
	switch {
	case f.dialect == mariaDB && gtid:
		options += ", MASTER_USE_GTID=slave_pos"
		if s.GTIDPosition == "" { // with no place replication would begin with the first log of the source
			texts = append(texts, "SET GLOBAL gtid_slave_pos='…';")
		}
	case f.dialect == mariaDB:
		options += ", MASTER_USE_GTID=no"
	case gtid:
		options += ", MASTER_AUTO_POSITION=1"
	default:
		options += ", MASTER_AUTO_POSITION=0"
	}
	if s.Replica == nil && f.dialect != mariaDB {
		options += ", MASTER_RETRY_COUNT=86400"
		if f.atLeast(8, 0, 4) {
			options += ", GET_MASTER_PUBLIC_KEY=1"
		}
	}
	return strings.Join(append(texts, f.changeText(options, channel), f.startText(channel)), " ")
}

// UseGTIDText are the statements that make a server whose replication goes by file and position find its place by GTID.
func (s Setup) UseGTIDText(channel string) string {
	f := detect(s.Version, "")
	option := "MASTER_AUTO_POSITION=1"
	if f.dialect == mariaDB {
		option = "MASTER_USE_GTID=slave_pos"
	}
	return strings.Join([]string{f.stopText(channel), f.changeText(option, channel), f.startText(channel)}, " ")
}

// RetryText returns the statements that make this server try a lost source for weeks. The count is 86400 and not 0,
// which the manual calls "for ever": with 0, a source that lets the replica in and then says nothing, twice in a row,
// ends the replica's I/O thread without an error (seen on MariaDB 10.11).
func (s Setup) RetryText(channel string) string {
	f := detect(s.Version, "")
	change := f.changeText("MASTER_RETRY_COUNT=86400", channel)
	return strings.Join([]string{f.stopText(channel), change, f.startText(channel)}, " ")
}

// StartText is the statement that starts replication.
func (s Setup) StartText(channel string) string { return detect(s.Version, "").startText(channel) }

// ReconnectText are the statements that stop and start the I/O thread: it then begins to acknowledge, where it has to.
func (s Setup) ReconnectText(channel string) string {
	f := detect(s.Version, "")
	return f.spoken(f.words("STOP SLAVE"), " IO_THREAD", channel) + " " +
		f.spoken(f.words("START SLAVE"), " IO_THREAD", channel)
}

// NotStarted names the option that keeps replication from starting with the server, where replication stands still
// because of it; "" where it runs, or stands still for another reason. MariaDB has no variable for that option: there a
// replication that has never been connected since the start, and so knows no server_id of its source, tells.
func (s Setup) NotStarted() string {
	r := s.Replica
	if r == nil || r.IORunning != "No" || r.SQLRunning != "No" || r.IOError != "" || r.SQLError != "" {
		return ""
	}
	f := detect(s.Version, "")
	switch {
	case s.SkipStart && f.dialect == mysqlNew:
		return "skip_replica_start"
	case s.SkipStart, f.dialect == mariaDB && r.SourceID == 0:
		return "skip_slave_start"
	}
	return ""
}
