package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
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
	needNoCredential(t) // the box would have it, too
	b := &box{shared: t.TempDir()}
	chmod(t, b.shared, 0o755)
	cmd := exec.Command("testdata/systemd-box", b.shared)
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
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}, args...)...)
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
	output := b.must(t, append([]string{"journalctl", "-u", "vespene-autoscale", "-o", "json", "--output-fields=PRIORITY,MESSAGE"}, args...)...)
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
	output := b.must(t, "systemctl", "show", "--value", "-p", "ActiveState", "-p", "Result", "-p", "ExecMainStatus", serviceUnit)
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
	return evaluations(t, copyOfState(t, b.path(stateFile))) // SQLite takes /proc/PID/root for a link
}

// service is a box with the package installed, and a PostgreSQL database of one pool, web, with two queued builds, which
// the service reads as a role with a password.
type service struct {
	*box
	t        *testing.T
	c        *cluster
	database string
}

func newService(t *testing.T, command string) *service {
	t.Helper()
	return newServiceIn(t, newBox(t), command)
}

func newServiceIn(t *testing.T, b *box, command string) *service {
	t.Helper()
	c, name, _ := sharedPool(t, command)
	c.exec(t, name, `INSERT INTO builds (id, status, worker_pool_id, project_id) VALUES (1, 'QUEUED', 1, 1), (2, 'QUEUED', 1, 2);
		GRANT SELECT ON worker_pools, builds, projects TO secretive`)
	s := &service{b, t, c, name}
	s.install(t, packages(t).deb)
	s.credential(c.addressFor("secretive:sEcret-Word", name))
	return s
}

// install installs a package with dpkg, with answers to its questions if need be.
func (b *box) install(t testing.TB, deb string, options ...string) {
	t.Helper()
	writeFile(t, filepath.Join(b.shared, "package.deb"), contentOf(t, deb))
	b.must(t, append(append([]string{"dpkg"}, options...), "-i", "/mnt/package.deb")...)
}

// credential writes the database's address where the administrator does.
func (s *service) credential(address string) {
	s.t.Helper()
	writeFile(s.t, s.path(credentialFile), []byte(address))
}

// set sets a column of the pool, as Vespene does.
func (s *service) set(column, value string) {
	s.t.Helper()
	s.c.exec(s.t, s.database, fmt.Sprintf("UPDATE worker_pools SET %s = '%s' WHERE name = 'web'", column, strings.ReplaceAll(value, "'", "''")))
}

// as is a command line for the box, of the service's user.
func as(args ...string) []string {
	return append([]string{"setpriv", "--reuid=vespene-autoscale", "--regid=vespene-autoscale", "--init-groups", "--inh-caps=-all",
		"env", "--chdir=" + stateDirectory, "HOME=" + stateDirectory}, args...)
}

// wants fails the test unless the unit's last run ended so.
func (s *service) wants(unit string) {
	s.t.Helper()
	if got := s.unit(s.t); got != unit {
		s.t.Errorf("the unit is %q, want %q; %v", got, unit, s.journal(s.t))
	}
}

// TestSystemd: the package, as shipped, with a real systemd and a real PostgreSQL.
func TestSystemd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"timer":      testTimer,
		"failures":   testFailures,
		"stop":       testStop,
		"busy":       testBusy,
		"credential": testCredential,
		"git pull":   testGitPull,
		"check":      testCheck,
		"monitoring": testMonitoring,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// testTimer: the enabled timer ticks at the full minute and the pool is scaled, with the password from the credential.
