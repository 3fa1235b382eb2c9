package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// openSQLiteFile opens a SQLite file for a test to look at or to change.
func openSQLiteFile(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String()+"?_busy_timeout=10000")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// execSQLite runs SQL on a SQLite file, which it makes where it is missing.
func execSQLite(t testing.TB, path, statements string, args ...any) {
	t.Helper()
	db := openSQLiteFile(t, path)
	defer db.Close()
	if _, err := db.Exec(statements, args...); err != nil {
		t.Fatal(err)
	}
}

// recorded is a row of the state, read without our own code.
type recorded struct {
	outcome, output string
	exitCode, size  int64
	started         int64 // Unix milliseconds
	ended           bool
}

// evaluations reads the rows of a state file, in their order.
func evaluations(t testing.TB, path string) []recorded {
	t.Helper()
	db := openSQLiteFile(t, path)
	defer db.Close()
	rows, err := db.Query(`SELECT coalesce(outcome, ''), coalesce(output, ''), coalesce(exit_code, -1), size, started,
		ended IS NOT NULL FROM evaluations ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []recorded
	for rows.Next() {
		var e recorded
		if err := rows.Scan(&e.outcome, &e.output, &e.exitCode, &e.size, &e.started, &e.ended); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// age makes all that a state file remembers older.
func age(t testing.TB, path string, by time.Duration) {
	t.Helper()
	execSQLite(t, path, "UPDATE evaluations SET started = started - $1, ended = ended - $1, deadline = deadline - $1",
		by.Milliseconds())
}

// TestSimulatedDay: 1,440 runs, at the full minutes of a day give or take two seconds, evaluate a pool with
// reevaluate_minutes 5 exactly 288 times. They are runs of one process, whose clock is set.
func TestSimulatedDay(t *testing.T) {
	t.Parallel()
	state := newState(t)
	output, err := exec.Command("simulated-day", onePool(t, "true"), state).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if n := len(evaluations(t, state)); n != 288 {
		t.Errorf("%d evaluations, want 288", n)
	}
}

// simulatedDay DATABASE STATE: a program that runs the program for each minute of a day.
func simulatedDay() {
	midnight, random := time.Now(), rand.New(rand.NewPCG(1, 2))
	for minute := range 24 * 60 {
		now := midnight.Add(time.Duration(minute)*time.Minute + time.Duration(random.IntN(4001)-2000)*time.Millisecond)
		clock = func() time.Time { return now }
		var stdout, stderr bytes.Buffer
		code := run([]string{"vespene-autoscale", "--database", os.Args[1], "--state", os.Args[2]}, &stdout, &stderr)
		if code != 0 || strings.Contains(stdout.String(), "not-due") != (stderr.Len() == 0) {
			fmt.Printf("minute %d: exit %d, %s%s", minute, code, &stdout, &stderr)
			os.Exit(1)
		}
	}
}

// TestSimulatedHour: the program, started at 60 full minutes give or take two seconds, evaluates such a pool 12 times.
func TestSimulatedHour(t *testing.T) {
	t.Parallel()
	database, state := onePool(t, "true"), newState(t)
	random := rand.New(rand.NewPCG(1, 2))
	var aged time.Duration // so far; simulated time is real time and this
	begun := time.Now()
	for minute := range 60 {
		tick := time.Duration(minute)*time.Minute + time.Duration(random.IntN(4001)-2000)*time.Millisecond
		if minute > 0 {
			by := tick - time.Since(begun) - aged
			age(t, state, by)
			aged += by
		}
		r := vespene(t, "--database", database, "--state", state)
		if r.code != 0 || strings.Contains(r.stdout, "not-due") != (r.stderr == "") {
			t.Fatalf("minute %d: exit %d, %q, %q", minute, r.code, r.stdout, r.stderr)
		}
	}
	if n := len(evaluations(t, state)); n != 12 {
		t.Errorf("%d evaluations, want 12", n)
	}
}

// TestClockWentBack: an evaluation that lies ahead by more than the interval is due, with one warning; nearer, it
// waits.
func TestClockWentBack(t *testing.T) {
	t.Parallel()
	database, state := onePool(t, "true"), newState(t)
	recordEvaluation(t, database, state)
	age(t, state, -time.Hour)
	r := vespene(t, "--database", database, "--state", state)
	if r.code != 0 || strings.Count(r.stderr, "so the clock went back") != 1 ||
		!strings.Contains(r.stdout, "(scaled, was 2)") {
		t.Errorf("an hour: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	age(t, state, -3*time.Minute)
	r = vespene(t, "--database", database, "--state", state)
	if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "web: not-due\n  due      in 8m\n") {
		t.Errorf("three minutes: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestAfterFailure: what ended badly is due again reevaluate_minutes after its end, not before.
func TestAfterFailure(t *testing.T) {
	t.Parallel()
	database, state := onePool(t, "sleep 3; false"), newState(t)
	run := func() string {
		r := vespene(t, "--database", database, "--state", state, "--output", "json")
		return fmt.Sprint(r.records(t)[0]["outcome"])
	}
	if got := run(); got != failed {
		t.Fatal(got)
	}
	age(t, state, 4*time.Minute+48*time.Second) // its start is 291 seconds ago and more, its end less than 290
	if got := run(); got != notDue {
		t.Errorf("4m48s after the end: %s, want %s", got, notDue)
	}
	age(t, state, 3*time.Second)
	if got := run(); got != failed {
		t.Errorf("4m51s after the end: %s, want %s", got, failed)
	}
}

// TestNextDue: a run says the same next_due as the one after it: from the start of what scaled, from the end of what
// failed.
func TestNextDue(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]time.Duration{"sleep 3; true": 5*time.Minute - 3*time.Second,
		"sleep 3; false": 5 * time.Minute} {
		database, state := onePool(t, command), newState(t)
		first := vespene(t, "--database", database, "--state", state,
			"--output", "json").records(t)[0]["next_due"].(string)
		at, err := time.Parse(time.RFC3339, first)
		if left := time.Until(at); err != nil || left > want || left < want-2*time.Second {
			t.Errorf("%s: due again in %v, %v; want %v", command, left, err, want)
		}
		if then := vespene(t, "--database", database, "--state", state,
			"--output", "json").records(t)[0]["next_due"]; then != first {
			t.Errorf("%s: next_due %s, and in the next run %v", command, first, then)
		}
	}
}

// TestKilled kills the program at each step of an evaluation, and at random moments. The state opens afterwards, no
// command ran without its row or beside another one, and the next run completes the row that was left open.
func TestKilled(t *testing.T) {
	t.Parallel()
	directory, state := t.TempDir(), newState(t)
	log := filepath.Join(directory, "log")
	database := onePool(t, "cd "+directory+"; mkdir running || echo twice >> log; echo begun >> log; "+
		"while [ -e hold ]; do sleep 0.01; done; sleep 0.05; rmdir running")
	begun := func() int {
		content, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("twice")) {
			t.Fatalf("two commands at once: %s", content)
		}
		return bytes.Count(content, []byte("begun"))
	}
	checkState := func() {
		t.Helper()
		db := openSQLiteFile(t, state)
		defer db.Close()
		var check string
		if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
			t.Fatalf("the state: %q, %v", check, err)
		}
	}
	// recovered is the next run, when what the killed one may have left running has ended.
	recovered := func() (r ran) {
		t.Helper()
		waitFor(t, func() bool {
			r = vespene(t, "--database", database, "--state", state, "--force")
			return r.code != exitBusy
		})
		if r.code != 0 {
			t.Fatalf("the next run: exit %d, %s", r.code, r.stderr)
		}
		for _, e := range evaluations(t, state) {
			if e.outcome != scaled && e.outcome != interrupted || !e.ended {
				t.Errorf("after the next run: %+v", e)
			}
		}
		return r
	}

	random, runs := rand.New(rand.NewPCG(3, 4)), 100
	if raceDetector {
		runs = 10
	}
	for range runs {
		cmd, _, _ := program(t, "--database", database, "--state", state, "--force")
		cmd.Stdout, cmd.Stderr = nil, nil
		start(t, cmd)
		killed := time.AfterFunc(randomMoment(random), func() { cmd.Process.Kill() })
		code := exitOf(t, cmd.Wait())
		killed.Stop()
		if code != 0 && code != exitBusy && code != -int(syscall.SIGKILL) {
			t.Fatalf("exit %d", code)
		}
		if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) {
			continue // killed before there was one
		}
		checkState()
		if n := begun(); n > 0 && n > len(evaluations(t, state)) {
			t.Fatalf("%d commands, and recorded %+v", n, evaluations(t, state))
		}
	}
	recovered()

	run := heldRun{database, state, filepath.Join(directory, "hold"), begun}
	for _, step := range []struct {
		name        string
		begun, rows int    // more than before
		outcome     string // of that row
		then        string // its outcome after the next run
	}{
		{beforeClaim, 0, 0, "", ""},
		{beforeCommand, 0, 1, "", interrupted},
		{inCommand, 1, 1, "", interrupted},
		{beforeOutcome, 1, 1, "", interrupted},
		{afterOutcome, 1, 1, scaled, scaled},
	} {
		for range 3 {
			begunBefore, rowsBefore := begun(), len(evaluations(t, state))
			cmd, release := run.at(t, step.name)
			cmd.Process.Kill()
			if code := exitOf(t, cmd.Wait()); code != -int(syscall.SIGKILL) {
				t.Fatalf("%s: exit %d, want it killed", step.name, code)
			}
			all, n := evaluations(t, state), begun()
			if n != begunBefore+step.begun || len(all) != rowsBefore+step.rows {
				t.Fatalf("%s: %d commands more, recorded %+v", step.name, n-begunBefore, all[rowsBefore:])
			}
			for _, e := range all[rowsBefore:] {
				if e.outcome != step.outcome || e.ended != (step.outcome != "") {
					t.Errorf("%s: recorded %+v", step.name, e)
				}
			}
			if step.name == inCommand {
				if r := vespene(t, "--database", database, "--state", state, "--force"); r.code != exitBusy {
					t.Errorf("beside a command whose run was killed: exit %d, %s", r.code, r.stderr)
				}
			}
			release()
			checkState()
			r := recovered()
			if strings.Contains(r.stderr, "an earlier run was killed") != (step.then == interrupted) {
				t.Errorf("%s: the next run says %s", step.name, r.stderr)
			}
			all = evaluations(t, state)
			if len(all) != rowsBefore+step.rows+1 || step.rows > 0 && all[rowsBefore].outcome != step.then {
				t.Errorf("%s: the next run recorded %+v", step.name, all[rowsBefore:])
			}
		}
	}
}

// TestOrphan: while a command lives whose run was killed, another run is busy, by force or not; then the row is
// completed as interrupted, with a warning, and the interval begins.
func TestOrphan(t *testing.T) {
	t.Parallel()
	directory, state := t.TempDir(), newState(t)
	orphan := filepath.Join(directory, "orphan")
	database := onePool(t, "saver "+orphan+" 0s")
	cmd, _, _ := program(t, "--database", database, "--state", state)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { content, _ := os.ReadFile(orphan); return bytes.HasSuffix(content, []byte("\n")) })
	cmd.Process.Kill()
	cmd.Wait()
	for _, force := range [][]string{nil, {"--force"}} {
		r := vespene(t, append(force, "--database", database, "--state", state)...)
		if r.code != exitBusy || !strings.Contains(r.stdout, "web: busy") || !strings.Contains(r.stderr, "(saver)") ||
			!strings.Contains(r.stderr, "level=WARN") {
			t.Fatalf("%v: exit %d, %s%s", force, r.code, r.stdout, r.stderr)
		}
	}
	if r := vespene(t, "--database", database, "--state", state, "--dry-run", "--output", "json"); r.code != 0 ||
		r.records(t)[0]["outcome"] != dryRun || r.records(t)[0]["due"] != false {
		t.Errorf("dry run: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	// Past its limit by a minute, the lock is held by something that hangs.
	age(t, state, 31*time.Minute+time.Second)
	r := vespene(t, "--database", database, "--state", state)
	if r.code != exitState || !strings.Contains(r.stdout, "web: busy") ||
		!strings.Contains(r.stderr, "though its command was to end by") ||
		!strings.Contains(r.stderr, "(saver)") || !strings.Contains(r.stderr, "level=ERROR") {
		t.Errorf("past the limit: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}

	pid := strings.TrimSpace(string(contentOf(t, orphan)))
	if output, err := exec.Command("kill", "-INT", pid).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	waitFor(t, func() bool {
		r = vespene(t, "--database", database, "--state", state)
		return r.code != exitState
	})
	if r.code != 0 || !strings.Contains(r.stdout, "web: not-due\n  due      in 5m\n") ||
		!strings.Contains(r.stderr, "an earlier run was killed") {
		t.Errorf("when it is over: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if all := evaluations(t, state); len(all) != 1 || all[0].outcome != interrupted || !all[0].ended {
		t.Errorf("recorded %+v", all)
	}
}

// killCommand ends a command, with all of its processes, that outlived its run. Its shell wrote its process id as the
// last line of that file.
func killCommand(t testing.TB, file string) {
	t.Helper()
	lines := strings.Fields(string(contentOf(t, file)))
	shell, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-shell, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func contentOf(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestTwentyAtOnce: of twenty runs that begin at the same moment, on a state that does not exist yet, one runs the
// command.
func TestTwentyAtOnce(t *testing.T) {
	t.Parallel()
	log, state := filepath.Join(t.TempDir(), "log"), newState(t)
	database := onePool(t, "echo ran >> "+log+"; sleep 5")
	codes := make([]int, 20)
	var all sync.WaitGroup
	for i := range codes {
		cmd, _, stderr := program(t, "--database", database, "--state", state, "--force")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			codes[i] = exitOf(t, cmd.Wait())
			if codes[i] != 0 && codes[i] != exitBusy {
				t.Errorf("exit %d: %s", codes[i], stderr)
			}
		})
	}
	all.Wait()
	slices.Sort(codes)
	if want := append([]int{0}, slices.Repeat([]int{exitBusy}, 19)...); !slices.Equal(codes, want) {
		t.Errorf("exit codes %v, want %v", codes, want)
	}
	if lines := string(contentOf(t, log)); lines != "ran\n" {
		t.Errorf("commands: %q, want one", lines)
	}
}

// TestUnusableState: exit 74, a sentence that says what to do, no command run and the file untouched.
func TestUnusableState(t *testing.T) {
	garbage := bytes.Repeat([]byte("garbage "), 1024)
	for name, test := range map[string]struct {
		prepare    func(t *testing.T, path string)
		want, cure string
	}{
		"corrupt": {func(t *testing.T, path string) { writeFile(t, path, garbage) }, "file is not a database",
			"move the file away"},
		"corrupt inside": {func(t *testing.T, path string) {
			recordOne(t, path)
			execSQLite(t, path, "PRAGMA wal_checkpoint(TRUNCATE)") // from where it would be read instead
			content := contentOf(t, path)
			writeFile(t, path, append(content[:4096:4096], bytes.Repeat([]byte{7}, len(content)-4096)...))
		}, "malformed", "move the file away"},
		"of something else": {func(t *testing.T, path string) { execSQLite(t, path, "CREATE TABLE x (y)") },
			"a SQLite database of something else", "name another file with --state"},
		"of a newer version": {func(t *testing.T, path string) {
			recordOne(t, path)
			execSQLite(t, path, "PRAGMA user_version = 3")
		}, "written by a newer version of this program (schema 3, this one knows 2)", "run that version"},
		"read-only": {func(t *testing.T, path string) {
			recordOne(t, path)
			chmod(t, path, 0o400)
		}, "permission denied", "writable for the user of this run"},
		"in a directory that is read-only": {func(t *testing.T, path string) { chmod(t, filepath.Dir(path), 0o500) },
			"permission denied", "writable for the user of this run"},
		"in a directory that cannot be made": {func(t *testing.T, path string) {
			chmod(t, filepath.Dir(path), 0o700)
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Dir(path), nil)
		}, "not a directory", ""},
		"a pipe": {func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no regular file", "name a file"},
		"a directory": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ran, path := filepath.Join(t.TempDir(), "ran"), newState(t)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			test.prepare(t, path)
			before := snapshot(t, filepath.Dir(path))
			for _, extra := range []string{"--force", "--dry-run"} {
				if extra == "--dry-run" && test.want == "permission denied" {
					continue // it writes nothing
				}
				cmd, stdout, stderr := program(t, "--database", onePool(t, "touch "+ran), "--state", path, extra)
				withoutOverride(t, cmd)
				code := exitOf(t, cmd.Run())
				said := stderr.String()
				inRecord := name == "corrupt inside" // which only a query finds
				if code != exitState || !strings.Contains(said, test.want) || !strings.Contains(said, test.cure) ||
					!strings.Contains(said, path) || stdout.Len() > 0 && !inRecord {
					t.Errorf("%s: exit %d, %q, %q; want %q, %q", extra, code, stdout, said, test.want, test.cure)
				}
			}
			if after := snapshot(t, filepath.Dir(path)); after != before {
				t.Errorf("before\n%safter\n%s", before, after)
			}
			if _, err := os.Stat(ran); err == nil {
				t.Error("the command ran")
			}
		})
	}
}

// recordOne makes a state file with an evaluation.
func recordOne(t testing.TB, path string) {
	t.Helper()
	recordEvaluation(t, onePool(t, "true"), path)
}

// recordEvaluation evaluates a database's pools into a state file.
func recordEvaluation(t testing.TB, database, path string) {
	t.Helper()
	if r := vespene(t, "--database", database, "--state", path); r.code != 0 {
		t.Fatal(r)
	}
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func chmod(t testing.TB, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(path, 0o700) })
}

// snapshot lists what is at and below a path, with a hash of each file; a lock file has nothing in it and is left out,
// and so is the index of a log, which its readers keep.
func snapshot(t testing.TB, root string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, ".lock") || strings.HasSuffix(path, "-shm") {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		hash := [32]byte{}
		if info.Mode().IsRegular() {
			hash = sha256.Sum256(contentOf(t, path))
		}
		fmt.Fprintf(&list, "%s %v %x\n", path, info.Mode(), hash[:4])
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return list.String()
}

// withoutOverride has root's command obey the rights of files, as everybody else's does.
func withoutOverride(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	setpriv, err := exec.LookPath("setpriv")
	need(t, "setpriv", err == nil)
	cmd.Args = append([]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = setpriv
}

// TestDryRunWritesNothing: also where a run was killed and left its journal, be it the first, which makes the file, and
// be the file found by another name.
func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]bool{"first run": true, "later run": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(5, 6))
			journals := 0
			for i := range 30 {
				database, state := onePool(t, "sleep 0.1"), newState(t)
				if !first {
					recordEvaluation(t, database, state)
				}
				cmd, _, _ := program(t, "--database", database, "--state", state, "--force")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					waitFor(t, func() bool { _, err := os.Stat(state + "-wal"); return err == nil })
				} else {
					time.Sleep(randomMoment(random) / 8)
				}
				cmd.Process.Kill()
				cmd.Wait()
				link := filepath.Join(t.TempDir(), "link")
				if err := os.Symlink(state, link); err != nil {
					t.Fatal(err)
				}
				before := snapshot(t, filepath.Dir(state))
				for _, path := range []string{state, link} {
					r := vespene(t, "--database", database, "--state", path, "--dry-run", "--output", "json")
					if first && r.code == exitState && strings.Contains(r.stderr, "the run that made it was killed") {
						continue // it left a journal that is to be rolled back
					}
					if r.code != 0 || r.records(t)[0]["outcome"] != dryRun ||
						!first && r.records(t)[0]["previous_size"] != 2.0 {
						t.Fatalf("exit %d, %s%s", r.code, r.stdout, r.stderr)
					}
				}
				if after := snapshot(t, filepath.Dir(state)); after != before {
					t.Fatalf("before\n%safter\n%s", before, after)
				}
				if strings.Contains(before, "-wal") {
					journals++
				}
			}
			if journals < 15 {
				t.Errorf("%d killed runs left a journal, want 15 at least", journals)
			}
		})
	}
}

// TestDryRunMeanwhile: a dry run reads the state also while runs open, write and close it all the time.
func TestDryRunMeanwhile(t *testing.T) {
	t.Parallel()
	database, state := onePool(t, "true"), newState(t)
	recordEvaluation(t, database, state)
	stop, runs := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				runs <- n
				return
			default:
				exec.Command("vespene-autoscale", "--database", database, "--state", state, "--force").Run()
				n++
			}
		}
	}()
	for range 100 {
		r := vespene(t, "--database", database, "--state", state, "--dry-run", "--output", "json")
		if r.code != 0 || r.records(t)[0]["previous_size"] != 2.0 {
			t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
		}
	}
	close(stop)
	if n := <-runs; n < 10 {
		t.Errorf("%d runs meanwhile: too few to show anything", n)
	}
}

// TestDanglingLink: where the state's name is a link to what is yet to be made, its lock is one from the first run on.
func TestDanglingLink(t *testing.T) {
	t.Parallel()
	begun, state := filepath.Join(t.TempDir(), "begun"), newState(t)
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(state, link); err != nil {
		t.Fatal(err)
	}
	database := onePool(t, "echo > "+begun+"; exec sleep 600")
	cmd, _, _ := program(t, "--database", database, "--state", link)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(begun); return err == nil })
	if r := vespene(t, "--database", database, "--state", link); r.code != exitBusy {
		t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
}

// TestDryRunOfAnEmptyFile: a first run that was killed may leave a SQLite file without tables, or one that is to be
// made empty again by its journal.
func TestDryRunOfAnEmptyFile(t *testing.T) {
	t.Parallel()
	state := newState(t)
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	execSQLite(t, state, "PRAGMA journal_mode = WAL")
	// What is to be undone: the first page, in a database of no pages.
	// https://sqlite.org/fileformat2.html#the_rollback_journal
	journal := append([]byte{0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0,
		2, 0, 0, 0, 16, 0},
		make([]byte, 512-28)...)
	before := snapshot(t, filepath.Dir(state))
	r := vespene(t, "--database", onePool(t, "true"), "--state", state, "--dry-run")
	if r.code != 0 || !strings.Contains(r.stdout, "due      now") || snapshot(t, filepath.Dir(state)) != before {
		t.Errorf("without a journal: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	writeFile(t, state+"-journal", journal)
	before = snapshot(t, filepath.Dir(state))
	r = vespene(t, "--database", onePool(t, "true"), "--state", state, "--dry-run")
	if r.code != exitState || !strings.Contains(r.stderr, "hint: the run that made it was killed: "+
		"run vespene-autoscale once as its user") ||
		snapshot(t, filepath.Dir(state)) != before {
		t.Errorf("with a journal: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := vespene(t, "--database", onePool(t, "true"), "--state", state); r.code != 0 {
		t.Errorf("a run: exit %d, %s", r.code, r.stderr)
	}
}

// TestLogWithoutIndex: a log is read without its index where that may be made, and else there is a cure.
func TestLogWithoutIndex(t *testing.T) {
	t.Parallel()
	database, state := onePool(t, "true"), newState(t)
	recordEvaluation(t, database, state)
	status := func() ran {
		cmd, stdout, stderr := program(t, "status", "--database", database, "--state", state)
		withoutOverride(t, cmd)
		return ran{exitOf(t, cmd.Run()), stdout.String(), stderr.String()}
	}
	for mode, want := range map[os.FileMode]ran{0o500: {exitState, "", "hint: its log (-wal) lacks the index"},
		0o700: {0, "scaled", ""}} {
		if err := os.Remove(state + "-shm"); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, filepath.Dir(state))
		chmod(t, filepath.Dir(state), mode)
		if r := status(); r.code != want.code || !strings.Contains(r.stdout, want.stdout) ||
			!strings.Contains(r.stderr, want.stderr) {
			t.Errorf("%v: %+v, want %+v", mode, r, want)
		}
		chmod(t, filepath.Dir(state), 0o700)
		if after := snapshot(t, filepath.Dir(state)); after != before {
			t.Errorf("before\n%safter\n%s", before, after)
		}
		writeFile(t, state+"-shm", nil)
	}
}

// TestHeldAfterItsOutcome: what still holds the lock when its evaluation is over hangs, if a minute past its limit.
func TestHeldAfterItsOutcome(t *testing.T) {
	t.Parallel()
	database, state := onePool(t, "true"), newState(t)
	recordEvaluation(t, database, state)
	locks, err := filepath.Glob(filepath.Join(filepath.Dir(state), "*.lock"))
	if err != nil || len(locks) != 1 {
		t.Fatal(locks, err)
	}
	holder := exec.Command("flock", locks[0], "sleep", "600")
	holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer syscall.Kill(-holder.Process.Pid, syscall.SIGKILL)
	waitFor(t, func() bool { return vespene(t, "--database", database, "--state", state, "--force").code != 0 })
	r := vespene(t, "--database", database, "--state", state, "--force")
	if r.code != exitBusy || !strings.Contains(r.stderr, "a command that outlived its run holds this pool's lock") ||
		!strings.Contains(r.stderr, "(flock)") {
		t.Errorf("within its limit: exit %d, %s", r.code, r.stderr)
	}
	age(t, state, 31*time.Minute+time.Second)
	r = vespene(t, "--database", database, "--state", state)
	if r.code != exitState || !strings.Contains(r.stderr, "though its command was to end by") ||
		!strings.Contains(r.stderr, "(flock)") {
		t.Errorf("past its limit: exit %d, %s", r.code, r.stderr)
	}
}

// TestForcedRunGoesOn: meanwhile a pool that is not due is not due; and a lock is one, by whatever name its state is
// found.
func TestForcedRunGoesOn(t *testing.T) {
	t.Parallel()
	begun, state := filepath.Join(t.TempDir(), "begun"), newState(t)
	database := onePool(t, "echo $$ >> "+begun+"; test $(wc -l < "+begun+") = 1 || sleep 600")
	recordEvaluation(t, database, state)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(state, link); err != nil {
		t.Fatal(err)
	}
	cmd, _, _ := program(t, "--database", database, "--state", link, "--force")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return bytes.Count(contentOf(t, begun), []byte("\n")) == 2 })
	r := vespene(t, "--database", database, "--state", state)
	if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "web: not-due\n  due      in 5m\n") {
		t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	r = vespene(t, "--database", database, "--state", state, "--force")
	if r.code != exitBusy || !strings.Contains(r.stderr, "another run holds this pool's lock") {
		t.Errorf("--force: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	age(t, state, 5*time.Minute)
	if r = vespene(t, "--database", database, "--state", state); r.code != exitBusy ||
		!strings.Contains(r.stdout, "web: busy") {
		t.Errorf("when due: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	// Killed, it leaves an orphan, of which nobody knows what it does: busy, due or not.
	age(t, state, -5*time.Minute)
	cmd.Process.Kill()
	cmd.Wait()
	r = vespene(t, "--database", database, "--state", state)
	if r.code != exitBusy || !strings.Contains(r.stderr, "a command that outlived its run holds this pool's lock") {
		t.Errorf("its orphan: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	killCommand(t, begun)
}

// TestStateVanishes: an outcome is not written into a file that is no longer there, and nothing pretends that it was.
func TestStateVanishes(t *testing.T) {
	for name, command := range map[string]string{
		"removed":  "rm -r %s",
		"replaced": "cd %s && cp state.db other && mv other state.db",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := newState(t)
			r := vespene(t, "--database", onePool(t, fmt.Sprintf(command, filepath.Dir(state))), "--state", state,
				"--output", "json")
			record := r.records(t)[0]
			if r.code != exitState || record["outcome"] != failed || record["exit_code"] != 0.0 ||
				record["error"] == nil || !strings.Contains(r.stderr, "the command had ended: scaled") {
				t.Errorf("exit %d, %v, %s", r.code, record, r.stderr)
			}
		})
	}
}

// TestClaimVanishes: nothing is run for a pool whose claim would go into a file that is no longer there.
func TestClaimVanishes(t *testing.T) {
	t.Parallel()
	state := newState(t)
	ran := filepath.Join(t.TempDir(), "ran")
	r := vespene(t, "--state", state, "--database", sqliteDatabase(t,
		"INSERT INTO worker_pools (id, name, executor_command) VALUES "+
			"(1, 'a', 'rm "+state+"*'), (2, 'b', 'touch "+ran+"')"))
	if _, err := os.Stat(ran); err == nil || r.code != exitState {
		t.Errorf("exit %d, the second command ran: %v, %s", r.code, err == nil, r.stderr)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	ctx, path := context.Background(), newState(t)
	s, err := openState(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	now := time.Now()
	insert := func(pool int, age time.Duration, how string, n int) {
		execSQLite(t, path, `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < $4)
			INSERT INTO evaluations (database, pool_id, pool, started, deadline, forced, queued, running, size, `+
			`queued_size, ended, outcome)
			SELECT 'd', $1, 'web', $2, 0, 0, 0, 0, 5, 0, $2, $3 FROM i`, pool, now.Add(-age).UnixMilli(), how, n)
	}
	const day = 24 * time.Hour
	insert(1, 100*day, scaled, 1500)
	insert(1, 91*day, failed, 10)
	insert(1, 89*day, scaled, 10)
	insert(2, 200*day, scaled, 3) // the last of these is the pool's last size,
	insert(2, 100*day, failed, 3) // and the last of these its last evaluation
	insert(3, 100*day, failed, 5) // a pool that only ever failed
	count := func() (n int) {
		if err := s.db.QueryRow("SELECT count(*) FROM evaluations").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, want := range []int{531, 13, 13} { // 1,000 at most, then the rest, and never what the next run needs
		if err := s.prune(ctx, now, time.Minute); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != want {
			t.Errorf("%d rows are left, want %d", n, want)
		}
	}
	last, _, err := s.lastRun(ctx, poolKey{"d", 2})
	if err != nil || last.previousSize == nil || *last.previousSize != 5 ||
		now.Sub(last.last).Round(time.Hour) != 100*day {
		t.Errorf("pool 2: %+v, %v", last, err)
	}
	if last, _, err := s.lastRun(ctx, poolKey{"other", 2}); err != nil || !last.last.IsZero() ||
		last.previousSize != nil {
		t.Errorf("the same pool of another database: %+v, %v", last, err)
	}
}

// TestLockFileReplaced: a lock whose file was removed is a lock on nothing; the next run locks the new file.
func TestLockFileReplaced(t *testing.T) {
	t.Parallel()
	s, err := openState(context.Background(), newState(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	key := poolKey{"d", 1}
	first, err := s.lock(context.Background(), key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.lock(context.Background(), key, time.Now()); !errors.Is(err, errBusy) {
		t.Errorf("a second lock: %v, want %v", err, errBusy)
	}
	other, err := s.lock(context.Background(), poolKey{"d", 2}, time.Now())
	if err != nil {
		t.Errorf("another pool's: %v", err)
	}
	if err := os.Remove(s.lockPath(key)); err != nil {
		t.Fatal(err)
	}
	again, err := s.lock(context.Background(), key, time.Now())
	if err != nil {
		t.Fatalf("with the file of the first lock removed: %v", err)
	}
	if err := errors.Join(unlock(first), unlock(other)); err != nil {
		t.Fatal(err)
	}
	if err := unlock(again); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.lockPath(key))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the lock file: %v, %v", info.Mode(), err)
	}
	directory, err := os.Stat(filepath.Dir(s.path))
	if err != nil || directory.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", directory.Mode(), err)
	}
}

// TestLastRuns: what is read of all pools at once is what is read of each alone; for those that are not there lastRun
// is asked.
func TestLastRuns(t *testing.T) {
	t.Parallel()
	ctx, path := context.Background(), newState(t)
	s, err := openState(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for pool, outcomes := range map[int][]any{1: {scaled}, 2: {scaled, failed}, 3: {failed, scaled}, 4: {nil},
		5: {scaled, nil}, 6: {nil, scaled}, 7: {failed}, 20: {scaled, scaled, scaled}, 300: {interrupted, scaled}} {
		for i, how := range outcomes {
			execSQLite(t, path, `INSERT INTO evaluations (database, pool_id, pool, started, deadline, forced, queued, `+
				`running, size, queued_size, ended, outcome)
				VALUES ('d', $1, 'web', $2, 0, 0, 0, 0, $3, 0, CASE WHEN $4 IS NOT NULL THEN $2 + 1 END, $4)`, pool,
				1000*pool+i, 7+i, how)
		}
	}
	execSQLite(t, path, `INSERT INTO evaluations (database, pool_id, pool, started, deadline, forced, queued, `+
		`running, size, queued_size, ended, outcome)
		SELECT 'other', pool_id + 1, pool, 0, 0, 0, 0, 0, 1, 0, 1, 'scaled' FROM evaluations`)
	all, err := s.lastRuns(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	for _, pool := range []int64{1, 3, 20, 300} {
		want, _, err := s.lastRun(ctx, poolKey{"d", pool})
		if got := all[pool]; err != nil || !got.last.Equal(want.last) || got.last.IsZero() ||
			*got.previousSize != *want.previousSize || want.open {
			t.Errorf("pool %d: %+v, %v, want %+v", pool, got, err, want)
		}
	}
	if len(all) != 4 {
		t.Errorf("%d pools, want 4: %v", len(all), all)
	}
	if all, err := s.lastRuns(ctx, "none"); err != nil || len(all) > 0 {
		t.Errorf("of another database: %v, %v", all, err)
	}
}

// TestPruneTakesNoTime: a short run removes a few old evaluations, and leaves the others to later ones.
func TestPruneTakesNoTime(t *testing.T) {
	t.Parallel()
	ctx, path := context.Background(), newState(t)
	s, err := openState(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	execSQLite(t, path, `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 100)
		INSERT INTO evaluations (database, pool_id, pool, started, deadline, forced, queued, running, size, `+
		`queued_size, ended, outcome)
		SELECT 'd', 1, 'web', n, 0, 0, 0, 0, 5, 0, n, 'scaled' FROM i`)
	if err := s.prune(ctx, time.Now(), 0); err != nil {
		t.Fatal(err)
	}
	if all := evaluations(t, path); len(all) != 100-pruneStep {
		t.Errorf("%d evaluations are left, want %d", len(all), 100-pruneStep)
	}
}

// TestJournalOfTheState: a run leaves the log of its changes beside the state, readable by nobody else, and it does not
// grow without end; a file of that name that belongs to another state does no harm to a new one.
func TestJournalOfTheState(t *testing.T) {
	t.Parallel()
	path, database := newState(t), onePool(t, "true")
	for range 60 {
		if r := vespene(t, "--database", database, "--state", path, "--force"); r.code != 0 {
			t.Fatal(r)
		}
	}
	info, err := os.Stat(path + "-wal")
	if err != nil || info.Size() == 0 || info.Size() > 2<<20 || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if all := evaluations(t, path); len(all) != 60 {
		t.Errorf("%d evaluations, want 60", len(all))
	}
	if err := os.Rename(path, path+".old"); err != nil { // as the hint for a malformed one has it
		t.Fatal(err)
	}
	recordEvaluation(t, database, path)
	if all := evaluations(t, path); len(all) != 1 {
		t.Errorf("%d evaluations in a new state, want 1", len(all))
	}
}
