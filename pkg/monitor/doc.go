// Package monitor is the loop around the rules of package cluster, which the comments here call the brain. One
// goroutine, the owner, owns the state: it gathers what the checks, the agents, the operators and the clock say, asks
// package cluster for the next state, saves that, publishes it, and posts each agent its order. Whatever can be slow (a
// host, an agent, a disk, a kill_host program, a mmm_control client) has a goroutine of its own and delays nobody.
package monitor
