package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manyPools makes a database of n enabled pools, 001 …, with the command that each number has.
func manyPools(t testing.TB, n int, command func(i int) string) string {
	t.Helper()
	var rows []string
	for i := 1; i <= n; i++ {
		rows = append(rows, fmt.Sprintf("(%d, '%04d', '%s')", i, i, strings.ReplaceAll(command(i), "'", "''")))
	}
	return sqliteDatabase(t, "INSERT INTO worker_pools (id, name, executor_command) VALUES "+strings.Join(rows, ", "))
}

// TestJobs: N pools run at the same time and no more; their records come in the pools' order, and log lines stay whole.
func TestJobs(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	database := manyPools(t, 12, func(i int) string {
		return fmt.Sprintf("cd %s; touch on%d; ls | grep -c ^on >> most; i=0; while [ $i -lt 500 ]; do echo line $i "+
			"of %04d; i=$((i+1)); done; "+
			"sleep %s; rm on%d", directory, i, i, map[bool]string{true: "4", false: "0.3"}[i == 1], i)
	})
	begun := time.Now()
	r := vespene(t, "--database", database, "--state", newState(t), "--jobs", "4", "--output", "json")
	took := time.Since(begun)
	all := r.records(t)
	if r.code != 0 || len(all) != 12 {
		t.Fatalf("exit %d, %d records, %s", r.code, len(all), r.stderr)
	}
	for i, record := range all {
		if record["pool"] != fmt.Sprintf("%04d", i+1) || record["outcome"] != scaled {
			t.Errorf("record %d: %v", i, record)
		}
	}
	most := 0
	for _, n := range strings.Fields(string(contentOf(t, directory+"/most"))) {
		most = max(most, int(n[0]-'0'))
	}
	if most < 2 || most > 4 {
		t.Errorf("%d at the same time, want 4 at most, and more than one", most)
	}
	if took > 12*time.Second { // one after the other: 4 s and 11 times 0.3 s, and what 6,000 lines take
		t.Errorf("took %v: the slow pool delayed the others", took)
	}
	whole := regexp.MustCompile(`^(time=\S+ level=INFO msg=.*|(\d{4}): line \d+ of (\d{4}))\n$`)
	for line := range strings.Lines(r.stderr) {
		if parts := whole.FindStringSubmatch(line); parts == nil || parts[2] != parts[3] {
			t.Errorf("line %q", line)
		}
	}
}

// TestJobsInterrupted: an interrupt reaches every command that runs, once; pools not yet begun are interrupted,
// unrecorded.
func TestJobsInterrupted(t *testing.T) {
	t.Parallel()
	directory, state := t.TempDir(), newState(t)
	database := manyPools(t, 5, func(i int) string { return fmt.Sprintf("saver %s/%d 1s", directory, i) })
	cmd, stdout, stderr := program(t, "--database", database, "--state", state, "--jobs", "3", "--output", "json")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		waitFor(t, func() bool {
			content, _ := os.ReadFile(fmt.Sprintf("%s/%d", directory, i))
			return bytes.HasSuffix(content, []byte("\n"))
		})
	}
	cmd.Process.Signal(syscall.SIGTERM)
	code := exitOf(t, cmd.Wait())
	all := ran{stdout: stdout.String()}.records(t)
	if code != 143 || len(all) != 5 {
		t.Fatalf("exit %d, %v, %s", code, all, stderr)
	}
	for i, record := range all {
		content, err := os.ReadFile(fmt.Sprintf("%s/%d", directory, i+1))
		if begun := i < 3; record["outcome"] != interrupted || begun != (err == nil) ||
			begun && !bytes.HasSuffix(content, []byte("\nSIGINT\nsaved\n")) ||
			bytes.Count(content, []byte("SIGINT")) > 1 || begun != (record["exit_code"] != nil) {
			t.Errorf("pool %d: %v, %q", i+1, record, content)
		}
	}
	if got := evaluations(t, state); len(got) != 3 {
		t.Errorf("recorded %+v, want the three that had begun", got)
	}
}

