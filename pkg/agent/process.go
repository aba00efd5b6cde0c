package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ServerProcess remembers which process the server was when it last answered, by the pid file that the server itself
// names (@@pid_file). A server whose file can't be read is never said to be gone.
type ServerProcess struct {
	PIDFile func(ctx context.Context) (string, error)

	mu   sync.Mutex
	path string
	pid  int
	file fs.FileInfo // the pid file; nil where it can't be read
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
	p.pid, p.file = p.read()
}

// read returns 0 and nil where the file says nothing.
func (p *ServerProcess) read() (int, fs.FileInfo) {
	file, err := os.Stat(p.path)
	if err != nil {
		return 0, nil
	}
	text, err := os.ReadFile(p.path)
	if err != nil {
		return 0, nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0, nil
	}
	return pid, file
}

// Gone says that the process that answered last does not exist any more.
func (p *ServerProcess) Gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid > 0 && errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH)
}

// Same says that the process that answered last is certainly still the server: it exists, and its file is the one that
// it has written. A server writes the file anew when it starts, before it answers anybody; the number alone may be the
// same again, in a container.
func (p *ServerProcess) Same() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid <= 0 {
		return false
	}
	pid, file := p.read()
	if pid != p.pid || !os.SameFile(file, p.file) || !file.ModTime().Equal(p.file.ModTime()) {
		return false
	}
	return syscall.Kill(pid, 0) == nil
}
