//go:build e2e

// Package e2e tests the program as it is built, installed and run: by systemd and cron, as root, and killed hundreds of
// times. `go test -tags e2e ./e2e` needs what .ci/run installs, and root.
package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vespene-autoscale/e2e/testkit"
)

const (
	exitUsage    = 64
	exitDatabase = 69
	exitState    = 74
	exitBusy     = 75
	exitInvalid  = 78

	scaled      = "scaled"
	failed      = "failed"
	interrupted = "interrupted"

	credentialFile = "/etc/vespene-autoscale/database"
)

var (
	need    = testkit.Need
	exitOf  = testkit.ExitOf
	waitFor = testkit.WaitFor
)

func TestMain(m *testing.M) {
	testkit.Supervise()
	os.Exit(runTests(m))
}

// runTests runs the tests in the folder of the sources, with the program on the PATH, and returns their exit code.
func runTests(m *testing.M) int {
	testkit.CleanEnvironment()
	folder, err := os.MkdirTemp("", "vespene-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	defer testkit.StopShared()
	defer removePackages()
	build := exec.Command("go", "build", "-o", folder, ".")
	build.Dir = ".."
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s", err, output)
		return 1
	}
	os.Chmod(folder, 0o755)
	os.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	os.Chdir("..")
	// the tests wait for systemd and its timers most of the time; -parallel still has its say
	flag.Set("test.parallel", "12")
	return m.Run()
}

// ran is how a run of a program ended; code is -n where signal n killed it.
type ran struct {
	code           int
	stdout, stderr string
}

// program is the program with these arguments, in a home of its own, not yet started.
func program(t testing.TB, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	cmd = exec.Command("vespene-autoscale", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// vespene runs the program to its end.
func vespene(t testing.TB, args ...string) ran {
	t.Helper()
	cmd, stdout, stderr := program(t, args...)
	code := exitOf(t, cmd.Run())
	return ran{code, stdout.String(), stderr.String()}
}

// recorded is an evaluation, as history shows it.
type recorded struct {
	Started time.Time
	Ended   *time.Time
	Outcome *string
	Size    int64
	Output  string
}

func (r recorded) String() string {
	return fmt.Sprintf("%s, ended %v, %q", r.outcome(), r.Ended, r.Output)
}

// outcome is "" for an evaluation that goes on, or whose run was killed.
func (r recorded) outcome() string {
	if r.Outcome == nil || r.Ended == nil {
		return ""
	}
	return *r.Outcome
}

// recordedIn parses the JSON of history, in the order in which the evaluations began.
func recordedIn(t testing.TB, history string) (all []recorded) {
	t.Helper()
	for decoder := json.NewDecoder(strings.NewReader(history)); decoder.More(); {
		var e recorded
		if err := decoder.Decode(&e); err != nil {
			t.Fatalf("%v in %s", err, history)
		}
		all = append(all, e)
	}
	return all
}

// evaluations are what a state file has.
func evaluations(t testing.TB, state string) []recorded {
	t.Helper()
	r := vespene(t, "history", "--state", state, "--output", "json")
	if r.code != 0 {
		t.Fatalf("history: exit %d, %s", r.code, r.stderr)
	}
	return recordedIn(t, r.stdout)
}

// onePool is a database with one pool, web, with that command.
func onePool(t testing.TB, command string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "vespene.sql")
	writeFile(t, file, fmt.Appendf(contentOf(t, "testdata/schema.sql"),
		"INSERT INTO worker_pools (id, name, executor_command) VALUES (1, 'web', '%s');", strings.ReplaceAll(command,
			"'", "''")))
	return "sqlite:" + file
}

// newState is a state file that does not exist yet, in a directory that does not either.
func newState(t testing.TB) string { return filepath.Join(t.TempDir(), "state", "state.db") }

func contentOf(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
