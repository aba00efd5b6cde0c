package cluster

// MustStep is mustStep for tests in package cluster_test, which use other packages of this program too.
func MustStep(t Topology, s State, in Input) (State, Output) { return mustStep(t, s, in) }
