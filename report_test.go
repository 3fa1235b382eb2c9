package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"vespene-autoscale/internal/term"
)

// pastOf is a state file that a run over the pool, or with "" all pools, has made, with these evaluations in place of the
// run's where there are any; theirs is the pool unless they name another.
func pastOf(t testing.TB, address, queue string, past ...evaluation) (state string) {
	t.Helper()
	state = newState(t)
	args := []string{"--database", address, "--state", state}
	if queue != "" {
		args = append(args, "--queue", queue)
	}
	if r := vespene(t, args...); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	execSQLite(t, state, "UPDATE evaluations SET id = id + 999, started = ?1, ended = ?1", time.Now().UnixMilli())
	for i, e := range past {
		execSQLite(t, state, `INSERT INTO evaluations SELECT ?, database, pool_id, pool, ?, ?, 0, ?, ?, ?, ?, ?, nullif(?, ''), ?, nullif(?, ''), '', NULL
			FROM evaluations WHERE id > 999 AND pool = ?`, i+1, e.started.UnixMilli(), e.started.UnixMilli()+1000, e.queued, e.running, e.size, e.queuedSize,
			millisecondsOf(e.ended), e.outcome.outcome, e.exitCode, e.err, cmp.Or(e.pool, queue))
	}
	execSQLite(t, state, "DELETE FROM evaluations WHERE id > 999 AND ?", len(past) > 0)
	return state
}

