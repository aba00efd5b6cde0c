// Package wire is what monitor, agent and mmm_control say to each other: the lines, their meaning, and the connections
// they travel on (docs/protocol.md).
//
// The classic protocol is a text of lines, and its words and their order are a contract: an original monitor can drive
// our agent, and our monitor an original agent. What is ours rides behind the classic parameters and fields as
// key=value, where the original looks at nothing.
//
// It holds no opinion: who may give an order, what an order leads to and what is answered are decided by the callers.
package wire

import "time"

const (
	// ProtocolVersion stands in every request. The original agent reads it and accepts any.
	ProtocolVersion = "1"

	// MaxLine is the longest request, in bytes, without its newline. A configuration that could lead to a longer
	// order is refused (package config).
	MaxLine = 8192

	// MaxAnswer is the longest answer of an agent, in bytes, without its newline. Answers grow with the number of
	// addresses and problems, requests with that of addresses.
	MaxAnswer = 64 << 10

	// maxControlAnswer is the longest answer of a monitor to mmm_control, in bytes.
	maxControlAnswer = 16 << 20

	// controlConnectTimeout is the time the classic mmm_control gives a monitor to accept it.
	controlConnectTimeout = 10 * time.Second
)
