package daemon

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Uptime returns the seconds since the machine booted, with two decimals, from /proc/uptime (proc_uptime(5)).
func Uptime() (float64, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	return parseUptime(string(text))
}

func parseUptime(text string) (float64, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	up, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	return up, nil
}
