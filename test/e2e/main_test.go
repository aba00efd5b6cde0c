// Package e2e runs the real programs on real servers in the lab, one cluster a test.
package e2e

import (
	"context"
	"os"
	"testing"

	"mysql-mmm/test/lab"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func(context.Context) int { return m.Run() }))
}
