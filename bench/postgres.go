package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const index = "CREATE INDEX builds_active_idx ON builds (worker_pool_id, status) WHERE status IN ('QUEUED', 'RUNNING')"

// postgres is a PostgreSQL of our own, with a socket in its folder and a port on loopback.
type postgres struct {
	folder, bin string
	port        int
	server      *exec.Cmd
}

func startPostgres(folder string) (*postgres, error) {
	initdb, err := exec.LookPath("initdb")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); err != nil && len(found) > 0 {
		initdb, err = slices.Max(found), nil // Debian keeps it off the PATH
	}
	if err == nil {
		initdb, err = filepath.EvalSymlinks(initdb) // psql is beside it
	}
	if err != nil {
		return nil, errors.New("PostgreSQL's server is missing: sudo apt-get install postgresql")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &postgres{folder: folder, bin: filepath.Dir(initdb), port: listener.Addr().(*net.TCPAddr).Port}
	listener.Close()
	if err := errors.Join(os.Mkdir(folder, 0o755), os.Chmod(filepath.Dir(folder), 0o755)); err != nil {
		return nil, err
	}
	as := &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if os.Geteuid() == 0 { // as whom it refuses to run
		account, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		if err := os.Chown(folder, uid, gid); err != nil {
			return nil, err
		}
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(folder, "data")
	make := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
		"--no-instructions")
	make.Dir, make.SysProcAttr = folder, as
	if output, err := make.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	p.server = exec.Command(filepath.Join(p.bin, "postgres"), "-D", data, "-k", folder, "-p", strconv.Itoa(p.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB",
		"-c", "autovacuum=off")
	p.server.Dir, p.server.SysProcAttr = folder, as
	if err := p.server.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err = p.sql("postgres", "SELECT 1"); err == nil {
			return p, nil
		} else if time.Now().After(end) {
			p.stop()
			return nil, err
		}
	}
}

func (p *postgres) stop() {
	if p.server != nil && p.server.Process != nil {
		p.server.Process.Signal(syscall.SIGQUIT)
		p.server.Wait()
	}
}

// address is that of a database, over the socket, for us and psql alike.
func (p *postgres) address(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", p.folder, p.port, database)
}

// sql runs statements, each of its own.
func (p *postgres) sql(database string, statements ...string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, p.address(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}

// load makes a database with Vespene's own tables, pools named pool-1, pool-2, … and builds, the newest 50 of which
// wait or run.
func (p *postgres) load(database string, pools, builds int, indexed bool) error {
	say("load %s: %s pools, %s builds", database, thousands(pools), thousands(builds))
	dump, err := os.ReadFile("testdata/vespene-real.sql")
	if err != nil {
		return err
	}
	var tables, rest []string // indexes are made after the rows, which takes less time
	for statement := range strings.SplitSeq(string(dump), ";\n") {
		for strings.HasPrefix(statement, "--") {
			_, statement, _ = strings.Cut(statement, "\n")
		}
		switch {
		case strings.HasPrefix(statement, "CREATE TABLE"):
			tables = append(tables, statement)
		case strings.HasPrefix(statement, "CREATE INDEX"), strings.Contains(statement, "PRIMARY KEY"),
			strings.Contains(statement, "UNIQUE"):
			rest = append(rest, statement)
		}
	}
	fill := []string{
		fmt.Sprintf(`INSERT INTO worker_pools (id, name, variables, isolation_method, permissions_hex, sleep_seconds,
				auto_abort_minutes, build_latest, build_object_shelf_life, build_root_shelf_life, autoscaling_enabled,
				excess, executor, executor_command, maximum, minimum, multiplier, planner, queued_weight,
				reevaluate_minutes, running_weight)
			SELECT i, 'pool-' || i, '{}', 'basic', '0x777', 10, 1440, true, 365, 31, true, 1, 'shell', 'true', 40, 1,
				1.5, 'stock', 1, 0, 1
			FROM generate_series(1, %d) i`, pools),
		`INSERT INTO projects (id, name, pipeline_enabled, description, repo_url, repo_branch, scm_type,
				webhook_enabled, timeout, launch_questions, schedule_enabled, monday, tuesday, wednesday, thursday,
				friday, saturday, sunday, schedule_threshold, worker_pool_id, recursive)
			SELECT i, 'project-' || i, false, '', '', 'main', 'git', false, 60, '', false, false, false, false, false,
				false, false, false, 0, 1, false
			FROM generate_series(1, 20) i`,
		fmt.Sprintf(`INSERT INTO builds (id, is_internal, queued_time, start_time, end_time, status, output,
				working_dir, variables, output_variables, worker_pool_id, project_id)
			SELECT i, false, at, at + interval '20 s', CASE WHEN i <= %[1]d - 50 THEN at + interval '90 s' END,
				CASE WHEN i > %[1]d - 30 THEN 'QUEUED' WHEN i > %[1]d - 50 THEN 'RUNNING' ELSE 'SUCCESS' END,
				repeat(md5(i::text), 3), '/tmp/vespene/builds/' || i, '{}', '{}', i %% %[2]d + 1, 1 + i %% 20
			FROM (SELECT i, now() - interval '1 s' * (%[1]d - i) AS at FROM generate_series(1, %[1]d) i) i`,
			builds, pools),
	}
	if indexed {
		rest = append(rest, index)
	}
	if err := p.sql("postgres", "DROP DATABASE IF EXISTS "+database, "CREATE DATABASE "+database); err != nil {
		return err
	}
	return p.sql(database, slices.Concat(tables, fill, rest, []string{"VACUUM ANALYZE"})...)
}

// every makes the pools of a database due again after so many minutes; 0: in each run.
func (p *postgres) every(database string, minutes int) error {
	return p.sql(database, fmt.Sprintf("UPDATE worker_pools SET reevaluate_minutes = %d "+
		"WHERE reevaluate_minutes <> %[1]d", minutes),
		"VACUUM ANALYZE worker_pools")
}