// TestThousandPools: of 1,000 pools each third fails and each third is invalid; all are attempted, and all are told.
func TestThousandPools(t *testing.T) {
	t.Parallel()
	state := newState(t)
	database := manyPools(t, 1000, func(i int) string { return []string{"true", "false", "{{ nope }}"}[i%3] })
	r := vespene(t, "--database", database, "--state", state, "--jobs", "4", "--output", "json")
	all, outcomes := r.records(t), map[any]int{}
	for _, record := range all {
		outcomes[record["outcome"]]++
	}
	if r.code != exitFailed || outcomes[scaled] != 333 || outcomes[failed] != 334 || outcomes[invalid] != 333 {
		t.Errorf("exit %d, %v", r.code, outcomes)
	}
	if n := len(evaluations(t, state)); n != 667 {
		t.Errorf("%d evaluations, want 667", n)
	}
}

// TestDatabaseDiesBeforeTheCommand: counts that were read decide, also when PostgreSQL is killed before the command;
// but hosts that share the pool need it.
func TestDatabaseDiesBeforeTheCommand(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		option string
		code   int
		second string
	}{"alone": {"--verbose", 0, scaled}, "shared": {"--shared", exitDatabase, failed}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := ownCluster(t)
			c.exec(t, "postgres", fileContent(t, "schema.sql"))
			c.exec(t, "postgres", fmt.Sprintf(`INSERT INTO worker_pools (id, name, executor_command) VALUES
				(1, 'a', 'kill -QUIT %d; while kill -0 %d 2>/dev/null && ! grep -q ") Z" /proc/%[1]d/stat; `+
				`do sleep 0.1; done'), (2, 'b', 'true')`,
				c.Server.Process.Pid, c.Server.Process.Pid))
			state := newState(t)
			r := vespene(t, "--database", c.address("postgres"), "--state", state, "--output", "json", test.option)
			all := r.records(t)
			if r.code != test.code || len(all) != 2 || all[0]["outcome"] != scaled || all[1]["outcome"] != test.second {
				t.Errorf("exit %d, %v, %s", r.code, all, r.stderr)
			}
			if n := len(evaluations(t, state)); n != map[string]int{"alone": 2, "shared": 1}[name] {
				t.Errorf("%d evaluations", n)
			}
		})
	}
}

// TestSignalled ends runs by a signal, at each step up to the end of the command and at random moments: no command runs
// without its row, each gets one SIGINT at most and time to save, and every row has its outcome.
func TestSignalled(t *testing.T) {
	t.Parallel()
	directory, state := t.TempDir(), newState(t)
	log := filepath.Join(directory, "log")
	content := func() []byte {
		content, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return content
	}
	begun := func() int { return len(regexp.MustCompile(`(?m)^\d+\n`).FindAll(content(), -1)) }
	database := onePool(t, "exec saver "+log+" 20ms")
	signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}

	random, runs := rand.New(rand.NewPCG(9, 10)), 50
	if raceDetector {
		runs = 10
	}
	for range runs {
		cmd, _, stderr := program(t, "--database", database, "--state", state, "--force")
		start(t, cmd)
		time.Sleep(randomMoment(random))
		signal := signals[random.IntN(2)]
		cmd.Process.Signal(signal)
		code := exitOf(t, cmd.Wait())
		if code != 128+int(signal) && code != -int(signal) { // before it had begun to listen
			t.Fatalf("%v: exit %d, %s", signal, code, stderr)
		}
	}

	recordEvaluation(t, onePool(t, "true"), state) // so that there is a state
	run := heldRun{database, state, filepath.Join(directory, "hold"), begun}
	for _, step := range []string{beforeClaim, beforeCommand, inCommand} {
		for i := range 6 {
			before, signal := begun(), signals[i%2]
			cmd, release := run.at(t, step)
			cmd.Process.Signal(signal)
			release()
			if code := exitOf(t, cmd.Wait()); code != 128+int(signal) {
				t.Errorf("%s: exit %d", step, code)
			}
			if n := begun(); step == inCommand && n != before+1 {
				t.Errorf("%s: %d commands, want one", step, n-before)
			}
		}
	}

	if unsaved := regexp.MustCompile(`(?m)^\d+\nSIGINT\nsaved\n`).ReplaceAll(content(), nil); len(unsaved) > 0 {
		t.Errorf("commands that did not get one SIGINT and the time to save: %q", unsaved)
	}
	all, outcomes := evaluations(t, state), map[string]int{}
	for _, e := range all {
		outcomes[e.outcome]++
		if !e.ended {
			t.Errorf("recorded %+v", e)
		}
	}
	n, ended := begun(), outcomes[interrupted]
	if n > ended || n < 6 || ended < 2*6 || outcomes[scaled] != 1 || len(all) != ended+1 {
		t.Errorf("%d commands, %v", n, outcomes)
	}
}
