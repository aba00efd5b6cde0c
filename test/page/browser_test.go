package page

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// browser is a headless Chromium with one page, spoken to over a pipe (Chrome DevTools Protocol,
// --remote-debugging-pipe: JSON messages that end with a zero byte, in on file descriptor 3, out on 4).
type browser struct {
	t       *testing.T
	ctx     context.Context
	to      *os.File
	session string

	mu      sync.Mutex
	next    int
	answers map[int]chan answer
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// open starts Chromium on a host of the lab, with the page of a URL. Chromium ends with the test.
func open(ctx context.Context, t *testing.T, host *lab.Host, url string) *browser {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath("chromium")
	must(err)
	in, to, err := os.Pipe()
	must(err)
	from, out, err := os.Pipe()
	must(err)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{in, out}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(host.Start(cmd))
	in.Close()
	out.Close()
	b := &browser{t: t, ctx: ctx, to: to, answers: map[int]chan answer{}}
	read := make(chan struct{})
	go func() { defer close(read); b.read(bufio.NewReader(from)) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		to.Close()
		from.Close()
		<-read
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	return b
}

func (b *browser) read(in *bufio.Reader) {
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var a answer
		if json.Unmarshal(text[:len(text)-1], &a) != nil || a.ID == 0 {
			continue // an event
		}
		b.mu.Lock()
		c := b.answers[a.ID]
		delete(b.answers, a.ID)
		b.mu.Unlock()
		if c != nil {
			c <- a
		}
	}
}

// call calls a method of the protocol and reads its result into the value that into points to; nil: the result is not
// wanted.
func (b *browser) call(method string, params map[string]any, into any) {
	b.t.Helper()
	b.mu.Lock()
	b.next++
	id, c := b.next, make(chan answer, 1)
	b.answers[id] = c
	b.mu.Unlock()
	text, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		text, err = json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	}
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatalf("ask the browser for %s: %v", method, err)
	}
	select {
	case a := <-c:
		if a.Error != nil {
			err = errors.New(a.Error.Message)
		} else if into != nil {
			err = json.Unmarshal(a.Result, into)
		}
	case <-b.ctx.Done():
		err = b.ctx.Err()
	}
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

// eval evaluates a JavaScript expression on the page.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var r struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		return "exception: " + r.ExceptionDetails.Text
	}
	return fmt.Sprint(r.Result.Value)
}

// until waits until an expression on the page has the wanted value, and returns when it had.
func (b *browser) until(expression, want string) time.Time {
	b.t.Helper()
	for {
		got := b.eval(expression)
		if got == want {
			return time.Now()
		}
		if b.ctx.Err() != nil {
			b.t.Fatalf("%s is %q, want %q", expression, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// shot is a screenshot of the whole page.
func (b *browser) shot(file string, width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme",
		"value": scheme}}}, nil)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height,
		"deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Runtime.evaluate", map[string]any{"expression": "new Promise(done => setTimeout(done, 700))",
		"awaitPromise": true}, nil)
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &picture)
	png, err := base64.StdEncoding.DecodeString(picture.Data)
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
