package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sharedPool makes a database with one pool, web, that is due each five minutes, and has been every minute in the past.
func sharedPool(t testing.TB, command string) (c *cluster, name, address string) {
	return postgresDatabase(t, fileContent(t, "schema.sql"), fmt.Sprintf(
		"INSERT INTO worker_pools (id, name, executor_command) VALUES (1, 'web', '%s')",
		strings.ReplaceAll(command, "'", "''")))
}

// host is a run with --shared on a host of its own: with its own state and, in the environment, its own clock.
func host(t testing.TB, address, state string, args ...string) *exec.Cmd {
	cmd, _, _ := program(t, append([]string{"--shared", "--database", address, "--state", state, "--output", "json"},
		args...)...)
	return cmd
}

// runHost runs a host's run to its end.
func runHost(t testing.TB, address, state string, args ...string) (code int, record map[string]any, stderr string) {
	t.Helper()
	r := vespene(t, append([]string{"--shared", "--database", address, "--state", state, "--output", "json"},
		args...)...)
	if all := r.records(t); len(all) > 0 {
		record = all[0]
	}
	return r.code, record, r.stderr
}

// row is what Vespene sees of the pool.
func (c *cluster) row(t testing.TB, database string) (status *int, last *time.Time, now time.Time) {
	t.Helper()
	conn := c.connect(t, database)
	defer conn.Close(context.Background())
	row := conn.QueryRow(context.Background(),
		"SELECT autoscaling_status, last_autoscaled, clock_timestamp() FROM worker_pools WHERE id = 1")
	if err := row.Scan(&status, &last, &now); err != nil {
		t.Fatal(err)
	}
	return status, last, now
}

// TestSharedRhythm: five hosts, two of whose clocks differ by two minutes, that each tick 60 times a minute apart, give
// or take two seconds, evaluate a pool with reevaluate_minutes 5 exactly 12 times.
func TestSharedRhythm(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	c, name, address := sharedPool(t, "echo >> "+log)
	clocks, states := []string{"0s", "2m", "-2m", "1s", "-1s"}, []string{}
	for range clocks {
		states = append(states, newState(t))
	}
	random := rand.New(rand.NewPCG(7, 8))
	begun, aged := time.Now(), time.Duration(0)
	for minute := range 60 {
		tick := time.Duration(minute)*time.Minute + time.Duration(random.IntN(3001)-2000)*time.Millisecond
		if minute > 0 {
			by := tick - time.Since(begun) - aged
			aged += by
			c.exec(t, name, fmt.Sprintf("UPDATE worker_pools SET last_autoscaled = last_autoscaled - interval '%d ms'",
				by.Milliseconds()))
		}
		var all sync.WaitGroup
		for i := range clocks {
			cmd := host(t, address, states[i])
			cmd.Env = append(cmd.Env, "TEST_CLOCK="+clocks[i])
			late := time.Duration(random.IntN(60)) * time.Millisecond
			all.Go(func() {
				time.Sleep(late)
				if code := exitOf(t, cmd.Run()); code != 0 && code != exitBusy {
					t.Errorf("minute %d, host %d: exit %d, %s", minute, i, code, cmd.Stderr)
				}
			})
		}
		all.Wait()
	}
	if n := len(contentOf(t, log)); n != 12 {
		t.Errorf("%d evaluations, want 12", n)
	}
	total := 0
	for _, state := range states {
		total += len(evaluations(t, state))
	}
	if total != 12 {
		t.Errorf("%d evaluations in all states, want 12", total)
	}
}

