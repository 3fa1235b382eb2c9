package main

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// steps_test.go holds a run up at a given step of its evaluation, so that a kill or a signal hits that step on any
// machine.

// The steps at which a run can be held up, in their order.
const (
	beforeClaim   = "before the claim"
	beforeCommand = "between the claim and the command"
	inCommand     = "while the command runs"
	beforeOutcome = "when the command has ended, before the outcome"
	afterOutcome  = "when the outcome is written, before the run ends"
)

// heldRun is a database of one pool whose command counts its starts, in begun, and runs on while the file hold exists.
type heldRun struct {
	database, state, hold string
	begun                 func() int
}

// at starts a forced run and returns when it has come to that step. There it stays until it is released, or for ten
// seconds, after which the program no longer waits. The state must exist, and no run may be going on.
func (s heldRun) at(t testing.TB, step string) (cmd *exec.Cmd, release func()) {
	t.Helper()
	rows, begun := len(evaluations(t, s.state)), s.begun()
	cmd, _, _ = program(t, "--database", s.database, "--state", s.state, "--force")
	cmd.Stdout, cmd.Stderr = nil, nil
	hasBegun := func() bool { return s.begun() > begun }
	switch step {
	case beforeClaim:
		release = holdWrites(t, s.state)
		start(t, cmd)
		waitFor(t, func() bool { return hasLock(t, s.state, cmd.Process.Pid) })
	case beforeCommand: // at its first line of log
		cmd.Stderr, release = fullPipe(t)
		start(t, cmd)
		waitFor(t, func() bool { return len(evaluations(t, s.state)) > rows })
	case inCommand:
		writeFile(t, s.hold, nil)
		release = func() { os.Remove(s.hold) }
		start(t, cmd)
		waitFor(t, hasBegun)
	case beforeOutcome:
		writeFile(t, s.hold, nil)
		start(t, cmd)
		waitFor(t, hasBegun)
		release = holdWrites(t, s.state)
		os.Remove(s.hold)
		waitFor(t, func() bool { return !hasChildren(t, cmd.Process.Pid) })
	case afterOutcome: // at its results
		cmd.Stdout, release = fullPipe(t)
		start(t, cmd)
		waitFor(t, func() bool { all := evaluations(t, s.state); return len(all) > rows && all[rows].ended })
	}
	return cmd, release
}

func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
}

// holdWrites keeps others from writing to a state file until they are released.
func holdWrites(t testing.TB, state string) (release func()) {
	t.Helper()
	db := openSQLiteFile(t, state)
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := db.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		db.Close()
	}
}

// fullPipe returns a pipe on which a writer waits until it is released.
func fullPipe(t testing.TB) (writer *os.File, release func()) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close(); writer.Close() })
	size, err := unix.FcntlInt(writer.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return writer, func() {
		writer.Close()
		go io.Copy(io.Discard, reader)
	}
}

// hasLock says whether that process has the lock of a pool of that state.
func hasLock(t testing.TB, state string, pid int) bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(state), "*.lock"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(paths, func(path string) bool {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil {
			t.Fatal(err)
		}
		return lock.Type != unix.F_UNLCK && lock.Pid == int32(pid)
	})
}

// hasChildren says whether a process has children, be they zombies.
func hasChildren(t testing.TB, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d: %d threads, %v", pid, len(threads), err)
	}
	return slices.ContainsFunc(threads, func(path string) bool {
		children, _ := os.ReadFile(path) // of a thread that has just ended there are none
		return len(children) > 0
	})
}

// randomMoment is from 4 ms to 1 s, as often between 4 and 8 ms as between 500 ms and 1 s.
func randomMoment(random *rand.Rand) time.Duration {
	return time.Duration(4 * math.Pow(2, 8*random.Float64()) * float64(time.Millisecond))
}
