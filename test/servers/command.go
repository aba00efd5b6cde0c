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
	// its data is in Dir/data, see Kind.Lay; it makes Dir/socket and Dir/pid. Short: a socket's path has 107 bytes
	Dir  string
	Bind string // address to listen on
	Port int
	ID   int  // server_id
	GTID bool // MySQL: gtid_mode; MariaDB always has them

	// SemiSync makes it wait for an acknowledgement before it tells a client that a transaction is committed;
	// AckTimeout (0: a quarter of a second) without one makes it asynchronous. Acknowledge makes it give them.
	SemiSync, Acknowledge bool
	AckTimeout            time.Duration
	AckAlways             bool // it waits for that time also while nobody is connected who would acknowledge

	Args []string // beyond, in words that all servers know
}

// Socket is the path of the Unix socket.
func (c Config) Socket() string { return filepath.Join(c.Dir, "socket") }

// Command is the server's, not started yet: with a binary log "bin", also of what it replicates, and small.
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
		"--secure-file-priv=NULL", // the folder that is compiled in does not exist
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

// ackTimeout is in milliseconds.
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
