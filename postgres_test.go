package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"vespene-autoscale/e2e/testkit"
)

// cluster is a throw-away PostgreSQL, behind a PgBouncer where the tests run through one.
type cluster struct{ *testkit.Cluster }

// ownCluster is a cluster for a test alone, which may do to it what others would not survive.
func ownCluster(t testing.TB, listen ...string) *cluster {
	t.Helper()
	testkit.NeedPostgres(t)
	c, err := testkit.NewCluster(listen...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return &cluster{c}
}

// postgresDatabase makes a database in the shared cluster, runs the SQL in it, and returns the cluster, its name and
// its address.
func postgresDatabase(t testing.TB, statements ...string) (c *cluster, name, address string) {
	t.Helper()
	c = &cluster{testkit.Shared(t)}
	name = c.NewDatabase(t, statements...)
	return c, name, c.address(name)
}

func (c *cluster) address(database string) string          { return c.Address(database) }
func (c *cluster) addressFor(user, database string) string { return c.AddressFor(user, database) }
func (c *cluster) direct(database string) string           { return c.Direct(database) }

func (c *cluster) exec(t testing.TB, database, sql string) {
	t.Helper()
	c.Exec(t, database, sql)
}

func (c *cluster) connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	return c.Connect(t, database)
}

// fileContent is the content of a file of testdata.
func fileContent(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestThroughPgBouncer runs the tests of the database again, in a process of their own, through a real PgBouncer in
// transaction pooling: those that only read over one connection, ten runs in a row among them, and those of hosts that
// share pools over as many as there are hosts and one more.
func TestThroughPgBouncer(t *testing.T) {
	if testkit.ThroughBouncer() {
		return
	}
	t.Parallel()
	_, err := exec.LookPath("pgbouncer")
	need(t, "pgbouncer", err == nil)
	testkit.NeedPostgres(t)
	for size, tests := range map[string]string{
		"1": "^(TestTenRuns|TestOneStatementForBoth|TestRealDatabase|TestMisleadingBuilds|TestNotANumberOfWorkers|" +
			"TestReadOnly|TestStatementTimeout|" +
			"TestDatabaseErrors|TestSameRecords|TestBuilds|TestManyBuilds|TestBuildsErrors|TestBuildsTakeTheirTime|" +
			"TestBuildsInterrupted)$",
		"6": "^(TestSharedRhythm|TestSharedOutcome|TestSharedHolderKilled|TestSharedLockLost|" +
			"TestSharedLockLostBefore|TestSharedRights|TestSharedDatabaseDies)$",
	} {
		t.Run("over "+size, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.run", tests, "-test.v")
			cmd.Env = append(os.Environ(), "TEST_THROUGH=pgbouncer", "TEST_POOL_SIZE="+size)
			output, err := cmd.CombinedOutput()
			want := strings.Count(tests, "|") + 1
			if passed := strings.Count("\n"+string(output), "\n--- PASS: "); err != nil || passed != want {
				t.Errorf("%v, %d of %d tests passed:\n%s", err, passed, want, output)
			}
		})
	}
}

// TestTenRuns: ten runs in a row that PgBouncer, where there is one, gives the same connection.
func TestTenRuns(t *testing.T) {
	t.Parallel()
	_, _, address := postgresDatabase(t, fileContent(t, "vespene.sql"))
	state := newState(t)
	for i := range 10 {
		if r := vespene(t, "--database", address, "--state", state, "--force"); r.code != 0 {
			t.Errorf("run %d: exit %d, %s", i, r.code, r.stderr)
		}
	}
	// And nothing of ours stays on it.
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var limit string
	if err := conn.QueryRow(t.Context(), "SHOW statement_timeout").Scan(&limit); err != nil || limit != "0" {
		t.Errorf("statement_timeout is %s afterwards, %v", limit, err)
	}
}
