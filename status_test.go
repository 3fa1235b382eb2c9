package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// byPool are the records of a command's JSON output.
func byPool(t testing.TB, r ran) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, record := range r.records(t) {
		name, _ := record["pool"].(string)
		all[name] = record
	}
	return all
}

func TestStatus(t *testing.T) {
	t.Parallel()
	state := pastOf(t, demo, "linux", ended(30*time.Minute, 6, scaled, 0, ""), ended(20*time.Minute, 9, failed, 3,
		"exit status 3"),
		ended(3*time.Minute, 9, failed, 4, "exit status 4"))
	before := snapshot(t, filepath.Dir(state))
	r := vespene(t, "status", "--database", demo, "--state", state, "--output", "json")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit %d, %s", r.code, r.stderr)
	}
	all := byPool(t, r)
	if len(all) != 4 {
		t.Fatalf("%d pools, want 4, also the one without autoscaling", len(all))
	}
	for pool, want := range map[string]map[string]any{
		"linux": {"enabled": true, "queued": 3.0, "running": 2.0, "size": 5.0, "queued_size": 3.0, "previous_size": 6.0,
			"minimum": 1.0, "maximum": 10.0, "last_outcome": failed, "last_exit_code": 4.0,
			"last_error": "exit status 4", "last_duration_ms": 2000.0, "last_size": 9.0, "failures": 2.0,
			"due": false, "error": nil, "settings": map[string]any{"minimum": 1.0, "reevaluate_minutes": 5.0}},
		"legacy": {"enabled": false, "queued": 1.0, "size": nil, "due": nil, "last_evaluation": nil,
			"settings": map[string]any{}},
		"arm": {"due": true, "next_due": nil, "last_evaluation": nil, "last_success": nil, "failures": nil, "size": 5.0,
			"previous_size": nil},
	} {
		for name, value := range want {
			if got := all[pool][name]; fmt.Sprint(got) != fmt.Sprint(value) {
				t.Errorf("%s: %s is %v, want %v", pool, name, got, value)
			}
		}
	}
	for name, want := range map[string]time.Duration{"last_evaluation": -3 * time.Minute,
		"last_success": -30 * time.Minute, "next_due": 2*time.Minute + 2*time.Second} {
		at, err := time.Parse(time.RFC3339, fmt.Sprint(all["linux"][name]))
		if off := time.Until(at) - want; err != nil || off.Abs() > 15*time.Second ||
			!strings.HasSuffix(all["linux"][name].(string), "Z") {
			t.Errorf("%s is %v, want one %v from now, in UTC", name, all["linux"][name], want)
		}
	}
	if snapshot(t, filepath.Dir(state)) != before {
		t.Error("it wrote to the state")
	}
}

// TestStatusText: one line a pool, aligned, and below them what is wrong; what is said of times is rounded.
func TestStatusText(t *testing.T) {
	t.Parallel()
	address := sqliteDatabase(t,
		`INSERT INTO worker_pools (id, name, build_latest, minimum, reevaluate_minutes, executor_command) `+
			`VALUES (1, 'web', TRUE, 0, 10, 'true'), (2, 'a longer name', TRUE, 4, 120, 'true'), `+
			`(3, 'wrong', TRUE, 20, 5, 'true')`,
		`INSERT INTO builds (id, status, worker_pool_id, project_id, queued_time) VALUES (1, 'QUEUED', 1, NULL, '`+
			ago(90*time.Minute).UTC().Format(time.DateTime)+`')`)
	state := pastOf(t, address, "a longer name", ended(2*time.Hour+4*time.Minute, 6, scaled, 0, ""),
		ended(75*time.Second, 4, failed, 1, "exit status 1"))
	r := vespene(t, "status", "--database", address, "--state", state, "--queue", "web", "--queue", "a longer name",
		"--queue", "wrong", "--queue", "gone")
	want := `POOL           ENABLED  QUEUED  RUNNING  SIZE  WANTED  LAST EVALUATION         NEXT DUE  SETTINGS
web            yes           1        0     -       1  never                   now       defaults
a longer name  yes           0        0     6       4  failed (exit 1) 1m ago  in 1h59m  minimum 4, ` +
		`reevaluate_minutes 120
wrong          yes           0        0     -       -  never                   -         minimum 20, ` +
		`reevaluate_minutes 5
web: counted, but misleading: 1 build (the oldest for 1h30m) QUEUED without a project: every worker that meets one ` +
		`stops working; delete them in Vespene
a longer name: the last evaluation failed: exit status 1; more with vespene-autoscale history
wrong: minimum 20 is above maximum 10; correct the pool's settings in Vespene
gone: there is no worker pool "gone"; write its name as Vespene shows it; upper and lower case matter
`
	if r.code != exitInvalid || r.stdout != want {
		t.Errorf("exit %d, prints\n%s\nwant\n%s", r.code, r.stdout, want)
	}
}

// TestStatusReadsOnly: without a state there is none afterwards, and a state of another user's is read by root.
func TestStatusReadsOnly(t *testing.T) {
	t.Parallel()
	state := newState(t)
	for _, command := range []string{"status", "history", "check"} {
		if r := vespene(t, command, "--database", demo, "--state", state); r.code != 0 || r.stdout == "" {
			t.Errorf("%s: exit %d, %s", command, r.code, r.stderr)
		}
		if _, err := os.Stat(filepath.Dir(state)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s made the state's directory", command)
		}
	}
}

