package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// line is what a finding is looked for by: its check, its pool, its level, and a part of its message and cure.
type line struct{ check, pool, level, message, cure string }

// hasFindings runs check with the arguments, and looks for findings; its code must be that of its levels.
func hasFindings(t *testing.T, name string, want []line, args ...string) {
	t.Helper()
	r := vespene(t, append([]string{"check", "--output", "json"}, args...)...)
	code := exitOK
	found := r.records(t)
	for _, f := range found {
		if f["level"] == isError {
			code = exitInvalid
		}
		if f["level"] != isOK && f["cure"] == nil {
			t.Errorf("%s: no cure for %v", name, f["message"])
		}
	}
	if r.code != code || r.stderr != "" || len(found) == 0 {
		t.Errorf("%s: exit %d, want %d; %s", name, r.code, code, r.stderr)
	}
	for _, w := range want {
		there := false
		for _, f := range found {
			pool, _ := f["pool"].(string)
			cure, _ := f["cure"].(string)
			there = there || f["check"] == w.check && pool == w.pool && f["level"] == w.level &&
				strings.Contains(f["message"].(string), w.message) && strings.Contains(cure, w.cure)
		}
		if !there {
			t.Errorf("%s: no %v in\n%s", name, w, r.stdout)
		}
	}
}

// TestCheckDatabase: what the database can have wrong, on a real one.
func TestCheckDatabase(t *testing.T) {
	t.Parallel()
	c, name, owner := postgresDatabase(t, fileContent(t, "schema.sql"),
		"INSERT INTO worker_pools (id, name, minimum, executor_command) VALUES (1, 'web', 1, 'true')",
		"CREATE TABLE auth_user (id integer, password text)")
	role := func(suffix, grants string) string {
		who := name + "_" + suffix
		quoted := `"` + who + `"`
		c.exec(t, name, "CREATE ROLE "+quoted+" LOGIN; "+strings.NewReplacer("ALTER ROLE ROLE", "ALTER ROLE "+quoted,
			"ROLE", quoted).Replace(grants))
		t.Cleanup(func() { c.exec(t, name, "DROP OWNED BY "+quoted+"; DROP ROLE "+quoted) })
		return strings.Replace(owner, "postgres@", who+"@", 1)
	}
	const read = "GRANT SELECT ON worker_pools, builds, projects TO ROLE; "
	const readAndShare = read + "GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO ROLE; "
	reader := role("reader", read)
	state := newState(t)
	for what, test := range map[string]struct {
		address string
		args    []string
		want    []line
	}{
		"all is well": {reader, nil, []line{{"database", "", isOK, "answers: PostgreSQL", ""},
			{"tables", "", isOK, "", ""}, {"clock", "", isOK, "", ""},
			{"privileges", "", isOK, "write no other table", ""}, {"index", "", isOK, "0 rows", ""},
			{"pool", "web", isOK, "size 1 now", ""}, {"minimum", "web", isOK, "keeps 1 worker", ""}}},
		"no table may be read": {role("none", ""), nil, []line{{"tables", "", isError, "permission denied",
			"GRANT SELECT ON worker_pools, builds, projects TO " + name + "_none"}}},
		"builds may not": {role("some", "GRANT SELECT ON worker_pools, projects TO ROLE"), nil,
			[]line{{"tables", "", isError, "permission denied for table builds", "GRANT SELECT"}}},
		"the owner": {owner, nil, []line{{"privileges", "", isWarning,
			"may write: auth_user, builds, projects, worker_pools", "CREATE ROLE vespene_autoscale"}}},
		"one column may be written": {role("column", read+"GRANT UPDATE (maximum) ON worker_pools TO ROLE"), nil,
			[]line{{"privileges", "", isWarning, "may write: worker_pools (maximum)",
				"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON worker_pools FROM " + name + "_column"}}},
		"another table may be": {role("other", read+"GRANT DELETE ON auth_user TO ROLE"), nil,
			[]line{{"privileges", "", isWarning, "may write: auth_user", ""}}},
		"--shared, and may not": {reader, []string{"--shared"},
			[]line{{"privileges", "", isError, "last_autoscaled and autoscaling_status",
				"GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO " + name + "_reader"}}},
		"--shared, and may": {role("share", readAndShare), []string{"--shared"},
			[]line{{"privileges", "", isOK, "write no other table", ""}}},
		"may share, but need not": {role("idle", readAndShare), nil,
			[]line{{"privileges", "", isWarning, "worker_pools (autoscaling_status, last_autoscaled)", ""}}},
		"--shared, and may more": {role("more", readAndShare+"GRANT UPDATE (minimum) ON worker_pools TO ROLE"),
			[]string{"--shared"},
			[]line{{"privileges", "", isWarning, "worker_pools (autoscaling_status, last_autoscaled, minimum)",
				"FROM " + name + "_more; GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO " +
					name + "_more"}}},
		"the owner, and --shared": {owner, []string{"--shared"}, []line{{"privileges", "", isWarning, "may write: ",
			"; GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO vespene_autoscale"}}},
		"a role to be quoted": {role("Odd", read), []string{"--shared"},
			[]line{{"privileges", "", isError, "last_autoscaled", `ON worker_pools TO "` + name + `_Odd"`}}},
		"a schema of its own": {role("elsewhere", read+"ALTER ROLE ROLE SET search_path = elsewhere"), nil,
			[]line{{"tables", "", isError, "not a Vespene database", "search_path"}}},
		"no such database": {owner + "_gone", nil, []line{
			{"database", "", isError, "does not exist", "check the name at the end"}, {"state", "", isOK, "", ""}}},
		"not Vespene's": {strings.Replace(owner, name, "postgres", 1), nil,
			[]line{{"tables", "", isError, "not a Vespene database", "check the name of the database"}}},
		"nobody listens": {"postgres://u@127.0.0.1:1/x", nil,
			[]line{{"database", "", isError, "connection refused", "check that PostgreSQL runs"}}},
		"no address": {"", nil, []line{{"database", "", isError, "no database is given", "put postgres://"}}},
		"malformed": {"nonsense:sEcret", nil,
			[]line{{"database", "", isError, "malformed", "write postgres://"}}},
		"a password in a string": {"host=127.0.0.1 port=1 password = sEcret", nil,
			[]line{{"credential", "", isWarning, "every user of this machine can see it", credentialFile}}},
		"a password there": {"postgres://u:sEcret@127.0.0.1:1/x", nil,
			[]line{{"credential", "", isWarning, "every user of this machine can see it", credentialFile}}},
	} {
		t.Run(what, func(t *testing.T) {
			if test.address == "" {
				needNoCredential(t)
				hasFindings(t, what, test.want, append(test.args, "--state", state)...)
				return
			}
			hasFindings(t, what, test.want, append(test.args, "--state", state, "--database", test.address)...)
		})
	}
}