func millisecondsOf(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func ago(d time.Duration) time.Time { return time.Now().Add(-d).Truncate(time.Millisecond) }

// ended is an evaluation of a size that began so long ago and took two seconds.
func ended(since time.Duration, size int64, how string, exitCode int, err string) evaluation {
	return evaluation{started: ago(since), queued: 7, running: 2, size: size, queuedSize: 4,
		outcome: outcome{ended: ago(since - 2*time.Second), outcome: how, exitCode: &exitCode, err: err}}
}

// demo is the demo's database.
const demo = "sqlite:testdata/vespene.sql"

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
	state := pastOf(t, demo, "linux", ended(30*time.Minute, 6, scaled, 0, ""), ended(20*time.Minute, 9, failed, 3, "exit status 3"),
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
		"linux": {"enabled": true, "queued": 3.0, "running": 2.0, "size": 5.0, "queued_size": 3.0, "previous_size": 6.0, "minimum": 1.0, "maximum": 10.0,
			"last_outcome": failed, "last_exit_code": 4.0, "last_error": "exit status 4", "last_duration_ms": 2000.0, "last_size": 9.0, "failures": 2.0,
			"due": false, "error": nil, "settings": map[string]any{"minimum": 1.0, "reevaluate_minutes": 5.0}},
		"legacy": {"enabled": false, "queued": 1.0, "size": nil, "due": nil, "last_evaluation": nil, "settings": map[string]any{}},
		"arm":    {"due": true, "next_due": nil, "last_evaluation": nil, "last_success": nil, "failures": nil, "size": 5.0, "previous_size": nil},
	} {
		for name, value := range want {
			if got := all[pool][name]; fmt.Sprint(got) != fmt.Sprint(value) {
				t.Errorf("%s: %s is %v, want %v", pool, name, got, value)
			}
		}
	}
	for name, want := range map[string]time.Duration{"last_evaluation": -3 * time.Minute, "last_success": -30 * time.Minute, "next_due": 2*time.Minute + 2*time.Second} {
		at, err := time.Parse(time.RFC3339, fmt.Sprint(all["linux"][name]))
		if off := time.Until(at) - want; err != nil || off.Abs() > 15*time.Second || !strings.HasSuffix(all["linux"][name].(string), "Z") {
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
		`INSERT INTO worker_pools (id, name, build_latest, minimum, reevaluate_minutes, executor_command) VALUES (1, 'web', TRUE, 0, 10, 'true'), (2, 'a longer name', TRUE, 4, 120, 'true'), (3, 'wrong', TRUE, 20, 5, 'true')`,
		`INSERT INTO builds (id, status, worker_pool_id, project_id, queued_time) VALUES (1, 'QUEUED', 1, NULL, '`+ago(90*time.Minute).UTC().Format(time.DateTime)+`')`)
	state := pastOf(t, address, "a longer name", ended(2*time.Hour+4*time.Minute, 6, scaled, 0, ""), ended(75*time.Second, 4, failed, 1, "exit status 1"))
	r := vespene(t, "status", "--database", address, "--state", state, "--queue", "web", "--queue", "a longer name", "--queue", "wrong", "--queue", "gone")
	want := `POOL           ENABLED  QUEUED  RUNNING  SIZE  WANTED  LAST EVALUATION         NEXT DUE  SETTINGS
web            yes           1        0     -       1  never                   now       defaults
a longer name  yes           0        0     6       4  failed (exit 1) 1m ago  in 1h59m  minimum 4, reevaluate_minutes 120
wrong          yes           0        0     -       -  never                   -         minimum 20, reevaluate_minutes 5
web: counted, but misleading: 1 build (the oldest for 1h30m) QUEUED without a project: every worker that meets one stops working; delete them in Vespene
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
	state := pastOf(t, demo, "linux", ended(time.Hour, 6, scaled, 0, ""), evaluation{started: ago(5 * time.Minute), size: 8})
	linux := byPool(t, vespene(t, "status", "--database", demo, "--state", state, "--output", "json"))["linux"]
	if linux["due"] != nil || linux["next_due"] != nil || linux["last_outcome"] != nil || linux["last_size"] != 8.0 || linux["previous_size"] != 6.0 {
		t.Errorf("%v", linux)
	}
	if text := vespene(t, "status", "--database", demo, "--state", state).stdout; !regexp.MustCompile(`(?m)^linux .* begun 5m ago +- `).MatchString(text) {
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
	if linux["due"] != true || !strings.Contains(text, "scaled in the future  now ") || !strings.Contains(dry, "\n  due      now\n") {
		t.Errorf("%v\n%s%s", linux, text, dry)
	}
}

// TestStatusOdd: what the database holds breaks no line and reaches no terminal.
func TestStatusOdd(t *testing.T) {
	t.Parallel()
	address := sqliteDatabase(t, "INSERT INTO worker_pools (id, name, planner, executor_command) VALUES (1, 'a' || char(10) || 'b', 'x' || char(10, 27) || '[31mred', 'true')")
	r := vespene(t, "status", "--database", address, "--state", newState(t))
	if strings.Contains(r.stdout, "\x1b") || strings.Count(r.stdout, "\n") != 3 || !strings.Contains(r.stdout, `planner "x\n\x1b[31mred"`) {
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
	web := byPool(t, vespene(t, "status", "--shared", "--database", address, "--state", other, "--output", "json"))["web"]
	_, last, _ := c.row(t, name)
	if at, err := time.Parse(time.RFC3339, fmt.Sprint(web["last_evaluation"])); err != nil || at.Sub(*last).Abs() > time.Millisecond || web["last_outcome"] != failed ||
		web["last_exit_code"] != 3.0 || web["due"] != false {
		t.Errorf("%v, and in the database %v", web, last)
	}
	if web["last_size"] != nil || web["last_error"] != nil || web["failures"] != nil {
		t.Errorf("another host's evaluation is not known whole: %v", web)
	}
	r := vespene(t, "status", "--shared", "--database", address, "--state", state, "--output", "json")
	if web := byPool(t, r)["web"]; web["last_error"] != "the command ended with exit status 3" || web["last_size"] != 0.0 || web["failures"] != 1.0 {
		t.Errorf("this host's own is: %v", web)
	}
	if text := vespene(t, "status", "--shared", "--database", address, "--state", state).stdout; !strings.Contains(text, "web: the last evaluation failed: ") {
		t.Errorf("prints\n%s", text)
	}
	c.exec(t, name, "UPDATE worker_pools SET executor_command = 'sleep 30', last_autoscaled = NULL, autoscaling_status = 0")
	cmd := host(t, address, state)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	waitFor(t, func() bool { _, last, _ := c.row(t, name); return last != nil })
	for _, state := range []string{state, other} {
		if web := byPool(t, vespene(t, "status", "--shared", "--database", address, "--state", state, "--output", "json"))["web"]; web["last_outcome"] != nil || web["last_exit_code"] != nil {
			t.Errorf("while a command runs: %v", web)
		}
	}
	if web := byPool(t, vespene(t, "status", "--database", address, "--state", other, "--output", "json"))["web"]; web["due"] != true {
		t.Errorf("without --shared another host knows nothing of it: %v", web)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	past := []evaluation{ended(26*time.Hour, 3, scaled, 0, ""), ended(23*time.Hour, 4, scaled, 0, ""), ended(2*time.Hour, 12, failed, 7, "exit status 7"),
		{started: ago(time.Minute), queued: 3, size: 5}}
	state := pastOf(t, demo, "linux", past...)
	list := func(args ...string) (sizes []any) {
		r := vespene(t, append([]string{"history", "--state", state, "--output", "json"}, args...)...)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%v: exit %d, %s", args, r.code, r.stderr)
		}
		for _, record := range r.records(t) {
			sizes = append(sizes, record["size"])
		}
		return sizes
	}
	for _, test := range []struct {
		args []string
		want []any
	}{
		{[]string{"--database", demo}, []any{4.0, 12.0, 5.0}}, // the newest last
		{nil, []any{4.0, 12.0, 5.0}},
		{[]string{"--queue", "arm"}, nil},
		{[]string{"--queue", "linux"}, []any{4.0, 12.0, 5.0}},
		{[]string{"--database", "postgres://nobody@127.0.0.1:1/other"}, nil}, // which is not asked
	} {
		if got := list(test.args...); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.args, got, test.want)
		}
	}
	execSQLite(t, state, `INSERT INTO evaluations SELECT 9, 'postgres://elsewhere/vespene', 1, pool, started, deadline, 0, 1, 1, 1, 1, ended, outcome, 0, NULL, '', NULL FROM evaluations WHERE id = 3`)
	if text := vespene(t, "history", "--state", state).stdout; !strings.Contains(text, "linux of postgres://elsewhere/vespene   q queued") || !strings.Contains(text, "linux of sqlite:/") {
		t.Errorf("two servers' pools of one name:\n%s", text)
	}
	if got := list("--database", demo); !slices.Equal(got, []any{4.0, 12.0, 5.0}) {
		t.Errorf("of one server: %v", got)
	}
	execSQLite(t, state, "DELETE FROM evaluations WHERE id = 9")
	long := vespene(t, "history", "--since", "48h", "--state", state, "--output", "json").records(t)
	if len(long) != 4 || long[2]["outcome"] != failed || long[2]["exit_code"] != 7.0 || long[2]["error"] != "exit status 7" || long[2]["duration_ms"] != 2000.0 ||
		long[3]["outcome"] != nil || long[3]["ended"] != nil || long[3]["duration_ms"] != nil || long[0]["queued"] != 7.0 || long[0]["running"] != 2.0 {
		t.Errorf("%v", long)
	}
	if r := vespene(t, "history", "--since", "1s", "--state", state); r.code != 0 || r.stdout != "no evaluation in the last 1s; --since DURATION shows older ones, of up to 90 days\n" {
		t.Errorf("exit %d, %s", r.code, r.stdout)
	}
	if r := vespene(t, "history", "--state", newState(t)); r.code != 0 || !strings.HasPrefix(r.stdout, "nothing was evaluated yet by this user") {
		t.Errorf("exit %d, %s", r.code, r.stdout)
	}
	execSQLite(t, state, "UPDATE evaluations SET output = 'the end of it' WHERE id = 3")
	if all := vespene(t, "history", "--state", state, "--output", "json").records(t); len(all) < 2 || all[1]["output"] != "the end of it" {
		t.Errorf("the output is not in %v", all)
	}
	for _, since := range []string{"0s", "-1h", "yesterday"} {
		if r := vespene(t, "history", "--since", since, "--state", state); r.code != exitUsage || !strings.Contains(r.stderr, "hint: write a duration with its unit") {
			t.Errorf("--since %s: exit %d, %s", since, r.code, r.stderr)
		}
	}
}

// TestHistoryChart: piped, the chart and the list are plain text of 80 columns; a column has the most of its time.
func TestHistoryChart(t *testing.T) {
	t.Parallel()
	peak := ended(90*time.Minute, 20, scaled, 0, "")
	peak.queued, peak.running = 40, 8
	state := pastOf(t, demo, "linux", ended(4*time.Hour, 5, scaled, 0, ""), peak, ended(90*time.Minute-2*time.Second, 6, scaled, 0, ""), ended(time.Minute, 6, failed, 1, "exit status 1"))
	text := vespene(t, "history", "--state", state, "--since", "5h").stdout
	lines := strings.Split(text, "\n")
	if lines[0] != "linux   q queued   r running   # size" || !regexp.MustCompile(`^ *40 ?[┤┼].*q`).MatchString(lines[1]) {
		t.Errorf("the chart begins with\n%s\n%s", lines[0], lines[1])
	}
	for _, line := range lines {
		if strings.Contains(line, "\x1b") || utf8.RuneCountInString(line) > 80 {
			t.Errorf("%q is no plain text of 80 columns", line)
		}
	}
	if !strings.Contains(text, "\nSTARTED              POOL   QUEUED  RUNNING  SIZE  OUTCOME  TOOK  WHY\n") ||
		!regexp.MustCompile(`(?m)^[-0-9]+ [:0-9]+  linux      40        8    20  scaled     2s$`).MatchString(text) ||
		!strings.HasSuffix(text, "6  failed     2s  exit status 1\n") {
		t.Errorf("prints\n%s", text)
	}
}

// TestTerminal: on a terminal there is colour, unless NO_COLOR or TERM=dumb has it otherwise, and the chart is as wide as it.
func TestTerminal(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("script")
	need(t, "script", err == nil)
	state := pastOf(t, demo, "linux", ended(time.Hour, 5, scaled, 0, ""), ended(time.Minute, 6, scaled, 0, ""))
	onTerminal := func(environment, command string) string {
		t.Helper()
		cmd := exec.Command("script", "-qec", "stty cols 120; vespene-autoscale "+command+" --database "+demo+" --state "+state, "/dev/null")
		cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=", environment)
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v %s", command, err, output)
		}
		return strings.ReplaceAll(string(output), "\r\n", "\n")
	}
	for command, want := range map[string]string{"status": "\x1b[32mscaled 1m ago\x1b[0m", "history": "\x1b[32mscaled\x1b[0m", "check": "\x1b[32mok\x1b[0m",
		"--dry-run": "(\x1b[32mdry-run\x1b[0m"} {
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

func TestSpan(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0s"}, {0, "0s"}, {400 * time.Millisecond, "0s"}, {59 * time.Second, "59s"}, {59600 * time.Millisecond, "1m"}, {89 * time.Second, "1m"},
		{4*time.Minute + 59*time.Second, "5m"}, {59*time.Minute + 31*time.Second, "1h"}, {125 * time.Minute, "2h5m"}, {47*time.Hour + 59*time.Minute, "47h59m"},
		{48 * time.Hour, "2d"}, {100 * time.Hour, "4d"},
	} {
		if got := term.Span(test.d); got != test.want {
			t.Errorf("%v is %q, want %q", test.d, got, test.want)
		}
	}
}

// TestProgress: a bar is on a terminal alone, after a second, and nothing of it stays.
func TestProgress(t *testing.T) {
	t.Parallel()
	if length := os.Getenv("TEST_PROGRESS"); length != "" { // as the test runs itself
		d, _ := time.ParseDuration(length)
		for what, total := range map[string]int{"reading": 0, "trying": 400} {
			bar := term.NewProgress(os.Stderr, what, total)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 50 {
						bar.Add(1)
						time.Sleep(d / 50)
					}
				})
			}
			all.Wait()
			bar.Done()
		}
		fmt.Fprint(os.Stderr, "done")
		return
	}
	_, err := exec.LookPath("script")
	need(t, "script", err == nil)
	run := func(length, command string) string {
		cmd := exec.Command("script", "-qec", command, "/dev/null")
		cmd.Env = append(os.Environ(), "TEST_PROGRESS="+length)
		output, err := cmd.CombinedOutput()
		before, _, done := strings.Cut(string(output), "done")
		if err != nil || !done {
			t.Errorf("%s: %v %s", command, err, output)
		}
		return before
	}
	itself := os.Args[0] + " -test.run '^TestProgress$'"
	shown := run("1500ms", "stty cols 60; "+itself)
	for _, want := range []string{`reading 1\d\d `, `trying  \d+ % \[#+ +\] 1\d\d of 400 `} {
		if !regexp.MustCompile(want).MatchString(shown) {
			t.Errorf("no %s in %q", want, shown)
		}
	}
	frames := strings.Split(shown, "\r")
	if last := frames[len(frames)-1]; last != "" || strings.TrimSpace(frames[len(frames)-2]) != "" || strings.Contains(shown, "\n") {
		t.Errorf("it shows %q", shown)
	}
	for _, frame := range frames {
		if utf8.RuneCountInString(frame) > 60 {
			t.Errorf("%q is wider than the terminal", frame)
		}
	}
	if shown := run("500ms", itself); shown != "" {
		t.Errorf("in less than a second it shows %q", shown)
	}
	if shown := run("1200ms", itself+" 2>&1 | cat"); shown != "" {
		t.Errorf("in a pipe it shows %q", shown)
	}
}

// TestCommandOptions: an option stands behind its command, or in the environment, and what has no meaning for a command is
// refused.
func TestCommandOptions(t *testing.T) {
	t.Parallel()
	state := newState(t)
	if r := vespene(t, "status", "--database", demo, "--state", state, "--output", "json", "-q", "arm"); r.code != 0 ||
		len(r.records(t)) != 1 || r.records(t)[0]["pool"] != "arm" {
		t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	cmd, stdout, _ := program(t, "status", "--state", state, "--output", "json", "--database", demo)
	cmd.Env = append(cmd.Env, "VESPENE_AUTOSCALE_DATABASE=sqlite:gone", "VESPENE_AUTOSCALE_QUEUE=arm,linux", "VESPENE_AUTOSCALE_TIMEOUT=1m")
	if code := exitOf(t, cmd.Run()); code != 0 || strings.Count(stdout.String(), "\n") != 2 {
		t.Errorf("exit %d, %s", code, stdout)
	}
	for _, test := range []struct{ args, want string }{
		{"--force status", "there are options before the command status\nhint: write them behind it: vespene-autoscale status [options]"},
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
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, test.want) || !strings.Contains(r.stderr, "\nhint: ") {
			t.Errorf("%s: exit %d, %q", test.args, r.code, r.stderr)
		}
	}
}

// samples are those of a metrics file: by metric and pool.
func samples(t testing.TB, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(strings.NewReader(string(content))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "#") {
			end := strings.LastIndex(line, " ")
			all[line[:end]] = strings.TrimSpace(line[end+1:])
		}
	}
	return all
}

