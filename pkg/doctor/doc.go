// Package doctor finds out what is wrong with a cluster and how to mend it, for mmm_control doctor.
//
// Gather asks all hosts, servers, agents and the monitor at once, with a deadline for each question. Judge is pure and
// makes findings of what Gather has learnt. Nothing here changes anything, and no monitor needs to run. Every finding
// has a name, under which docs/doctor.md explains it.
package doctor
