package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

const (
	// examineTimeout bounds an examination. A question without an answer by then counts as failed.
	examineTimeout = 3 * time.Second
	// whoTimeout is how long the network may take to say who has an address.
	whoTimeout = 200 * time.Millisecond
	// atOnce is how many questions an examination asks at a time, at most.
	atOnce = 32
)

// Neighbourhood tells who has an address (package vip).
type Neighbourhood interface {
	Who(ctx context.Context, ip, from netip.Addr, wait time.Duration) (net.HardwareAddr, error)
}

// Listens tells at which addresses something on this host listens on the server's port. An error says that the kernel
// could not be asked, and nothing of the server.
type Listens func(ctx context.Context) ([]netip.AddrPort, error)

// Examiner looks at this host and at what can be seen from it, for mmm_control doctor. It changes nothing.
type Examiner struct {
	Config        *config.Config
	Version       string
	Neighbourhood Neighbourhood
	Fence         interface {
		Closed(ctx context.Context) (bool, error)
	}
	Sockets func(ctx context.Context) error // an error says why TCP connections could not be ended here
	Listens Listens
	Agents  Asker

	turn sync.Mutex // an examination logs in everywhere: one at a time
}

// examine answers EXAMINE.
func (a *Agent) examine(ctx context.Context, req wire.Request) wire.Answer {
	nonce, err := wire.ParseExamine(req)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(err.Error())}
	}
	asking, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	last, err := a.ask(asking, nil)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + err.Error()}
	}
	if !a.examiner.turn.TryLock() {
		return wire.Answer{Text: wire.ExaminingText}
	}
	defer a.examiner.turn.Unlock()
	e := a.examiner.examine(ctx, nonce)
	e.State, e.Ordered, e.Embargo = last.order.State, last.order.Roles, a.replication.State().Embargo.Host
	return wire.Answer{Text: "OK: Examined!", Fields: e.Fields()}
}

func (x *Examiner) examine(ctx context.Context, nonce string) wire.Examination {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	local := x.Config.Local()
	e := wire.Examination{Version: x.Version, File: x.Config.File, At: began, Settings: x.Config.Digests(nonce),
		Interface: local.ClusterInterface, Lacks: lackedCapabilities(),
		Faults: map[string]string{}, Agents: map[string]string{}, Seen: map[netip.Addr]string{}}
	e.Link, e.Hardware, e.Addresses = interfaces(local.ClusterInterface, x.addresses())
	if err := durable.Replaceable(local.StatePath); err != nil {
		e.Faults[wire.FaultState] = brief(err)
	}
	if err := x.Sockets(ctx); err != nil {
		e.Faults[wire.FaultSockDiag] = brief(err)
	}
	var err error
	if e.Listens, err = x.Listens(ctx); err != nil {
		e.Faults[wire.FaultListen] = brief(err)
	}
	switch closed, err := x.Fence.Closed(ctx); {
	case err != nil:
		e.Faults[wire.FaultNftables] = brief(err)
	case closed:
		e.Faults[wire.FaultFence] = "closed"
	}
	if err := x.checkSource(ctx, local); err != nil {
		e.Faults[wire.FaultSource] = brief(err)
	}
	x.surroundings(ctx, &e)
	e.Took = time.Since(began)
	return e
}

// checkSource says why this host's server would refuse to replicate from another host, as far as a limit of the server
// (mysqlctl.ErrLimit) is the reason. That the server can't be asked is no error here: the logins of the examination
// tell.
func (x *Examiner) checkSource(ctx context.Context, local config.Host) error {
	server := mysqlctl.New(Account(x.Config, local))
	defer server.Close()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	sources := NewSources(x.Config)
	for _, h := range x.Config.Hosts {
		if h.Name == local.Name {
			continue
		}
		s, _ := sources(h.Name)
		if err := server.CheckSource(ctx, mysqlctl.Source{Host: s.Host, Port: s.Port, User: s.User,
			Password: s.Password}); errors.Is(err, mysqlctl.ErrLimit) {
			return err
		}
	}
	return nil
}

