package bubble

import (
	"context"
	"strings"
	"time"
)

// command gives one to the monitor as an operator does, and tells its answer. It waits for that.
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

// order lets an operator give a command, without waiting for its answer. The world is locked.
func (w *World) order(words string) { w.crowd.Go(func() { w.command(words) }) }

// putRight is what an operator does in the end: everything automatic again, and all hosts in.
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
	}
}
