package testkit

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

// Cluster is a throw-away PostgreSQL, behind a PgBouncer where the tests run through one.
type Cluster struct {
	Directory string
	Port      int
	Server    *exec.Cmd
	bouncer   *exec.Cmd
	poolPort  int // of the bouncer
}

var (
	sharedCluster *Cluster
	startCluster  = sync.OnceValue(func() error {
		c, err := NewCluster()
		sharedCluster = c
		return err
	})
	databases atomic.Int64
)

// Shared returns the cluster that the tests share, which the first of them starts.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	NeedPostgres(t)
	if err := startCluster(); err != nil {
		t.Fatal(err)
	}
	return sharedCluster
}

// StopShared stops the cluster that the tests share, if they have started it.
func StopShared() {
	if sharedCluster != nil {
		sharedCluster.Stop()
	}
}

// NeedPostgres is Need of a PostgreSQL server.
func NeedPostgres(t testing.TB) {
	t.Helper()
	Need(t, "PostgreSQL's server", postgresBinary("initdb") != "" && postgresBinary("postgres") != "")
}

// NewDatabase makes a database in the cluster and runs the SQL in it. It returns the name of the database.
func (c *Cluster) NewDatabase(t testing.TB, statements ...string) (name string) {
	t.Helper()
	name = fmt.Sprintf("test%d", databases.Add(1))
	c.Exec(t, "postgres", "CREATE DATABASE "+name)
	for _, statement := range statements {
		c.Exec(t, name, statement)
	}
	return name
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

// NewCluster makes and starts a cluster on a port of its own; listen has more addresses that it listens on. A role with
// a password, secretive, comes by TCP only.
func NewCluster(listen ...string) (*Cluster, error) {
	directory, err := os.MkdirTemp("", "vespene-postgres-")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Directory: directory, Port: listener.Addr().(*net.TCPAddr).Port}
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
	initdb := exec.Command(postgresBinary("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--no-sync",
		"--no-instructions")
	initdb.Dir, initdb.SysProcAttr = directory, attributes
	if output, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	rules := "host all secretive 127.0.0.1/32 scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n" +
		"host all all 198.51.100.0/30 trust\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		return nil, err
	}
	c.Server = exec.Command(postgresBinary("postgres"), "-D", data, "-k", directory, "-p", strconv.Itoa(c.Port),
		"-c", "listen_addresses="+strings.Join(append(listen, "127.0.0.1"),
			","), "-c", "fsync=off", "-c", "max_connections=200")
	c.Server.Dir, c.Server.SysProcAttr = directory, attributes
	log, err := os.Create(filepath.Join(directory, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.Server.Stdout, c.Server.Stderr = log, log
	if err := c.Server.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), c.Direct("postgres"))
		if err == nil {
			_, err = conn.Exec(context.Background(), "CREATE ROLE secretive LOGIN PASSWORD 'sEcret-Word'")
			conn.Close(context.Background())
			if err == nil && ThroughBouncer() {
				err = c.startBouncer(attributes)
			}
			return c, err
		}
		if time.Now().After(deadline) {
			return nil, err
		}
	}
}

// ThroughBouncer tells whether this is the process in which TestThroughPgBouncer has the tests run.
func ThroughBouncer() bool { return os.Getenv("TEST_THROUGH") == "pgbouncer" }

// startBouncer starts a PgBouncer in front of the cluster: transaction pooling over one connection a database and user,
// but for the tests with locks, which need one for each of their hosts and one more.
func (c *Cluster) startBouncer(attributes *syscall.SysProcAttr) error {
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
		"bouncer.ini": fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = "+
			"127.0.0.1\nlisten_port = %d\n"+
			"unix_socket_dir =\nauth_type = hba\nauth_hba_file = %[3]s/bouncer.hba\nauth_file = "+
			"%[3]s/bouncer.users\npool_mode = transaction\n"+
			"default_pool_size = %[4]s\nmax_client_conn = 500\nserver_login_retry = "+
			"0\n", c.Port, c.poolPort, c.Directory, os.Getenv("TEST_POOL_SIZE")),
		"bouncer.hba":   "host all secretive 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
		"bouncer.users": "\"postgres\" \"\"\n\"secretive\" \"sEcret-Word\"\n",
	} {
		if err := os.WriteFile(filepath.Join(c.Directory, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	c.bouncer = exec.Command(path, filepath.Join(c.Directory, "bouncer.ini"))
	c.bouncer.SysProcAttr = attributes
	log, err := os.Create(filepath.Join(c.Directory, "bouncer.log"))
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

func (c *Cluster) Stop() {
	if c.bouncer != nil {
		c.bouncer.Process.Signal(syscall.SIGQUIT)
		c.bouncer.Wait()
	}
	c.Server.Process.Signal(syscall.SIGQUIT)
	c.Server.Wait()
	os.RemoveAll(c.Directory)
}

// Address is that of a database, for the superuser.
func (c *Cluster) Address(database string) string { return c.AddressFor("postgres", database) }

func (c *Cluster) AddressFor(user, database string) string {
	port := c.Port
	if c.bouncer != nil {
		port = c.poolPort
	}
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s", user, port, database)
}

// Direct is the address of a database, without a PgBouncer before it.
func (c *Cluster) Direct(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s", c.Port, database)
}

// Exec runs SQL, several statements if need be.
func (c *Cluster) Exec(t testing.TB, database, sql string) {
	t.Helper()
	conn := c.Connect(t, database)
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), c.Direct(database))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
