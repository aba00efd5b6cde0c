package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"mysql-mmm/test/servers"
)

// Outsider starts a server that is no part of the cluster, on a host of its own. Slaves can replicate from it on a
// second channel, or instead of from the writer.
func (c *Cluster) Outsider(ctx context.Context) (*Node, error) {
	kind, err := servers.Find(c.Options.Server)
	if err != nil {
		return nil, err
	}
	h, err := newHost("outsider", netip.MustParseAddr("10.77.0.30"))
	if err != nil {
		return nil, err
	}
	c.others = append(c.others, &Node{Host: h})
	s, err := newServer(ctx, h, kind, 9, !c.Position)
	if err != nil {
		return nil, err
	}
	if !kind.MySQL {
		s.args = []string{"--gtid-domain-id=9"}
	}
	n := &Node{Host: h, Server: s}
	c.others[len(c.others)-1] = n
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return n, s.Exec(ctx, "SET GLOBAL read_only=0", "SET sql_log_bin=0",
		"CREATE USER repl@'10.77.0.%' IDENTIFIED BY 'replpw'", "GRANT REPLICATION SLAVE ON *.* TO repl@'10.77.0.%'",
		"SET sql_log_bin=1", "CREATE DATABASE other", "CREATE TABLE other.t (id BIGINT PRIMARY KEY)")
}

// Nuisance is a way in which a program behaves that listens on a server's port and is no server.
type Nuisance string

// The nuisances.
const (
	Nonsense Nuisance = "nonsense" // sends bytes that no server would send
	Mute     Nuisance = "mute"     // accepts connections and sends nothing
	Quitter  Nuisance = "quitter"  // lets clients log in, and hangs up in the middle of an answer
)

// Pester puts a nuisance on the port of a host whose server does not run, until the returned function is called. A
// Quitter connects its clients to the server of the host other, for as many bytes of answers as it takes to log in.
func (n *Node) Pester(ctx context.Context, as Nuisance, other *Node) (stop func() error, err error) {
	var l net.Listener
	if err := n.Do(func() (err error) {
		l, err = net.Listen("tcp4", n.IP.String()+":3306")
		return err
	}); err != nil {
		return nil, fmt.Errorf("pester %s: %w", n.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the listener was closed by stop
			}
			go func() {
				defer conn.Close()
				n.pester(ctx, as, other, conn)
			}()
		}
	}()
	return func() error { cancel(); return l.Close() }, nil
}

func (n *Node) pester(ctx context.Context, as Nuisance, other *Node, conn net.Conn) {
	context.AfterFunc(ctx, func() { conn.Close() })
	switch as {
	case Nonsense:
		// An error does not matter: the client may have gone.
		_, _ = conn.Write([]byte("220 mail.example.com ESMTP\r\n\xff\xff\xff\xff\x00\x0a"))
	case Mute:
		<-ctx.Done()
	case Quitter:
		server, err := n.Dial(ctx, other.IP.String()+":3306")
		if err != nil {
			return
		}
		defer server.Close()
		go func() { _, _ = io.Copy(server, conn) }() // ends with either connection
		_, _ = io.CopyN(conn, server, 160)           // greeting, answer to the login and part of the next answer
	}
}