// TestSharedOutcome: Vespene sees when its pool was last evaluated, and with which exit code.
func TestSharedOutcome(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		command string
		code    int
		status  int
		fromEnd bool
	}{
		"success":  {"sleep 2", 0, 0, false},
		"failure":  {"sleep 2; exit 3", exitFailed, 3, true},
		"time out": {"sleep 600", exitFailed, 130, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, database, address := sharedPool(t, test.command)
			state := newState(t)
			code, record, stderr := runHost(t, address, state, "--timeout", "4s")
			if code != test.code || record["previous_size"] != nil {
				t.Errorf("exit %d, %v, %s", code, record, stderr)
			}
			status, last, now := c.row(t, database)
			if status == nil || *status != test.status || last == nil {
				t.Fatalf("status %v, last %v; want %d", status, last, test.status)
			}
			if ago := now.Sub(*last); ago > 2*time.Second == test.fromEnd {
				t.Errorf("last evaluated %v ago", ago)
			}
			next := last.Add(5 * time.Minute).UTC().Truncate(time.Millisecond)
			if want := next.Format(time.RFC3339Nano); record["next_due"] != want {
				t.Errorf("next_due %v, want %s", record["next_due"], want)
			}
			// On another host it is not due, and its size before is not known.
			code, record, stderr = runHost(t, address, newState(t))
			if code != 0 || record["outcome"] != notDue || stderr != "" {
				t.Errorf("another host: exit %d, %v, %s", code, record, stderr)
			}
			code, record, _ = runHost(t, address, state, "--dry-run")
			if code != 0 || record["due"] != false || record["previous_size"] != nil {
				t.Errorf("dry run: exit %d, %v", code, record)
			}
		})
	}
}

// TestSharedHolderKilled: while a host holds the lock, another is busy; when it is killed, the lock is free at once.
func TestSharedHolderKilled(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	_, _, address := sharedPool(t, "cd "+directory+"; test -e begun && exit; echo $$ > begun; sleep 600")
	cmd := host(t, address, newState(t))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { content, _ := os.ReadFile(directory + "/begun"); return len(content) > 0 })
	defer killCommand(t, directory+"/begun")
	other := newState(t)
	if code, record, stderr := runHost(t, address, other); code != 0 || record["outcome"] != notDue || stderr != "" {
		t.Errorf("meanwhile, not due: exit %d, %v, %s", code, record, stderr)
	}
	code, record, stderr := runHost(t, address, other, "--force")
	if code != exitBusy || record["outcome"] != busy ||
		!strings.Contains(stderr, "another host holds this pool's lock in PostgreSQL") {
		t.Errorf("meanwhile, by force: exit %d, %v, %s", code, record, stderr)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if code, record, stderr = runHost(t, address, other, "--force"); code == 0 && record["outcome"] == scaled {
			break
		}
		if time.Since(begun) > 3*time.Second {
			t.Fatalf("then: exit %d, %v, %s", code, record, stderr)
		}
	}
}

// TestSharedLockLost: a host that is cut off from PostgreSQL while its command runs says so in the log at once and in
// the outcome when the command has ended.
func TestSharedLockLost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ command, outcome string }{
		"scaled": {"sleep 8", scaled},
		"failed": {"sleep 8; exit 3", failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, state := filepath.Join(t.TempDir(), "begun"), newState(t)
			c, database, address := sharedPool(t, "echo > "+begun+"; "+test.command)
			cmd, stdout, stderr := program(t, "--shared", "--database", address, "--state", state, "--output", "json")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { _, err := os.Stat(begun); return err == nil })
			c.endLocks(t, database)
			code := exitOf(t, cmd.Wait())
			record := ran{stdout: stdout.String()}.records(t)[0]
			message, _ := record["error"].(string)
			if code != exitDatabase || record["outcome"] != test.outcome ||
				!strings.Contains(message, "the lock that hosts share was lost") ||
				!strings.Contains(message, "this one had ended: "+test.outcome) || record["exit_code"] == nil {
				t.Errorf("exit %d, %v, %s", code, record, stderr)
			}
			if !strings.Contains(stderr.String(), "another may run the command, too") ||
				strings.Count(stderr.String(), "level=ERROR") != 2 {
				t.Errorf("log\n%s", stderr)
			}
			if got := evaluations(t, state); len(got) != 1 || got[0].outcome != test.outcome {
				t.Errorf("recorded %+v", got)
			}
		})
	}
}

