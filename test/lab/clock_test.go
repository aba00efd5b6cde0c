package lab

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tellTimeVariable makes the test program print its monotonic time for every line that it reads.
const tellTimeVariable = "MMM_LAB_TEST_TELL_TIME"

func tellTime() int {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(monotonic())
	}
	return 0
}

func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

// TestClock: a program that runs under a Clock reads the time of this Clock, also when the Clock is set forward while
// the program runs.
func TestClock(t *testing.T) {
	t.Setenv(tellTimeVariable, "1")
	var c Clock
	c.Forward(time.Hour)
	cmd, answer, err := c.command("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := answer(); err != nil {
		t.Fatal(err)
	}
	text := bufio.NewReader(out)
	told := func() time.Duration {
		t.Helper()
		before := monotonic()
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		line, err := text.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var at int64
		if _, err := fmt.Sscan(strings.TrimSpace(line), &at); err != nil {
			t.Fatal(err)
		}
		return time.Duration(at - before).Round(time.Minute)
	}
	if got := told(); got != time.Hour {
		t.Errorf("its clock is %v ahead, want an hour", got)
	}
	c.Forward(24 * time.Hour)
	if got := told(); got != 25*time.Hour {
		t.Errorf("its clock is %v ahead, want 25 hours", got)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
