package lab

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"

	"mysql-mmm/test/original"
)

// Original is a daemon of MMM 2.2 (its double, see package original) that runs in the place of one of ours.
type Original struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	log string
	err error
}

// Stop ends the daemon; addresses and roles stay as they are. It returns the error with which the daemon had ended
// before, if it had.
func (o *Original) Stop() error {
	o.cancel()
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Log is what the daemon has logged so far.
func (o *Original) Log() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log
}

func (o *Original) say(level, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log += fmt.Sprintf("%s %5s %s\n", time.Now().Format("15:04:05.000"), level, text)
}

func startOriginal(ctx context.Context, run func(ctx context.Context, o *Original) error) *Original {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it is ended by Stop
	o := &Original{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		if err := run(ctx, o); ctx.Err() == nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.err = err
		}
	}()
	return o
}

// OriginalAgent starts an original agent on a host on which our agent does not run.
func (c *Cluster) OriginalAgent(ctx context.Context, n *Node) (*Original, error) {
	l, err := listenOn(n.Host, netip.AddrPortFrom(n.IP, 9989))
	if err != nil {
		return nil, err
	}
	return startOriginal(ctx, func(ctx context.Context, o *Original) error {
		a := &original.Agent{Site: c.site(), Name: n.Name, Retries: cmp.Or(c.Retries, 10), Watcher: "root",
			Machine: machine{n.Host}, Log: o.say,
			Connect: func(ip netip.Addr) *sql.DB { return connectFrom(n.Host, ip, "mmm_agent", "agentpw") }}
		return a.Serve(ctx, l)
	}), nil
}

// OriginalMonitor starts an original monitor while ours does not run. It goes on from the same status file, and answers
// Control.
func (c *Cluster) OriginalMonitor(ctx context.Context) (*Original, error) {
	l, err := listenOn(c.Mon, netip.MustParseAddrPort("127.0.0.1:9988"))
	if err != nil {
		return nil, err
	}
	return startOriginal(ctx, func(ctx context.Context, o *Original) error {
		m := &original.Monitor{Site: c.site(), Trap: c.TrapPeriod,
			AutoSetOnline: time.Duration(c.AutoSetOnline) * time.Second,
			MaxBacklog:    60,
			StatusPath:    filepath.Join(c.dir, "mmm_mond.status"), Log: o.say,
			Connect: func(ip netip.Addr) *sql.DB { return connectFrom(c.Mon, ip, "mmm_monitor", "monpw") },
			Dial: func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				return c.Mon.Dial(ctx, netip.AddrPortFrom(ip, 9989).String())
			}}
		return m.Run(ctx, l)
	}), nil
}

// site is what mmm_common.conf says, as the originals have it.
func (c *Cluster) site() original.Site {
	s := original.Site{Writer: "writer"}
	writer := original.Role{Name: "writer", Exclusive: true, IPs: []netip.Addr{netip.MustParseAddr(WriterIP)}}
	reader := original.Role{Name: "reader"}
	for i, n := range c.DBs {
		h := original.Host{Name: n.Name, IP: n.IP, Slave: i > 1}
		if i < 2 {
			h.Peer = c.DBs[1-i].Name
		}
		s.Hosts = append(s.Hosts, h)
		if i < c.Candidates {
			writer.Hosts = append(writer.Hosts, n.Name)
		}
		reader.Hosts, reader.IPs = append(reader.Hosts, n.Name),
			append(reader.IPs, netip.AddrFrom4([4]byte{10, 77, 0, byte(101 + i)}))
	}
	s.Roles = []original.Role{writer, reader}
	return s
}

func listenOn(h *Host, at netip.AddrPort) (l *net.TCPListener, err error) {
	err = h.Do(func() error {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
		return err
	})
	return l, err
}

// connectFrom returns a pool of connections from host h to a server. The original opens a new connection for each thing
// that it does: it closes the pool afterwards.
func connectFrom(h *Host, to netip.Addr, user, password string) *sql.DB {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = user, password, "lab", netip.AddrPortFrom(to, 3306).String()
	cfg.InterpolateParams, cfg.Timeout, cfg.Logger = true, 2*time.Second, &mysql.NopLogger{}
	cfg.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) { return h.Dial(ctx, addr) }
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		panic(err) // the configuration is ours
	}
	return sql.OpenDB(connector)
}

// machine is a host as an original agent works on it.
type machine struct{ *Host }

func (m machine) SetAddress(ip netip.Addr, on bool) error {
	return m.Host.SetAddress(netip.PrefixFrom(ip, 32), on)
}

// Block refuses new connections to the server, or ends that, with a rule like that of the default iptables_block_cmd.
func (m machine) Block(on bool) error {
	rules := "table ip original\ndelete table ip original\n"
	if on {
		rules += "table ip original {\n chain in {\n  type filter hook input priority 0;\n" +
			"  iifname \"eth0\" tcp dport 3306 tcp flags & (syn | ack) == syn reject\n }\n}\n"
	}
	return m.nft(rules)
}

// Announce broadcasts five gratuitous ARP requests and as many replies.
func (m machine) Announce(ip netip.Addr) error {
	return m.Do(func() error {
		eth, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		client, err := arp.Dial(eth)
		if err != nil {
			return err
		}
		defer client.Close()
		for range 5 {
			for _, op := range []arp.Operation{arp.OperationRequest, arp.OperationReply} {
				p, err := arp.NewPacket(op, eth.HardwareAddr, ip, ethernet.Broadcast, ip)
				if err != nil {
					return err
				}
				if err := client.WriteTo(p, ethernet.Broadcast); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