func testTimer(t *testing.T) {
	s := newService(t, `env >environment; cat /proc/$PPID/environ >parents; echo "scaled to $VESPENE_SIZE"`)
	s.must(t, "systemctl", "enable", "--now", timerUnit)
	for deadline := time.Now().Add(70 * time.Second); s.file(stateDirectory+"/parents") == ""; time.Sleep(time.Second / 2) {
		if time.Now().After(deadline) {
			t.Fatalf("no tick within 70 s: %v", s.journal(t))
		}
	}
	waitFor(t, func() bool { return s.unit(t) == "0 inactive success" })

	all := s.evaluations(t)
	if len(all) != 1 || all[0].outcome != scaled || all[0].size != 2 {
		t.Fatalf("recorded %+v", all)
	}
	if after := all[0].started % 60_000; after > 5_000 {
		t.Errorf("%d ms after the full minute", after)
	}
	log := s.journal(t)
	if !slices.Contains(log, entry{"6", "web: scaled to 2"}) {
		t.Errorf("the log is %v", log)
	}
	if failures := s.journal(t, "-p", "warning"); len(failures) > 0 {
		t.Errorf("warnings and failures: %v", failures)
	}
	if at := s.must(t, "stat", "-c", "%A %U %G %n", stateDirectory, stateFile); at != "drwx------ vespene-autoscale vespene-autoscale /var/lib/vespene-autoscale\n"+
		"-rw------- vespene-autoscale vespene-autoscale "+stateFile+"\n" {
		t.Errorf("the state is\n%s", at)
	}
	// The password is where the database's address was read from, and nowhere else.
	if environment := s.file(stateDirectory + "/environment"); !strings.Contains(environment, "VESPENE_POOL=web\n") ||
		strings.Contains(environment, "sEcret") {
		t.Errorf("the command's environment is\n%s", environment)
	}
	if environment := s.file(stateDirectory + "/parents"); !strings.Contains(environment, "CREDENTIALS_DIRECTORY=") ||
		strings.Contains(environment, "sEcret") {
		t.Errorf("the run's environment is\n%q", environment)
	}
	if found := s.run(t, "grep", "-rl", "sEcret", stateDirectory, "/etc/systemd").stdout; found != "" {
		t.Errorf("the password is in %s", found)
	}
	if strings.Contains(s.must(t, "journalctl", "-a", "-o", "export"), "sEcret") {
		t.Error("the password is in the journal")
	}

	// The next minute there is nothing to do, and nothing to say.
	s.must(t, "systemctl", "start", serviceUnit)
	if again := s.journal(t); len(again) <= len(log) || slices.ContainsFunc(again[len(log):], func(e entry) bool { return strings.Contains(e.message, "web") }) {
		t.Errorf("what is not due logs %v", again[len(log):])
	}
}

// testFailures: exit 1 fails the unit, and `journalctl -p err` shows what failed and nothing else.
func testFailures(t *testing.T) {
	s := newService(t, "echo before; echo on standard error >&2; exit 3")
	s.c.exec(t, s.database, `INSERT INTO worker_pools (id, name, executor_command) VALUES (2, 'fine', 'echo fine');
		INSERT INTO builds (id, status, worker_pool_id, project_id, queued_time) VALUES (3, 'QUEUED', 2, NULL, now())`)
	if r := s.run(t, "systemctl", "start", serviceUnit); r.code == 0 {
		t.Error("systemctl start succeeds")
	}
	s.wants("1 exit-code failed")
	failures := s.journal(t, "-p", "err")
	if len(failures) != 2 || !strings.HasPrefix(failures[0].message, "level=ERROR ") || !strings.Contains(failures[0].message, "pool=web") ||
		!strings.HasPrefix(failures[1].message, "Failed to start vespene-autoscale.service") {
		t.Errorf("journalctl -p err shows %q", failures)
	}
	priorities := map[string]string{"web: before": "6", "web: on standard error": "6", "fine: fine": "6"}
	warned := false
	for _, line := range s.journal(t) {
		if want := priorities[line.message]; want == line.priority {
			delete(priorities, line.message)
		}
		warned = warned || line.priority == "4" && strings.Contains(line.message, "QUEUED without a project")
	}
	if len(priorities) > 0 || !warned {
		t.Errorf("without %v in %v", priorities, s.journal(t))
	}
}

