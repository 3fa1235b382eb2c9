//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vespene-autoscale/e2e/testkit"
)

// TestRootAndAnotherUsersState: root is sent to the user whose state it is, but may look at it, which leaves no trace.
func TestRootAndAnotherUsersState(t *testing.T) {
	t.Parallel()
	need(t, "root", os.Geteuid() == 0)
	state := newState(t)
	if r := vespene(t, "--database", onePool(t, "true"), "--state", state); r.code != 0 {
		t.Fatalf("exit %d, %s", r.code, r.stderr)
	}
	if err := os.Chown(filepath.Dir(state), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for _, extra := range []string{"--force", "--dry-run"} {
		r := vespene(t, "--database", onePool(t, "true"), "--state", state, extra)
		if r.code != exitUsage || !strings.Contains(r.stderr, "belongs to the user nobody") ||
			!strings.Contains(r.stderr, "hint: sudo -u nobody vespene-autoscale") || r.stdout != "" {
			t.Errorf("%s: exit %d, %s%s", extra, r.code, r.stdout, r.stderr)
		}
	}
	r := vespene(t, "check", "--database", onePool(t, "true"), "--state", state)
	if !strings.Contains(r.stdout, "this is root's view") ||
		!strings.Contains(r.stdout, "sudo -u nobody vespene-autoscale check") {
		t.Errorf("check: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	database := onePool(t, "true")
	other := newState(t)
	vespene(t, "--database", database, "--state", other)
	if err := os.Chown(filepath.Dir(other), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	before := listing(t, filepath.Dir(other))
	for _, command := range []string{"status", "history"} {
		r := vespene(t, command, "--database", database, "--state", other)
		if r.code != 0 || !strings.Contains(r.stdout, scaled) {
			t.Errorf("%s: exit %d, %s%s", command, r.code, r.stdout, r.stderr)
		}
	}
	if after := listing(t, filepath.Dir(other)); after != before {
		t.Errorf("before looking\n%safter it\n%s", before, after)
	}
}

// listing is what there is in a folder, with owners and sizes.
func listing(t testing.TB, folder string) string {
	t.Helper()
	output, err := exec.Command("find", folder, "-printf", "%P %U %s\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

// TestDiskFull: on a full disk nothing is claimed, and so nothing run; an outcome that finds no room is told, and
// nothing pretends that it was recorded.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	need(t, "root, to mount", os.Geteuid() == 0)
	for name, test := range map[string]struct{ command, want string }{
		"before":     {"touch %[2]s/ran", ""},
		"meanwhile":  {"cat /dev/zero > %[1]s/fill; touch %[2]s/ran; true", "the command had ended: scaled"},
		"from empty": {"touch %[2]s/ran", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			directory, elsewhere := t.TempDir(), t.TempDir()
			if output, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=300k", "none",
				directory).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			defer exec.Command("umount", directory).Run()
			database, state := onePool(t, fmt.Sprintf(test.command, directory, elsewhere)), filepath.Join(directory,
				"state.db")
			if name == "before" {
				vespene(t, "--database", onePool(t, "true"), "--state", state)
			}
			if name != "meanwhile" {
				if err := exec.Command("sh", "-c", "cat /dev/zero > "+directory+"/fill").Run(); err == nil {
					t.Fatal("the disk is not full")
				}
			}
			r := vespene(t, "--database", database, "--state", state, "--force")
			if r.code != exitState || !strings.Contains(r.stderr, "state "+state) &&
				!strings.Contains(r.stderr, "state "+directory) ||
				!strings.Contains(r.stderr, test.want) || !strings.Contains(r.stderr, "room") {
				t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
			}
			if _, err := os.Stat(elsewhere + "/ran"); (err == nil) != (name == "meanwhile") {
				t.Errorf("the command ran: %v", err == nil)
			}
			if err := os.Remove(directory + "/fill"); err != nil {
				t.Fatal(err)
			}
			if r := vespene(t, "--database", onePool(t, "true"), "--state", state, "--force"); r.code != 0 {
				t.Errorf("with room again: exit %d, %s", r.code, r.stderr)
			}
		})
	}
}

// TestSharedNetworkVanishes: the network of the host that holds the lock vanishes, in a namespace of its own whose link
// is taken down; within 30 seconds another host can have the lock.
func TestSharedNetworkVanishes(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("ip")
	need(t, "root, and iproute2", os.Geteuid() == 0 && err == nil)
	ip := func(args ...string) {
		t.Helper()
		if output, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, output)
		}
	}
	const namespace, here, there = "vespene-test", "vespene-here", "vespene-there"
	exec.Command("ip", "netns", "del", namespace).Run() // of a run that was killed
	exec.Command("ip", "link", "del", here).Run()
	ip("netns", "add", namespace)
	defer exec.Command("ip", "netns", "del", namespace).Run()
	ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace)
	defer exec.Command("ip", "link", "del", here).Run()
	ip("address", "add", "198.51.100.1/30", "dev", here)
	ip("link", "set", here, "up")
	ip("-n", namespace, "address", "add", "198.51.100.2/30", "dev", there)
	ip("-n", namespace, "link", "set", there, "up")

	testkit.NeedPostgres(t)
	c, err := testkit.NewCluster("198.51.100.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	directory := t.TempDir()
	c.Exec(t, "postgres", string(contentOf(t, "testdata/schema.sql")))
	c.Exec(t, "postgres", "INSERT INTO worker_pools (id, name, executor_command) VALUES (1, 'web', 'cd "+directory+
		"; test -e begun && exit; echo > begun; sleep 40')")
	state := newState(t)
	cmd, _, stderr := program(t, "--shared", "--database",
		strings.Replace(c.Address("postgres"), "127.0.0.1", "198.51.100.1", 1), "--state", state)
	cmd.Args = append([]string{"ip", "netns", "exec", namespace, cmd.Path}, cmd.Args[1:]...)
	if cmd.Path, err = exec.LookPath("ip"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(directory + "/begun"); return err == nil })
	ip("-n", namespace, "link", "set", there, "down")
	vanished, other := time.Now(), newState(t)
	for {
		r := vespene(t, "--shared", "--database", c.Address("postgres"), "--state", other, "--force")
		if r.code == 0 && strings.Contains(r.stdout, "(scaled)") {
			break
		}
		if r.code != exitBusy || time.Since(vanished) > 30*time.Second {
			t.Fatalf("after %v: exit %d, %s%s", time.Since(vanished), r.code, r.stdout, r.stderr)
		}
		time.Sleep(time.Second)
	}
	t.Logf("the lock was free after %v", time.Since(vanished).Round(time.Second))
	if code := exitOf(t, cmd.Wait()); code != exitDatabase {
		t.Errorf("the host without network: exit %d, %s", code, stderr)
	}
	if got := evaluations(t, state); len(got) != 1 || got[0].outcome() != scaled {
		t.Errorf("recorded %v", got)
	}
}
