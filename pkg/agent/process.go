package agent

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ServerProcess remembers which process the server was when it last answered, by the pid file that the server itself names
// (@@pid_file). A server whose file can't be read is never said to be gone.
type ServerProcess struct {
	PIDFile func(ctx context.Context) (string, error)

	mu   sync.Mutex
	path string
	pid  int
}

// Answered notes the server's process; it asks the server for its file only once.
func (p *ServerProcess) Answered(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.path == "" {
		path, err := p.PIDFile(ctx)
		if err != nil {
			return
		}
		p.path = path
	}
	text, err := os.ReadFile(p.path)
	if err != nil {
		p.pid = 0
		return
	}
	p.pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
}

// Gone says that the process that answered last does not exist any more.
func (p *ServerProcess) Gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid > 0 && errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH)
}
