package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSameRecords: the demo database loaded into PostgreSQL gives the same JSON, field by field, times aside.
func TestSameRecords(t *testing.T) {
	t.Parallel()
	_, _, address := postgresDatabase(t, fileContent(t, "vespene.sql"))
	var all [2][]map[string]any
	for i, database := range []string{"sqlite:testdata/vespene.sql", address} {
		state := newState(t)
		// the third time, nothing is due
		for _, extra := range []string{"--force", "--force", "--verbose", "--dry-run"} {
			r := vespene(t, "--database", database, "--state", state, "--output", "json", extra,
				"-q", "windows", "-q", "legacy", "-q", "arm", "-q", "nope", "-q", "linux")
			if r.code != exitInvalid { // for nope
				t.Fatalf("exit %d, %s", r.code, r.stderr)
			}
			all[i] = append(all[i], r.records(t)...)
		}
		for _, record := range all[i] {
			if len(record) != 25 {
				t.Errorf("%d fields in %v", len(record), record)
			}
			if record["outcome"] == notDue {
				delete(record, "reason") // has times
			}
			for _, field := range []string{"next_due", "duration_ms"} {
				if record[field] != nil {
					record[field] = "some"
				}
			}
		}
	}
	if len(all[0]) != 20 || !reflect.DeepEqual(all[0], all[1]) {
		t.Errorf("SQLite %v\nPostgreSQL %v", all[0], all[1])
	}
	first := all[0][0]
	for field, want := range map[string]any{"pool": "windows", "outcome": scaled, "size": 3.0, "queued_size": 2.0,
		"queued": 2.0, "running": 2.0, "previous_size": nil, "raw": 2.5, "minimum": 0.0, "maximum": 8.0, "capped": "",
		"due": true, "forced": true,
		"dry_run": false, "planner": "stock", "executor": "shell",
		"command":   `echo terraform apply -var "size=$VESPENE_SIZE"`,
		"exit_code": 0.0, "error": nil, "next_due": "some", "duration_ms": "some"} {
		if got, there := first[field]; !there || got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
	if again := all[0][5]; again["previous_size"] != 3.0 || again["due"] != false {
		t.Errorf("forced again: %v", again)
	}
}

// TestRefusedPools: of pools with settings or commands that are no good nothing is run and nothing recorded, each has
// an error of its own, and the others are served. The guard against unquoted names is in the table; without it, this
// fails.
func TestRefusedPools(t *testing.T) {
	t.Parallel()
	directory, state := t.TempDir(), newState(t)
	touch := "touch " + directory + "/ran; "
	statements := []string{fileContent(t, "schema.sql")}
	var names []string
	for _, set := range []string{
		"executor_command = '" + touch + "{{ nope }}'",
		"executor_command = '" + touch + "{{ worker_pool.nope }}'",
		`executor_command = '` + touch + `{% ssi "/etc/passwd" %}'`,
		"executor_command = '" + touch + "{% autoescape off %}{{ worker_pool.name }}{% endautoescape %}'",
		"executor_command = '" + touch + "{% cycle worker_pool.name %}'",
		"executor_command = '" + touch + "echo {{ worker_pool.name }}'",
		"executor_command = '" + touch + "echo ''{{ worker_pool.name|quote }}'''",
		"executor_command = '" + touch + "{{ size / 0 }}'",
		`executor_command = '` + touch + `{{ variables.list }}', variables = '{"list": [1]}'`,
		"executor_command = ''",
		"executor_command = '" + touch + "{{ size'",
		"executor_command = '" + touch + "', minimum = 20, maximum = 8",
		"executor_command = '" + touch + "', queued_weight = 'NaN'",
		"executor_command = '" + touch + "', multiplier = 'Infinity'",
		"executor_command = '" + touch + "', running_weight = -1",
		"executor_command = '" + touch + "', planner = 'mlp'",
		"executor_command = '" + touch + "', executor = 'ssh'",
		"executor_command = '" + touch + "', variables = 'region=eu'",
		"executor_command = '" + touch + "', reevaluate_minutes = -1",
	} {
		names = append(names, fmt.Sprintf("Bob's Pool %02d", len(names)))
		name := strings.ReplaceAll(names[len(names)-1], "'", "''")
		statements = append(statements, fmt.Sprintf("INSERT INTO worker_pools (id, name) VALUES (%d, '%s')",
			len(names), name),
			fmt.Sprintf("UPDATE worker_pools SET %s WHERE id = %d", set, len(names)))
	}
	statements = append(statements, "INSERT INTO worker_pools (id, name, executor_command) "+
		"VALUES (101, 'Alpha', 'true'), (102, 'zeta', 'true')")
	_, _, address := postgresDatabase(t, statements...)
	args := []string{"--database", address, "--state", state, "--output", "json", "-q", "Alpha", "-q", "unknown"}
	for _, name := range names {
		args = append(args, "-q", name)
	}
	r := vespene(t, append(args, "-q", "zeta")...)
	all := r.records(t)
	if r.code != exitInvalid || len(all) != len(names)+3 {
		t.Fatalf("exit %d, %d records, %s", r.code, len(all), r.stderr)
	}
	for i, record := range all {
		want := invalid
		if i == 0 || i == len(all)-1 {
			want = scaled
		}
		if message, _ := record["error"].(string); record["outcome"] != want || (message == "") != (want == scaled) {
			t.Errorf("%v: %v, error %q; want %s", record["pool"], record["outcome"], message, want)
		}
	}
	if got := evaluations(t, state); len(got) != 2 {
		t.Errorf("recorded %+v, want the two good pools", got)
	}
	if _, err := os.Stat(directory + "/ran"); err == nil {
		t.Error("a refused command ran")
	}
}

// TestWorstCodeWins: several pools end in several ways, all are attempted, and the first code of the table is the
// run's.
func TestWorstCodeWins(t *testing.T) {
	t.Parallel()
	database := sqliteDatabase(t, `INSERT INTO worker_pools (id, name, executor_command, minimum) VALUES
		(1, 'a-fails', 'false', 0), (2, 'b-invalid', 'true', 99), (3, 'c-fine', 'true', 0)`)
	r := vespene(t, "--database", database, "--state", newState(t))
	if r.code != exitFailed || !strings.Contains(r.stdout, "b-invalid: invalid") ||
		!strings.Contains(r.stdout, "c-fine: size 0") {
		t.Errorf("exit %d, %s", r.code, r.stdout)
	}
	for _, test := range [][3]int{{exitOK, exitBusy, exitBusy}, {exitBusy, exitInvalid, exitInvalid},
		{exitInvalid, exitFailed, exitFailed}, {exitFailed, exitDatabase, exitDatabase},
		{exitDatabase, exitState, exitState}, {exitState, exitUsage, exitUsage},
		{exitUsage, 143, 143}} {
		if got := [2]int{worse(test[0], test[1]), worse(test[1], test[0])}; got != [2]int{test[2], test[2]} {
			t.Errorf("worse of %d and %d is %v, want %d", test[0], test[1], got, test[2])
		}
	}
}

// TestNothingEnabled is told on standard output, since it may be a mistake, and is none.
func TestNothingEnabled(t *testing.T) {
	t.Parallel()
	r := vespene(t, "--database", sqliteDatabase(t), "--state", newState(t))
	if r.code != 0 || !strings.HasPrefix(r.stdout, "no worker pool has autoscaling enabled") || r.stderr != "" {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

// TestStaleCountsAreReadAgain: counts that have become more than a minute old while another pool's command ran decide
// nothing.
func TestStaleCountsAreReadAgain(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	database := filepath.Join(directory, "vespene.sql")
	later := fileContent(t, "schema.sql") + `INSERT INTO worker_pools (id, name) VALUES (2, 'b');
		INSERT INTO builds (id, status, worker_pool_id) VALUES (1, 'QUEUED', 2), (2, 'QUEUED', 2), (3, 'QUEUED', 2);`
	writeFile(t, filepath.Join(directory, "later.sql"), []byte(later))
	writeFile(t, database, []byte(fileContent(t, "schema.sql")+
		`INSERT INTO worker_pools (id, name, executor_command) VALUES
		(1, 'a', 'mv `+directory+`/later.sql `+database+`; touch `+directory+`/leap'), (2, 'b', 'true'),
		(3, 'c', 'true')`))
	cmd, stdout, stderr := program(t, "--database", "sqlite:"+database, "--state", newState(t), "--output", "json")
	cmd.Env = append(cmd.Env, "TEST_LEAP="+directory+"/leap")
	code := exitOf(t, cmd.Run())
	all := ran{stdout: stdout.String()}.records(t)
	if code != exitInvalid || len(all) != 3 || all[1]["size"] != 3.0 || all[2]["outcome"] != invalid {
		t.Errorf("exit %d, %v, %s", code, all, stderr)
	}
}

// TestInterruptedBetweenPools: a pool whose turn has not come is interrupted, and not recorded.
func TestInterruptedBetweenPools(t *testing.T) {
	t.Parallel()
	state, begun := newState(t), filepath.Join(t.TempDir(), "begun")
	cmd, stdout, stderr := program(t, "--state", state, "--output", "json", "--database", sqliteDatabase(t,
		`INSERT INTO worker_pools (id, name, executor_command) VALUES (1, 'a', 'echo > `+begun+`; sleep 60'), `+
			`(2, 'b', 'true')`))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(begun); return err == nil })
	cmd.Process.Signal(syscall.SIGTERM)
	code := exitOf(t, cmd.Wait())
	all := ran{stdout: stdout.String()}.records(t)
	if code != 143 || len(all) != 2 || all[0]["outcome"] != interrupted || all[1]["outcome"] != interrupted ||
		all[1]["size"] != nil {
		t.Errorf("exit %d, %v, %s", code, all, stderr)
	}
	if got := evaluations(t, state); len(got) != 1 || got[0].outcome != interrupted {
		t.Errorf("recorded %+v", got)
	}
	if !strings.HasSuffix(stderr.String(), "vespene-autoscale: ended by SIGTERM\n") {
		t.Errorf("%s", stderr)
	}
}

// TestJournal: in the journal each line begins with its priority, and has no time of ours.
func TestJournal(t *testing.T) {
	t.Parallel()
	database := sqliteDatabase(t, `INSERT INTO worker_pools (id, name, executor_command, minimum) VALUES
		(1, 'a', 'echo one; echo two; sleep 600 &', 0), (2, 'b', 'true', 99)`)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	for want, args := range map[int][]string{exitInvalid: {"--database", database, "--state", newState(t), "--verbose"},
		exitUsage: {"--nope"}} {
		cmd, _, _ := program(t, args...)
		cmd.Stderr = log
		cmd.Env = append(cmd.Env, fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino))
		if code := exitOf(t, cmd.Run()); code != want {
			t.Errorf("%v: exit %d, want %d", args, code, want)
		}
	}
	lines := string(contentOf(t, log.Name()))
	for _, want := range []string{"<7>level=DEBUG", "<6>level=INFO", "<6>a: one\n<6>a: two\n", "<4>level=WARN",
		"<3>level=ERROR", "<3>vespene-autoscale: there is no option --nope\n<3>hint: "} {
		if !strings.Contains(lines, want) {
			t.Errorf("%q is not in\n%s", want, lines)
		}
	}
	for line := range strings.Lines(lines) {
		if line[0] != '<' || line[2] != '>' || strings.Contains(line, "time=") {
			t.Errorf("line %q", line)
		}
	}
}