// testStop: systemctl stop ends a hanging command with one SIGINT, on which it saves, leaves nothing in the control group,
// and does not fail the unit.
func testStop(t *testing.T) {
	s := newService(t, `cd /var/lib/vespene-autoscale && sh hang`)
	writeFile(t, s.path(stateDirectory+"/hang"), []byte(`
		trap 'echo INT >>signals; saving=yes' INT
		trap 'echo TERM >>signals' TERM
		setsid sleep 1000 >/dev/null 2>&1 & # which the command's end leaves alone, but not the unit's
		echo >hangs
		while [ ! "$saving" ]; do sleep 0.1; done
		sleep 0.5
		echo saved >terraform.tfstate`))
	s.must(t, "chown", "vespene-autoscale:", stateDirectory+"/hang")
	s.must(t, "systemctl", "start", "--no-block", serviceUnit)
	waitFor(t, func() bool { return s.file(stateDirectory+"/hangs") != "" })
	const group = "/sys/fs/cgroup/system.slice/vespene-autoscale.service"
	if n := len(strings.Fields(s.must(t, "cat", group+"/cgroup.procs"))); n < 3 {
		t.Errorf("%d processes in the control group, want the run, the command, and the one that it left", n)
	}
	s.must(t, "systemctl", "stop", serviceUnit)
	s.wants("143 inactive success")
	if signals := s.file(stateDirectory + "/signals"); signals != "INT\n" {
		t.Errorf("the command got %q, want one SIGINT", signals)
	}
	if saved := s.file(stateDirectory + "/terraform.tfstate"); saved != "saved\n" {
		t.Error("the command could not save")
	}
	if left := s.run(t, "cat", group+"/cgroup.procs"); left.code == 0 && left.stdout != "" {
		t.Errorf("left in the control group: %s", left.stdout)
	}
	if left := s.run(t, "pgrep", "-u", "vespene-autoscale", "-a"); left.code != 1 {
		t.Errorf("left of the user: %s", left.stdout)
	}
	if all := s.evaluations(t); len(all) != 1 || all[0].outcome != interrupted {
		t.Errorf("recorded %+v", all)
	}
	if failures := s.journal(t, "-p", "err"); len(failures) > 0 {
		t.Errorf("failures: %v", failures)
	}
}

// testBusy: a pool whose lock a run by hand holds blocks the service, exit 75, which is no failure of the unit; when the
// command has outlived its run and its limit by a minute, exit 74, which is.
func testBusy(t *testing.T) {
	s := newService(t, "echo $PPID >run.pid; exec sleep 1000")
	s.set("reevaluate_minutes", "0")
	byHand := s.command(as("vespene-autoscale")...)
	if err := byHand.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	waitFor(t, func() bool { return strings.HasSuffix(s.file(stateDirectory+"/run.pid"), "\n") })
	s.must(t, "systemctl", "start", serviceUnit)
	s.wants("75 inactive success")

	s.must(t, "kill", "-9", strings.TrimSpace(s.file(stateDirectory+"/run.pid")))
	byHand.Wait()
	s.must(t, "systemctl", "start", serviceUnit)
	s.wants("75 inactive success")
	if failures := s.journal(t, "-p", "err"); len(failures) > 0 {
		t.Errorf("failures while it may go on: %v", failures)
	}

	s.must(t, as("sqlite3", stateFile, "UPDATE evaluations SET started = started - 1861000, deadline = deadline - 1861000")...) // 31 minutes
	if r := s.run(t, "systemctl", "start", serviceUnit); r.code == 0 {
		t.Error("systemctl start succeeds")
	}
	s.wants("74 exit-code failed")
	if failures := s.journal(t, "-p", "err"); len(failures) != 2 || !strings.Contains(failures[0].message, "though its command was to end by") {
		t.Errorf("journalctl -p err shows %v", failures)
	}

	// When it is over, the next run notes what it was, and goes on.
	s.must(t, "pkill", "-u", "vespene-autoscale", "sleep")
	s.set("executor_command", "true")
	s.must(t, "systemctl", "start", serviceUnit)
	s.wants("0 inactive success")
}

// testCredential: without the credential's file the unit fails, and says so; an empty one leaves it to the environment file.
func testCredential(t *testing.T) {
	s := newService(t, "env >environment")
	s.must(t, "mv", credentialFile, "/root/database")
	s.run(t, "systemctl", "start", serviceUnit)
	s.wants("243 exit-code failed")
	s.must(t, "mv", "/root/database", credentialFile)

	s.credential("")
	s.run(t, "systemctl", "start", serviceUnit)
	s.wants(fmt.Sprint(exitUsage, " exit-code failed"))
	if failures := s.journal(t, "-p", "err"); !slices.ContainsFunc(failures, func(e entry) bool { return strings.Contains(e.message, "no database is given") }) {
		t.Errorf("journalctl -p err shows %v", failures)
	}

	writeFile(t, s.path(configuration+"/environment"), fmt.Appendf(nil, "PGHOST=127.0.0.1\nPGPORT=%d\nPGUSER=secretive\n"+
		"PGPASSWORD=sEcret-Word\nPGDATABASE=%s\nAWS_PROFILE=ci\n", s.c.port, s.database))
	s.must(t, "systemctl", "start", serviceUnit)
	s.wants("0 inactive success")
	if environment := s.file(stateDirectory + "/environment"); !strings.Contains(environment, "AWS_PROFILE=ci\n") ||
		strings.Contains(environment, "sEcret") {
		t.Errorf("the command's environment is\n%s", environment)
	}
}

