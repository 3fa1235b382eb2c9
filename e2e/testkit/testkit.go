// Package testkit has what the program's own tests and the tests of e2e share: a PostgreSQL of their own, and the rule
// that no process outlives the tests.
package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Need fails a test that lacks something it needs with CI=true, as in the gate; a developer's machine may lack it, and
// the test is skipped.
func Need(t testing.TB, what string, there bool) {
	t.Helper()
	if there {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing; see CONTRIBUTING.md", what)
}

// WaitFor waits until a condition is true.
func WaitFor(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what the test waits for does not come")
		}
	}
}

// ExitOf returns the exit code in what Wait returned, and -n for a process that signal n killed.
func ExitOf(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			t.Fatal(err)
		}
		return 0
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return -int(status.Signal())
	}
	return exit.ExitCode()
}

// CleanEnvironment removes what would tell the program under test of a database, a state or a service on this machine.
func CleanEnvironment() {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "VESPENE_") || name == "STATE_DIRECTORY" ||
			name == "CREDENTIALS_DIRECTORY" || name == "JOURNAL_STREAM" || name == "XDG_STATE_HOME" {
			os.Unsetenv(name)
		}
	}
}

const supervised = "TEST_SUPERVISED" // is set in the environment of tests that have a supervisor

// Supervise is called first in TestMain. It runs this test binary again, as the supervisor of that process, and exits
// with its exit code when every process that the tests have started is gone, however the tests have ended. It returns
// in the process that is to run the tests. Passed tests that leave a process running for five seconds have failed.
func Supervise() {
	if os.Getenv(supervised) != "" {
		return
	}
	runtime.LockOSThread() // the tests end with the thread that started them
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "supervise the tests:", err)
		os.Exit(1)
	}
	signals := make(chan os.Signal, 9)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT) // SIGQUIT: go test wants to see the stacks
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, syscall.SIGCHLD)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), supervised+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "supervise the tests:", err)
		os.Exit(1)
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	for waits := true; waits; {
		select {
		case <-ended:
			waits = false
		case <-orphans: // a test may wait until nothing is left of a process
			for _, pid := range children() {
				if pid != cmd.Process.Pid {
					syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
				}
			}
		}
	}
	code := cmd.ProcessState.ExitCode()
	for deadline := time.Now().Add(5 * time.Second); code == 0 &&
		len(children()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, "FAIL: the tests left running:", describe(running()))
			code = 1
		}
	}
	for all := running(); len(all) > 0; all = running() { // the children of those that are killed become ours
		for _, pid := range all {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
	if code < 0 {
		code = 2
	}
	os.Exit(code)
}

// children returns the children of this process, those that have ended and are not reaped among them.
func children() (pids []int) {
	threads, _ := filepath.Glob("/proc/self/task/*/children")
	for _, thread := range threads {
		content, _ := os.ReadFile(thread)
		for _, field := range strings.Fields(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// running reaps the children of this process that have ended, and returns the others.
func running() []int {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err != nil && err != syscall.EINTR || pid == 0 {
			return children()
		}
	}
}

// describe names processes by their command lines.
func describe(pids []int) string {
	var all []string
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		all = append(all, fmt.Sprintf("%d (%s)", pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))))
	}
	return strings.Join(all, ", ")
}
