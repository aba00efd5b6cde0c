package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"mysql-mmm/pkg/wire"
	"mysql-mmm/test/servers"
)

// Swarm is a real monitor in front of many hosts that are in truth one namespace: it has an address and a made-up agent
// for each host, which agrees to everything, and one mariadbd for all of them.
type Swarm struct {
	Mon, Crowd *Host // the monitor's host, and the namespace of all others
	Monitor    *Daemon
	addrs      []netip.Addr
	server     *Server
	listeners  []net.Listener
}

// NewSwarm makes n slaves and two masters, and starts the monitor with the classic check settings (5 s, 10 s).
func NewSwarm(ctx context.Context, bin string, n int) (*Swarm, error) {
	if err := makeBridge(); err != nil {
		return nil, err
	}
	s := &Swarm{}
	var err error
	if s.Mon, err = newHost("mon", netip.MustParseAddr(monIP)); err != nil {
		return nil, err
	}
	if s.Crowd, err = newHost("crowd", netip.MustParseAddr("10.77.0.9")); err != nil {
		return nil, err
	}
	for i := range n + 2 {
		ip := netip.AddrFrom4([4]byte{10, 77, byte(1 + i/200), byte(1 + i%200)})
		s.addrs = append(s.addrs, ip)
		if err := s.Crowd.SetAddress(netip.PrefixFrom(ip, 16), true); err != nil {
			return nil, err
		}
		var l net.Listener
		err := s.Crowd.Do(func() (err error) {
			l, err = net.Listen("tcp4", netip.AddrPortFrom(ip, 9989).String())
			return err
		})
		if err != nil {
			return nil, err
		}
		s.listeners = append(s.listeners, l)
		go s.agree(ctx, l)
	}
	if err := s.Mon.SetAddress(netip.MustParsePrefix("10.77.250.1/16"), true); err != nil {
		return nil, err
	}
	if s.server, err = newServer(ctx, s.Crowd, servers.Kind{}, 1, true); err != nil {
		return nil, err
	}
	s.server.args = []string{"--max-connections=5000", "--thread-handling=pool-of-threads"}
	if err := s.server.Start(ctx); err != nil {
		return nil, err
	}
	if err := s.server.Exec(ctx, "CREATE USER mmm_monitor@'%' IDENTIFIED BY 'monpw'",
		"GRANT BINLOG MONITOR, SLAVE MONITOR ON *.* TO mmm_monitor@'%'"); err != nil {
		return nil, err
	}
	config := filepath.Join(root, "mmm_mon.conf")
	if err := os.WriteFile(config, []byte(s.config()), 0o640); err != nil {
		return nil, err
	}
	s.Monitor = &Daemon{host: s.Mon, program: filepath.Join(bin, "mmm_mond"), config: config, dir: root}
	return s, s.Monitor.Start()
}

// agree answers the monitor as an agent does that does everything it is told.
func (s *Swarm) agree(ctx context.Context, l net.Listener) {
	var mu sync.Mutex
	server := &wire.Server{Terminator: "\n", Handler: func(_ context.Context, line string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		a := wire.Answer{Text: "OK: Done", Uptime: 1000}
		r, err := wire.ParseRequest(line)
		switch {
		case err != nil:
			a.Text = "ERROR: " + err.Error()
		case r.Command == wire.SetStatus:
			o, err := wire.ParseOrder(r)
			if err != nil {
				a.Text = "ERROR: " + err.Error()
			}
			a.Fields = wire.Report{Extended: true, Seq: o.Seq, Have: o.Roles, Writable: wire.No}.Fields()
		case r.Command == wire.GetAgentStatus:
			a.Fields = wire.AgentStatus{State: "UNKNOWN"}.Fields()
		case r.Command == wire.GetSystemStatus:
			a.Fields = wire.SystemStatus{}.Fields()
		}
		return a.String(), false
	}}
	_ = server.Serve(ctx, l) // ends when the listener is closed
}

func (s *Swarm) config() string {
	var b strings.Builder
	fmt.Fprintf(&b,
		"active_master_role writer\n<monitor>\n ip 127.0.0.1\n pid_path %s/mond.pid\n bin_path /usr/libexec/mysql-mmm\n status_path %s/mond.status\n ping_ips 10.77.0.9\n</monitor>\n"+
			"<host default>\n monitor_user mmm_monitor\n monitor_password monpw\n mode slave\n</host>\n", root, root)
	for i, ip := range s.addrs {
		extra := ""
		if i < 2 {
			extra = fmt.Sprintf(" mode master\n peer host%03d\n", 1-i)
		}
		fmt.Fprintf(&b, "<host host%03d>\n ip %s\n%s</host>\n", i, ip, extra)
	}
	fmt.Fprintf(&b, "<role writer>\n hosts host000, host001\n ips 10.77.200.1\n mode exclusive\n</role>\n")
	return b.String()
}

// Intervals listens to the monitor's pings for d. It returns the longest time between two pings of the same address,
// and how many pings there were. It is an error where an address was not pinged.
func (s *Swarm) Intervals(ctx context.Context, d time.Duration) (longest time.Duration, pings int, err error) {
	var conn net.PacketConn
	err = s.Crowd.Do(func() (err error) {
		conn, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	p := ipv4.NewPacketConn(conn)
	if err := p.SetControlMessage(ipv4.FlagDst, true); err != nil {
		return 0, 0, err
	}
	end := time.Now().Add(d)
	if err := conn.SetReadDeadline(end); err != nil {
		return 0, 0, err
	}
	last := map[netip.Addr]time.Time{}
	buf := make([]byte, 1500)
	for ctx.Err() == nil {
		n, cm, _, err := p.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		if n == 0 || buf[0] != byte(ipv4.ICMPTypeEcho) || cm == nil {
			continue
		}
		ip, _ := netip.AddrFromSlice(cm.Dst)
		ip = ip.Unmap()
		now := time.Now()
		if at, ok := last[ip]; ok {
			longest = max(longest, now.Sub(at))
		}
		last[ip] = now
		pings++
	}
	if len(last) < len(s.addrs) {
		return longest, pings, fmt.Errorf("only %d of %d hosts were pinged", len(last), len(s.addrs))
	}
	return longest, pings, ctx.Err()
}

// Close kills the monitor and the server, and removes the swarm.
func (s *Swarm) Close() error {
	for _, l := range s.listeners {
		l.Close()
	}
	return errors.Join(s.Monitor.Kill(), s.server.Kill(), os.RemoveAll(s.server.dir), s.Mon.remove(), s.Crowd.remove(),
		removeBridge(),
		exec.Command("rm", "-f", filepath.Join(root, "mmm_mon.conf"), filepath.Join(root, "mmm_mond.log")).Run())
}
