// Demo shows the main job of MMM on real servers, told while it happens: start, failover, return, planned move.
package main

import (
	"context"
	"os"
	"time"

	"mysql-mmm/test/lab"
)

// limit is how long all of it may take; it usually takes ten seconds.
const limit = time.Minute

func main() {
	os.Exit(lab.Main(func(interrupted context.Context) int {
		out := newScreen(os.Stdout)
		ctx, cancel := context.WithTimeout(interrupted, limit)
		defer cancel()
		err := tell(ctx, out)
		switch {
		case interrupted.Err() != nil:
			out.say("Interrupted. Nothing is left behind.")
			return 130 // 128 + SIGINT, as shells have it
		case err != nil:
			out.say("%s", out.paint(red, "FAILED: ")+err.Error())
			return 1
		}
		return 0
	}))
}