// TestSharedLockLostBefore: a lock that is lost before the command has begun, here while the planner is asked, is one
// with which nothing is run.
func TestSharedLockLostBefore(t *testing.T) {
	t.Parallel()
	directory, state := t.TempDir(), newState(t)
	c, database, address := sharedPool(t, "touch "+directory+"/ran")
	c.exec(t, database, "UPDATE worker_pools SET planner = 'p'")
	cmd, stdout, stderr := program(t, "--shared", "--database", address, "--state", state, "--output", "json",
		"--planner", "p="+plugin(t, "touch "+directory+`/begun; sleep 2; echo '{"size": 1, "queued_size": 1}'`))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(directory + "/begun"); return err == nil })
	c.endLocks(t, database)
	code := exitOf(t, cmd.Wait())
	if record := (ran{stdout: stdout.String()}).records(t)[0]; code != exitDatabase || record["outcome"] != failed {
		t.Errorf("exit %d, %v, %s", code, record, stderr)
	}
	if _, err := os.Stat(directory + "/ran"); err == nil || len(evaluations(t, state)) > 0 {
		t.Error("the command ran, or its evaluation was recorded")
	}
	if _, last, _ := c.row(t, database); last != nil {
		t.Errorf("last evaluated %v", last)
	}
}

// TestSharedClaimIsFenced: a host whose lock is lost while its claim waits runs nothing, and another one once.
func TestSharedClaimIsFenced(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	c, database, address := sharedPool(t, "echo >> "+log+"; sleep 2")
	blocker := c.connect(t, database)
	defer blocker.Close(context.Background())
	if _, err := blocker.Exec(t.Context(), "BEGIN; SELECT 1 FROM worker_pools WHERE id = 1 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	watcher := c.connect(t, "postgres") // within a transaction the activity stays as it was
	defer watcher.Close(context.Background())
	waiting := func(n int) {
		waitFor(t, func() bool {
			var waits int
			err := watcher.QueryRow(t.Context(),
				"SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'",
				database).Scan(&waits)
			return err == nil && waits == n
		})
	}
	hosts := []*exec.Cmd{host(t, address, newState(t)), host(t, address, newState(t))}
	for i, cmd := range hosts {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waiting(i + 1)
		if i == 0 {
			c.endLocks(t, database)
		}
	}
	if _, err := blocker.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	codes := []int{exitOf(t, hosts[0].Wait()), exitOf(t, hosts[1].Wait())}
	if content, _ := os.ReadFile(log); len(content) > 1 {
		t.Errorf("%d commands, exit codes %v", len(content), codes)
	}
	if codes[0] != exitDatabase {
		t.Errorf("exit codes %v\n%s\n%s", codes, hosts[0].Stderr, hosts[1].Stderr)
	}
	// The claim was taken back, or is the other's: by the next run the pool has been served, and once.
	if code, record, stderr := runHost(t, address, newState(t)); code != 0 || len(contentOf(t, log)) != 1 {
		t.Errorf("then: exit %d, %v, %s", code, record, stderr)
	}
}

// TestSharedUnclaimed: a host that cannot write its own state takes its claim back, and another serves the pool.
func TestSharedUnclaimed(t *testing.T) {
	t.Parallel()
	c, database, address := sharedPool(t, "true")
	state := newState(t)
	if code, _, stderr := runHost(t, address, state); code != 0 {
		t.Fatal(stderr)
	}
	c.exec(t, database, "UPDATE worker_pools SET last_autoscaled = NULL")
	writer := openSQLiteFile(t, state)
	defer writer.Close()
	conn, err := writer.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if code, record, stderr := runHost(t, address, state); code != exitState || record["outcome"] != failed {
		t.Errorf("exit %d, %v, %s", code, record, stderr)
	}
	conn.Close()
	if code, record, stderr := runHost(t, address, newState(t)); code != 0 || record["outcome"] != scaled {
		t.Errorf("another: exit %d, %v, %s", code, record, stderr)
	}
}

// endLocks cuts off who holds an advisory lock of the database.
func (c *cluster) endLocks(t testing.TB, database string) {
	c.exec(t, database, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = "+
		"(SELECT oid FROM pg_database WHERE datname = '"+database+"')")
}

// TestSharedRights: without the right to write, exit 69 with the GRANT that is missing, and nothing is run.
func TestSharedRights(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	c, database, _ := sharedPool(t, "touch "+directory+"/ran")
	c.exec(t, database, "GRANT SELECT ON worker_pools, builds, projects TO secretive")
	address, state := c.addressFor("secretive:sEcret-Word", database), newState(t)
	code, record, stderr := runHost(t, address, state)
	if code != exitDatabase || record["outcome"] != failed ||
		!strings.Contains(stderr, "GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO secretive") ||
		strings.Contains(stderr, "sEcret") {
		t.Errorf("exit %d, %v, %s", code, record, stderr)
	}
	if _, err := os.Stat(directory + "/ran"); err == nil || len(evaluations(t, state)) > 0 {
		t.Error("the command ran, or its evaluation was recorded")
	}
	c.exec(t, database, "GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO secretive")
	if code, record, stderr := runHost(t, address, state); code != 0 {
		t.Errorf("with it: exit %d, %v, %s", code, record, stderr)
	}
}

// TestSharedDatabaseDies: PostgreSQL is killed while a command runs; its outcome is in the state, and that nothing else
// could be written is an error.
func TestSharedDatabaseDies(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	begun, state := filepath.Join(t.TempDir(), "begun"), newState(t)
	c.exec(t, "postgres", fileContent(t, "schema.sql"))
	c.exec(t, "postgres", "INSERT INTO worker_pools (id, name, executor_command) "+
		"VALUES (1, 'web', 'echo > "+begun+"; sleep 3')")
	cmd, stdout, stderr := program(t, "--shared", "--database", c.address("postgres"), "--state", state,
		"--output", "json")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(begun); return err == nil })
	c.Server.Process.Signal(syscall.SIGQUIT)
	c.Server.Wait()
	code := exitOf(t, cmd.Wait())
	record := ran{stdout: stdout.String()}.records(t)[0]
	if code != exitDatabase || record["outcome"] != scaled || record["next_due"] != nil || record["error"] == nil {
		t.Errorf("exit %d, %v, %s", code, record, stderr)
	}
	if got := evaluations(t, state); len(got) != 1 || got[0].outcome != scaled {
		t.Errorf("recorded %+v", got)
	}
}

