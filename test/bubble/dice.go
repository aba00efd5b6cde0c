package bubble

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// dice are a source of random numbers. Each part of a world has its own, so that how often one part throws them changes
// nothing for the others.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// newDice makes the dice of a name in the world of a seed.
func newDice(seed uint64, name string) *dice {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &dice{rng: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// between is a random time from a to b.
func (d *dice) between(a, b time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return a + time.Duration(d.rng.Int64N(int64(b-a)+1))
}

// n is a random number from 0 to n-1.
func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// one is true with probability 1/n.
func (d *dice) one(n int) bool { return d.n(n) == 0 }

// chance is true with probability p.
func (d *dice) chance(p float64) bool {
	if p <= 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64() < p
}

// part is a random number from 0 to 1.
func (d *dice) part() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64()
}

// pick is a random element of a list.
func pick[T any](d *dice, list ...T) T { return list[d.n(len(list))] }
