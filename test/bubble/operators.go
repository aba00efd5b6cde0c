package bubble

import (
	"context"
	"strings"
	"time"
)

// command gives the monitor a command, as an operator does, waits for the answer and notes it in the story.
func (w *World) command(words string) string {
	w.mu.Lock()
	life := w.brain.life
	w.note("admin", "mmm_control %s", words)
	w.mu.Unlock()
	if life == nil || life.pass() != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(life.ctx, 30*time.Second)
	defer cancel()
	answer := life.m.Handle(ctx, words)
	first, _, _ := strings.Cut(answer, "\n")
	w.say("admin", "%s: %s", words, first)
	return answer
}

// order gives the monitor a command without waiting for the answer. The world is locked.
func (w *World) order(words string) { w.crowd.Go(func() { w.command(words) }) }

// putRight is what an operator does in the end, until there is a writer: set_active, set_online for all hosts, and
// START SLAVE where an agent was given an older state and does not know that it has stopped the receiving itself.
func (w *World) putRight() {
	for range 6 {
		time.Sleep(8 * time.Second)
		if w.ctx.Err() != nil {
			return
		}
		w.command("set_active")
		w.mu.Lock()
		none := len(w.writers()) == 0
		names := w.names()
		w.mu.Unlock()
		if !none {
			return
		}
		for _, name := range names {
			w.command("set_online " + name)
		}
		w.mu.Lock()
		for _, h := range w.hosts { // as the log says
			if r := &h.server.replica; h.forgot && r.source != "" && !r.io {
				w.note("admin", "START SLAVE IO_THREAD on %s", h.name)
				r.io = true
				h.server.turn()
			}
		}
		w.mu.Unlock()
	}
}
