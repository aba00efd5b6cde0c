package alert

import (
	"fmt"
	"os"
	"strings"
	"time"

	"mysql-mmm/pkg/event"
)

const (
	maxEvents = 20          // in one message; the others are counted
	gather    = time.Second // events so soon after the first go with it: a failover is several events
)

// Message is the events that are sent together.
type Message struct {
	Alert  string
	Events []event.Event // oldest first, at most 20
	More   int           // events that are left out
}

// digest holds the events that are still to be told, and says when.
type digest struct {
	interval time.Duration
	events   []event.Event
	more     int
	first    time.Time // when the first of events came, or the first after a failure
	last     time.Time // when the last message was sent; zero: never
	failed   bool      // these events could not be sent: they wait for a new event
}

func (d *digest) add(e event.Event, now time.Time) {
	if len(d.events) == 0 || d.failed {
		d.first, d.failed = now, false
	}
	if len(d.events) == maxEvents {
		d.more++
		return
	}
	d.events = append(d.events, e)
}

// due is when the next message is to be sent; false: there is nothing to say.
func (d *digest) due() (time.Time, bool) {
	if len(d.events) == 0 || d.failed {
		return time.Time{}, false
	}
	at := d.first.Add(gather)
	if next := d.last.Add(d.interval); !d.last.IsZero() && next.After(at) {
		at = next
	}
	return at, true
}

// flush empties the digest.
func (d *digest) flush(now time.Time) Message {
	m := Message{Events: d.events, More: d.more}
	d.events, d.more, d.last = nil, 0, now
	return m
}

// back puts the events of a message that could not be sent before those that have come since.
func (d *digest) back(m Message) {
	all := append(m.Events, d.events...)
	d.more += m.More + max(0, len(all)-maxEvents)
	d.events, d.failed = all[:min(len(all), maxEvents)], len(d.events) == 0
}

// Subject gives the first event, and the number of others, in one line.
func (m Message) Subject() string {
	if len(m.Events) == 0 {
		return ""
	}
	e := m.Events[0]
	text := "mysql-mmm"
	if e.Cluster != "" {
		text += " " + e.Cluster
	}
	text += fmt.Sprintf(": %s %s", e.Level, strings.Join(strings.Fields(e.Text), " "))
	if n := len(m.Events) - 1 + m.More; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Text gives all events, in the words of the log.
func (m Message) Text() string {
	var b strings.Builder
	for _, e := range m.Events {
		fmt.Fprintf(&b, "%s  %-5s  %s\n", e.At.Local().Format("2006/01/02 15:04:05.000"), e.Level,
			strings.TrimSpace(e.Text))
		for _, why := range append([]string{e.Cause}, e.Evidence...) {
			if why != "" {
				fmt.Fprintf(&b, "%25s       %s\n", "", why)
			}
		}
	}
	if m.More > 0 {
		fmt.Fprintf(&b, "And %d more, see 'mmm_control history'.\n", m.More)
	}
	fmt.Fprintf(&b, "\nThis is mmm_mond on %s, alert '%s'.\n", hostname(), m.Alert)
	return b.String()
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
