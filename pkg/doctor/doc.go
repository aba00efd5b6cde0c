// Package doctor finds out what is wrong with a cluster and how to mend it, for mmm_control doctor.
//
// Gather asks everybody at once, with a deadline for each question; Judge is pure and makes findings of what was
// learnt. Nothing here changes anything, and a monitor is not needed. Every finding has a name under which
// docs/doctor.md explains it.
package doctor
