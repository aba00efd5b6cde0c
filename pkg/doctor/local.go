package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/wire"
)

// local gathers the facts about this machine.
func (f *Facts) local() {
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				f.Local = append(f.Local, p.Addr().Unmap())
			}
		}
	}
	f.Status = durable.Replaceable(f.Config.Monitor.StatusPath)
	f.Kill = unix.Access(f.Config.Monitor.KillHostBin, unix.X_OK)
	if f.Config.Socket.SSL {
		f.TLS = lookAtTLS(f.Config.Socket)
	}
}

func lookAtTLS(s config.Socket) TLSFacts {
	var t TLSFacts
	if st, err := os.Stat(s.KeyFile); err == nil {
		t.Open = st.Mode().Perm()&0o004 != 0
	}
	text, err := os.ReadFile(s.CertFile)
	if err != nil {
		t.Err = err
		return t
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return t // wire.ClientTLS, which loads the file in Gather, says what is wrong with it
	}
	if c, err := x509.ParseCertificate(block.Bytes); err == nil {
		t.Expires = c.NotAfter
	}
	return t
}

// askMonitor talks to the monitor as mmm_control does.
func askMonitor(ctx context.Context, dialer wire.Dialer, c *config.Config) MonitorFacts {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	addr := netip.AddrPortFrom(c.Monitor.IP, uint16(c.Monitor.Port)).String()
	pong, err := dialer.Control(ctx, addr, "ping")
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return MonitorFacts{}
	case err != nil:
		return MonitorFacts{Err: err}
	case strings.TrimSpace(pong) != "OK: Pinged successfully!":
		return MonitorFacts{Err: errors.New("its answer to a ping is not that of a monitor")}
	}
	m := MonitorFacts{Running: true}
	// An original monitor knows no --json: then there is no view.
	var view cluster.View
	if text, err := dialer.Control(ctx, addr, "show --json"); cmp.Or(err, json.Unmarshal([]byte(text), &view)) == nil {
		m.View = &view
	}
	return m
}
