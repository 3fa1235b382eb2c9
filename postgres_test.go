package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is a throw-away PostgreSQL, behind a PgBouncer where the tests run through one.
type cluster struct {
	directory string
	port      int
	server    *exec.Cmd
	bouncer   *exec.Cmd
	poolPort  int // of the bouncer
}

var (
	sharedCluster *cluster
	startCluster  = sync.OnceValue(func() error {
		c, err := newCluster()
		sharedCluster = c
		return err
	})
	databases atomic.Int64
)

func stopCluster() {
	if sharedCluster != nil {
		sharedCluster.stop()
	}
}

// postgresBinary is a program of the PostgreSQL server, which Debian keeps off the PATH; "" where there is none.
func postgresBinary(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return ""
	}
	return slices.Max(found)
}

// newCluster makes and starts a cluster on a port of its own, which listens on more addresses, too. A role with a password, secretive, comes by TCP only.
func newCluster(listen ...string) (*cluster, error) {
	directory, err := os.MkdirTemp("", "vespene-postgres-")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cluster{directory: directory, port: listener.Addr().(*net.TCPAddr).Port}
	listener.Close()
	if err := os.Chmod(directory, 0o755); err != nil { // the socket is in it
		return nil, err
	}

	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 { // the server refuses to run as root
		account, err := user.Lookup("postgres")
		if err != nil {
			if account, err = user.Lookup("nobody"); err != nil {
				return nil, err
			}
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		if err := os.Chown(directory, uid, gid); err != nil {
			return nil, err
		}
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(directory, "data")
	initdb := exec.Command(postgresBinary("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
		"--no-instructions")
	initdb.Dir, initdb.SysProcAttr = directory, attributes
	if output, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	rules := "host all secretive 127.0.0.1/32 scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust\nhost all all 198.51.100.0/30 trust\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		return nil, err
	}
	c.server = exec.Command(postgresBinary("postgres"), "-D", data, "-k", directory, "-p", strconv.Itoa(c.port),
		"-c", "listen_addresses="+strings.Join(append(listen, "127.0.0.1"), ","), "-c", "fsync=off", "-c", "max_connections=200")
	c.server.Dir, c.server.SysProcAttr = directory, attributes
	log, err := os.Create(filepath.Join(directory, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.server.Stdout, c.server.Stderr = log, log
	if err := c.server.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), c.direct("postgres"))
		if err == nil {
			_, err = conn.Exec(context.Background(), "CREATE ROLE secretive LOGIN PASSWORD 'sEcret-Word'")
			conn.Close(context.Background())
			if err == nil && throughBouncer() {
				err = c.startBouncer(attributes)
			}
			return c, err
		}
		if time.Now().After(deadline) {
			return nil, err
		}
	}
}

// ownCluster is a cluster for a test alone, which may do to it what others would not survive.
func ownCluster(t testing.TB, listen ...string) *cluster {
	t.Helper()
	need(t, "PostgreSQL's server", postgresBinary("initdb") != "")
	c, err := newCluster(listen...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

// throughBouncer tells whether this is the process in which TestThroughPgBouncer has the tests run.
func throughBouncer() bool { return os.Getenv("TEST_THROUGH") == "pgbouncer" }

// startBouncer starts a PgBouncer in front of the cluster: transaction pooling over one connection a database and user,
// but for the tests with locks, which need one for each of their hosts and one more.
func (c *cluster) startBouncer(attributes *syscall.SysProcAttr) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.poolPort = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"bouncer.ini": fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"+
			"unix_socket_dir =\nauth_type = hba\nauth_hba_file = %[3]s/bouncer.hba\nauth_file = %[3]s/bouncer.users\npool_mode = transaction\n"+
			"default_pool_size = %[4]s\nmax_client_conn = 500\nserver_login_retry = 0\n", c.port, c.poolPort, c.directory, os.Getenv("TEST_POOL_SIZE")),
		"bouncer.hba":   "host all secretive 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
		"bouncer.users": "\"postgres\" \"\"\n\"secretive\" \"sEcret-Word\"\n",
	} {
		if err := os.WriteFile(filepath.Join(c.directory, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	c.bouncer = exec.Command(path, filepath.Join(c.directory, "bouncer.ini"))
	c.bouncer.SysProcAttr = attributes
	log, err := os.Create(filepath.Join(c.directory, "bouncer.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.bouncer.Stdout, c.bouncer.Stderr = log, log
	if err := c.bouncer.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.poolPort))
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func (c *cluster) stop() {
	if c.bouncer != nil {
		c.bouncer.Process.Signal(syscall.SIGQUIT)
		c.bouncer.Wait()
	}
	c.server.Process.Signal(syscall.SIGQUIT)
	c.server.Wait()
	os.RemoveAll(c.directory)
}

// address is that of a database, for the superuser.
func (c *cluster) address(database string) string { return c.addressFor("postgres", database) }

func (c *cluster) addressFor(user, database string) string {
	port := c.port
	if c.bouncer != nil {
		port = c.poolPort
	}
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s", user, port, database)
}

// direct is the address of a database, without a PgBouncer before it.
func (c *cluster) direct(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s", c.port, database)
}

// postgresDatabase makes a database in the shared cluster, runs the SQL in it, and returns the cluster, its name and its
// address.
func postgresDatabase(t testing.TB, statements ...string) (c *cluster, name, address string) {
	t.Helper()
	need(t, "PostgreSQL's server", postgresBinary("initdb") != "" && postgresBinary("postgres") != "")
	if err := startCluster(); err != nil {
		t.Fatal(err)
	}
	c, name = sharedCluster, fmt.Sprintf("test%d", databases.Add(1))
	c.exec(t, "postgres", "CREATE DATABASE "+name)
	for _, statement := range statements {
		c.exec(t, name, statement)
	}
	return c, name, c.address(name)
}

// exec runs SQL, several statements if need be.
func (c *cluster) exec(t testing.TB, database, sql string) {
	t.Helper()
	conn := c.connect(t, database)
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), c.direct(database))
	if err != nil {
		t.Fatal(err)
	}
	return conn
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
	if throughBouncer() {
		return
	}
	t.Parallel()
	_, err := exec.LookPath("pgbouncer")
	need(t, "pgbouncer", err == nil)
	need(t, "PostgreSQL's server", postgresBinary("initdb") != "")
	for size, tests := range map[string]string{
		"1": "^(TestTenRuns|TestOneStatementForBoth|TestRealDatabase|TestMisleadingBuilds|TestNotANumberOfWorkers|TestReadOnly|TestStatementTimeout|" +
			"TestDatabaseErrors|TestSameRecords|TestBuilds|TestManyBuilds|TestBuildsErrors|TestBuildsTakeTheirTime|TestBuildsInterrupted)$",
		"6": "^(TestSharedRhythm|TestSharedOutcome|TestSharedHolderKilled|TestSharedLockLost|TestSharedLockLostBefore|TestSharedRights|TestSharedDatabaseDies)$",
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
