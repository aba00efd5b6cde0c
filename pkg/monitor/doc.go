// Package monitor is the loop around the brain. One goroutine owns the state: it gathers what the checks, the agents,
// the operators and the clock say, asks package cluster what follows, saves it, publishes it, and posts each agent its
// order. All that can be slow (a host, an agent, a disk, a kill_host program, a mmm_control client) has a goroutine of
// its own and delays nobody.
package monitor
