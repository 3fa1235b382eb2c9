package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// plugin writes a program for sh and returns its path.
func plugin(t testing.TB, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// pluginPools are two pools: one that names a planner and an executor, p and e, and one that does not.
func pluginPools(t testing.TB, planner, executor string) string {
	return sqliteDatabase(t, fmt.Sprintf(`INSERT INTO worker_pools
			(id, name, planner, executor, executor_command, variables, minimum, maximum) VALUES
		(1, 'a', '%s', '%s', 'echo %s', '{"region": "here"}', 1, 10), (2, 'b', NULL, NULL, 'true', '{}', 0, 10);
		INSERT INTO builds (id, status, worker_pool_id) VALUES (1, 'QUEUED', 1), (2, 'QUEUED', 1), (3, 'RUNNING', 1)`,
		planner, executor, "$VESPENE_SIZE"))
}

// TestExamplePlugins: those that docs/plugins.md shows, whole, plan and execute.
func TestExamplePlugins(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("python3")
	need(t, "python3", err == nil)
	manual := fileContent(t, "../docs/plugins.md")
	for _, name := range []string{"office-hours", "instances"} {
		source := fileContent(t, "plugins/"+name)
		if !strings.Contains(manual, source) || strings.Count(source, "\n") >= 20 {
			t.Errorf("%s has %d lines, or does not stand in docs/plugins.md as it is", name,
				strings.Count(source, "\n"))
		}
	}
	directory, err := filepath.Abs("testdata/plugins")
	if err != nil {
		t.Fatal(err)
	}
	instances := t.TempDir()
	cmd, stdout, stderr := program(t, "--database", pluginPools(t, "office-hours", "instances"), "--state", newState(t),
		"--output", "json",
		"--planner", "office-hours="+directory+"/office-hours", "--executor", "instances=instances")
	cmd.Env = append(cmd.Env, "INSTANCES="+instances, "PATH="+directory+":"+os.Getenv("PATH"))
	if code := exitOf(t, cmd.Run()); code != 0 {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	a := ran{stdout: stdout.String()}.records(t)[0]
	size := int(a["size"].(float64))
	if size != 3 && size != 5 || a["queued_size"] != float64(size-1) || a["planner"] != "office-hours" ||
		a["executor"] != "instances" ||
		a["command"] != directory+"/instances" || a["raw"] != a["size"] || a["exit_code"] != 0.0 ||
		!strings.HasPrefix(a["reason"].(string), fmt.Sprintf("planner office-hours says %d: 3 builds and", size)) {
		t.Errorf("%v", a)
	}
	lines := string(contentOf(t, instances+"/a.instances"))
	if strings.Count(lines, "\n") != size || !strings.HasPrefix(lines, "a-0 in here\n") {
		t.Errorf("instances %q", lines)
	}
	if !strings.Contains(stderr.String(), fmt.Sprintf("\na: a: None -> %d\n", size)) {
		t.Errorf("the log has not what the executor printed:\n%s", stderr)
	}
}

// TestQuestion: what a planner and an executor find on their standard input and in their environment.
func TestQuestion(t *testing.T) {
	t.Parallel()
	planner := plugin(t, `cat >&2; echo; env | grep SECRET >&2; `+
		`printf '%s' '{"queued_size": 0, "reason": "as  told\n", "size": 99}'`)
	executor := plugin(t, `cat; echo; echo "size $VESPENE_SIZE, $# arguments"; exit 3`)
	cmd, stdout, stderr := program(t, "--database", pluginPools(t, "p", "e"), "--state", newState(t),
		"--output", "json")
	cmd.Env = append(cmd.Env, "VESPENE_AUTOSCALE_PLANNER=p="+planner+", q=/nope",
		"VESPENE_AUTOSCALE_EXECUTOR=e="+executor, "PGPASSWORD=SECRET")
	code := exitOf(t, cmd.Run())
	all := ran{stdout: stdout.String()}.records(t)
	if a := all[0]; code != exitFailed || a["outcome"] != failed || a["exit_code"] != 3.0 || a["size"] != 10.0 ||
		a["queued_size"] != 1.0 ||
		a["raw"] != 99.0 || a["capped"] != "maximum" || all[1]["outcome"] != scaled {
		t.Errorf("exit %d, %v", code, all)
	}
	var questions []map[string]any
	for line := range strings.Lines(stderr.String()) {
		if text, ok := strings.CutPrefix(line, "a: {"); ok {
			var question map[string]any
			if err := json.Unmarshal([]byte("{"+text), &question); err != nil {
				t.Fatal(err, line)
			}
			questions = append(questions, question)
		}
	}
	if len(questions) != 2 {
		t.Fatalf("%d questions in\n%s", len(questions), stderr)
	}
	for i, q := range questions {
		row, _ := q["worker_pool"].(map[string]any)
		if q["pool"] != "a" || row["maximum"] != 10.0 || row["build_latest"] != false ||
			q["variables"].(map[string]any)["region"] != "here" ||
			q["queued"] != 2.0 || q["running"] != 1.0 || q["previous_size"] != nil || q["planner"] != "p" ||
			q["executor"] != "e" {
			t.Errorf("question %d: %v", i, q)
		}
		if size, sized := q["size"]; sized != (i == 1) || sized && (size != 10.0 || q["queued_size"] != 1.0 ||
			q["reason"] != "planner p says 99: as told; bounds 1 to 10, so size 10, held to the maximum") {
			t.Errorf("question %d: %v", i, q)
		}
	}
	if !strings.Contains(stderr.String(), "\na: size 10, 0 arguments\n") ||
		strings.Contains(stderr.String(), "SECRET") {
		t.Errorf("log\n%s", stderr)
	}
}

// TestBadPlugins: whatever a program does but answer, its pool is invalid and nothing is run; the other is served.
func TestBadPlugins(t *testing.T) {
	t.Parallel()
	fine := plugin(t, `echo '{"size": 1, "queued_size": 1}'`)
	notExecutable := plugin(t, "true")
	chmod(t, notExecutable, 0o600)
	for name, test := range map[string]struct{ planner, executor, want string }{
		"missing": {"/nope/planner", "", "planner p (/nope/planner) cannot be run: "},
		"missing from PATH": {"no-such-planner", "",
			"planner p (no-such-planner) cannot be run: executable file not found"},
		"not executable": {notExecutable, "", "permission denied"},
		"a directory":    {"/tmp", "", "cannot be run"},
		"no program":     {plugin(t, "") + "/../data", "", "cannot be run"},
		"exits non-zero": {plugin(t, `echo '{"size": 1, "queued_size": 1}'; echo out of it >&2; exit 3`),
			"", `it ended with exit status 3; its last line was "out of it"`},
		"is killed":       {plugin(t, "kill -9 $$"), "", "exit status 137"},
		"answers nothing": {plugin(t, "true"), "", "it answered nothing"},
		"answers text":    {plugin(t, "echo 5"), "", "something else than one JSON object"},
		"answers a list":  {plugin(t, "echo '[{}]'"), "", "something else than one JSON object"},
		"answers half":    {plugin(t, `echo '{"size": 1, "queued_size": 1'`), "", "is no JSON"},
		"answers two": {plugin(t, `echo '{"size": 1, "queued_size": 1}{}'`), "",
			"more than one JSON object"},
		"answers and talks": {plugin(t, `echo '{"size": 1, "queued_size": 1}'; echo done`), "",
			"more than one JSON object"},
		"an unknown key": {plugin(t, `echo '{"size": 1, "queued_size": 1, "Size": 2}'`), "",
			`"Size", which means nothing`},
		"a key twice":    {plugin(t, `echo '{"size": 1, "queued_size": 1, "size": 2}'`), "", "size twice"},
		"no size":        {plugin(t, `echo '{"queued_size": 1}'`), "", "answered without size"},
		"no queued_size": {plugin(t, `echo '{"size": 1}'`), "", "answered without queued_size"},
		"a fraction": {plugin(t, `echo '{"size": 1.5, "queued_size": 1}'`), "",
			`a size of "1.5", which is not a whole number`},
		"a float": {plugin(t, `echo '{"size": 1, "queued_size": 1e3}'`), "",
			`a queued_size of "1e3", which is not a whole number`},
		"a negative number": {plugin(t, `echo '{"size": -1, "queued_size": 1}'`), "",
			`a size of "-1", which is not a whole number`},
		"a huge number": {plugin(t, `echo '{"size": 9223372036854775808, "queued_size": 1}'`), "",
			"which is not a whole number from 0 to 9223372036854775807"},
		"a text as size": {plugin(t, `echo '{"size": "1", "queued_size": 1}'`), "",
			"which is not a whole number"},
		"null as size": {plugin(t, `echo '{"size": null, "queued_size": 1}'`), "",
			"which is not a whole number"},
		"a number as reason": {plugin(t, `echo '{"size": 1, "queued_size": 1, "reason": 1}'`), "",
			"a reason that is not a text"},
		"100 MB": {plugin(t, `head -c 100000000 /dev/zero`), "",
			"it answered with more than 65536 bytes"},
		"never":                       {plugin(t, `sleep 600`), "", "it ran out of time after 30s"},
		"executor missing":            {fine, "/nope/executor", "executor e (/nope/executor) cannot be run: "},
		"executor not to be executed": {fine, notExecutable, "permission denied"},
		"executor without a cure":     {fine, "nope", "cannot be run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.executor == "" {
				test.executor = plugin(t, "true")
			}
			state, begun := newState(t), time.Now()
			cmd, stdout, stderr := program(t, "--database", pluginPools(t, "p", "e"), "--state", state,
				"--output", "json",
				"--planner", "p="+test.planner, "--executor", "e="+test.executor)
			peak := peakMemory(t, cmd)
			code := exitOf(t, cmd.Run())
			all := ran{stdout: stdout.String()}.records(t)
			message, _ := all[0]["error"].(string)
			if code != exitInvalid || all[0]["outcome"] != invalid || all[1]["outcome"] != scaled ||
				!strings.Contains(message, test.want) ||
				!strings.Contains(message, "; ") || !strings.Contains(stderr.String(), "level=ERROR") {
				t.Errorf("exit %d, %v, %s; want %q", code, all, stderr, test.want)
			}
			if got := evaluations(t, state); len(got) != 1 {
				t.Errorf("recorded %+v, want the other pool", got)
			}
			if peak := peak(); peak >= 64 && !raceDetector {
				t.Errorf("peak memory %d MiB", peak)
			}
			if took := time.Since(begun); took > 5*time.Minute { // of ten
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestPlannerIsAskedOnce: in a dry run too, which shows the executor's program; and not for a pool that is not due.
func TestPlannerIsAskedOnce(t *testing.T) {
	t.Parallel()
	asked, ran := filepath.Join(t.TempDir(), "asked"), filepath.Join(t.TempDir(), "ran")
	planner, executor := plugin(t, `echo >> `+asked+`; echo '{"size": 4, "queued_size": 2}'`), plugin(t, "echo >> "+ran)
	args := []string{"--database", pluginPools(t, "p", "e"), "--state", newState(t), "--queue", "a",
		"--planner", "p=" + planner, "--executor", "e=" + executor}
	for i, test := range []struct {
		extra      string
		want       string
		asked, ran int
	}{
		{"--dry-run", "a: size 4, queued_size 2 (dry-run)\n  planner  p says 4\n  bounds   1 to 10, so size 4\n" +
			"  command  " + executor + "\n  due      now\n", 1, 0},
		{"--force", "a: size 4, queued_size 2 (scaled)\n  planner  p says 4\n", 2, 1},
		{"--verbose", "a: not-due\n", 2, 1},
	} {
		r := vespene(t, append(args, test.extra)...)
		if r.code != 0 || !strings.HasPrefix(r.stdout, test.want) {
			t.Errorf("%d: exit %d, %q, %s; want %q", i, r.code, r.stdout, r.stderr, test.want)
		}
		if n := len(contentOf(t, asked)); n != test.asked {
			t.Errorf("%d: asked %d times, want %d", i, n, test.asked)
		}
		if content, _ := os.ReadFile(ran); len(content) != test.ran {
			t.Errorf("%d: ran %d times, want %d", i, len(content), test.ran)
		}
	}
}

// TestInterruptedPlanner: a signal ends the planner too, and the pool is interrupted, not invalid.
func TestInterruptedPlanner(t *testing.T) {
	t.Parallel()
	begun, state := filepath.Join(t.TempDir(), "begun"), newState(t)
	cmd, stdout, stderr := program(t, "--database", pluginPools(t, "p", ""), "--state", state, "--output", "json",
		"--planner", "p="+plugin(t, "echo > "+begun+"; sleep 600"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(begun); return err == nil })
	cmd.Process.Signal(syscall.SIGTERM)
	code := exitOf(t, cmd.Wait())
	if all := (ran{stdout: stdout.String()}).records(t); code != 143 || all[0]["outcome"] != interrupted ||
		all[1]["outcome"] != interrupted {
		t.Errorf("exit %d, %v, %s", code, all, stderr)
	}
	if got := evaluations(t, state); len(got) != 0 {
		t.Errorf("recorded %+v", got)
	}
}

// FuzzAnswer: a planner's answer is an error, or sizes from zero on and a reason on one line.
func FuzzAnswer(f *testing.F) {
	f.Fuzz(func(t *testing.T, printed []byte) {
		a, err := parseAnswer(printed)
		var object map[string]any
		if err == nil && (json.Unmarshal(printed, &object) != nil || len(object) < 2 || len(object) > 3) {
			t.Fatalf("%q is %+v", printed, a)
		}
		if err == nil && (a.size < 0 || a.queuedSize < 0 || strings.ContainsAny(a.reason, "\n\r") ||
			utf8.RuneCountInString(a.reason) > reasonLimit) {
			t.Fatalf("%q is %+v", printed, a)
		}
		if err != nil && (a != answer{} || strings.Contains(err.Error(), "\n")) {
			t.Fatalf("%q is %+v, and error %v", printed, a, err)
		}
	})
}
