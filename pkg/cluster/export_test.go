package cluster

// MustStep is mustStep for the tests that know other packages of ours too.
func MustStep(t Topology, s State, in Input) (State, Output) { return mustStep(t, s, in) }
