package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// command is what is measured: programs with their arguments, one after the other.
type command [][]string

// then is the command with a program behind it.
func (c command) then(argv ...string) command { return append(slices.Clone(c), argv) }

// run runs the command. Its standard output goes to printed, if there is one; the rest is thrown away.
func (c command) run(printed io.Writer) error {
	for _, argv := range c {
		process := exec.Command(argv[0], argv[1:]...)
		process.Env, process.Stdout = environment(), printed
		if err := process.Run(); err != nil {
			return fmt.Errorf("%v: %w", argv, err)
		}
	}
	return nil
}

// environment is this process's less what would tell psql or us where a database is.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "PG") || strings.HasPrefix(variable, "VESPENE_") ||
			strings.HasPrefix(variable, "JOURNAL_STREAM=")
	})
}

// warmups are runs of each command before those that count.
const warmups = 2

// inTurn runs two commands in turn, and returns the medians of what they took and of the first's share of the second's.
func inTurn(runs int, first, second command) (one, two time.Duration, ratio float64, err error) {
	var ones, twos []time.Duration
	var ratios []float64
	for i := -warmups; i < runs; i++ {
		var took [2]time.Duration
		for j, c := range []command{first, second} {
			begun := time.Now()
			if err := c.run(nil); err != nil {
				return 0, 0, 0, err
			}
			took[j] = time.Since(begun)
		}
		if i >= 0 {
			ones, twos, ratios = append(ones, took[0]), append(twos, took[1]),
				append(ratios, took[0].Seconds()/took[1].Seconds())
		}
	}
	slices.Sort(ones)
	slices.Sort(twos)
	slices.Sort(ratios)
	return ones[runs/2], twos[runs/2], ratios[runs/2], nil
}

// peak runs a command, and returns how much memory its last program had at most, in KiB. It is looked up when the
// program ends, by ptrace: what wait4 says of a child of Go's is at least what this process has, in whose memory it
// began (vfork).
func peak(c command) (kib int, err error) {
	runtime.LockOSThread() // only the thread that began it may trace it
	defer runtime.UnlockOSThread()
	argv := c[len(c)-1]
	process := exec.Command(argv[0], argv[1:]...)
	process.Env, process.SysProcAttr = environment(), &syscall.SysProcAttr{Ptrace: true}
	if err := process.Start(); err != nil {
		return 0, err
	}
	pid := process.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil { // at its first instruction
		return 0, err
	}
	const traceExit, atExit = 0x40, 6 // PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT
	if err := syscall.PtraceSetOptions(pid, traceExit); err != nil {
		return 0, err
	}
	for signal := 0; ; {
		if err := syscall.PtraceCont(pid, signal); err != nil {
			return 0, err
		}
		if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil {
			return 0, err
		}
		switch signal = 0; {
		case status.Exited() && status.ExitStatus() == 0 && kib > 0:
			return kib, nil
		case status.Exited() || status.Signaled():
			return 0, fmt.Errorf("%v: exit status %d, %d KiB", argv, status.ExitStatus(), kib)
		case status.TrapCause() == atExit:
			said, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				return 0, err
			}
			_, rest, _ := strings.Cut(string(said), "VmHWM:")
			fmt.Sscan(rest, &kib)
		default:
			signal = int(status.StopSignal())
		}
	}
}