// surroundings asks all that needs an answer of somebody else, at most atOnce at a time: logins to all servers, signs
// of life of the other agents, and who in the network has the configured addresses.
func (x *Examiner) surroundings(ctx context.Context, e *wire.Examination) {
	local := x.Config.Local()
	var mu sync.Mutex // guards e
	var group errgroup.Group
	group.SetLimit(atOnce)
	try := func(h config.Host, account wire.Account, user string, password config.Secret, purposes mysqlctl.Purpose) {
		group.Go(func() error {
			l := login(ctx, h, account, user, password, purposes)
			l.Account = account
			mu.Lock()
			defer mu.Unlock()
			e.Logins = append(e.Logins, l)
			return nil
		})
	}
	if from, ok := ownAddress(e, local.IP); ok {
		for _, ip := range x.addresses() {
			if ip == local.IP || !ip.Is4() {
				continue
			}
			group.Go(func() error {
				mac, err := x.Neighbourhood.Who(ctx, ip, from, whoTimeout)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					e.Faults[wire.FaultARP] = brief(err)
				case mac != nil:
					e.Seen[ip] = mac.String()
				}
				return nil
			})
		}
	}
	for _, h := range x.Config.Hosts {
		if h.Name == local.Name {
			try(h, wire.AgentAccount, local.AgentUser, local.AgentPassword, mysqlctl.ForAgent)
			continue
		}
		try(h, wire.AgentAccount, local.AgentUser, local.AgentPassword, mysqlctl.ForNeighbour)
		if h.Mode == config.Master || local.Mode == config.Master { // a new writer may have to fetch from any host
			try(h, wire.ReplicationAccount, local.ReplicationUser, local.ReplicationPassword, mysqlctl.ForReplication)
		}
		group.Go(func() error {
			why := x.reach(ctx, h)
			mu.Lock()
			defer mu.Unlock()
			e.Agents[h.Name] = why
			return nil
		})
	}
	_ = group.Wait() // none returns an error: failures are in e
}

// reach asks the agent of another host for a sign of life and returns why there is none, or "".
func (x *Examiner) reach(ctx context.Context, h config.Host) string {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	line, err := x.Agents.Ask(ctx, netip.AddrPortFrom(h.IP, uint16(h.AgentPort)).String(),
		wire.NewRequest(wire.Ping, h.Name).String())
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	if err != nil {
		return brief(err)
	}
	if a, err := wire.ParseAnswer(line); err != nil || !a.OK() {
		return mysqlctl.Printable(line)
	}
	return ""
}

// login logs in to the server of a host and looks whether the account may do what it is for.
func login(ctx context.Context, h config.Host, account wire.Account, user string, password config.Secret,
	purpose mysqlctl.Purpose) wire.Login {
	s := mysqlctl.New(mysqlctl.Config{Addr: netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String(), User: user,
		Password:     password.Reveal(),
		PasswordName: string(account) + "_password", ConnectTimeout: replication.PeerTimeout,
		Timeout: 2 * replication.PeerTimeout, Encryption: encryption(h)})
	defer s.Close()
	l := wire.Login{Host: h.Name, Outcome: wire.LoginOK}
	grant, err := s.MissingGrant(ctx, purpose)
	sign := mysqlctl.SignOf(err)
	if failed, ok := errors.AsType[*mysqlctl.ConnectError](err); ok {
		err = errors.New(failed.Cause()) // the answer names host and account beside it
	}
	switch {
	case err != nil && sign.Alive():
		l.Outcome, l.Text = wire.LoginDenied, brief(err)
	case err != nil:
		l.Outcome, l.Text = wire.LoginFailed, brief(err)
	case grant != "":
		l.Outcome, l.Text = wire.LoginGrant, grant
	}
	return l
}

// addresses are all addresses of the configuration: those of roles and those of hosts.
func (x *Examiner) addresses() []netip.Addr {
	var all []netip.Addr
	for _, r := range x.Config.Roles {
		all = append(all, r.IPs...)
	}
	for _, h := range x.Config.Hosts {
		all = append(all, h.IP)
	}
	return all
}

// ownAddress is the IPv4 address from which the network is asked: the host's own, or else another of the cluster's
// interface.
func ownAddress(e *wire.Examination, own netip.Addr) (netip.Addr, bool) {
	var other netip.Addr
	for _, a := range e.Addresses {
		switch ip := a.Prefix.Addr(); {
		case a.Interface != e.Interface || !ip.Is4():
		case ip == own:
			return ip, true
		default:
			other = ip
		}
	}
	return other, other.IsValid()
}

// brief makes one printable line of an error.
func brief(err error) string {
	return mysqlctl.Printable(strings.ReplaceAll(fmt.Sprint(err), "\n", "; "))
}
