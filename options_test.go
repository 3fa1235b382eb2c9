package main

import (
	"strings"
	"testing"
)

// TestCommandOptions: an option stands behind its command, or in the environment, and what has no meaning for a command
// is refused.
func TestCommandOptions(t *testing.T) {
	t.Parallel()
	state := newState(t)
	if r := vespene(t, "status", "--database", demo, "--state", state, "--output", "json", "-q", "arm"); r.code != 0 ||
		len(r.records(t)) != 1 || r.records(t)[0]["pool"] != "arm" {
		t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	cmd, stdout, _ := program(t, "status", "--state", state, "--output", "json", "--database", demo)
	cmd.Env = append(cmd.Env, "VESPENE_AUTOSCALE_DATABASE=sqlite:gone", "VESPENE_AUTOSCALE_QUEUE=arm,linux",
		"VESPENE_AUTOSCALE_TIMEOUT=1m")
	if code := exitOf(t, cmd.Run()); code != 0 || strings.Count(stdout.String(), "\n") != 2 {
		t.Errorf("exit %d, %s", code, stdout)
	}
	for _, test := range []struct{ args, want string }{
		{"--force status", "there are options before the command status\nhint: write them behind it: " +
			"vespene-autoscale status [options]"},
		{"--queue arm check", "there are options before the command check"},
		{"check --dry-run", "there is no option --dry-run"},
		{"status arm", "there is an argument that belongs to no option"},
		{"statsu", "commands are status, history, check and simulate"},
		{"status --jobs 3", "there is no option --jobs"},
		{"check --since 3h", "there is no option --since"},
		{"history --output xml", "neither text nor json"},
		{"status --database", "flag needs an argument"},
		{"status --shared --database " + demo, "--shared needs a PostgreSQL database"},
		{"status", "no database is given"},
	} {
		r := vespene(t, append(strings.Fields(test.args), "--state", state)[:max(1, len(strings.Fields(test.args)))]...)
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, test.want) ||
			!strings.Contains(r.stderr, "\nhint: ") {
			t.Errorf("%s: exit %d, %q", test.args, r.code, r.stderr)
		}
	}
}
