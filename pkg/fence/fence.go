// Package fence closes one TCP port of this machine to clients, for a database server that can't be closed for writes
// because it does not answer. It runs iptables and ip6tables, which every system that MMM runs on has for blocking_type soft.
package fence

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Port is a TCP port with the hosts that are no clients: replicas that read its log, the monitor, other agents. They keep their
// connections. What comes over the loopback interface is never kept out.
type Port struct {
	Number  int
	Allowed []netip.Addr
}

// chain is ours alone, so that a rule left by an agent that died is found again.
func (p Port) chain() string { return fmt.Sprintf("MMM-FENCE-%d", p.Number) }

// Close resets and refuses every client connection to the port. Closing again is no error.
func (p Port) Close(ctx context.Context) error {
	var failed error
	for _, program := range []string{"iptables", "ip6tables"} {
		failed = errors.Join(failed, p.close(ctx, program))
	}
	return failed
}

func (p Port) close(ctx context.Context, program string) error {
	_ = run(ctx, program, "-N", p.chain()) // it may be there from before
	if err := run(ctx, program, "-F", p.chain()); err != nil {
		return err
	}
	for _, ip := range p.Allowed {
		if ip.Is4() == (program == "iptables") {
			if err := run(ctx, program, "-A", p.chain(), "-s", ip.String(), "-j", "RETURN"); err != nil {
				return err
			}
		}
	}
	if err := run(ctx, program, "-A", p.chain(), "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"); err != nil {
		return err
	}
	if run(ctx, program, append([]string{"-C", "INPUT"}, p.jump()...)...) == nil {
		return nil
	}
	return run(ctx, program, append([]string{"-I", "INPUT", "1"}, p.jump()...)...)
}

func (p Port) jump() []string {
	return []string{"!", "-i", "lo", "-p", "tcp", "--dport", strconv.Itoa(p.Number), "-j", p.chain()}
}

// Open takes the rules away, whoever left them. Nothing to take away is no error.
func (p Port) Open(ctx context.Context) error {
	var failed error
	for _, program := range []string{"iptables", "ip6tables"} {
		if run(ctx, program, "-n", "-L", p.chain()) != nil {
			continue
		}
		for run(ctx, program, append([]string{"-D", "INPUT"}, p.jump()...)...) == nil {
		}
		failed = errors.Join(failed, run(ctx, program, "-F", p.chain()), run(ctx, program, "-X", p.chain()))
	}
	return failed
}

func run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, append([]string{"-w", "1"}, args...)...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
