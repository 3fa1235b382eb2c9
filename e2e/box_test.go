//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// box is a real systemd, booted in namespaces of its own on a throw-away overlay of this machine's files. It has this
// machine's network.
type box struct {
	pid    string
	shared string // the folder that is /mnt in there
}

// newBox boots one.
func newBox(t *testing.T) *box {
	t.Helper()
	need(t, "root, to boot systemd", os.Geteuid() == 0)
	for _, program := range []string{"/lib/systemd/systemd", "/usr/bin/unshare", "/usr/bin/setpriv"} {
		_, err := os.Stat(program)
		need(t, program, err == nil)
	}
	b := &box{shared: t.TempDir()}
	if err := os.Chmod(b.shared, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("e2e/systemd-box", b.shared)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		waitFor(t, func() bool { _, err := os.Stat("/proc/" + b.pid); return b.pid == "" || err != nil })
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if b.pid = strings.TrimSpace(line); err != nil {
		cmd.Wait()
		t.Fatalf("no systemd: %v, %s", err, &stderr)
	}
	return b
}

// command is one that is to run in the box, as root.
func (b *box) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", b.pid, "-a", "-r", "env", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"DEBIAN_FRONTEND=noninteractive"}, args...)...)
}

// run runs a command in the box to its end.
func (b *box) run(t testing.TB, args ...string) ran {
	t.Helper()
	cmd := b.command(append([]string{"timeout", "120"}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return ran{exitOf(t, cmd.Run()), stdout.String(), stderr.String()}
}

// must is run of a command that succeeds. It returns the standard output.
func (b *box) must(t testing.TB, args ...string) string {
	t.Helper()
	r := b.run(t, args...)
	if r.code != 0 {
		t.Fatalf("%v: exit %d, %s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// path is where the box's file is for the test.
func (b *box) path(file string) string { return "/proc/" + b.pid + "/root" + file }

// file is the content of a file in the box; "" where there is none.
func (b *box) file(file string) string {
	content, _ := os.ReadFile(b.path(file))
	return string(content)
}

// entry is a line of the journal.
type entry struct{ priority, message string }

// journal is what `journalctl -u vespene-autoscale` shows, with further arguments.
func (b *box) journal(t testing.TB, args ...string) []entry {
	t.Helper()
	b.must(t, "journalctl", "--sync")
	output := b.must(t, append([]string{"journalctl", "-u", "vespene-autoscale", "-o", "json",
		"--output-fields=PRIORITY,MESSAGE"}, args...)...)
	var all []entry
	for decoder := json.NewDecoder(strings.NewReader(output)); ; {
		var line struct{ Priority, Message string }
		if err := decoder.Decode(&line); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%v in %s", err, output)
		}
		all = append(all, entry{line.Priority, line.Message})
	}
}

// unit is how the service's last run ended, for systemd: its exit code, state and result, such as "0 inactive success".
func (b *box) unit(t testing.TB) string {
	t.Helper()
	output := b.must(t, "systemctl", "show", "--value", "-p", "ActiveState", "-p", "Result", "-p", "ExecMainStatus",
		serviceUnit)
	values := strings.Fields(output)
	slices.Sort(values) // systemd has an order of its own
	return strings.Join(values, " ")
}

// What the package and its service have, and where.
const (
	serviceUnit    = "vespene-autoscale.service"
	timerUnit      = "vespene-autoscale.timer"
	configuration  = "/etc/vespene-autoscale"
	stateDirectory = "/var/lib/vespene-autoscale"
	stateFile      = stateDirectory + "/state.db"
)

// evaluations reads the rows of the service's state.
func (b *box) evaluations(t testing.TB) []recorded {
	t.Helper()
	copied := t.TempDir() // since SQLite takes /proc/PID/root for a link
	for _, ending := range []string{"", "-wal"} {
		if content, err := os.ReadFile(b.path(stateFile + ending)); err == nil {
			writeFile(t, filepath.Join(copied, "state.db"+ending), content)
		}
	}
	return evaluations(t, filepath.Join(copied, "state.db"))
}
