package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckFile(t *testing.T) {
	dir := t.TempDir()
	part := strings.Join(strings.Split(valid, "\n")[9:], "\n") // without the monitor and the local host
	tests := []struct{ name, text, programs, want string }{
		{"all.conf", valid, "[mmm_mond mmm_agentd mmm_control]", ""},
		{"mmm.hcl", validHCL, "[mmm_mond mmm_agentd mmm_control]", ""},
		{"mmm_common.conf", part, "[]", ""},
		{"mmm_common.conf", part + "debug perhaps", "[]",
			`32: 'debug' must be 0, no, off or false, or 1, yes, on or true; not "perhaps"`},
		{"agent.conf", "this db1\nactive_master_role writer\n" + part, "[mmm_agentd]", ""},
		{"mmm_agent.conf", "active_master_role writer\n" + part, "[mmm_agentd]",
			"1: the top level lacks 'this', which mmm_agentd needs"},
		{"other.conf", "include all", "[mmm_mond mmm_agentd mmm_control]", ""},
		{"part.hcl", "include = [\"gone.conf\"]\nthis = \"db3\"", "[mmm_agentd]",
			"1:1: include gone.conf: no readable configuration file"},
	}
	for _, tt := range tests {
		file := dir + "/" + tt.name
		write(t, file, tt.text)
		programs, _, err := CheckFile(file)
		if got := fmt.Sprint(programs); got != tt.programs {
			t.Errorf("%s: for %s, want %s", tt.name, got, tt.programs)
		}
		if tt.want == "" && err != nil || tt.want != "" && !strings.HasPrefix(fmt.Sprint(err), file+":"+tt.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.name, err, tt.want)
		}
	}
	if _, _, err := CheckFile(dir + "/gone.conf"); err == nil {
		t.Error("a file that is not there is right")
	}
}
