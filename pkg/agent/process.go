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
// names (@@pid_file). Where that file could not be read, Gone and Same are false.
type ServerProcess struct {
	PIDFile func(ctx context.Context) (string, error)

	mu   sync.Mutex
	path string
	pid  int
	file fs.FileInfo // the pid file; nil where it can't be read
}

// Answered notes the server's process. It asks the server for the path of the pid file until it has been told once.
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

// read returns the process id in the pid file; 0 and nil where the file can't be read or has none.
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

// Gone says whether the process that answered last certainly does not exist any more.
func (p *ServerProcess) Gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid > 0 && errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH)
}

// Same says whether the process that answered last is certainly still the server: it exists, and the pid file is the
// same file, unchanged. A server writes that file anew when it starts, before it answers anybody. The process id alone
// proves nothing: in a container a server that is started anew often gets the same one.
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
