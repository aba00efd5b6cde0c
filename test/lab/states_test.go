package lab

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"mysql-mmm/pkg/durable"
)

// TestHangingDisk: files under hangDisk can be read, and a write waits. After freeDisk it fails, and the next one
// works.
func TestHangingDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, content := range []string{"first", "second"} {
		if err := durable.Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := hangDisk(path); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- durable.Replace(path, []byte("third")) }()
	select {
	case err := <-done:
		t.Fatalf("a write to a disk that hangs ended: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if got, err := os.ReadFile(path); string(got) != "second" {
		t.Errorf("%q is read while the disk hangs (%v)", got, err)
	}
	if err := freeDisk(path); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("a pipe was written to")
	}
	if err := durable.Replace(path, []byte("fourth")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); string(got) != "fourth" {
		t.Errorf("%q is read in the end (%v)", got, err)
	}
	if err := freeDisk(path); err == nil {
		t.Error("a disk that does not hang is freed")
	}
}

// TestBounds: a fault of the writer's host may cost a lease; where nobody can take over, as long as the fault lasts.
func TestBounds(t *testing.T) {
	c := &Cluster{Options: Options{Lease: 3, CheckPeriod: 250 * time.Millisecond}}
	heal := 20 * time.Second
	for _, f := range Faults() {
		for _, s := range States() {
			want := quiet
			switch lasts := s.Alone || s.NoSuccessor; {
			case f.Writer && (s.Name == "peer's disk hangs" || f.Monitor && s.CantConfirm):
				want = 30336*time.Millisecond + f.Takes
			case f.Writer && s.CantConfirm:
				want = 6586*time.Millisecond + f.Slow
			case f.Name == "mysqld stopped" && !lasts:
				want = 8586 * time.Millisecond
			case f.Monitor && s.Alone:
				want = 30336*time.Millisecond + f.Takes
			case f.Writer && (lasts || f.Monitor):
				want = 26*time.Second + f.Takes
			case f.Writer:
				want = 5586 * time.Millisecond
			}
			if got := c.Bound(s, f, heal).Round(time.Millisecond); got != want {
				t.Errorf("%s, %s: %v, want %v", f.Name, s.Name, got, want)
			}
		}
	}
}

// TestOverlap: overlap adds up the times that two servers were open at once after a moment.
func TestOverlap(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	a, b := []span{{at(1), at(5)}, {at(8), at(9)}}, []span{{at(3), at(4)}, {at(4), at(8)}}
	for _, c := range []struct {
		b     []span
		after int
		want  time.Duration
	}{{b, 0, 2 * time.Second}, {b, 4, time.Second}, {b, 9, 0}, {nil, 0, 0}, {[]span{{at(5), at(8)}}, 0, 0}} {
		if got := overlap(a, c.b, at(c.after)); got != c.want {
			t.Errorf("%v after %d: %v, want %v", c.b, c.after, got, c.want)
		}
	}
}

// TestSilence: a gap that began before the first moment counts as a whole, and one that has not ended by the second
// moment counts too.
func TestSilence(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	l := &Load{acked: []ack{{at: at(1)}, {at: at(4)}, {at: at(5)}, {at: at(12)}}}
	for _, c := range []struct {
		since, until int
		want         time.Duration
	}{{0, 5, 3}, {4, 13, 7}, {5, 11, 6}, {13, 15, 3}, {3, 6, 3}} {
		if got := l.Silence(at(c.since), at(c.until)); got != c.want*time.Second {
			t.Errorf("from %d to %d: %v, want %v", c.since, c.until, got, c.want)
		}
	}
}