// TestConnections: a run connects once, also where the server refuses TLS; with --shared twice, and again after a
// command that takes longer than a network may take a silent connection for alive.
func TestConnections(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	c.exec(t, "postgres", fileContent(t, "schema.sql")+"; INSERT INTO worker_pools (id, name, reevaluate_minutes) "+
		"VALUES (1, 'web', 0)")
	c.exec(t, "postgres", "ALTER SYSTEM SET log_connections = on")
	c.exec(t, "postgres", "SELECT pg_reload_conf()")
	address, log := c.direct("postgres"), filepath.Join(c.Directory, "log")
	received := func() int { return bytes.Count(contentOf(t, log), []byte("connection received")) }
	deadline := time.Now().Add(10 * time.Second)
	for received() == 0 && time.Now().Before(deadline) { // until it is reloaded
		c.connect(t, "postgres").Close(t.Context())
	}
	for _, test := range []struct {
		command string
		options []string
		want    int
	}{
		{"true", nil, 1},
		{"true", []string{"--shared"}, 2},
		{"sleep 6", []string{"--shared"}, 3},
	} {
		c.exec(t, "postgres", "UPDATE worker_pools SET executor_command = '"+test.command+"'")
		before := received()
		if r := vespene(t, append([]string{"--database", address, "--state", newState(t)},
			test.options...)...); r.code != 0 {
			t.Fatal(r)
		}
		if n := received() - before; n != test.want {
			t.Errorf("%s %v: %d connections, want %d", test.command, test.options, n, test.want)
		}
	}
}
