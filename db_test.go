package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vespene-autoscale/e2e/testkit"
)

// read reads pools by name; it must not fail.
func read(t testing.TB, address string, names ...string) map[string]pool {
	t.Helper()
	d, err := parseDatabase(address)
	if err != nil {
		t.Fatal(err)
	}
	pools, err := d.readPools(context.Background(), names, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range pools {
		if d.postgres != nil && (p.clock > time.Second || p.clock < -time.Second || p.clock == 0) {
			t.Errorf("its clock is ahead by %v, and it is the same", p.clock)
		}
		p.clock = 0
		pools[name] = p
	}
	return pools
}

// readError reads what cannot be read, and returns the error, which must lead to exit 69.
func readError(t testing.TB, address string) *failure {
	t.Helper()
	d, err := parseDatabase(address)
	if err != nil {
		t.Fatal(err)
	}
	pools, err := d.readPools(context.Background(), nil, false, time.Now())
	var f *failure
	if !errors.As(err, &f) || f.code != exitDatabase || len(pools) != 0 {
		t.Fatalf("%s: %d pools and error %v, want one that leads to exit %d", d.key, len(pools), err, exitDatabase)
	}
	return f
}

// TestOneStatementForBoth: the demo database gives the same pools from PostgreSQL, a SQLite script and a SQLite file.
func TestOneStatementForBoth(t *testing.T) {
	t.Parallel()
	_, _, address := postgresDatabase(t, fileContent(t, "vespene.sql"))
	fromPostgres := read(t, address)
	fromScript := read(t, "sqlite:testdata/vespene.sql")
	file := sqliteFile(t, fileContent(t, "vespene.sql"))
	fromFile := read(t, "sqlite:"+file)
	if names := slices.Sorted(maps.Keys(fromPostgres)); !slices.Equal(names, []string{"arm", "linux", "windows"}) {
		t.Fatalf("enabled pools %v", names)
	}
	if !reflect.DeepEqual(fromPostgres, fromScript) || !reflect.DeepEqual(fromScript, fromFile) {
		t.Errorf("PostgreSQL %+v\nscript %+v\nfile %+v", fromPostgres, fromScript, fromFile)
	}
	linux := fromPostgres["linux"]
	stale := linux.overdue.count + linux.expired.count + linux.projectless.count
	if linux.queuedBuilds != 6 || linux.queuedProjects != 3 || linux.running != 2 || stale != 0 ||
		linux.columns.get("build_latest") != true || linux.columns.get("multiplier") != 1.0 {
		t.Errorf("linux is %+v", linux)
	}
	pools := read(t, address, "legacy", "nope", "linux")
	if len(pools) != 2 || pools["legacy"].enabled || !pools["linux"].enabled {
		t.Errorf("by name: %+v", pools)
	}
}

// TestRealDatabase: the sizes that Vespene's manual gives for a real database.
func TestRealDatabase(t *testing.T) {
	t.Parallel()
	_, _, address := postgresDatabase(t, fileContent(t, "vespene-real.sql"))
	pools := read(t, address, "general", "AmazonLinux", "win-2019", "Bob's Pool", "legacy")
	for name, want := range map[string][5]int64{ // queued builds, their projects, running, size, queued_size
		"general":     {18, 11, 6, 17, 11},
		"AmazonLinux": {10, 6, 4, 23, 10},
		"win-2019":    {7, 3, 3, 8, 3},
		"Bob's Pool":  {3, 3, 1, 5, 3},
		"legacy":      {2, 1, 1, 2, 1},
	} {
		p := pools[name]
		planned := planOf(t, p)
		got := [5]int64{p.queuedBuilds, p.queuedProjects, p.running, planned.size, planned.queuedSize}
		if got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if at, ok := pools["AmazonLinux"].columns.get("last_autoscaled").(time.Time); !ok ||
		!at.Equal(time.Date(2026, 11, 21, 23, 58, 0, 0, time.UTC)) || at.Location() != time.UTC {
		t.Errorf("last_autoscaled is %v", pools["AmazonLinux"].columns.get("last_autoscaled"))
	}
	if n := pools["AmazonLinux"].projectless.count; n != 2 {
		t.Errorf("%d builds without a project, want 2", n)
	}
}

// TestMisleadingBuilds: which builds are stale, on both databases.
func TestMisleadingBuilds(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	ago := func(d time.Duration) string { return "'" + now.Add(-d).Format("2006-01-02 15:04:05") + "+00'" }
	builds := []string{
		"1, 'RUNNING', " + ago(0) + ", " + ago(64*time.Minute) + ", 1",              // project 1 has a timeout of 60
		"2, 'RUNNING', " + ago(0) + ", " + ago(66*time.Minute) + ", 1",              // overdue
		"3, 'RUNNING', " + ago(0) + ", " + ago(66*time.Minute) + ", 2",              // project 2 has one of 120
		"4, 'RUNNING', " + ago(0) + ", " + ago(3*time.Hour) + ", 2",                 // overdue
		"5, 'RUNNING', " + ago(0) + ", " + ago(2*time.Hour) + ", NULL",              // overdue by Vespene's default
		"6, 'RUNNING', " + ago(0) + ", NULL, 1",                                     // its age is unknown
		"7, 'QUEUED', " + ago(23*time.Hour) + ", NULL, 1",                           // auto_abort_minutes is 1440
		"8, 'QUEUED', " + ago(25*time.Hour) + ", NULL, 1",                           // expired
		"9, 'QUEUED', NULL, NULL, 1",                                                // expired
		"10, 'QUEUED', " + ago(time.Hour) + ", NULL, NULL",                          // without a project
		"11, 'QUEUED', " + ago(26*time.Hour) + ", NULL, NULL",                       // expired, and without a project
		"12, 'ORPHANED', " + ago(99*time.Hour) + ", NULL, NULL",                     // over
		"13, 'SUCCESS', " + ago(99*time.Hour) + ", " + ago(99*time.Hour) + ", NULL", // over
	}
	sql := []string{fileContent(t, "schema.sql"),
		"INSERT INTO worker_pools (id, name) VALUES (1, 'web'), (2, 'idle')",
		"INSERT INTO projects (id, timeout) VALUES (1, 60), (2, 120)"}
	for _, build := range builds {
		sql = append(sql, "INSERT INTO builds (id, status, queued_time, start_time, project_id, worker_pool_id) "+
			"VALUES ("+build+", 1)")
	}
	_, _, address := postgresDatabase(t, sql...)
	for _, address := range []string{address, "sqlite:" + sqliteFile(t, strings.Join(sql, ";\n"))} {
		d, err := parseDatabase(address)
		if err != nil {
			t.Fatal(err)
		}
		pools, err := d.readPools(context.Background(), []string{"web", "idle"}, false, now)
		if err != nil {
			t.Fatal(err)
		}
		idle, web := pools["idle"], pools["web"]
		if idle.queuedBuilds != 0 || idle.overdue != (stale{}) {
			t.Errorf("%s: idle is %+v", d.key, idle)
		}
		if web.queuedBuilds != 5 || web.queuedProjects != 2 || web.running != 6 {
			t.Errorf("%s: %d queued of %d projects, %d running; want 5, 2, 6",
				d.key, web.queuedBuilds, web.queuedProjects, web.running)
		}
		for what, m := range map[string][2]stale{
			"overdue":     {web.overdue, {3, 3 * time.Hour}},
			"expired":     {web.expired, {3, 26 * time.Hour}},
			"projectless": {web.projectless, {2, 26 * time.Hour}},
		} {
			if m[0] != m[1] {
				t.Errorf("%s: %s are %+v, want %+v", d.key, what, m[0], m[1])
			}
		}
		for i, want := range []string{
			"3 builds (the oldest for 3h) RUNNING for longer than their project's timeout",
			"3 builds (the oldest for 26h) QUEUED for longer than auto_abort_minutes or without a queued_time",
			"2 builds (the oldest for 26h) QUEUED without a project",
		} {
			if warnings := web.staleWarnings(); len(warnings) != 3 || !strings.Contains(warnings[i].String(), want) {
				t.Errorf("warnings %q, want %q", warnings, want)
			}
		}
	}
}

// TestBuilds: which builds are read for a window from a moment on, and that both databases give the same.
func TestBuilds(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 22, 10, 0, 0, 123457e3, time.UTC)
	const abort = 24 * time.Hour
	at := func(d time.Duration) int64 { return from.Add(d).UnixMicro() }
	const µs, s, h = time.Microsecond, time.Second, time.Hour
	tests := []struct {
		b    build
		pool int
		read bool
		why  string
	}{
		{build{19, 1, 0, at(0), never, never, 60, "QUEUED"}, 1, true, "queued at the beginning"},
		{build{18, 1, 19, at(s), at(2 * s), at(3*s + µs), 60, "SUCCESS"}, 1, true, "queued in the window"},
		{build{17, 2, 18, at(h), never, at(2 * h), 120, "ABORTED"}, 1, true, "queued in the window, and never started"},
		{build{16, 0, 0, at(9999 * h), never, never, 60, "QUEUED"}, 1, true,
			"its project is gone; queued after the window"},
		{build{1, 1, 0, at(-h), at(-h + s), at(0), 60, "FAILURE"}, 1, true, "ended at the beginning"},
		{build{2, 1, 0, at(-h), at(-h + s), at(-µs), 60, "FAILURE"}, 1, false, "over by then"},
		{build{3, 1, 0, at(-h), at(0), never, 60, "ORPHANED"}, 1, true, "started at the beginning; its end is unknown"},
		{build{4, 1, 0, at(-h), at(h), at(-2 * h), 60, "SUCCESS"}, 1, true, "started in the window, and ended before"},
		{build{5, 1, 0, at(-h), at(-µs), never, 60, "ORPHANED"}, 1, false,
			"started before; it does not run, and its end is unknown"},
		{build{6, 2, 0, at(-99 * h), at(-98 * h), never, 120, "RUNNING"}, 1, true, "runs still"},
		{build{7, 2, 0, at(-99 * h), at(-98 * h), at(-97 * h), 120, "RUNNING"}, 1, false,
			"has ended, whatever its status is"},
		{build{8, 1, 0, at(-99 * h), never, never, 60, "QUEUED"}, 1, true, "is queued still"},
		{build{9, 1, 0, at(-99 * h), never, never, 60, "UNKNOWN"}, 1, false, "never started, queued for too long"},
		{build{10, 1, 0, at(-abort), never, never, 60, "ABORTED"}, 1, true,
			"never started, queued for as long as it may be"},
		{build{11, 1, 0, at(-abort - µs), never, at(-h), 60, "ORPHANED"}, 1, false, "orphaned before the window"},
		{build{12, 1, 0, never, never, never, 60, "QUEUED"}, 1, true, "without any time"},
		{build{13, 0, 0, never, at(-99 * h), at(-98 * h), 60, "SUCCESS"}, 1, true,
			"without a queued_time, although over"},
		{build{14, 0, 0, at(s), never, never, 60, "QUEUED"}, 2, false, "of another pool"},
		{build{15, 1, 0, at(-h), at(-h), at(s), 60, "SUCCESS"}, 1, true, "ran at the beginning"},
	}
	or := func(value int64, none int64, text string) string {
		if value == none {
			return "NULL"
		}
		return text
	}
	quoted := func(µs int64) string {
		return or(µs, never, "'"+time.UnixMicro(µs).UTC().Format("2006-01-02 15:04:05.999999")+"+00'")
	}
	script := fileContent(t, "schema.sql") + `;
		INSERT INTO worker_pools (id, name) VALUES (1, 'web'), (2, 'idle');
		INSERT INTO projects (id, timeout) VALUES (1, 60), (2, 120);`
	var want []build
	for _, test := range tests {
		b := test.b
		script += fmt.Sprintf("\nINSERT INTO builds (id, project_id, pipeline_parent_build_id, queued_time, "+
			"start_time, end_time, status, worker_pool_id) VALUES (%d, %s, %s, %s, %s, %s, '%s', %d);",
			b.id, or(b.project, 0, fmt.Sprint(b.project)), or(b.parent, 0, fmt.Sprint(b.parent)),
			quoted(b.queued), quoted(b.started), quoted(b.ended), b.status, test.pool)
		if test.read {
			want = append(want, b)
		}
	}
	slices.SortFunc(want, func(a, b build) int { return int(a.id - b.id) })
	_, _, address := postgresDatabase(t, script)
	scriptFile := filepath.Join(t.TempDir(), "builds.sql")
	writeFile(t, scriptFile, []byte(script))
	for _, address := range []string{address, "sqlite:" + scriptFile, "sqlite:" + sqliteFile(t, script)} {
		d, err := parseDatabase(address)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.readBuilds(t.Context(), 1, from, abort, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range tests {
			if read := slices.Contains(got, test.b); read != test.read {
				t.Errorf("%s: build %d, %s: read is %v", d.key, test.b.id, test.why, read)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v\nwant %+v", d.key, got, want)
		}
		if none, err := d.readBuilds(t.Context(), 3, from, abort, nil); len(none) != 0 || err != nil {
			t.Errorf("%s: of no pool: %+v, %v", d.key, none, err)
		}
	}
}

// reversedBuilds is SQL that makes so many builds of pool 1, the last of them first.
func reversedBuilds(n int) string {
	return fmt.Sprintf(`INSERT INTO builds (id, status, worker_pool_id)
		WITH RECURSIVE numbers (n) AS (SELECT %d UNION ALL SELECT n - 1 FROM numbers WHERE n > 1)
		SELECT n, CASE n %% 3 WHEN 0 THEN 'SUCCESS' WHEN 1 THEN 'FAILURE' ELSE 'ABORTED' END, 1 FROM numbers`, n)
}

// TestManyBuilds: builds come in order, whatever the database's is, and progress is told.
func TestManyBuilds(t *testing.T) {
	t.Parallel()
	schema := fileContent(t, "schema.sql")
	_, _, address := postgresDatabase(t, schema, reversedBuilds(10_000))
	for _, address := range []string{address, "sqlite:" + sqliteFile(t, schema+reversedBuilds(10_000))} {
		d, err := parseDatabase(address)
		if err != nil {
			t.Fatal(err)
		}
		var progress []int
		builds, err := d.readBuilds(t.Context(), 1, time.Unix(0, 0), 0, func(n int) { progress = append(progress, n) })
		if err != nil || len(builds) != 10_000 || !slices.Equal(progress, []int{4096, 8192}) {
			t.Errorf("%s: %d builds, progress %v, %v", d.key, len(builds), progress, err)
		}
		for i, b := range builds {
			if want := []string{"SUCCESS", "FAILURE", "ABORTED"}[b.id%3]; b.id != int64(i+1) || b.status != want {
				t.Fatalf("%s: build %d is %+v, want status %s", d.key, i, b, want)
			}
		}
	}
}

// TestBuildsErrors: what cannot be read leads to exit 69 and a cure.
func TestBuildsErrors(t *testing.T) {
	t.Parallel()
	schema := fileContent(t, "schema.sql")
	const drop = "ALTER TABLE builds DROP COLUMN pipeline_parent_build_id"
	_, _, old := postgresDatabase(t, schema, drop)
	const timely = "INSERT INTO builds (id, status, queued_time, worker_pool_id) VALUES (1, 'QUEUED', 'yesterday', 1)"
	const binary = "INSERT INTO builds (id, status, worker_pool_id) VALUES (1, x'00', 1)"
	for _, test := range []struct{ address, want, hint string }{
		{old, "not a Vespene database, or one older than autoscaling: column b.pipeline_parent_build_id does not exist",
			"manage.py migrate"},
		{"sqlite:" + sqliteFile(t, schema+drop), "not a Vespene database, or one older than autoscaling",
			"manage.py migrate"},
		{"sqlite:" + sqliteFile(t, schema+timely), `"yesterday" is not a time`, "see that the file is whole"},
		{"sqlite:" + sqliteFile(t, schema+binary), "is not text", "see that the file is whole"},
	} {
		d, err := parseDatabase(test.address)
		if err != nil {
			t.Fatal(err)
		}
		builds, err := d.readBuilds(t.Context(), 1, time.Unix(0, 0), 0, nil)
		var f *failure
		if !errors.As(err, &f) || f.code != exitDatabase || builds != nil ||
			!strings.Contains(f.Error(), test.want) || !strings.Contains(f.hint, test.hint) {
			t.Errorf("%s: %d builds, error %v; want %q, %q", d.key, len(builds), err, test.want, test.hint)
		}
	}
}

// TestBuildsTakeTheirTime: neither a role's limit nor those of the other read apply to the read of builds, which is
// read-only all the same.
func TestBuildsTakeTheirTime(t *testing.T) {
	t.Parallel()
	long := statementLimit + 3*time.Second // and the answer's margin
	c, name, address := postgresDatabase(t, fileContent(t, "schema.sql"), reversedBuilds(1),
		"ALTER TABLE builds RENAME TO records",
		fmt.Sprintf("CREATE VIEW builds AS SELECT records.* FROM records, pg_sleep(%v) "+
			"WHERE current_setting('transaction_read_only') = 'on'", long.Seconds()))
	c.exec(t, name, "ALTER ROLE postgres IN DATABASE "+name+" SET statement_timeout = '200ms'")
	conn := c.connect(t, name)
	defer conn.Close(context.Background())
	_, err := conn.PgConn().Exec(t.Context(), "BEGIN READ ONLY; SELECT * FROM builds").ReadAll()
	if err == nil || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("another read ends with %v, want the role's limit to end it", err)
	}
	d, err := parseDatabase(address)
	if err != nil {
		t.Fatal(err)
	}
	if builds, err := d.readBuilds(t.Context(), 1, time.Unix(0, 0), 0, nil); err != nil || len(builds) != 1 {
		t.Errorf("%d builds, %v; want 1", len(builds), err)
	}
}

// TestBuildsInterrupted: a signal ends the read of builds at once, here and in the database.
func TestBuildsInterrupted(t *testing.T) {
	t.Parallel()
	schema := fileContent(t, "schema.sql")
	c, name, address := postgresDatabase(t, schema, reversedBuilds(10_000), `
		ALTER TABLE builds RENAME TO records;
		CREATE VIEW builds AS SELECT * FROM records WHERE id > 2000 OR pg_sleep(60) IS NOT NULL`)
	conn := c.connect(t, name)
	defer conn.Close(context.Background())
	active := func() (n int) {
		if err := conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_stat_activity "+
			"WHERE datname = $1 AND state = 'active' AND pid <> pg_backend_pid()", name).Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	for _, address := range []string{address, "sqlite:" + sqliteFile(t, schema+reversedBuilds(200_000))} {
		d, err := parseDatabase(address)
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancelCause(t.Context())
		var ended time.Time
		builds, err := d.readBuilds(ctx, 1, time.Unix(0, 0), 0, func(n int) {
			if ended.IsZero() {
				if n := active(); d.postgres != nil && n != 1 {
					t.Errorf("%d statements run, want 1", n)
				}
				ended = time.Now()
				end(signalled{syscall.SIGTERM})
				time.Sleep(100 * time.Millisecond)
			}
		})
		took := time.Since(ended)
		if err == nil || !strings.Contains(err.Error(), "ended by SIGTERM") || builds != nil || took > 5*time.Second {
			t.Errorf("%s: %d builds, %v, %v after the signal", d.key, len(builds), err, took)
		}
		if testkit.ThroughBouncer() { // which passes it on when we are gone
			waitFor(t, func() bool { return active() == 0 })
		} else if n := active(); n != 0 {
			t.Errorf("%s: %d statements go on in the database", d.key, n)
		}
	}
}

// TestNotANumberOfWorkers: what only PostgreSQL can hold reaches the planner as it is.
func TestNotANumberOfWorkers(t *testing.T) {
	t.Parallel()
	_, _, address := postgresDatabase(t, fileContent(t, "schema.sql"),
		"INSERT INTO worker_pools (id, name, multiplier) VALUES (1, 'web', 'NaN'), (2, 'api', 'Infinity')")
	for name, p := range read(t, address) {
		if _, err := p.checked(plugins{}); err == nil || !strings.Contains(err.Error(), "multiplier is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDatabaseErrors(t *testing.T) {
	t.Parallel()
	schema := fileContent(t, "schema.sql")
	c, name, empty := postgresDatabase(t)
	_, _, old := postgresDatabase(t, schema, "ALTER TABLE worker_pools DROP COLUMN multiplier")
	_, _, older := postgresDatabase(t, schema, "ALTER TABLE worker_pools DROP COLUMN autoscaling_enabled")
	_, guarded, _ := postgresDatabase(t, schema)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo.sql")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	attaching := filepath.Join(t.TempDir(), "attach.sql")
	if err := os.WriteFile(attaching, []byte("ATTACH '"+text+".other' AS other"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ address, want, hint string }{
		{empty, "not a Vespene database, or one older than autoscaling", "check the name"},
		{old, "not a Vespene database, or one older than autoscaling: no column worker_pools.multiplier",
			"manage.py migrate"},
		{older, "not a Vespene database, or one older than autoscaling", "manage.py migrate"},
		{c.address("nope"), `database "nope" does not exist`, "check the name"},
		{fmt.Sprintf("postgres://secretive:WRONG-word@127.0.0.1:%d/%s", c.Port, name), "password authentication failed",
			"check the user and the password"},
		{fmt.Sprintf("postgres://secretive:sEcret-Word@127.0.0.1:%d/%s", c.Port, guarded),
			"permission denied for table",
			"GRANT SELECT ON worker_pools, builds, projects TO secretive"},
		{"postgres://u:sEcret-Word@127.0.0.1:1/vespene", "connection refused", "check that PostgreSQL runs"},
		{"host=127.0.0.1 port=1 user=u password=sEcret-Word dbname=vespene", "connection refused",
			"check that PostgreSQL runs"},
		{"postgres://u:sEcret-Word@no-such-host.invalid/vespene", "no-such-host.invalid",
			"check the host in the database address"},
		{"postgres://u:sEcret-Word@" + silent.Addr().String() + "/vespene", "no answer within the time limit",
			"check that the database"},
		{"sqlite:" + filepath.Join(t.TempDir(), "nope.db"), "no such file", "name a SQLite database"},
		{"sqlite:" + filepath.Join(t.TempDir(), "nope.sql"), "no such file", "name a SQLite database"},
		{"sqlite:" + t.TempDir(), "is a directory", "name a SQLite database"},
		{"sqlite:" + fifo, "is no regular file", "name a SQLite database"},
		{"sqlite:" + text, "not a database", "see that the file is whole"},
		{"sqlite:" + sqliteFile(t, "CREATE TABLE x (y)"), "not a Vespene database", "check the name"},
		{"sqlite:" + attaching, "too many attached databases", "see that the file is whole"},
	} {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			f := readError(t, test.address)
			if !strings.Contains(f.Error(), test.want) || !strings.Contains(f.hint, test.hint) ||
				test.hint == "" && f.hint != "" || strings.Contains(f.Error(), "\n") {
				t.Errorf("error %q, hint %q; want %q, %q", f, f.hint, test.want, test.hint)
			}
			all := strings.ToLower(f.Error() + f.hint)
			if strings.Contains(all, "secret-word") || strings.Contains(all, "wrong-word") {
				t.Errorf("the password is in %q, hint %q", f, f.hint)
			}
		})
	}
	t.Cleanup(func() {
		if _, err := os.Stat(text + ".other"); err == nil {
			t.Error("the script attached, and made, another database")
		}
	})
}

// TestDatabaseClock: how much PostgreSQL's clock is ahead of this host's, whatever that says.
func TestDatabaseClock(t *testing.T) {
	t.Parallel()
	_, _, address := postgresDatabase(t, fileContent(t, "vespene.sql"))
	d, err := parseDatabase(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{0, 2 * time.Minute, -2 * time.Minute} {
		pools, err := d.readPools(context.Background(), nil, false, time.Now().Add(ahead))
		if got := pools["linux"].clock + ahead; err != nil || got > time.Second || got < -time.Second {
			t.Errorf("%v: %v, %v", ahead, pools["linux"].clock, err)
		}
	}
}

// TestSourceIsNotWrittenTo: reading a SQLite database makes no files beside it, also with a write-ahead log that is in
// use.
func TestSourceIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	for name, log := range map[string]bool{"rollback journal": false, "write-ahead log": true, "in use": true} {
		path := strings.TrimPrefix(sqliteFile(t, fileContent(t, "vespene.sql")), "sqlite:")
		if log {
			execSQLite(t, path, "PRAGMA journal_mode = WAL")
		}
		if name == "in use" {
			writer := openSQLiteFile(t, path)
			defer writer.Close()
			if _, err := writer.Exec("UPDATE worker_pools SET maximum = 77"); err != nil {
				t.Fatal(err)
			}
		}
		before := snapshot(t, filepath.Dir(path))
		r := vespene(t, "--database", "sqlite:"+path, "--state", newState(t), "--dry-run", "--output", "json",
			"--queue", "linux")
		if got := r.records(t)[0]["maximum"]; got != map[bool]float64{false: 10, true: 77}[name == "in use"] {
			t.Errorf("%s: maximum %v, %s", name, got, r.stderr)
		}
		if after := snapshot(t, filepath.Dir(path)); after != before {
			t.Errorf("%s: before\n%safter\n%s", name, before, after)
		}
	}
}

// TestStatementTimeout: PostgreSQL itself ends a read that waits, here for a lock, and the run ends within 45 seconds.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	c, name, address := postgresDatabase(t, fileContent(t, "schema.sql"))
	blocker := c.connect(t, name)
	defer blocker.Close(context.Background())
	if _, err := blocker.Exec(context.Background(), "BEGIN; LOCK TABLE builds"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	r := vespene(t, "--database", address, "--state", newState(t))
	if took := time.Since(begun); r.code != exitDatabase || took > 45*time.Second || took < statementLimit ||
		!strings.Contains(r.stderr, "statement timeout") || !strings.Contains(r.stderr, "CREATE INDEX CONCURRENTLY") ||
		r.stdout != "" {
		t.Errorf("after %v: exit %d, %q, %q", took, r.code, r.stdout, r.stderr)
	}
}

// TestSeveralHosts: of several hosts, one that is silent does not use up the time of the next.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	c, name, _ := postgresDatabase(t, fileContent(t, "vespene.sql"))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address := fmt.Sprintf("postgres://postgres@%s,127.0.0.1:%d/%s?sslmode=disable", silent.Addr(), c.Port, name)
	if pools := read(t, address); len(pools) != 3 {
		t.Errorf("%d pools, want 3", len(pools))
	}
}

// TestReadOnly: the read is one that PostgreSQL would not let write, and leaves nothing open.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	c, name, address := postgresDatabase(t, fileContent(t, "schema.sql"), `
		CREATE FUNCTION meddle() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN DELETE FROM projects; RETURN true; END $$;
		ALTER TABLE worker_pools RENAME TO pools;
		CREATE VIEW worker_pools AS SELECT * FROM pools WHERE meddle();
		INSERT INTO pools (id, name) VALUES (1, 'web')`)
	if f := readError(t, address); !strings.Contains(f.Error(), "read-only transaction") {
		t.Errorf("error %q, want PostgreSQL to refuse to write", f)
	}
	conn := c.connect(t, name)
	defer conn.Close(context.Background())
	waitFor(t, func() bool {
		var open int
		err := conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_stat_activity "+
			"WHERE datname = $1 AND pid <> pg_backend_pid()", name).Scan(&open)
		return err == nil && open == 0
	})
}

// sqliteFile makes a SQLite database of the SQL and returns its path.
func sqliteFile(t testing.TB, sql string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "database.db")
	execSQLite(t, path, sql)
	return path
}