// testGitPull: as the unit is shipped, a command may pull a checkout below the state directory by ssh and write its state
// there; elsewhere it needs the drop-in that the unit's comment gives.
func testGitPull(t *testing.T) {
	for _, program := range []string{"/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/git"} {
		_, err := os.Stat(program)
		need(t, program, err == nil)
	}
	s := newService(t, "git -C plans pull -q --ff-only && cd plans/ci-linux && ./provision")
	s.set("reevaluate_minutes", "0")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	listener.Close()
	writeFile(t, filepath.Join(s.shared, "prepare"), []byte(`set -eu
		useradd --create-home --shell /bin/sh --password '*' plans
		ssh-keygen -q -t ed25519 -N '' -f /root/host
		home=/var/lib/vespene-autoscale
		install -d -m 0700 -o vespene-autoscale -g vespene-autoscale $home/.ssh
		ssh-keygen -q -t ed25519 -N '' -f $home/.ssh/id_ed25519
		echo "[127.0.0.1]:`+port+` $(cat /root/host.pub)" >$home/.ssh/known_hosts
		chown -R vespene-autoscale: $home/.ssh
		install -d -m 0700 -o plans -g plans /home/plans/.ssh
		install -m 0600 -o plans -g plans $home/.ssh/id_ed25519.pub /home/plans/.ssh/authorized_keys
		mkdir -p /run/sshd
		systemd-run -q --unit=test-sshd /usr/sbin/sshd -D -e -f /dev/null -p `+port+` -h /root/host -o ListenAddress=127.0.0.1 -o PidFile=none
		cd /home/plans
		cat >author <<'END'
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c
[ -d plans.git ] || { git init -q --bare -b main plans.git && git clone -q plans.git work && git -C work checkout -q -b main; }
mkdir -p work/ci-linux && cd work
printf '#!/bin/sh\necho "{\\"size\\": $VESPENE_SIZE, \\"plan\\": \\"%s\\"}" >terraform.tfstate.new && mv terraform.tfstate.new terraform.tfstate\n' "$1" >ci-linux/provision
chmod +x ci-linux/provision && git add . && git commit -qm "$1" && git push -q origin main
END
		runuser -u plans -- sh author first
		install -d -o vespene-autoscale -g vespene-autoscale /opt/plans`))
	s.must(t, "sh", "/mnt/prepare")
	waitFor(t, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	for _, checkout := range []string{stateDirectory + "/plans", "/opt/plans"} {
		s.must(t, as("git", "clone", "-q", "ssh://plans@127.0.0.1:"+port+"/home/plans/plans.git", checkout)...)
	}
	s.must(t, "runuser", "-u", "plans", "--", "sh", "-c", "cd && sh author second")

	s.must(t, "systemctl", "start", serviceUnit)
	s.wants("0 inactive success")
	if got := s.file(stateDirectory + "/plans/ci-linux/terraform.tfstate"); got != `{"size": 2, "plan": "second"}`+"\n" {
		t.Errorf("the provisioning's state is %q, %v", got, s.journal(t))
	}

	s.set("executor_command", "git -C /opt/plans pull -q --ff-only && cd /opt/plans/ci-linux && ./provision")
	s.run(t, "systemctl", "start", serviceUnit)
	s.wants("1 exit-code failed")
	if !slices.ContainsFunc(s.journal(t), func(e entry) bool { return strings.Contains(e.message, "Read-only file system") }) {
		t.Errorf("without the drop-in: %v", s.journal(t))
	}
	line := regexp.MustCompile(`ReadWritePaths=\S+`).FindString(string(contentOf(t, "vespene-autoscale.service")))
	s.dropIn(serviceUnit, "[Service]\n"+line+"\n")
	s.must(t, "systemctl", "start", serviceUnit)
	s.wants("0 inactive success")
	if got := s.file("/opt/plans/ci-linux/terraform.tfstate"); got != `{"size": 2, "plan": "second"}`+"\n" {
		t.Errorf("the provisioning's state in /opt/plans is %q, %v", got, s.journal(t))
	}
}

// dropIn adds lines to a unit, as systemctl edit does.
func (s *service) dropIn(unit, lines string) {
	s.t.Helper()
	s.must(s.t, "mkdir", "-p", "/etc/systemd/system/"+unit+".d")
	writeFile(s.t, s.path("/etc/systemd/system/"+unit+".d/override.conf"), []byte(lines))
	s.must(s.t, "systemctl", "daemon-reload")
}

// testCheck: what check finds in the service's surroundings: the timer, the credential file, and the state.
func testCheck(t *testing.T) {
	s := newService(t, "true")
	check := func(code int, lines ...string) {
		t.Helper()
		r := s.run(t, as("vespene-autoscale", "check")...)
		for _, line := range lines {
			if !strings.Contains(r.stdout, line) {
				t.Errorf("no %q in\n%s", line, r.stdout)
			}
		}
		if r.code != code {
			t.Errorf("exit %d, want %d", r.code, code)
		}
	}
	check(0, "warning  timer       vespene-autoscale.timer is installed but not started, so that nothing runs by itself; sudo systemctl enable --now vespene-autoscale.timer\n")
	s.must(t, "systemctl", "start", timerUnit)
	check(0, "warning  timer       vespene-autoscale.timer is disabled, and will not start with the machine; sudo systemctl enable vespene-autoscale.timer\n")
	s.must(t, "systemctl", "enable", timerUnit)
	check(0, "ok       timer       vespene-autoscale.timer ticks every 1m, as often as every pool needs\n", "ok       credential  "+credentialFile+" has the mode 0640\n",
		"ok       state       "+stateFile, "ok       privileges")
	for timer, want := range map[string]string{
		"OnCalendar=*:0/15":                     "web: vespene-autoscale.timer ticks every 15m, so that the pool is evaluated every 15m and not, as reevaluate_minutes has it, every 5m; let it tick each minute (OnCalendar=minutely; sudo systemctl edit vespene-autoscale.timer)",
		"OnCalendar=*:0/3":                      "web: vespene-autoscale.timer ticks every 3m, so that the pool is evaluated every 6m and not",
		"OnCalendar=hourly\nOnCalendar=*:5/10":  "ticks every 10m, so that the pool is evaluated every 10m",
		"OnBootSec=1min\nOnUnitActiveSec=20min": "ticks every 20m, so that",
		"OnCalendar=*:0/5":                      "ticks every 5m, as often as every pool needs",
	} {
		s.dropIn(timerUnit, "[Timer]\nOnCalendar=\n"+timer+"\n")
		check(0, want)
	}
	s.must(t, "chmod", "0644", credentialFile)
	s.must(t, "chmod", "0755", stateDirectory)
	check(0, "warning  credential  "+credentialFile+" has the mode 0644, which lets others", "sudo chmod 0640 "+credentialFile, "warning  state       "+stateDirectory+" has the mode 0755")
	s.must(t, "chmod", "0600", credentialFile)
	check(exitInvalid, "error    database    read the database address: open "+credentialFile+": permission denied; make the file readable")
	s.must(t, "rm", credentialFile)
	check(exitInvalid, "error    credential  the service cannot start without "+credentialFile, "error    database    no database is given")
	if r := s.run(t, "vespene-autoscale", "check"); r.code != exitInvalid || !strings.Contains(r.stdout, "warning  user        this is root's view, and "+stateDirectory+" belongs to vespene-autoscale") {
		t.Errorf("root's: exit %d, %s", r.code, r.stdout)
	}
}

// testMonitoring: the drop-ins of docs/monitoring.md work under the unit as shipped: metrics for node_exporter, and a ping.
func testMonitoring(t *testing.T) {
	_, err := os.Stat("/usr/bin/curl")
	need(t, "curl", err == nil)
	s := newService(t, "true")
	s.set("reevaluate_minutes", "0")
	manual := string(contentOf(t, "docs/monitoring.md"))
	drops := regexp.MustCompile("(?s)```ini\n(.*?)```").FindAllStringSubmatch(manual, -1)
	if len(drops) != 2 {
		t.Fatalf("%d drop-ins, want 2", len(drops))
	}
	var pings []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { pings = append(pings, r.URL.Path) }))
	defer server.Close()
	s.dropIn(serviceUnit, drops[0][1]+strings.Replace(drops[1][1], "https://hc-ping.com", server.URL, 1))
	s.must(t, "install", "-d", "/var/lib/prometheus/node-exporter")
	for _, command := range regexp.MustCompile(`(?m)^    sudo (.*node-exporter)$`).FindAllStringSubmatch(manual, -1) {
		s.must(t, strings.Fields(command[1])...)
	}
	const file = "/var/lib/prometheus/node-exporter/vespene-autoscale.prom"
	s.must(t, "systemctl", "start", serviceUnit)
	if got := samples(t, s.path(file)); got[`vespene_autoscale_pool_desired_size{pool="web"}`] != "2" || got["vespene_autoscale_run_exit_code"] != "0" {
		t.Errorf("the metrics are %v, %v", got, s.journal(t))
	}
	if mode := s.must(t, "stat", "-c", "%A", file); mode != "-rw-r--r--\n" {
		t.Errorf("their mode is %s", mode)
	}
	s.set("executor_command", "exit 3")
	s.run(t, "systemctl", "start", serviceUnit)
	if got := samples(t, s.path(file)); got[`vespene_autoscale_pool_last_exit_code{pool="web"}`] != "3" || got["vespene_autoscale_run_exit_code"] != "1" {
		t.Errorf("the metrics are %v", got)
	}
	if want := []string{"/YOUR-CHECK", "/YOUR-CHECK/fail"}; !slices.Equal(pings, want) {
		t.Errorf("pings %v, want %v; %v", pings, want, s.journal(t))
	}
}

