package vip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

func TestListeners(t *testing.T) {
	_, r := eth0(t, "10.0.0.1/24", "fd00::1/64")
	r.add("10.0.0.100/24")
	// Several sockets may share one address (SO_REUSEPORT), as in servers that have one for each thread.
	sharing := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, set)
	}}
	for name, c := range map[string][]string{
		"IPv4":        {"127.0.0.1"},
		"all of IPv4": {"0.0.0.0"},
		"IPv6":        {"fd00::1"},
		"all":         {"::"},
		"two":         {"10.0.0.1", "::1"},
		"one by two":  {"10.0.0.1", "10.0.0.1"},
		"nothing":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			const port = "3306"
			var want []string
			for _, ip := range c {
				l, err := sharing.Listen(t.Context(), "tcp", net.JoinHostPort(ip, port))
				nstest.Must(t, err)
				t.Cleanup(func() { l.Close() })
				if at := netip.MustParseAddrPort(l.Addr().String()).String(); !slices.Contains(want, at) {
					want = append(want, at)
				}
			}
			found, err := Listeners(t.Context(), 3306)
			nstest.Must(t, err)
			var got []string
			for _, at := range found {
				got = append(got, at.String())
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestListenersMapped: an IPv6 socket may be bound to an address of IPv4.
func TestListenersMapped(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	nstest.Must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	at := netip.MustParseAddrPort("127.0.0.1:3306")
	nstest.Must(t, unix.Bind(fd, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}))
	nstest.Must(t, unix.Listen(fd, 1))
	if got, err := Listeners(t.Context(), at.Port()); err != nil || !slices.Equal(got, []netip.AddrPort{at}) {
		t.Errorf("%v listen (%v), want %s", got, err, at)
	}
}

// TestListenersOfOthers: connections don't count, and neither do listeners on other ports or in another network
// namespace.
func TestListenersOfOthers(t *testing.T) {
	_, r := eth0(t, "10.0.0.1/24")
	r.add("10.0.0.100/24")
	at, accepted := listen(t, "tcp4", "0.0.0.0:0")
	r.dial(netip.MustParseAddr("10.0.0.1"), at.Port(), accepted)
	client, err := net.Dial("tcp4", at.String())
	nstest.Must(t, err)
	t.Cleanup(func() { client.Close() })
	nstest.Do(t, r.ns, func() error {
		l, err := net.Listen("tcp4", netip.AddrPortFrom(netip.MustParseAddr("10.0.0.100"), at.Port()).String())
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	if got, err := Listeners(t.Context(), at.Port()); err != nil || !slices.Equal(got, []netip.AddrPort{at}) {
		t.Errorf("%v listen (%v), want %s alone", got, err, at)
	}
	own := netip.MustParseAddrPort(client.LocalAddr().String()).Port()
	if got, err := Listeners(t.Context(), own); err != nil || len(got) != 0 {
		t.Errorf("%v listen on a client's port (%v)", got, err)
	}
}

// TestListenersWithoutRights: Listeners works without any capability, as the systemd unit grants none for it.
func TestListenersWithoutRights(t *testing.T) {
	at, _ := listen(t, "tcp6", "[::]:0")
	var got []netip.AddrPort
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		none := make([]unix.CapUserData, 2)
		err := unix.Capset(&header, &none[0])
		if err == nil {
			got, err = Listeners(t.Context(), at.Port())
		}
		result <- err
	}()
	nstest.Must(t, <-result)
	if !slices.Equal(got, []netip.AddrPort{at}) {
		t.Errorf("%v listen, want %s", got, at)
	}
}

func TestListenersFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := Listeners(ctx, 3306); !errors.Is(err, context.Canceled) || got != nil {
		t.Errorf("%v, %v: nothing was looked at", got, err)
	}
}