// TestStatusOpen: while an evaluation goes on, or was killed, nobody knows when the pool is due.
func TestStatusOpen(t *testing.T) {
	t.Parallel()
	state := pastOf(t, demo, "linux", ended(time.Hour, 6, scaled, 0, ""),
		evaluation{started: ago(5 * time.Minute), size: 8})
	linux := byPool(t, vespene(t, "status", "--database", demo, "--state", state, "--output", "json"))["linux"]
	if linux["due"] != nil || linux["next_due"] != nil || linux["last_outcome"] != nil || linux["last_size"] != 8.0 ||
		linux["previous_size"] != 6.0 {
		t.Errorf("%v", linux)
	}
	if text := vespene(t, "status", "--database", demo, "--state", state).stdout; !regexp.MustCompile(`(?m)^linux .* ` +
		`begun 5m ago +- `).MatchString(text) {
		t.Errorf("prints\n%s", text)
	}
}

// TestStatusClockWentBack: an evaluation that lies ahead is said to, and the pool is due, as a run would find.
func TestStatusClockWentBack(t *testing.T) {
	t.Parallel()
	state := pastOf(t, demo, "linux", ended(-3*time.Hour, 6, scaled, 0, ""))
	linux := byPool(t, vespene(t, "status", "--database", demo, "--state", state, "--output", "json"))["linux"]
	text := vespene(t, "status", "--database", demo, "--state", state, "-q", "linux").stdout
	dry := vespene(t, "--database", demo, "--state", state, "-q", "linux", "--dry-run").stdout
	if linux["due"] != true || !strings.Contains(text, "scaled in the future  now ") ||
		!strings.Contains(dry, "\n  due      now\n") {
		t.Errorf("%v\n%s%s", linux, text, dry)
	}
}

// TestStatusOdd: what the database holds breaks no line and reaches no terminal.
func TestStatusOdd(t *testing.T) {
	t.Parallel()
	address := sqliteDatabase(t, "INSERT INTO worker_pools (id, name, planner, executor_command) "+
		"VALUES (1, 'a' || char(10) || 'b', 'x' || char(10, 27) || '[31mred', 'true')")
	r := vespene(t, "status", "--database", address, "--state", newState(t))
	if strings.Contains(r.stdout, "\x1b") || strings.Count(r.stdout, "\n") != 3 ||
		!strings.Contains(r.stdout, `planner "x\n\x1b[31mred"`) {
		t.Errorf("prints %q", r.stdout)
	}
}

// TestStatusShared: where hosts share the pools, PostgreSQL has when they were evaluated, and how that ended.
func TestStatusShared(t *testing.T) {
	t.Parallel()
	c, name, address := sharedPool(t, "exit 3")
	state := newState(t)
	if code, _, _ := runHost(t, address, state); code != exitFailed {
		t.Fatalf("exit %d", code)
	}
	other := filepath.Join(t.TempDir(), "state.db")
	web := byPool(t, vespene(t, "status", "--shared", "--database", address, "--state", other,
		"--output", "json"))["web"]
	_, last, _ := c.row(t, name)
	if at, err := time.Parse(time.RFC3339, fmt.Sprint(web["last_evaluation"])); err != nil ||
		at.Sub(*last).Abs() > time.Millisecond || web["last_outcome"] != failed ||
		web["last_exit_code"] != 3.0 || web["due"] != false {
		t.Errorf("%v, and in the database %v", web, last)
	}
	if web["last_size"] != nil || web["last_error"] != nil || web["failures"] != nil {
		t.Errorf("another host's evaluation is not known whole: %v", web)
	}
	r := vespene(t, "status", "--shared", "--database", address, "--state", state, "--output", "json")
	if web := byPool(t, r)["web"]; web["last_error"] != "the command ended with exit status 3" ||
		web["last_size"] != 0.0 || web["failures"] != 1.0 {
		t.Errorf("this host's own is: %v", web)
	}
	if text := vespene(t, "status", "--shared", "--database", address, "--state", state).stdout; !strings.Contains(text,
		"web: the last evaluation failed: ") {
		t.Errorf("prints\n%s", text)
	}
	c.exec(t, name, "UPDATE worker_pools SET executor_command = 'sleep 30', last_autoscaled = NULL, "+
		"autoscaling_status = 0")
	cmd := host(t, address, state)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	waitFor(t, func() bool { _, last, _ := c.row(t, name); return last != nil })
	for _, state := range []string{state, other} {
		if web := byPool(t, vespene(t, "status", "--shared", "--database", address, "--state", state,
			"--output", "json"))["web"]; web["last_outcome"] != nil || web["last_exit_code"] != nil {
			t.Errorf("while a command runs: %v", web)
		}
	}
	if web := byPool(t, vespene(t, "status", "--database", address, "--state", other,
		"--output", "json"))["web"]; web["due"] != true {
		t.Errorf("without --shared another host knows nothing of it: %v", web)
	}
}
