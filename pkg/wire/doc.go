// Package wire is what monitor, agent and mmm_control say to each other: the lines, their meaning, and the connections
// they travel on (docs/protocol.md).
//
// The classic protocol is a text of lines, and its words and their order are a contract: an original monitor can drive
// our agent, and our monitor an original agent. What is ours follows the classic parameters and fields as key=value,
// where the original looks at nothing.
//
// The package decides nothing: who may give an order, what an order leads to and what is answered are decided by the
// callers.
package wire

import "time"

const (
	// ProtocolVersion stands in every request. The original agent reads it and accepts any version.
	ProtocolVersion = "1"

	// MaxLine is the longest request, in bytes, without its newline. A configuration that could lead to a longer
	// order is refused (package config).
	MaxLine = 8192

	// MaxAnswer is the longest answer of an agent, in bytes, without its newline. It is longer than MaxLine, as answers
	// grow with the number of addresses and of problems, and requests with the number of addresses only.
	MaxAnswer = 64 << 10

	// maxControlAnswer is the longest answer of a monitor to mmm_control, in bytes.
	maxControlAnswer = 16 << 20

	// controlConnectTimeout is how long mmm_control waits for its connection to the monitor, as the original does.
	controlConnectTimeout = 10 * time.Second
)
