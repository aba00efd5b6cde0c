// Package mysqlctl is everything MMM says to one database server: is it alive, does it replicate, open and close it
// for writes, end its clients, wait for a position, follow another server.
//
// It speaks three dialects (MariaDB, MySQL with the old words, MySQL with the new ones) and its callers never see
// which. It decides nothing: which server is to be written to is known elsewhere.
//
// Each call ends by the deadline of its context. Cancelling a context only frees the caller, the server goes on with
// the statement; where a statement that takes effect later would do harm, it is killed through a second connection.
package mysqlctl
