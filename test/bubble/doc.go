// Package bubble searches the programs that ship for two writers, lost writes, and clusters without a writer: the
// real monitor and the real agents of a cluster run in one testing/synctest bubble, with their own goroutines, their
// own lines on the wire and their own state files. Only kernels, database servers, disks, clocks and the network are
// made up, behind the interfaces that the programs have for them. A world is made from a seed. Nothing but tests uses
// this package.
package bubble
