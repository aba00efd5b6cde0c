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

// Deadlines of questions. All are asked at once, so the longest is how long a doctor takes.
const (
	connectTimeout = 2 * time.Second
	serverTimeout  = 4 * time.Second
	agentTimeout   = 6 * time.Second // an examination takes up to 3 s, and may have to wait for another one
	controlTimeout = 3 * time.Second
	kernelTimeout  = time.Second // for a connection that only the other side's kernel has to take
	pingTries      = 3
)

// settleTime is how long a cluster may be in the middle of something.
const settleTime = time.Second

// Examine gathers and judges; where it finds what a cluster in the middle of a move shows for a moment, it does so
// twice.
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

// Gather learns what there is to know about the cluster of a configuration. It needs root, or CAP_NET_RAW, for pings.
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

// resolve looks what the names stand for that servers have for their sources. One that can't be resolved is left out.
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

// ping gives an address more than one chance: a lost packet is nothing.
func ping(ctx context.Context, p *check.Pinger, ip netip.Addr) (err error) {
	for range pingTries {
		if err = p.Ping(ctx, ip); err == nil {
			return nil
		}
	}
	return err
}

// askServer talks to a server as the monitor does. It always logs in: a server counts connections that break off
// before, and shuts out who makes many of them (max_connect_errors in the MySQL manual).
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
	// What can be read in spite of a missing privilege is there beside the error.
	set, err := s.Setup(ctx)
	if f.Err = err; set.Version != "" {
		f.Setup = &set
	}
	return f
}

// unconnected gives the reason of a failed login where it was that the port can't be connected to. A server that hangs,
// or has no time, is still connected to by its kernel.
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

// askAgent has an agent examine its host.
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
		// The request came somewhere within what the examination did not take.
		travel := max(took-e.Took, 0)
		return AgentFacts{Exam: &e, Ahead: e.At.Sub(began.Add(travel / 2)), Unsure: travel/2 + time.Millisecond}
	}
}
