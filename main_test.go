package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vespene-autoscale/e2e/testkit"
)

// TestMain lets the test binary be the program too, as vespene-autoscale on the PATH of the tests, and of the commands
// that the tests have it run, which find saver there. No process outlives the tests.
func TestMain(m *testing.M) {
	commands := map[string]func(){"vespene-autoscale": onThisHost, "saver": saver, "simulated-day": simulatedDay}
	if commands[filepath.Base(os.Args[0])] == nil {
		testkit.Supervise()
	}
	testscript.Main(withCluster{m}, commands)
}

// onThisHost is main on a host whose clock is ahead by $TEST_CLOCK, or by a minute and a second from when the file
// $TEST_LEAP exists, or has stopped at $TEST_NOW. $TEST_PEAK is for peakMemory.
func onThisHost() {
	if now, err := time.Parse(time.RFC3339, os.Getenv("TEST_NOW")); err == nil {
		clock = func() time.Time { return now }
	}
	if ahead, err := time.ParseDuration(os.Getenv("TEST_CLOCK")); err == nil {
		clock = func() time.Time { return time.Now().Add(ahead) }
	}
	if leap := os.Getenv("TEST_LEAP"); leap != "" {
		clock = func() time.Time {
			if _, err := os.Stat(leap); err != nil {
				return time.Now()
			}
			return time.Now().Add(61 * time.Second)
		}
	}
	code := run(os.Args, os.Stdout, os.Stderr)
	if file := os.Getenv("TEST_PEAK"); file != "" {
		status, _ := os.ReadFile("/proc/self/status")
		os.WriteFile(file, status, 0o600)
	}
	os.Exit(code)
}

// peakMemory has the program write how much memory it took at most, and returns what reads that, in MiB, when it has
// ended. wait4 would tell of the tests' own memory, too, out of which the program was started.
func peakMemory(t *testing.T, cmd *exec.Cmd) (peak func() int) {
	file := filepath.Join(t.TempDir(), "status")
	cmd.Env = append(cmd.Env, "TEST_PEAK="+file)
	return func() int {
		kibibytes := 0
		_, after, _ := strings.Cut(string(contentOf(t, file)), "VmHWM:")
		if _, err := fmt.Sscan(after, &kibibytes); err != nil {
			t.Fatal(err)
		}
		return kibibytes >> 10
	}
}

// withCluster runs the tests in a clean environment, and stops the PostgreSQL cluster that they may have made.
type withCluster struct{ *testing.M }

func (m withCluster) Run() int {
	testkit.CleanEnvironment()
	if signal.Ignored(syscall.SIGHUP) { // as under nohup: what the tests start would ignore it, too
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	flag.Set("test.parallel", "12") // most of the tests wait for processes; -parallel still has its say
	defer testkit.StopShared()
	return m.M.Run()
}

var (
	need    = testkit.Need
	exitOf  = testkit.ExitOf
	waitFor = testkit.WaitFor
)

// needNoCredential keeps tests that give no database from finding, and sizing, a real one.
func needNoCredential(t testing.TB) {
	_, err := os.Stat(credentialFile)
	need(t, "a machine without "+credentialFile, err != nil)
}

// ran is how a run of the program ended; code is -n where signal n killed it.
type ran struct {
	code           int
	stdout, stderr string
}

// demo is the demo's database.
const demo = "sqlite:testdata/vespene.sql"

// program is the program with these arguments, in a directory of its own, not yet started.
func program(t testing.TB, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	cmd = exec.Command("vespene-autoscale", args...)
	home := t.TempDir()
	// As root, the state would otherwise be the machine's own.
	cmd.Env = append(os.Environ(), "HOME="+home, "STATE_DIRECTORY="+home)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// vespene runs the program to its end.
func vespene(t testing.TB, args ...string) ran {
	t.Helper()
	cmd, stdout, stderr := program(t, args...)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	return ran{exitOf(t, cmd.Wait()), stdout.String(), stderr.String()}
}

// records parses JSON output.
func (r ran) records(t testing.TB) []map[string]any {
	t.Helper()
	var all []map[string]any
	for decoder := json.NewDecoder(strings.NewReader(r.stdout)); decoder.More(); {
		var record map[string]any
		if err := decoder.Decode(&record); err != nil {
			t.Fatalf("%v in %s", err, r.stdout)
		}
		all = append(all, record)
	}
	return all
}

// sqliteDatabase makes a Vespene database of testdata/schema.sql and the statements, and returns its address.
func sqliteDatabase(t testing.TB, statements ...string) string {
	t.Helper()
	schema, err := os.ReadFile("testdata/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vespene.sql")
	if err := os.WriteFile(file, []byte(string(schema)+strings.Join(statements, ";\n")+";\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + file
}

// onePool is a database with one pool, web, of two queued builds, and that command.
func onePool(t testing.TB, command string) string {
	return sqliteDatabase(t,
		"INSERT INTO worker_pools (id, name, executor_command) VALUES (1, 'web', '"+strings.ReplaceAll(command,
			"'", "''")+"')",
		"INSERT INTO builds (id, status, worker_pool_id, project_id) VALUES (1, 'QUEUED', 1, 1), (2, 'QUEUED', 1, 2)")
}

// newState is a state file that does not exist yet, in a directory that does not either.
func newState(t testing.TB) string { return filepath.Join(t.TempDir(), "state", "state.db") }

func TestScripts(t *testing.T) {
	needNoCredential(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			for _, file := range []string{"schema.sql", "vespene.sql"} {
				content, err := os.ReadFile(filepath.Join("testdata", file))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(env.WorkDir, file), content, 0o600); err != nil {
					return err
				}
			}
			env.Setenv("TZ", "UTC")
			env.Setenv("STATE_DIRECTORY", filepath.Join(env.WorkDir, "machine")) // see program
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits, "concat": concat},
	})
}

// exits CODE PROGRAM ARG…: the program ends with exactly that code. Its output is there for stdout and stderr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = strings.TrimPrefix(exit.Error(), "exit status ")
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %s, want %s", got, want)
	}
}

// concat TARGET FILE…: writes the files into one.
func concat(ts *testscript.TestScript, _ bool, args []string) {
	var all strings.Builder
	for _, file := range args[1:] {
		all.WriteString(ts.ReadFile(file))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(all.String()), 0o600))
}
