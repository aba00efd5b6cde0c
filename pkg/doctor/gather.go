package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// Deadlines of questions. All but the names of sources are asked at once, so the longest is about how long Gather
// takes.
const (
	connectTimeout = 2 * time.Second
	serverTimeout  = 4 * time.Second
	agentTimeout   = 6 * time.Second // an examination takes up to 3 s, and may have to wait for another one
	controlTimeout = 3 * time.Second
	kernelTimeout  = time.Second // for a connection that only the other side's kernel has to accept, not the server
	pingTries      = 3
)

// settleTime is the time between two looks at a cluster that may be in the middle of a move.
const settleTime = time.Second

// Examine gathers facts and judges them. Where it finds something that a cluster shows for a moment in the middle of a
// move of a role, it gathers and judges once more, and leaves out what has passed. version is that of this program.
func Examine(ctx context.Context, c *config.Config, version string) ([]Finding, error) {
	f, err := Gather(ctx, c, version)
	if err != nil {
		return nil, err
	}
	first := Judge(f)
	if !slices.ContainsFunc(first, passing) {
		return first, nil
	}
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f, err = Gather(ctx, c, version); err != nil {
		return nil, err
	}
	return settled(first, Judge(f)), nil
}

// Gather asks for all facts about the cluster of a configuration. It needs root, or CAP_NET_RAW, for pings. Hosts that
// don't answer are facts; an error means that pings can't be sent, or that ctx has ended.
func Gather(ctx context.Context, c *config.Config, version string) (Facts, error) {
	nonce := wire.NewNonce()
	f := Facts{Config: c, Digests: c.Digests(nonce), Version: version, Now: time.Now(), Hosts: map[string]HostFacts{},
		PingIPs: map[netip.Addr]error{}}
	f.local()
	pinger, err := check.NewPinger()
	if err != nil {
		return Facts{}, err
	}
	pinging, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- pinger.Run(pinging) }()
	dialer := wire.Dialer{ConnectTimeout: connectTimeout, Secret: c.AgentSecret.Bytes()}
	if s := c.Socket; s.SSL {
		if dialer.TLS, err = wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			f.TLS.Err = err
		}
	}

	var mu sync.Mutex // guards f
	var all sync.WaitGroup
	for _, ip := range c.Monitor.PingIPs {
		all.Go(func() {
			err := ping(ctx, pinger, ip)
			mu.Lock()
			defer mu.Unlock()
			f.PingIPs[ip] = err
		})
	}
	for _, h := range c.Hosts {
		all.Go(func() {
			var facts HostFacts
			var one sync.WaitGroup
			one.Go(func() { facts.Ping = ping(ctx, pinger, h.IP) })
			one.Go(func() { facts.Server = askServer(ctx, h) })
			one.Go(func() {
				if facts.Agent.Err = f.TLS.Err; facts.Agent.Err == nil {
					facts.Agent = askAgent(ctx, dialer, h, nonce)
				}
			})
			one.Wait()
			mu.Lock()
			defer mu.Unlock()
			f.Hosts[h.Name] = facts
		})
	}
	all.Go(func() {
		if f.TLS.Err != nil {
			return
		}
		m := askMonitor(ctx, dialer, c)
		mu.Lock()
		defer mu.Unlock()
		f.Monitor = m
	})
	all.Wait()
	stop()
	f.Resolved = resolve(ctx, f.Hosts)
	return f, errors.Join(<-ended, ctx.Err())
}

// resolve looks up the names by which servers know their sources. A name that can't be resolved is left out.
func resolve(ctx context.Context, hosts map[string]HostFacts) map[string][]netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	found := map[string][]netip.Addr{}
	var mu sync.Mutex // guards found
	var all sync.WaitGroup
	for _, h := range hosts {
		s := h.Server.Setup
		if s == nil || s.Replica == nil {
			continue
		}
		name := s.Replica.SourceHost
		if _, err := netip.ParseAddr(name); err == nil {
			continue
		}
		all.Go(func() {
			if ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name); err == nil {
				mu.Lock()
				defer mu.Unlock()
				found[name] = ips
			}
		})
	}
	all.Wait()
	return found
}

// ping pings an address up to pingTries times, as one lost packet means nothing.
func ping(ctx context.Context, p *check.Pinger, ip netip.Addr) (err error) {
	for range pingTries {
		if err = p.Ping(ctx, ip); err == nil {
			return nil
		}
	}
	return err
}

// askServer talks to a server as the monitor does. It always logs in: a server counts connections that end before the
// login, and blocks a host that makes many of them (max_connect_errors in the MySQL manual).
func askServer(ctx context.Context, h config.Host) ServerFacts {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	addr := netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String()
	s := mysqlctl.New(mysqlctl.Config{Addr: addr, User: h.MonitorUser, Password: h.MonitorPassword.Reveal(),
		PasswordName: "monitor_password",
		Channel:      h.ReplicationChannel, ConnectTimeout: connectTimeout, Timeout: serverTimeout,
		Encryption: mysqlctl.Encryption{Mode: mysqlctl.SSLMode(h.MySQLSSLMode), CA: h.MySQLCA}})
	defer s.Close()
	var f ServerFacts
	if f.Grant, f.Login = s.MissingGrant(ctx, mysqlctl.ForMonitor); f.Login != nil {
		if f.Port = unconnected(ctx, addr, f.Login); f.Port != nil {
			f.Login = nil
		}
		return f
	}
	// Where a privilege is missing Setup returns an error, and beside it what could be read all the same.
	set, err := s.Setup(ctx)
	if f.Err = err; set.Version != "" {
		f.Setup = &set
	}
	return f
}

// unconnected returns why the port can't be connected to, if that is why the login failed, else nil. The port of a
// server that hangs, or has no time, can be connected to: its kernel accepts the connection.
func unconnected(ctx context.Context, addr string, login error) error {
	var errno syscall.Errno
	if errors.As(login, &errno) {
		return errno
	}
	if !mysqlctl.IsTimeout(login) {
		return nil
	}
	conn, err := (&net.Dialer{Timeout: kernelTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return errors.New("no answer")
	}
	conn.Close()
	return nil
}

// askAgent asks an agent to examine its host. While the agent is busy with another examination it asks again.
func askAgent(ctx context.Context, dialer wire.Dialer, h config.Host, nonce string) AgentFacts {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	addr := netip.AddrPortFrom(h.IP, uint16(h.AgentPort)).String()
	for {
		began := time.Now()
		line, err := dialer.Ask(ctx, addr, wire.ExamineRequest(h.Name, nonce).String())
		took := time.Since(began)
		if err != nil {
			return AgentFacts{Err: err}
		}
		a, err := wire.ParseAnswer(line)
		if err != nil {
			return AgentFacts{Refusal: line}
		}
		if a.Text == wire.ExaminingText {
			select {
			case <-time.After(200 * time.Millisecond):
				continue
			case <-ctx.Done():
				return AgentFacts{Err: ctx.Err()}
			}
		}
		e, err := wire.ParseExamination(a)
		if err != nil {
			return AgentFacts{Refusal: a.Text}
		}
		// The time that the examination did not take was spent on the way, about half of it before the agent read its
		// clock.
		travel := max(took-e.Took, 0)
		return AgentFacts{Exam: &e, Ahead: e.At.Sub(began.Add(travel / 2)), Unsure: travel/2 + time.Millisecond}
	}
}
