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

// sparePause is how long an account that is refused as well is left alone. Servers may lock accounts after failed
// logins, and this one is what others replicate with.
const sparePause = time.Minute

// spare asks the local server by another account than the agent's, which may do nothing but ask.
type spare struct {
	server Asked

	mu    sync.Mutex
	until time.Time // when it may be tried again
	err   error     // why not before
}

// newSpare gives nil where there is no other account.
func newSpare(server Asked) *spare {
	if server == nil {
		return nil
	}
	return &spare{server: server}
}

// writable is an error at once while the account is left alone.
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