// TestMetrics: what a run writes for node_exporter, also when pools fail; promlint finds nothing in it.
func TestMetrics(t *testing.T) {
	t.Parallel()
	address := sqliteDatabase(t, `INSERT INTO worker_pools (id, name, minimum, maximum, executor_command) VALUES (1, 'web', 1, 8, 'true'), (2, 'fails', 0, 10, 'exit 5'), (3, 'Bob''s "\ Pool', 5, 3, 'true')`,
		"INSERT INTO builds (id, status, worker_pool_id, project_id) VALUES (1, 'QUEUED', 1, 1), (2, 'QUEUED', 1, 2), (3, 'RUNNING', 1, 1)",
		"INSERT INTO worker_pools (id, name, autoscaling_enabled) VALUES (4, 'off', FALSE)")
	directory, state := t.TempDir(), newState(t)
	file := filepath.Join(directory, "vespene.prom")
	args := []string{"--database", address, "--state", state, "--metrics-file", file}
	begun := time.Now()
	for range 2 {
		cmd := exec.Command("sh", "-c", `umask 0077 && exec vespene-autoscale "$@" --force`, "sh")
		cmd.Args = append(cmd.Args, args...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		if code := exitOf(t, cmd.Run()); code != exitFailed {
			t.Fatalf("exit %d", code)
		}
	}
	got := samples(t, file)
	for name, want := range map[string]string{
		`desired_size{pool="web"}`: "3", `desired_queued_size{pool="web"}`: "2", `queued_builds{pool="web"}`: "2", `running_builds{pool="web"}`: "1",
		`minimum_size{pool="web"}`: "1", `maximum_size{pool="web"}`: "8", `interval_seconds{pool="web"}`: "300", `last_exit_code{pool="web"}`: "0",
		`consecutive_failures{pool="web"}`: "0", `last_exit_code{pool="fails"}`: "5", `consecutive_failures{pool="fails"}`: "2",
		`last_success_timestamp_seconds{pool="fails"}`: "", `queued_builds{pool="Bob's \"\\ Pool"}`: "0", `desired_size{pool="Bob's \"\\ Pool"}`: "",
		`queued_builds{pool="off"}`: "",
	} {
		if value := got["vespene_autoscale_pool_"+name]; value != want {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	if got["vespene_autoscale_run_exit_code"] != "1" || got[`vespene_autoscale_build_info{version="`+version()+`"}`] != "1" {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"last_evaluation", "last_success"} {
		var at float64
		fmt.Sscan(got["vespene_autoscale_pool_"+name+`_timestamp_seconds{pool="web"}`], &at)
		if off := time.Duration((at - float64(begun.UnixMilli())/1000) * float64(time.Second)); off < 0 || off > time.Minute {
			t.Errorf("%s is %v off", name, off)
		}
	}
	info, err := os.Stat(file)
	if names, _ := os.ReadDir(directory); err != nil || info.Mode().Perm() != 0o644 || len(names) != 1 {
		t.Errorf("mode %v, and %v are there, %v", info.Mode(), names, err)
	}

	// A dry run and a status write none; a run over nothing does.
	os.Remove(file)
	for _, more := range [][]string{{"--dry-run"}, {"status"}} {
		vespene(t, append(args, more...)...)
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v wrote metrics", more)
		}
	}
	if r := vespene(t, append(args, "--queue", "web")...); r.code != 0 || samples(t, file)[`vespene_autoscale_pool_desired_size{pool="web"}`] != "3" {
		t.Errorf("a run with nothing due: exit %d, %v", r.code, samples(t, file))
	}
}

// TestMetricsWithoutDatabase: a run that cannot read the pools leaves what is known of them, but not their builds.
func TestMetricsWithoutDatabase(t *testing.T) {
	t.Parallel()
	file, state := filepath.Join(t.TempDir(), "vespene.prom"), newState(t)
	if r := vespene(t, "--database", demo, "--state", state, "--metrics-file", file); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	before := samples(t, file)
	nightly := filepath.Join(t.TempDir(), "nightly.prom") // a pool may be called as a metric is
	for _, address := range []string{sqliteDatabase(t, "INSERT INTO worker_pools (id, name, executor_command) VALUES (1, 'nightly_builds', 'true')"), "sqlite:gone"} {
		vespene(t, "--database", address, "--state", state, "--metrics-file", nightly)
		if after := samples(t, nightly); after[`vespene_autoscale_pool_desired_size{pool="nightly_builds"}`] != "0" {
			t.Errorf("with %s: %v", address, after)
		}
	}
	for code, args := range map[int][]string{exitDatabase: {"--database", "sqlite:gone"}, exitUsage: {"--database", "nonsense:"}, exitState: {"--database", demo, "--state", "/dev/null/x"}} {
		r := vespene(t, append([]string{"--state", state, "--metrics-file", file}, args...)...)
		after := samples(t, file)
		const success = `vespene_autoscale_pool_last_success_timestamp_seconds{pool="linux"}`
		if r.code != code || after["vespene_autoscale_run_exit_code"] != fmt.Sprint(code) || after[success] == "" || after[success] != before[success] {
			t.Errorf("%v: exit %d, %v", args, r.code, after)
		}
		if _, kept := after[`vespene_autoscale_pool_queued_builds{pool="linux"}`]; kept || len(after) != len(before)-6 {
			t.Errorf("%v: %d samples, before %d", args, len(after), len(before))
		}
	}
	vespene(t, "--database", demo, "--state", state, "--metrics-file", file)
	if again := samples(t, file); len(again) != len(before) || again["vespene_autoscale_run_exit_code"] != "0" {
		t.Errorf("afterwards: %v", again)
	}
}

// TestMetricsUnwritable: metrics that cannot be written are exit 74, but the pools are served.
func TestMetricsUnwritable(t *testing.T) {
	t.Parallel()
	served := filepath.Join(t.TempDir(), "served")
	address := onePool(t, "touch "+served)
	fifo := filepath.Join(t.TempDir(), "fifo") // as /dev/null would be, in whose place there must never be a file
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, why := range map[string]string{"/proc/vespene.prom": "no such file or directory", fifo: "no regular file", t.TempDir(): "is a directory"} {
		os.Remove(served)
		r := vespene(t, "--database", address, "--state", newState(t), "--metrics-file", file)
		if _, err := os.Stat(served); r.code != exitState || err != nil || !strings.Contains(r.stderr, "write the metrics to "+file+": ") ||
			!strings.Contains(r.stderr, why) || !strings.Contains(r.stderr, "ReadWritePaths=") {
			t.Errorf("%s: exit %d, %v: %s", file, r.code, err, r.stderr)
		}
	}
	if info, err := os.Lstat(fifo); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the named pipe is %v now, %v", info, err)
	}
	link, target := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "target")
	writeFile(t, target, nil)
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if r := vespene(t, "--database", address, "--state", newState(t), "--metrics-file", link); r.code != 0 || samples(t, target)["vespene_autoscale_run_exit_code"] != "0" {
		t.Errorf("by a link: exit %d, %s", r.code, r.stderr)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v now, %v", info, err)
	}
}