// TestCron: Debian's cron, with the README's line, scales; it mails the log of what was evaluated or failed, and nothing in
// a minute in which nothing was.
func TestCron(t *testing.T) {
	t.Parallel()
	_, err := os.Stat("/usr/sbin/cron")
	need(t, "cron", err == nil)
	line := regexp.MustCompile(`(?m)^    (\* \* \* \* \* vespene-autoscale .*)$`).FindStringSubmatch(string(contentOf(t, "README.md")))
	if line == nil {
		t.Fatal("the README has no line for cron")
	}
	s := newService(t, `echo "scaled to $VESPENE_SIZE"`)
	s.c.exec(t, s.database, "INSERT INTO worker_pools (id, name, executor_command) VALUES (2, 'fails', 'exit 3')")
	writeFile(t, filepath.Join(s.shared, "prepare"), []byte(`set -eu
		rm -f /etc/cron.d/* /usr/sbin/sendmail && : >/etc/crontab
		printf '#!/bin/sh\n{ cat; echo "-- end"; } >>/tmp/mail\n' >/usr/sbin/sendmail
		chmod 0755 /usr/sbin/sendmail
		echo "$1" >/etc/cron.d/vespene-autoscale
		systemctl start cron.service`))
	s.must(t, "sh", "/mnt/prepare", line[1])
	minutes := func() int {
		return strings.Count(s.must(t, "journalctl", "-t", "CRON"), "CMD (vespene-autoscale")
	}
	for deadline := time.Now().Add(140 * time.Second); minutes() < 2; time.Sleep(time.Second / 2) {
		if time.Now().After(deadline) {
			t.Fatalf("no two minutes of cron: %s", s.must(t, "journalctl", "-n", "50"))
		}
	}
	waitFor(t, func() bool { return s.run(t, "pgrep", "-u", "vespene-autoscale").code == 1 })
	time.Sleep(time.Second) // for a mail that is not to be

	all := s.evaluations(t)
	if len(all) != 2 || all[0].outcome != failed || all[1].outcome != scaled || all[1].size != 2 {
		t.Errorf("recorded %+v", all)
	}
	mail := s.file("/tmp/mail")
	if strings.Count(mail, "-- end\n") != 1 || !strings.Contains(mail, "\nTo: vespene-autoscale\n") ||
		!strings.Contains(mail, "\nweb: scaled to 2\n") || !regexp.MustCompile(`level=ERROR .*pool=fails`).MatchString(mail) {
		t.Errorf("cron mails %q, want the first minute's log", mail)
	}
}