// TestCheckIndex: without an index that helps, many builds are a warning with the statement that cures it, which does.
func TestCheckIndex(t *testing.T) {
	t.Parallel()
	c, name, address := postgresDatabase(t, fileContent(t, "schema.sql"),
		"INSERT INTO worker_pools (id, name, minimum, executor_command) VALUES (1, 'web', 1, 'true')")
	insert := "INSERT INTO builds (id, status, worker_pool_id, project_id) SELECT i, 'SUCCESS', 1, 1 " +
		"FROM generate_series(%d, %d) i"
	check := func(what, level, message, cure string) {
		t.Helper()
		hasFindings(t, what, []line{{"index", "", level, message, cure}}, "--database", address, "--state", newState(t))
	}
	c.exec(t, name, fmt.Sprintf(insert, 1, manyBuilds))
	check("few builds", isOK, "has 10000 rows", "")
	c.exec(t, name, fmt.Sprintf(insert, manyBuilds+1, manyBuilds+1))
	check("many builds", isWarning, "more than 10000 rows and no index", createIndex)
	c.exec(t, name, `CREATE INDEX elsewhere ON builds (project_id); CREATE INDEX other ON builds (id) `+
		`WHERE status = 'SUCCESS';
		CREATE INDEX done ON builds (worker_pool_id) WHERE status NOT IN ('QUEUED', 'RUNNING'); `+
		`CREATE INDEX behind ON builds (project_id, status);
		CREATE INDEX beside ON builds (project_id) INCLUDE (status)`)
	check("indexes that do not help", isWarning, "more than 10000 rows", createIndex)
	c.exec(t, name, "CREATE INDEX by_status ON builds (status)")
	check("an index on status", isOK, "found by the index by_status", "")
	c.exec(t, name, "DROP INDEX by_status")
	c.exec(t, name, createIndex)
	check("cured", isOK, "found by the index builds_active_idx", "")
	// as a broken-off CREATE INDEX CONCURRENTLY leaves it
	c.exec(t, name, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'builds_active_idx'::regclass")
	check("not finished", isWarning, "builds_active_idx on builds was not finished",
		"DROP INDEX builds_active_idx; then CREATE INDEX")
}

// TestCheckClock: the database's clock is another's than ours.
func TestCheckClock(t *testing.T) {
	t.Parallel()
	_, _, address := postgresDatabase(t, fileContent(t, "schema.sql"))
	for ahead, level := range map[string]string{"2m": isWarning, "-3m": isWarning, "5s": isOK} {
		t.Run(ahead, func(t *testing.T) {
			cmd, stdout, _ := program(t, "check", "--database", address, "--state", newState(t))
			cmd.Env = append(cmd.Env, "TEST_CLOCK="+ahead)
			exitOf(t, cmd.Run())
			if !strings.Contains(stdout.String(), fmt.Sprintf("%-7s  clock ", level)) {
				t.Errorf("prints\n%s", stdout)
			}
		})
	}
}

// TestCheckPools: settings, templates, plugins and builds.
func TestCheckPools(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	program := func(name, script string) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := time.Now().Add(-100 * time.Hour).UTC().Format(time.DateTime)
	address := sqliteDatabase(t,
		`INSERT INTO worker_pools (id, name, minimum, maximum, planner, executor, executor_command) VALUES
			(1, 'good', 0, 10, NULL, NULL, 'true'), (2, 'bounds', 8, 3, NULL, NULL, 'true'), `+
			`(3, 'template', 0, 10, NULL, NULL, 'run {{ sise }}'),
			(4, 'planned', 0, 10, 'mine', NULL, 'true'), (5, 'badly planned', 0, 10, 'broken', NULL, 'true'), `+
			`(6, 'unknown planner', 0, 10, 'gone', NULL, 'true'),
			(7, 'executed', 0, 10, NULL, 'mine', ''), (8, 'never', 0, 0, NULL, NULL, 'true'), `+
			`(9, 'stuck', 0, 10, NULL, NULL, 'true'), (10, 'empty', 0, 10, NULL, NULL, '')`,
		"INSERT INTO worker_pools (id, name, autoscaling_enabled) VALUES (11, 'off', FALSE)",
		"INSERT INTO projects (id, timeout) VALUES (1, 10)",
		fmt.Sprintf(`INSERT INTO builds (id, status, worker_pool_id, project_id, queued_time, start_time) VALUES
			(1, 'QUEUED', 9, NULL, '%[1]s', NULL), (2, 'QUEUED', 9, 1, '%[1]s', NULL), `+
			`(3, 'RUNNING', 9, 1, '%[1]s', '%[1]s')`, long))
	ran := filepath.Join(directory, "ran")
	args := []string{"--database", address, "--state", newState(t),
		"--planner", "mine=" + program("plan", `echo '{"size": 4, "queued_size": 1}'`),
		"--planner", "broken=" + program("break", "echo nonsense"),
		"--executor", "mine=" + program("execute", "touch "+ran), "--executor", "unused=" + directory + "/none"}
	hasFindings(t, "pools", []line{
		{"pool", "good", isOK, "size 0 now", ""},
		{"pool", "bounds", isError, "minimum 8 is above maximum 3", "correct the pool's settings"},
		{"pool", "template", isError, "sise", ""}, {"pool", "planned", isOK, "size 4 now", ""},
		{"pool", "badly planned", isError, "planner broken", ""},
		{"pool", "unknown planner", isError, `planner "gone" is not enabled here (enabled: stock, broken, mine)`, ""},
		{"pool", "executed", isOK, "", ""},
		{"pool", "never", isWarning, "maximum is 0", "raise it"}, {"pool", "empty", isError, "executor_command", ""},
		{"builds", "stuck", isWarning, "RUNNING for longer", "stop them"},
		{"builds", "stuck", isWarning, "QUEUED for longer", "stop them"},
		{"builds", "stuck", isWarning, "without a project", "delete them"},
		{"minimum", "", isWarning, "every pool may go down to 0", "set the minimum of one pool to 1"},
		{"plugin", "", isError, "executor unused", "give the path"},
		{"plugin", "", isOK, "planner mine is " + directory + "/plan", ""},
	}, args...)
	hasFindings(t, "queues", []line{{"pool", "off", isWarning, "not enabled", "enable it"},
		{"pool", "nope", isError, `no worker pool "nope"`, "upper and lower case"}},
		append(args, "--queue", "off", "--queue", "nope")...)
	hasFindings(t, "no pool", []line{{"pools", "", isWarning, "no worker pool has autoscaling enabled", "enable it"}},
		"--state", newState(t), "--database", sqliteDatabase(t))
	if _, err := os.Stat(ran); err == nil {
		t.Error("it ran an executor")
	}
	broken := sqliteDatabase(t, "INSERT INTO worker_pools (id, name, minimum, executor_command) "+
		"VALUES (1, 'a', 0, 'true'), (2, 'b', 2, '{{ nothing }}')",
		"INSERT INTO worker_pools (id, name, autoscaling_enabled) VALUES (3, 'off', FALSE)",
		"INSERT INTO builds (id, status, worker_pool_id, project_id) VALUES (1, 'QUEUED', 3, NULL)")
	hasFindings(t, "a pool that is not served keeps no worker, and one without autoscaling has builds",
		[]line{{"minimum", "", isWarning, "every pool may go down to 0", ""},
			{"builds", "off", isWarning, "without a project", ""}}, "--state", newState(t), "--database", broken)
	kept := sqliteDatabase(t, "INSERT INTO worker_pools (id, name, excess, executor_command) "+
		"VALUES (1, 'a', 0, 'true'), (2, 'b', 2, 'true')")
	hasFindings(t, "excess", []line{{"minimum", "b", isOK, "keeps 2 workers", ""}, {"builds", "", isOK, "", ""}},
		"--state", newState(t), "--database", kept)
}

// TestCheckState: the state file and its directory, as root and as the user that they are for.
func TestCheckState(t *testing.T) {
	t.Parallel()
	good := pastOf(t, demo, "linux")
	hasFindings(t, "good", []line{{"state", "", isOK, good + " can be read and written", ""}}, "--database", demo,
		"--state", good)
	hasFindings(t, "new", []line{{"state", "", isOK, "will be made", ""}}, "--database", demo, "--state", newState(t))

	open := pastOf(t, demo, "linux")
	os.Chmod(filepath.Dir(open), 0o755)
	os.Chmod(open, 0o644)
	hasFindings(t, "open", []line{{"state", "", isWarning, filepath.Dir(open) + " has the mode 0755", "chmod go= "},
		{"state", "", isWarning, open + " has the mode 0644", "chmod go= "}},
		"--database", demo, "--state", open)

	for _, theirs := range []string{"state.db", "0123.lock"} {
		state := pastOf(t, demo, "linux")
		writeFile(t, filepath.Join(filepath.Dir(state), theirs), contentOf(t, state))
		os.Chmod(filepath.Join(filepath.Dir(state), theirs), 0o400)
		cmd, stdout, _ := program(t, "check", "--database", demo, "--state", state)
		withoutOverride(t, cmd)
		if code := exitOf(t, cmd.Run()); code != exitInvalid ||
			!strings.Contains(stdout.String(), theirs+" cannot be written to: permission denied; sudo chown ") {
			t.Errorf("%s not writable: exit %d, %s", theirs, code, stdout)
		}
	}

	other := filepath.Join(t.TempDir(), "other.db")
	execSQLite(t, other, "CREATE TABLE t (a)")
	hasFindings(t, "something else", []line{{"state", "", isError, "a SQLite database of something else", ""}},
		"--database", demo, "--state", other)
	text := filepath.Join(t.TempDir(), "text")
	writeFile(t, text, []byte(strings.Repeat("no database\n", 100)))
	hasFindings(t, "no database", []line{{"state", "", isError, "not a database", "move the file away"}},
		"--database", demo, "--state", text)
	hasFindings(t, "no directory", []line{{"state", "", isError, "/dev/null", ""}}, "--database", demo,
		"--state", "/dev/null/state.db")
	readOnly := t.TempDir()
	os.Chmod(readOnly, 0o500)
	cmd, stdout, _ := program(t, "check", "--database", demo, "--state", filepath.Join(readOnly, "new", "state.db"))
	withoutOverride(t, cmd)
	if code := exitOf(t, cmd.Run()); code != exitInvalid || !strings.Contains(stdout.String(),
		"error    state       "+readOnly+" cannot be written to: permission denied; make it writable") {
		t.Errorf("not writable: exit %d, %s", code, stdout)
	}

	future := pastOf(t, demo, "linux", ended(-3*time.Hour, 4, scaled, 0, ""))
	hasFindings(t, "future", []line{{"clock", "linux", isWarning, "lies in the future", "set the clock right"}},
		"--database", demo, "--state", future)
}

// TestCheckText: for people, a line a finding, aligned, and at the end how many.
func TestCheckText(t *testing.T) {
	t.Parallel()
	address := sqliteDatabase(t, "INSERT INTO worker_pools (id, name, minimum, maximum, executor_command) "+
		"VALUES (1, 'web', 8, 3, 'true')")
	r := vespene(t, "check", "--database", address, "--state", newState(t))
	if r.code != exitInvalid || !strings.Contains(r.stdout,
		"\nerror    pool        web: minimum 8 is above maximum 3; correct the pool's settings in Vespene\n") ||
		!strings.HasPrefix(r.stdout, "ok       database    sqlite:") ||
		!strings.HasSuffix(r.stdout, "\n1 error, 1 warning\n") {
		t.Errorf("exit %d, prints\n%s", r.code, r.stdout)
	}
}