// TestMetricsAreWhole: who reads while they are written has all of the old or all of the new; a signalled run writes them, too.
func TestMetricsAreWhole(t *testing.T) {
	t.Parallel()
	file, state := filepath.Join(t.TempDir(), "vespene.prom"), newState(t)
	began := filepath.Join(t.TempDir(), "began")
	address := onePool(t, "touch "+began+"; sleep 30")
	cmd, _, _ := program(t, "--database", address, "--state", state, "--metrics-file", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(began); return err == nil })
	cmd.Process.Signal(syscall.SIGTERM)
	if code := exitOf(t, cmd.Wait()); code != 128+int(syscall.SIGTERM) || samples(t, file)["vespene_autoscale_run_exit_code"] != "143" {
		t.Errorf("exit %d, %v", code, samples(t, file))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			vespene(t, "--database", demo, "--state", state, "--metrics-file", file)
		}
	}()
	for reads := 0; ; reads++ {
		select {
		case <-done:
			if reads < 100 {
				t.Errorf("it was read %d times only", reads)
			}
			return
		default:
			if content := string(contentOf(t, file)); !strings.HasPrefix(content, "# HELP ") || !regexp.MustCompile(`\nvespene_autoscale_run_exit_code \d+\n$`).MatchString(content) {
				t.Fatalf("half a file: %q", content)
			}
		}
	}
}

