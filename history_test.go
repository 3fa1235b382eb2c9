package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// pastOf is a state file that a run over the pool, or with "" all pools, has made, with these evaluations in place of
// the run's where there are any; theirs is the pool unless they name another.
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
		execSQLite(t, state, `INSERT INTO evaluations SELECT ?, database, pool_id, pool, ?, ?, 0, ?, ?, ?, ?, ?, `+
			`nullif(?, ''), ?, nullif(?, ''), '', NULL
			FROM evaluations WHERE id > 999 AND pool = ?`, i+1, e.started.UnixMilli(), e.started.UnixMilli()+1000,
			e.queued, e.running, e.size, e.queuedSize,
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

func TestHistory(t *testing.T) {
	t.Parallel()
	past := []evaluation{ended(26*time.Hour, 3, scaled, 0, ""), ended(23*time.Hour, 4, scaled, 0, ""),
		ended(2*time.Hour, 12, failed, 7, "exit status 7"), {started: ago(time.Minute), queued: 3, size: 5}}
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
	execSQLite(t, state, `INSERT INTO evaluations SELECT 9, 'postgres://elsewhere/vespene', 1, pool, started, `+
		`deadline, 0, 1, 1, 1, 1, ended, outcome, 0, NULL, '', NULL FROM evaluations WHERE id = 3`)
	if text := vespene(t, "history", "--state", state).stdout; !strings.Contains(text,
		"linux of postgres://elsewhere/vespene   q queued") || !strings.Contains(text, "linux of sqlite:/") {
		t.Errorf("two servers' pools of one name:\n%s", text)
	}
	if got := list("--database", demo); !slices.Equal(got, []any{4.0, 12.0, 5.0}) {
		t.Errorf("of one server: %v", got)
	}
	execSQLite(t, state, "DELETE FROM evaluations WHERE id = 9")
	long := vespene(t, "history", "--since", "48h", "--state", state, "--output", "json").records(t)
	if len(long) != 4 || long[2]["outcome"] != failed || long[2]["exit_code"] != 7.0 ||
		long[2]["error"] != "exit status 7" || long[2]["duration_ms"] != 2000.0 ||
		long[3]["outcome"] != nil || long[3]["ended"] != nil || long[3]["duration_ms"] != nil ||
		long[0]["queued"] != 7.0 || long[0]["running"] != 2.0 {
		t.Errorf("%v", long)
	}
	if r := vespene(t, "history", "--since", "1s", "--state", state); r.code != 0 ||
		r.stdout != "no evaluation in the last 1s; --since DURATION shows older ones, of up to 90 days\n" {
		t.Errorf("exit %d, %s", r.code, r.stdout)
	}
	if r := vespene(t, "history", "--state", newState(t)); r.code != 0 ||
		!strings.HasPrefix(r.stdout, "nothing was evaluated yet by this user") {
		t.Errorf("exit %d, %s", r.code, r.stdout)
	}
	execSQLite(t, state, "UPDATE evaluations SET output = 'the end of it' WHERE id = 3")
	if all := vespene(t, "history", "--state", state, "--output", "json").records(t); len(all) < 2 ||
		all[1]["output"] != "the end of it" {
		t.Errorf("the output is not in %v", all)
	}
	for _, since := range []string{"0s", "-1h", "yesterday"} {
		if r := vespene(t, "history", "--since", since, "--state", state); r.code != exitUsage ||
			!strings.Contains(r.stderr, "hint: write a duration with its unit") {
			t.Errorf("--since %s: exit %d, %s", since, r.code, r.stderr)
		}
	}
}

// TestHistoryChart: piped, the chart and the list are plain text of 80 columns; a column has the most of its time.
func TestHistoryChart(t *testing.T) {
	t.Parallel()
	peak := ended(90*time.Minute, 20, scaled, 0, "")
	peak.queued, peak.running = 40, 8
	state := pastOf(t, demo, "linux", ended(4*time.Hour, 5, scaled, 0, ""), peak, ended(90*time.Minute-2*time.Second, 6,
		scaled, 0, ""), ended(time.Minute, 6, failed, 1, "exit status 1"))
	text := vespene(t, "history", "--state", state, "--since", "5h").stdout
	lines := strings.Split(text, "\n")
	if lines[0] != "linux   q queued   r running   # size" ||
		!regexp.MustCompile(`^ *40 ?[┤┼].*q`).MatchString(lines[1]) {
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
