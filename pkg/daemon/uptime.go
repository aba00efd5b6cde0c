package daemon

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Uptime is how long the machine has been up, in seconds (proc(5), /proc/uptime).
func Uptime() (float64, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	return strconv.ParseFloat(first, 64)
}
