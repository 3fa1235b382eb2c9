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

// cluster is a throw-away PostgreSQL.
type cluster struct {
	directory string
	port      int
	server    *exec.Cmd
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
		conn, err := pgx.Connect(context.Background(), c.address("postgres"))
		if err == nil {
			_, err = conn.Exec(context.Background(), "CREATE ROLE secretive LOGIN PASSWORD 'sEcret-Word'")
			conn.Close(context.Background())
			return c, err
		}
		if time.Now().After(deadline) {
			return nil, err
		}
	}
}

func (c *cluster) stop() {
	c.server.Process.Signal(syscall.SIGQUIT)
	c.server.Wait()
	os.RemoveAll(c.directory)
}

// address is that of a database, for the superuser.
func (c *cluster) address(database string) string { return c.addressFor("postgres", database) }

func (c *cluster) addressFor(user, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s", user, c.port, database)
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
	conn, err := pgx.Connect(context.Background(), c.address(database))
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
