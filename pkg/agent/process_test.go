package agent

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestServerProcess: Gone and Same are true only where that is certain.
func TestServerProcess(t *testing.T) {
	server := exec.Command("sleep", "60")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		_ = server.Process.Kill() // an error says that it has ended already
		_ = server.Wait()
	}
	defer end()
	path := filepath.Join(t.TempDir(), "server.pid")
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600),
			os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	p := &ServerProcess{PIDFile: func(context.Context) (string, error) { return path, nil }}
	want := func(when string, same, gone bool) {
		t.Helper()
		if p.Same() != same || p.Gone() != gone {
			t.Errorf("%s: same %v, gone %v, want %v, %v", when, p.Same(), p.Gone(), same, gone)
		}
	}
	number := strconv.Itoa(server.Process.Pid) + "\n"

	want("before it has answered", false, false)
	p.Answered(t.Context())
	want("without a file", false, false)
	write("nonsense")
	p.Answered(t.Context())
	want("with a file that says nothing", false, false)
	write(number)
	p.Answered(t.Context())
	want("as it answered", true, false)
	write(strconv.Itoa(os.Getpid()))
	want("started anew with another number", false, false)
	write(number)
	want("started anew with the same number", false, false)
	p.Answered(t.Context())
	want("when that has answered", true, false)
	now := time.Now().Add(time.Second)
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	want("started anew, its file written over", false, false)
	p.Answered(t.Context())
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("its file was taken away", false, false)
	write(number)
	p.Answered(t.Context())
	end()
	want("killed", false, true)
}
