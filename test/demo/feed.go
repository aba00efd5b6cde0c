package main

import (
	"fmt"
	"strings"

	"mysql-mmm/test/lab"
)

// feed tells what is new in the logs, and when the client's writes fail and work again. It tells each thing once.
type feed struct {
	told   map[string]int // by host: how many bytes of its log were told
	failed int            // writes that had failed when it last looked
	acked  int            // and those that were acknowledged
	down   bool           // writes fail
}

// voice is a daemon whose log is told.
type voice struct {
	host   string
	daemon *lab.Daemon
}

func (s *story) voices() []voice {
	list := []voice{{"mon", s.Monitor}}
	for _, n := range s.DBs {
		list = append(list, voice{n.Name, n.Agent})
	}
	return list
}

// decisive are the parts of log lines that tell the story: failed checks, changes of state, roles, and whom a slave
// follows.
var decisive = []string{"Check 'mysql'", "State of host", "role '", "Added:", "Deleted:", "Couldn't", "Ended",
	"active master"}

// skip takes all logs so far as told.
func (f *feed) skip(s *story) {
	f.told = map[string]int{}
	for _, v := range s.voices() {
		f.told[v.host] = len(v.daemon.Log())
	}
}

// tell tells what is new since the last time.
func (f *feed) tell(s *story) {
	f.client(s)
	for _, v := range s.voices() {
		text := v.daemon.Log()[f.told[v.host]:]
		text = text[:strings.LastIndexByte(text, '\n')+1] // a line that is being written is told when it is whole
		f.told[v.host] += len(text)
		for line := range strings.Lines(text) {
			for _, d := range decisive {
				if strings.Contains(line, d) {
					s.news(v.host, plain(line))
					break
				}
			}
		}
	}
}

// plain is a log line without its date and time: the screen shows a time of its own.
func plain(line string) string {
	words := strings.Fields(line)
	return strings.Join(words[min(2, len(words)):], " ")
}

// client tells when writes begin to fail and when they are taken again.
func (f *feed) client(s *story) {
	if s.load == nil {
		return
	}
	acked, server := s.load.Acked()
	failed, err := s.load.Errors()
	switch {
	case f.down && acked > f.acked:
		s.news("client", fmt.Sprintf("writes are acknowledged again, by db%d, %d ms after the last one", server,
			s.load.Gap(s.since).Milliseconds()))
		f.down = false
	case !f.down && failed > f.failed:
		s.news("client", fmt.Sprintf("writes fail: %v", err))
		f.down = true
	}
	f.acked, f.failed = acked, failed
}
