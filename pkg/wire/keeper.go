package wire

import (
	"context"
	"strings"
	"sync"
	"time"
)

// keptPatience is how long a kept connection may take to bring an answer. One that the network has forgotten would take
// minutes to fail; our agents answer a repeated order within milliseconds.
const keptPatience = 200 * time.Millisecond

// Keeper asks like its Dialer, and keeps the connection for the next question to the same agent: one to each agent of
// ours that answers orders. An original agent serves one connection at a time, so none to it is kept. The zero value
// speaks plain TCP. It can be used by many goroutines at once and starts none.
type Keeper struct {
	Dialer Dialer

	mu   sync.Mutex
	kept map[string]*talk // by address; who asks takes it out
}

// Ask sends one line as Dialer.Ask does. A kept connection that fails, or brings no answer within 200 ms, is given up,
// and the line is sent again on a new one: it must be one that may be carried out twice, and no order that must not
// lose these 200 ms.
func (k *Keeper) Ask(ctx context.Context, addr, line string) (string, error) {
	if err := checkRequest(ctx, line); err != nil {
		return "", err
	}
	if t := k.take(addr); t != nil {
		answer, err := k.ask(ctx, t, line)
		if err == nil || ctx.Err() != nil {
			return answer, err
		}
	}
	t, err := k.Dialer.open(ctx, addr, line)
	if err != nil {
		return "", err
	}
	began := time.Now()
	answer, err := t.ask(ctx, line)
	k.give(t, err == nil && time.Since(began) < keptPatience && fromOurs(answer))
	return answer, err
}

// ask uses a kept connection.
func (k *Keeper) ask(ctx context.Context, t *talk, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, keptPatience)
	defer cancel()
	answer, err := t.ask(ctx, line)
	k.give(t, err == nil && fromOurs(answer))
	return answer, err
}

func (k *Keeper) take(addr string) *talk {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.kept[addr]
	delete(k.kept, addr)
	return t
}

// give takes a connection back, or ends it.
func (k *Keeper) give(t *talk, fit bool) {
	if !fit || !t.idle {
		t.end()
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = map[string]*talk{}
	}
	if k.kept[t.addr] != nil {
		t.end()
		return
	}
	k.kept[t.addr] = t
}

// Close ends the kept connections. The Keeper can still be used.
func (k *Keeper) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.kept {
		t.end()
	}
	k.kept = nil
}

// fromOurs tells that the answer to an order comes from an agent of ours.
func fromOurs(answer string) bool {
	pairs, _ := parseExtras(strings.Split(answer, "|"))
	return pairs.extended()
}