// TestDashboard: the dashboard and the alert rules of docs/monitoring.md speak of metrics that there are.
func TestDashboard(t *testing.T) {
	var dashboard map[string]any
	text := contentOf(t, "docs/grafana-dashboard.json")
	if err := json.Unmarshal(text, &dashboard); err != nil || dashboard["title"] == "" {
		t.Errorf("%v", err)
	}
	known := map[string]bool{"vespene_autoscale_build_info": true, "vespene_autoscale_run_exit_code": true}
	for _, m := range metricsOf(poolStatus{}) {
		known["vespene_autoscale_pool_"+m.name] = true
	}
	manual := string(contentOf(t, "docs/monitoring.md"))
	named := regexp.MustCompile(`vespene_autoscale_(pool|run|build)_[a-z_]+`).FindAllString(manual+string(text), -1)
	if len(named) < 20 {
		t.Errorf("%d metrics are named", len(named))
	}
	for _, name := range named {
		if !known[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
	for name := range known {
		if !strings.Contains(manual, name) {
			t.Errorf("docs/monitoring.md does not have %s", name)
		}
	}
}

// TestAlerts: Prometheus takes the rules of docs/monitoring.md, and they fire when they should, and not before.
func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	need(t, "promtool", err == nil)
	rules := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(contentOf(t, "docs/monitoring.md"))
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, "rules.yml"), rules[1])
	var series, expected strings.Builder
	for name, values := range map[string]string{
		`vespene_autoscale_pool_last_success_timestamp_seconds{pool="web"}`: "0x90", `vespene_autoscale_pool_interval_seconds{pool="web"}`: "300x90",
		`vespene_autoscale_pool_desired_size{pool="web"}`: "4x10 10x80", `vespene_autoscale_pool_maximum_size{pool="web"}`: "10x90",
		`vespene_autoscale_pool_consecutive_failures{pool="web"}`: "0 1 2x7 3x80", `vespene_autoscale_run_exit_code`: "0x10 75x20 69x60",
		`node_textfile_mtime_seconds{file="/d/vespene-autoscale.prom"}`: "1800x90",
	} {
		fmt.Fprintf(&series, "      - series: '%s'\n        values: '%s'\n", name, values)
	}
	for _, alert := range []struct {
		name, labels, summary string
		before, from          int // minutes
	}{
		{"VespeneAutoscaleNoSuccess", "pool: web", "web was not scaled for three intervals: vespene-autoscale status", 15, 16},
		{"VespeneAutoscaleAtMaximum", "pool: web", "web has been at its maximum for 30 minutes: builds wait, or are stuck", 40, 42},
		{"VespeneAutoscaleFailing", "pool: web", "web's command failed 3 times in a row: vespene-autoscale history", 8, 11},
		{"VespeneAutoscaleRunFails", "", "vespene-autoscale ends with 69: journalctl -u vespene-autoscale -p err", 46, 48},
		{"VespeneAutoscaleSilent", "file: /d/vespene-autoscale.prom", "vespene-autoscale has not run for 10 minutes: systemctl list-timers vespene-autoscale.timer", 40, 41},
	} {
		fmt.Fprintf(&expected, "      - {eval_time: %dm, alertname: %s, exp_alerts: []}\n", alert.before, alert.name)
		fmt.Fprintf(&expected, "      - {eval_time: %dm, alertname: %s, exp_alerts: [{exp_labels: {%s}, exp_annotations: {summary: %q}}]}\n", alert.from, alert.name, alert.labels, alert.summary)
	}
	test := "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n" + series.String() + "    alert_rule_test:\n" + expected.String()
	writeFile(t, filepath.Join(directory, "test.yml"), []byte(test))
	if output, err := exec.Command(promtool, "test", "rules", filepath.Join(directory, "test.yml")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestNodeExporter: a real node_exporter passes on what a run wrote.
func TestNodeExporter(t *testing.T) {
	t.Parallel()
	exporter, err := exec.LookPath("prometheus-node-exporter")
	need(t, "prometheus-node-exporter", err == nil)
	directory := t.TempDir()
	if r := vespene(t, "--database", demo, "--state", newState(t), "--metrics-file", filepath.Join(directory, "vespene.prom")); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	cmd := exec.Command(exporter, "--collector.disable-defaults", "--collector.textfile", "--collector.textfile.directory="+directory, "--web.listen-address="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var page string
	waitFor(t, func() bool {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		page = string(content)
		return err == nil
	})
	for _, want := range []string{"\nnode_textfile_scrape_error 0\n", "\nvespene_autoscale_pool_desired_size{pool=\"arm\"} 5\n", "\nvespene_autoscale_run_exit_code 0\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}
