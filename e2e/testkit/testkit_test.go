package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Supervise()
	os.Exit(m.Run())
}

// TestSupervise: a process in a session of its own ends with the tests: when they run out of time, are killed, are
// asked for their stacks, or pass, which then counts as failed.
func TestSupervise(t *testing.T) {
	for name, test := range map[string]struct {
		option string
		signal syscall.Signal
		code   int
	}{
		"pass":    {"-test.v", 0, 1},
		"time":    {"-test.timeout=1s", 0, 2},
		"SIGQUIT": {"-test.timeout=1h", syscall.SIGQUIT, 2},
		"killed":  {"-test.timeout=1h", syscall.SIGKILL, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestLeavesAProcess$", test.option)
			cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool {
				return strings.HasPrefix(s,
					supervised+"=")
			})
			cmd.Env = append(cmd.Env, "TEST_LEAVE="+file, "TEST_STAYS="+test.option)
			var output strings.Builder
			cmd.Stdout, cmd.Stderr = &output, &output
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			var left, tests int
			WaitFor(t, func() bool {
				content, _ := os.ReadFile(file)
				fields := strings.Fields(string(content))
				if len(fields) == 2 {
					left, _ = strconv.Atoi(fields[0])
					tests, _ = strconv.Atoi(fields[1])
				}
				return len(fields) == 2
			})
			switch test.signal {
			case syscall.SIGQUIT:
				cmd.Process.Signal(test.signal)
			case syscall.SIGKILL: // as by the kernel, when memory is short
				syscall.Kill(tests, test.signal)
			}
			code := ExitOf(t, cmd.Wait())
			if code != test.code || strings.Contains(output.String(), "left running") != (name == "pass") {
				t.Errorf("exit %d, %s", code, &output)
			}
			if err := syscall.Kill(left, 0); err != syscall.ESRCH {
				t.Errorf("process %d is there: %v", left, err)
			}
		})
	}
}

// TestLeavesAProcess is for TestSupervise.
func TestLeavesAProcess(t *testing.T) {
	file := os.Getenv("TEST_LEAVE")
	if file == "" {
		return
	}
	script := "setsid sleep 600 & echo $! " + strconv.Itoa(os.Getpid()) + " > " + file
	if err := exec.Command("sh", "-c", script).Run(); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("TEST_STAYS") != "-test.v" {
		time.Sleep(time.Hour)
	}
}

// TestOrphanIsReaped: of a process whose parent has ended nothing is left when it ends itself, no zombie either.
func TestOrphanIsReaped(t *testing.T) {
	output, err := exec.Command("sh", "-c", "sleep 0.1 >/dev/null & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(output)))
	if err != nil {
		t.Fatal(err)
	}
	WaitFor(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
}