// TestAddressAndStatePlaces: where the database's address and the state come from where no option gives them.
func TestAddressAndStatePlaces(t *testing.T) {
	t.Parallel()
	needNoCredential(t)
	c, name, address := postgresDatabase(t, fileContent(t, "vespene.sql"))
	credentials := t.TempDir()
	writeFile(t, filepath.Join(credentials, "database"), []byte("\n"+address+"\n"))
	empty := t.TempDir()
	writeFile(t, filepath.Join(empty, "database"), nil)
	unreadable := t.TempDir()
	writeFile(t, filepath.Join(unreadable, "database"), []byte(address))
	chmod(t, filepath.Join(unreadable, "database"), 0)
	malformed := t.TempDir()
	writeFile(t, filepath.Join(malformed, "database"), []byte("postgres://u:12/sEcret@h/d"))
	home := t.TempDir()
	for what, test := range map[string]struct {
		env   []string
		code  int
		state string // where it must be afterwards
		said  string
	}{
		"the variable":   {env: []string{"VESPENE_AUTOSCALE_DATABASE=" + address}},
		"the credential": {env: []string{"CREDENTIALS_DIRECTORY=" + credentials}},
		"an empty one is none": {env: []string{"CREDENTIALS_DIRECTORY=" + empty}, code: exitUsage,
			said: "no database is given"},
		"one that is not there is none": {env: []string{"CREDENTIALS_DIRECTORY=" + home}, code: exitUsage,
			said: "no database is given"},
		"an unreadable one is an error": {env: []string{"CREDENTIALS_DIRECTORY=" + unreadable}, code: exitUsage,
			said: "permission denied"},
		"a malformed one": {env: []string{"CREDENTIALS_DIRECTORY=" + malformed}, code: exitUsage,
			said: "the database address is malformed"},
		"PGHOST": {env: []string{"PGHOST=127.0.0.1", fmt.Sprint("PGPORT=", c.Port),
			"PGUSER=postgres", "PGDATABASE=" + name, "CREDENTIALS_DIRECTORY=" + empty}},
		"a socket's directory in PGHOST": {env: []string{"PGHOST=" + c.Directory, fmt.Sprint("PGPORT=", c.Port),
			"PGUSER=postgres", "PGDATABASE=" + name}},
		"PGHOSTADDR": {env: []string{"PGHOSTADDR=127.0.0.1", fmt.Sprint("PGPORT=", c.Port),
			"PGUSER=postgres", "PGDATABASE=" + name}},
		"an address in PGDATABASE": {env: []string{"PGDATABASE=postgres://u:sEcret@h/d"}, code: exitUsage,
			said: "the database address is malformed"},
		"PGUSER alone is no database": {env: []string{"PGUSER=postgres"}, code: exitUsage,
			said: "no database is given"},
		"an empty variable is none": {env: []string{"VESPENE_AUTOSCALE_DATABASE=",
			"CREDENTIALS_DIRECTORY=" + credentials}},
		"the state's variable": {env: []string{"VESPENE_AUTOSCALE_DATABASE=" + address,
			"VESPENE_AUTOSCALE_STATE=" + home + "/x/y.db"},
			state: home + "/x/y.db"},
		"STATE_DIRECTORY": {env: []string{"VESPENE_AUTOSCALE_DATABASE=" + address, "STATE_DIRECTORY=" + home +
			"/s:/else"},
			state: home + "/s/state.db"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cmd, _, stderr := program(t)
			cmd.Env = append(cmd.Env, test.env...)
			if test.state == "" {
				cmd.Env = append(cmd.Env, "STATE_DIRECTORY="+filepath.Dir(newState(t)))
			}
			withoutOverride(t, cmd)
			if code := exitOf(t, cmd.Run()); code != test.code || !strings.Contains(stderr.String(), test.said) ||
				strings.Contains(stderr.String(), "sEcret") {
				t.Errorf("exit %d, %s; want %d, %q", code, stderr, test.code, test.said)
			}
			if test.state != "" {
				if _, err := os.Stat(test.state); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestStatePath: the state of root and in a service, and of an ordinary user where the XDG specification says.
func TestStatePath(t *testing.T) {
	need(t, "root, to become another user", os.Geteuid() == 0)
	if path, err := statePath(""); err != nil || path != "/var/lib/vespene-autoscale/state.db" {
		t.Errorf("root's is %s, %v", path, err)
	}
	t.Setenv("STATE_DIRECTORY", "/one:/two")
	if path, err := statePath(""); err != nil || path != "/one/state.db" {
		t.Errorf("in a service it is %s, %v", path, err)
	}
	home, err := os.MkdirTemp("", "vespene-home-") // t.TempDir is root's alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	chmod(t, home, 0o777)
	executable := filepath.Join(home, "vespene-autoscale")
	if err := os.WriteFile(executable, contentOf(t, "/proc/self/exe"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(home, "vespene.sql"), []byte(fileContent(t, "vespene.sql")))
	chmod(t, filepath.Join(home, "vespene.sql"), 0o644)
	for base, want := range map[string]string{"": home + "/.local/state", home + "/y": home + "/y", "relative": home +
		"/.local/state"} {
		cmd, _, stderr := program(t, "--database", "sqlite:"+filepath.Join(home, "vespene.sql"))
		cmd.Path = executable
		cmd.Env = append(cmd.Env, "HOME="+home, "STATE_DIRECTORY=", "XDG_STATE_HOME="+base)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = home
		if code := exitOf(t, cmd.Run()); code != 0 {
			t.Errorf("with XDG_STATE_HOME=%s: exit %d, %s", base, code, stderr)
		}
		if _, err := os.Stat(want + "/vespene-autoscale/state.db"); err != nil {
			t.Errorf("with XDG_STATE_HOME=%s: %v", base, err)
		}
		os.RemoveAll(want)
	}
}

// TestDatabaseGone: exit 69 within its limits, whatever is wrong, and the password in no output.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	c.exec(t, "postgres", fileContent(t, "vespene.sql"))
	state := newState(t)
	run := func(user string) ran {
		return vespene(t, "--verbose", "--output", "json", "--state", state, "--database", c.addressFor(user,
			"postgres"))
	}
	if r := run("secretive:WRONG-word"); r.code != exitDatabase ||
		!strings.Contains(r.stderr, "password authentication failed") ||
		strings.Contains(r.stderr+r.stdout, "WRONG") {
		t.Errorf("refused: exit %d, %s", r.code, r.stderr)
	}
	// Stopped in the sense of SIGSTOP: it takes connections, or the kernel does for it, and answers nothing.
	c.Server.Process.Signal(syscall.SIGSTOP)
	begun := time.Now()
	if r := run("postgres"); r.code != exitDatabase || !strings.Contains(r.stderr, "no answer within the time limit") ||
		time.Since(begun) > 45*time.Second {
		t.Errorf("hanging: exit %d after %v, %s", r.code, time.Since(begun), r.stderr)
	}
	c.Server.Process.Signal(syscall.SIGCONT)
	if r := run("postgres"); r.code != 0 {
		t.Errorf("going on: exit %d, %s", r.code, r.stderr)
	}
	c.Server.Process.Signal(syscall.SIGQUIT)
	c.Server.Wait()
	if r := run("postgres:sEcret"); r.code != exitDatabase || !strings.Contains(r.stderr, "connection refused") ||
		strings.Contains(r.stderr+r.stdout, "sEcret") || r.stdout != "" {
		t.Errorf("stopped: exit %d, %s", r.code, r.stderr)
	}
	if n := len(evaluations(t, state)); n != 3 {
		t.Errorf("%d evaluations, want those of the one run that could read", n)
	}
}

// steadyDatabase is a database with one pool, web, whose size is the number of its queued builds, and that object
// "autoscaling".
func steadyDatabase(t testing.TB, object string, queued int) string {
	t.Helper()
	return sqliteDatabase(t,
		"INSERT INTO worker_pools (id, name, maximum, reevaluate_minutes, executor_command, variables) "+
			"VALUES (1, 'web', 40, 0, 'true', '{\"autoscaling\": "+object+"}')",
		fmt.Sprintf("INSERT INTO builds (id, status, worker_pool_id, project_id) WITH RECURSIVE n(i) AS (SELECT 1 "+
			"UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i, 'QUEUED', 1, 1 FROM n WHERE %[1]d > 0", queued))
}

// TestScaleDownMinutes: a size is held up by what was planned in the last minutes, not by what that was held up to,
// which would hold it up for ever; a dry run and status foresee it.
func TestScaleDownMinutes(t *testing.T) {
	t.Parallel()
	file := strings.TrimPrefix(steadyDatabase(t, `{"scale_down_minutes": 10}`, 0), "sqlite:")
	state := newState(t)
	run := func(queued int, args ...string) map[string]any {
		t.Helper()
		writeFile(t, file, contentOf(t, strings.TrimPrefix(steadyDatabase(t, `{"scale_down_minutes": 10}`, queued),
			"sqlite:")))
		r := vespene(t, append(args, "--database", "sqlite:"+file, "--state", state, "--output", "json")...)
		if r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.stderr)
		}
		return r.records(t)[0]
	}
	for _, at := range []struct {
		ahead  time.Duration // how much later than the run before
		queued int
		size   float64
		step   bool // something was planned in the last ten minutes
	}{{0, 12, 12, false}, {5 * time.Minute, 3, 12, true}, {4 * time.Minute, 3, 12, true}, {2 * time.Minute, 4, 4, true},
		{8 * time.Minute, 1, 4, true}, {11 * time.Minute, 1, 1, false}} {
		if at.ahead > 0 {
			age(t, state, at.ahead)
		}
		if got := run(at.queued, "--dry-run"); got["size"] != at.size {
			t.Errorf("a dry run says %v, want %v", got["size"], at.size)
		}
		if got := run(at.queued, "status"); got["size"] != at.size {
			t.Errorf("status says %v, want %v", got["size"], at.size)
		}
		got, steps := run(at.queued), "[]"
		if at.step {
			steps = fmt.Sprintf("[map[after:%v before:%d name:scale_down_minutes]]", at.size, at.queued)
		}
		if got["size"] != at.size || fmt.Sprint(got["steps"]) != steps {
			t.Errorf("%d queued: size %v by %v, want %v", at.queued, got["size"], got["steps"], at.size)
		}
	}
}

// TestSteps: the steps are in the text, too, and what looks back is refused where hosts share the pool.
func TestSteps(t *testing.T) {
	t.Parallel()
	address, state := steadyDatabase(t, `{"max_step_up": 3, "max_step_down": 1, "schedule": [{"when": "* * * * *", `+
		`"excess": 1}]}`, 9), newState(t)
	vespene(t, "--database", steadyDatabase(t, "{}", 2), "--state", state)
	execSQLite(t, state, "UPDATE evaluations SET database = ?", "sqlite:"+strings.TrimPrefix(address, "sqlite:"))
	text := vespene(t, "--database", address, "--state", state).stdout
	want := `web: size 5, queued_size 9 (scaled, was 2)
  queued   9 * 1 = 9
  running  0 * 1 = 0
  load     9 * 1 + 1 = 10
  bounds   0 to 40, so size 10
  step     schedule "* * * * *" (UTC): 9, after it 10
  step     max_step_up: 10, after it 5
  step     max_step_down: 5, after it 5
`
	if !strings.HasPrefix(text, want) {
		t.Errorf("prints\n%s\nwant\n%s", text, want)
	}
	for object, code := range map[string]int{`{"scale_down_minutes": 3}`: exitInvalid,
		`{"max_step_up": 3}`: exitInvalid, `{"max_step_down": 3}`: exitInvalid,
		`{"stale_builds": "ignore", "schedule": [{"when": "* * * * *", "excess": 1}]}`: 0} {
		c, name, address := postgresDatabase(t, fileContent(t, "schema.sql"),
			"INSERT INTO worker_pools (id, name, executor_command, variables) "+
				"VALUES (1, 'web', 'true', '{\"autoscaling\": "+object+"}')")
		got, record, stderr := runHost(t, address, newState(t))
		if got != code || code != 0 && !strings.Contains(fmt.Sprint(record["error"]), "looks back to evaluations") {
			t.Errorf("%s: exit %d, %v %s", object, got, record, stderr)
		}
		_, last, _ := c.row(t, name)
		if (last != nil) != (code == 0) {
			t.Errorf("%s: last evaluated %v", object, last)
		}
	}
}

// TestStaleInRecords: builds that mislead are told in the record, and left out where the pool wants that.
func TestStaleInRecords(t *testing.T) {
	t.Parallel()
	for _, open := range []func(...string) string{
		func(statements ...string) string { return sqliteDatabase(t, statements...) },
		func(statements ...string) string {
			_, _, address := postgresDatabase(t, append([]string{fileContent(t, "schema.sql")}, statements...)...)
			return address
		},
	} {
		for object, want := range map[string]string{"{}": "8 2 2 1 10", `{"stale_builds": "ignore"}`: "6 1 2 1 7"} {
			old := time.Now().Add(-100 * time.Hour).UTC().Format(time.DateTime)
			address := open("INSERT INTO projects (id, timeout) VALUES (1, 10), (2, 10)",
				"INSERT INTO worker_pools (id, name, executor_command, variables) "+
					"VALUES (1, 'web', 'true', '{\"autoscaling\": "+object+"}')",
				`INSERT INTO builds (id, status, worker_pool_id, project_id) VALUES (1, 'QUEUED', 1, 1), `+
					`(2, 'QUEUED', 1, 1), (3, 'QUEUED', 1, 2), (4, 'QUEUED', 1, 2), (5, 'QUEUED', 1, 3), `+
					`(6, 'QUEUED', 1, 3)`,
				fmt.Sprintf(`INSERT INTO builds (id, status, worker_pool_id, project_id, queued_time, start_time) `+
					`VALUES (7, 'QUEUED', 1, 1, '%[1]s', NULL), (8, 'QUEUED', 1, NULL, '%[1]s', NULL),
					(9, 'RUNNING', 1, 1, '%[1]s', '%[1]s'), (10, 'RUNNING', 1, 1, '%[1]s', '%s')`, old,
					time.Now().UTC().Format(time.DateTime)))
			r := vespene(t, "--database", address, "--state", newState(t), "--output", "json").records(t)[0]
			if got := fmt.Sprint(r["queued"], r["running"], r["stale_queued"], r["stale_running"],
				r["size"]); got != want {
				t.Errorf("%s, %s: %s, want %s", address, object, got, want)
			}
		}
	}
}

// TestResultsNotRead: pools are served whether anybody reads the results or not.
func TestResultsNotRead(t *testing.T) {
	t.Parallel()
	const pools = 400 // whose results do not fit into a pipe
	database := sqliteDatabase(t, fmt.Sprintf(`WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i `+
		`WHERE n < %d)
		INSERT INTO worker_pools (id, name) SELECT n, 'pool ' || n FROM i`, pools))
	state := newState(t)
	cmd, _, _ := program(t, "--database", database, "--state", state, "--output", "json")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	n := 0
	for grew := time.Now(); n < pools && time.Since(grew) < time.Minute; time.Sleep(100 * time.Millisecond) {
		if now := endedEvaluations(t, state); now > n {
			n, grew = now, time.Now()
		}
	}
	if n != pools {
		t.Errorf("%d pools were evaluated while nobody read, want %d", n, pools)
	}
	printed, _ := io.ReadAll(reader)
	if err := cmd.Wait(); err != nil || bytes.Count(printed, []byte("\n")) != pools {
		t.Errorf("%v, %d lines", err, bytes.Count(printed, []byte("\n")))
	}
}

// endedEvaluations counts the evaluations that have ended. The state file may not be there yet, nor its table.
func endedEvaluations(t testing.TB, state string) (n int) {
	t.Helper()
	if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	db := openSQLiteFile(t, state)
	defer db.Close()
	var tables int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'evaluations'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables == 0 {
		return 0
	}
	if err := db.QueryRow("SELECT count(*) FROM evaluations WHERE ended IS NOT NULL").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
