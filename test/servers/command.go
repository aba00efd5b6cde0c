package servers

import (
	"cmp"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Config says how one server runs.
type Config struct {
	// Dir is the server's folder: its data is in Dir/data (see Kind.Lay), and it makes Dir/socket and Dir/pid. The path
	// must be short: that of a socket has at most 107 bytes (unix(7)).
	Dir  string
	Bind string // address to listen on
	Port int
	ID   int  // server_id
	GTID bool // MySQL: gtid_mode; MariaDB always has GTIDs

	// SemiSync makes the server wait for an acknowledgement before it tells a client that a transaction is committed.
	// After AckTimeout (0: a quarter of a second) without one it goes on asynchronously. Acknowledge makes the server
	// acknowledge what it receives as a replica.
	SemiSync, Acknowledge bool
	AckTimeout            time.Duration
	AckAlways             bool // it waits for AckTimeout also while no replica is connected that would acknowledge

	Args []string // further options, in words that all servers know
}

// Socket is the path of the Unix socket.
func (c Config) Socket() string { return filepath.Join(c.Dir, "socket") }

// Command returns the command that runs the server, not started yet. The server writes a binary log "bin", also of what
// it replicates, and uses little memory. It is an error where files of a fetched server are missing.
func (k Kind) Command(c Config) (*exec.Cmd, error) {
	argv, err := k.program()
	if err != nil {
		return nil, err
	}
	argv = append(argv, "--user=root", "--datadir="+filepath.Join(c.Dir, "data"), "--tmpdir="+c.Dir, "--socket="+
		c.Socket(), "--pid-file="+filepath.Join(c.Dir, "pid"),
		"--bind-address="+c.Bind, "--port="+itoa(c.Port), "--server-id="+itoa(c.ID),
		"--log-bin=bin", "--relay-log=relay", "--innodb-buffer-pool-size=8M", "--performance-schema=OFF")
	if k.MySQL {
		argv = append(argv, mysqlArgs(c)...)
	} else {
		argv = append(argv, mariaDBArgs(c)...)
	}
	argv = append(argv, c.Args...)
	return exec.Command(argv[0], argv[1:]...), nil
}

func mariaDBArgs(c Config) []string {
	return []string{"--log-slave-updates", "--slave-net-timeout=5", "--innodb-log-file-size=8M",
		"--rpl-semi-sync-master-enabled=" + onOff(c.SemiSync), "--rpl-semi-sync-slave-enabled=" + onOff(c.Acknowledge),
		"--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-master-timeout=" + c.ackTimeout(),
		"--rpl-semi-sync-master-wait-no-slave=" + c.waitForNobody()}
}

func mysqlArgs(c Config) []string {
	args := []string{"--log-replica-updates", "--replica-net-timeout=5", "--innodb-redo-log-capacity=16M",
		"--gtid-mode=" + onOff(c.GTID), "--enforce-gtid-consistency=" + onOff(c.GTID),
		"--secure-file-priv=NULL", // the default folder, which is compiled in, does not exist
		"--mysqlx=OFF", "--table-open-cache=200", "--table-definition-cache=400"}
	if c.SemiSync || c.Acknowledge {
		args = append(args, "--plugin-load-add=semisync_source.so", "--plugin-load-add=semisync_replica.so",
			"--rpl-semi-sync-source-enabled="+onOff(c.SemiSync), "--rpl-semi-sync-replica-enabled="+
				onOff(c.Acknowledge),
			"--rpl-semi-sync-source-wait-point=AFTER_SYNC", "--rpl-semi-sync-source-timeout="+c.ackTimeout(),
			"--rpl-semi-sync-source-wait-no-replica="+c.waitForNobody())
	}
	return args
}

// ackTimeout is AckTimeout as the options of servers take it, in milliseconds.
func (c Config) ackTimeout() string {
	return strconv.FormatInt(cmp.Or(c.AckTimeout, 250*time.Millisecond).Milliseconds(), 10)
}

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

func itoa(n int) string { return strconv.Itoa(n) }

func (c Config) waitForNobody() string { return map[bool]string{true: "1", false: "0"}[c.AckAlways] }
