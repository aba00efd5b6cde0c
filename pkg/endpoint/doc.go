// Package endpoint is where clients of a role are sent: to an address that this host has. A Publisher makes that so;
// VIP does it with an address on an interface of this machine.
//
// It knows nothing of orders, leases and servers: when an endpoint may come and has to go is the agent's to decide.
package endpoint
