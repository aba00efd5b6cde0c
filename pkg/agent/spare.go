package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// Asked tells whether the local server takes writes.
type Asked interface {
	Writable(ctx context.Context) (bool, error)
}

// sparePause is how long the spare account is left alone after the server has refused it too. Servers may lock an
// account after failed logins, and this one is the account with which other hosts replicate.
const sparePause = time.Minute

// spare asks the local server by another account than the agent's, which may do nothing but ask.
type spare struct {
	server Asked

	mu    sync.Mutex
	until time.Time // when the account may be tried again
	err   error     // why it was refused last
}

// newSpare returns nil where there is no other account.
func newSpare(server Asked) *spare {
	if server == nil {
		return nil
	}
	return &spare{server: server}
}

// writable says whether the server takes writes. While the account is left alone it returns an error at once.
func (s *spare) writable(ctx context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.until) {
		return false, s.err
	}
	open, err := s.server.Writable(ctx)
	if mysqlctl.SignOf(err) == mysqlctl.Denied {
		s.until, s.err = time.Now().Add(sparePause), fmt.Errorf("left alone for %s: %w", sparePause, err)
	}
	return open, err
}
