// Package page looks at the monitor's status page with a real browser, on a real cluster in the lab.
package page

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/test/lab"
)

var shots = flag.String("shots", "", "folder for pictures of the page")

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func(context.Context) int { return m.Run() }))
}

const (
	at      = "10.77.0.10:9990"
	agentAt = ":9991"
	limit   = 2 * time.Minute

	writerOnPage = `(() => { const e = document.querySelector('[data-role="writer"]'); return e ? e.dataset.host + " " + e.dataset.confirmed + " on " + (e.closest("article")?.dataset.host || "nobody") : "nowhere" })()`
	stateOnPage  = `document.querySelector('article[data-host="%s"]')?.dataset.state`
)

// watcher is the test's cluster, asked over HTTP from the client's host.
type watcher struct {
	*testing.T
	*lab.Cluster
	http *http.Client
}

func start(t *testing.T) (context.Context, *watcher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	bin := os.Getenv("MMM_BIN")
	if bin == "" {
		t.Fatal("MMM_BIN must name the folder of the programs: use make test-page")
	}
	c, err := lab.New(ctx, lab.Options{Bin: bin, AutoSetOnline: 1, Slaves: 2, Mon: "metrics_listen " + at,
		Common: "<host default>\nmetrics_listen 0.0.0.0" + agentAt + "\n</host>"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Monitor.Log())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	w := &watcher{T: t, Cluster: c, http: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return c.Client.Dial(ctx, addr) }}}}
	t.Cleanup(w.http.CloseIdleConnections)
	return ctx, w
}

func (w *watcher) get(url string) (int, string) {
	w.Helper()
	r, err := w.http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		w.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// decided waits until the monitor says that the writer is on a host, and returns the time at which it first did.
func (w *watcher) decided(ctx context.Context, host string) time.Time {
	w.Helper()
	for ctx.Err() == nil {
		var v cluster.View
		if _, text := w.get("http://" + at + "/api/v1/show"); json.Unmarshal([]byte(text), &v) == nil {
			for _, r := range v.Roles {
				if r.Role == "writer" && r.Host == host && r.Confirmed {
					return time.Now()
				}
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.Fatal("the monitor does not say that the writer is on " + host)
	return time.Time{}
}

// picture takes screenshots of the page on three sizes of screen, light and dark, where -shots names a folder.
func (w *watcher) picture(b *browser, name string) {
	if *shots == "" {
		return
	}
	for view, size := range map[string][2]int{"desk": {1440, 900}, "phone": {390, 1500}, "wall": {2560, 1440}} {
		for _, scheme := range []string{"light", "dark"} {
			b.shot(filepath.Join(*shots, fmt.Sprintf("%s-%s-%s.png", name, view, scheme)), size[0], size[1], scheme)
		}
	}
}

// TestPage: the page shows who is the writer. It shows a failover at most a second after the monitor's API does, and
// says when the monitor is gone.
func TestPage(t *testing.T) {
	ctx, w := start(t)
	b := open(ctx, t, w.Client, "http://"+at+"/")
	b.until(writerOnPage, "db1 true on db1")
	b.until(`document.getElementById("verdict").textContent`, "All is well")
	b.until(`document.querySelectorAll(".wire").length`, "4")
	for host, want := range map[string]int{"db1": 200, "db2": 503} {
		if code, text := w.get("http://" + w.Node(host).IP.String() + agentAt + "/role/writer"); code != want {
			t.Errorf("/role/writer of %s: %d %s", host, code, text)
		}
		if code, text := w.get("http://" + w.Node(host).IP.String() + agentAt + "/role/reader"); code != 200 {
			t.Errorf("/role/reader of %s: %d %s", host, code, text)
		}
	}
	w.picture(b, "well")

	if err := w.Node("db1").Server.Kill(); err != nil {
		t.Fatal(err)
	}
	seen := make(chan time.Time, 1)
	go func() { seen <- w.decided(ctx, "db2") }()
	page := b.until(writerOnPage, "db2 true on db2")
	if d := page.Sub(<-seen); d > time.Second {
		t.Errorf("the page shows the failover %v after the monitor", d)
	}
	b.until(fmt.Sprintf(stateOnPage, "db1"), "HARD_OFFLINE")
	if text := b.eval(`document.getElementById("history").textContent`); !strings.Contains(text,
		"db1' changed from ONLINE to HARD_OFFLINE") || !strings.Contains(text, "is on 'db2'") {
		t.Errorf("the history on the page: %s", text)
	}
	for host, want := range map[string]int{"db1": 503, "db2": 200} {
		if code, text := w.get("http://" + w.Node(host).IP.String() + agentAt + "/role/writer"); code != want {
			t.Errorf("after the failover /role/writer of %s: %d %s", host, code, text)
		}
	}
	if _, text := w.get("http://" + at + "/metrics"); !strings.Contains(text,
		"\nmmm_role_move_duration_seconds_count{kind=\"failover\",role=\"writer\"} 1\n") {
		t.Error("the failover is not counted")
	}
	w.picture(b, "failover")

	if err := w.Monitor.Kill(); err != nil {
		t.Fatal(err)
	}
	b.until(`document.body.classList.contains("stale")`, "true")
	b.until(`document.getElementById("verdict").textContent`, "The monitor can't be reached")
	w.picture(b, "gone")
	if err := w.Monitor.Start(); err != nil {
		t.Fatal(err)
	}
	b.until(`document.body.classList.contains("stale")`, "false")
	b.until(writerOnPage, "db2 true on db2")
	if text := b.eval(`document.getElementById("history").textContent`); !strings.Contains(text,
		"db1' changed from ONLINE to HARD_OFFLINE") {
		t.Errorf("the history is gone after a restart: %s", text)
	}
}
