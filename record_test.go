package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestTerminal: on a terminal there is colour, unless NO_COLOR or TERM=dumb has it otherwise, and the chart is as wide
// as it.
func TestTerminal(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("script")
	need(t, "script", err == nil)
	state := pastOf(t, demo, "linux", ended(time.Hour, 5, scaled, 0, ""), ended(time.Minute, 6, scaled, 0, ""))
	onTerminal := func(environment, command string) string {
		t.Helper()
		cmd := exec.Command("script", "-qec", "stty cols 120; vespene-autoscale "+command+" --database "+demo+
			" --state "+state, "/dev/null")
		cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=", environment)
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v %s", command, err, output)
		}
		return strings.ReplaceAll(string(output), "\r\n", "\n")
	}
	for command, want := range map[string]string{"status": "\x1b[32mscaled 1m ago\x1b[0m",
		"history": "\x1b[32mscaled\x1b[0m", "check": "\x1b[32mok\x1b[0m", "--dry-run": "(\x1b[32mdry-run\x1b[0m"} {
		if got := onTerminal("X=", command); !strings.Contains(got, want) {
			t.Errorf("%s has no %q: %q", command, want, got)
		}
		for _, without := range []string{"NO_COLOR=1", "TERM=dumb"} {
			if got := onTerminal(without, command); strings.Contains(got, "\x1b") || len(got) < 100 {
				t.Errorf("%s with %s: %q", command, without, got)
			}
		}
		if got := onTerminal("X=", command+" --output json"); strings.Contains(got, "\x1b") {
			t.Errorf("%s as JSON: %q", command, got)
		}
	}
	axis := regexp.MustCompile(`└[─┬]+`).FindString(onTerminal("NO_COLOR=1", "history"))
	if n := utf8.RuneCountInString(axis); n < 110 || n > 120 {
		t.Errorf("the chart is %d columns wide, want about 120", n)
	}
}
