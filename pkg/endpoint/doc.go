// Package endpoint is where clients of a role are sent: to an address that this host has. A Publisher makes that so;
// VIP does it with an address on an interface of this machine.
//
// The package knows nothing of orders, leases and servers. The agent decides when an endpoint is published and
// withdrawn, and for how long it may last.
package endpoint
