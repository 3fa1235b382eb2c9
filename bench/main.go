// Command bench measures whole runs of vespene-autoscale beside what a shell takes for the same: a bare psql with the
// same query, sh -c true, cat. It makes a PostgreSQL of its own, loads it with builds, and prints a table. Each figure
// is the median of runs in turn, ours and the other, and each ratio the median of those of the pairs, since machines
// differ.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver, for the state files
)

// sizes are how much is measured; small is for seeing that everything works.
type sizes struct {
	builds, manyBuilds, manyPools, duePools, evaluations, output int
	runs, fewRuns                                                int // pairs of short ones and of long ones
}

var (
	full  = sizes{200_000, 5_000_000, 10_000, 1_000, 1_000_000, 1_000_000_000, 100, 7}
	small = sizes{2_000, 5_000, 100, 10, 2_000, 1_000_000, 3, 2}
)

func main() {
	isSmall := flag.Bool("small", false, "a minute's look at whether it works: its figures mean nothing")
	flag.Parse()
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer end()
	n := full
	if *isSmall {
		n = small
	}
	if err := measure(ctx, n, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure measures everything and prints the table.
func measure(ctx context.Context, n sizes, out io.Writer) (err error) {
	b, err := newBench(ctx, n)
	if err != nil {
		return err
	}
	defer b.close()
	for _, part := range []func() error{b.onePool, b.manyBuilds, b.manyPools, b.duePools, b.longState, b.shared,
		b.output, b.size} {
		if err := part(); err != nil {
			return err
		}
	}
	b.print(out)
	return nil
}

// bench is a PostgreSQL and the programs to measure, and what was measured.
type bench struct {
	sizes
	ctx       context.Context
	directory string // of all that follows
	*postgres
	program, empty string // this project's program, and one that does nothing
	query          string // a file with the one statement that a run asks
	rows           []row
}

// row is of the table. bound is what figure may be at most; 0 where there is no goal.
type row struct {
	work, ours, other string
	figure, bound     float64
	unit              string // of figure: × or ms or MiB
}

func newBench(ctx context.Context, n sizes) (b *bench, err error) {
	b = &bench{sizes: n, ctx: ctx}
	if b.directory, err = os.MkdirTemp("", "vespene-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	say("build the program")
	b.program, b.empty = filepath.Join(b.directory, "vespene-autoscale"), filepath.Join(b.directory, "empty")
	if err = build(ctx, b.program, "-tags", "urfave_cli_no_docs", "."); err != nil { // as packages have it
		return nil, err
	}
	source := b.empty + ".go"
	if err = errors.Join(os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600),
		build(ctx, b.empty, source)); err != nil {
		return nil, err
	}
	b.query = filepath.Join(b.directory, "query.sql")
	if err = writeQuery(b.query); err != nil {
		return nil, err
	}
	say("make a PostgreSQL")
	b.postgres, err = startPostgres(filepath.Join(b.directory, "postgres"))
	return b, err
}

func (b *bench) close() {
	if b.postgres != nil {
		b.stop()
	}
	os.RemoveAll(b.directory)
}

// build builds a static program as packages have it.
func build(ctx context.Context, into string, arguments ...string) error {
	command := exec.CommandContext(ctx, "go",
		append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", into}, arguments...)...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, output)
	}
	return nil
}

// writeQuery writes the statement that a run asks, for psql: with the time and the choice of pools in their places.
func writeQuery(into string) error {
	source, err := os.ReadFile("db.go")
	if err != nil {
		return err
	}
	_, rest, found := strings.Cut(string(source), "const poolsQuery = `")
	query, _, ended := strings.Cut(rest, "`")
	if !found || !ended {
		return errors.New("db.go has no poolsQuery")
	}
	query = strings.NewReplacer("%s", "p.autoscaling_enabled", "$1",
		fmt.Sprintf("%d.5", time.Now().Unix())).Replace(query)
	return os.WriteFile(into, []byte(query), 0o644)
}

// onePool is a pool that is due, and then one that is not.
func (b *bench) onePool() error {
	if err := b.load("one", 1, b.builds, true); err != nil {
		return err
	}
	due, err := b.due("one", 1)
	if err != nil {
		return err
	}
	psql, err := b.psql("one", 1)
	if err != nil {
		return err
	}
	if err := b.compare("one pool due, command `true`, 200,000 builds, with the index", b.runs, due,
		psql.then("sh", "-c", "true"), "psql, then sh -c true", 1.25); err != nil {
		return err
	}
	ours, err := peak(due)
	if err != nil {
		return err
	}
	empty, err := peak(command{{b.empty}})
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{"its peak memory", mebibytes(ours), "an empty Go program: " + mebibytes(empty),
		float64(ours-empty) / 1024, 15, "MiB more"})
	notDue, err := b.notDue("one", 1)
	if err != nil {
		return err
	}
	return b.compare("nothing due", b.runs, notDue, psql, "psql", 1)
}

// manyBuilds is 5 pools, and so many builds that without an index reading them is what takes time.
func (b *bench) manyBuilds() error {
	if err := b.load("builds", 5, b.sizes.manyBuilds, false); err != nil {
		return err
	}
	run, err := b.notDue("builds", 5)
	if err != nil {
		return err
	}
	psql, err := b.psql("builds", 5)
	if err != nil {
		return err
	}
	if err := b.compare("5 pools, 5,000,000 builds, without the index", b.fewRuns, run, psql, "psql", 1.1); err != nil {
		return err
	}
	if err := b.sql("builds", index); err != nil {
		return err
	}
	return b.compare("with the index", b.runs, run, psql, "psql", 1.1)
}

// manyPools is ever more pools of which none is due.
func (b *bench) manyPools() error {
	one, err := b.notDue("one", 1)
	if err != nil {
		return err
	}
	for n := 10; n <= 10_000; n *= 10 {
		pools := max(2, n*b.sizes.manyPools/10_000)
		database, bound, runs := fmt.Sprintf("pools%d", n), float64(n), b.runs
		if n == 10_000 {
			bound, runs = 9, max(b.fewRuns, b.runs/4)
		}
		if err := b.load(database, pools, b.builds, true); err != nil {
			return err
		}
		run, err := b.notDue(database, pools)
		if err != nil {
			return err
		}
		if err := b.compare(thousands(n)+" pools, none due", runs, run, one, "1 pool", bound); err != nil {
			return err
		}
	}
	return nil
}

// duePools is many pools that are due, one after the other and two at a time.
func (b *bench) duePools() error {
	if err := b.load("due", b.sizes.duePools, b.builds, true); err != nil {
		return err
	}
	one, err := b.due("due", b.sizes.duePools)
	if err != nil {
		return err
	}
	two := command{append(slices.Clone(one[0]), "--jobs", "2")}
	loop := command{{"sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do sh -c true; i=$((i+1)); done",
		b.sizes.duePools)}}
	if err := b.compare("1,000 pools due, command `true`, --jobs 1", b.fewRuns, one, loop,
		"a loop of 1,000 sh -c true", 3); err != nil {
		return err
	}
	return b.compare("--jobs 2", b.fewRuns, two, one, "--jobs 1", 0.7)
}

// longState is a state file with many evaluations, evenly over the days that they are kept for, of which now and then
// one is too old, and evenly over twice as many: then each run removes as many as a short run ever does.
func (b *bench) longState() error {
	empty, err := b.due("one", 1)
	if err != nil {
		return err
	}
	const kept = 90 * 86400
	for _, kind := range []struct {
		work, begin string
		seconds     int
	}{
		// The oldest 10,000 become too old while it is measured, one each 10 ms: a few in each run.
		{"a state with 1,000,000 evaluations, of which a few become too old", fmt.Sprintf(`UPDATE evaluations
			SET started = CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) - %d + (id - 2) * 10
			WHERE id BETWEEN 2 AND 10001`, kept*1000), kept},
		{"the same, half of them too old", "SELECT 1", 2 * kept},
	} {
		path := filepath.Join(b.directory, fmt.Sprintf("long%d.db", kind.seconds))
		run := b.onState("one", path)
		if err := run.run(nil); err != nil {
			return err
		}
		if err := sqlite(path, fmt.Sprintf(`INSERT INTO evaluations (database, pool_id, pool, started, deadline,
				forced, queued, running, size, queued_size, ended, outcome, exit_code, output, planned)
			WITH RECURSIVE i(n, at) AS (SELECT 1, unixepoch() - %[1]d
				UNION ALL SELECT n + 1, at + %[1]d.0 / %[2]d FROM i WHERE n < %[2]d)
			SELECT database, 1 + n %% 8, 'pool-' || (1 + n %% 8), CAST(at * 1000 AS INTEGER), 0, 0, 5, 5, size,
				queued_size, CAST(at * 1000 AS INTEGER) + 5000, outcome, exit_code, hex(randomblob(50)), planned
			FROM (SELECT * FROM evaluations LIMIT 1), i`, kind.seconds, b.evaluations),
			kind.begin, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			return err
		}
		before, err := count(path)
		if err != nil {
			return err
		}
		if err := b.compare(kind.work, b.runs, run, empty, "an empty state", 1.1); err != nil {
			return err
		}
		after, err := count(path)
		if err != nil {
			return err
		}
		if runs := b.runs + warmups; before+runs-after < runs { // each run adds one
			return fmt.Errorf("%d runs removed %d evaluations of %d", runs, before+runs-after, before)
		}
	}
	return nil
}

// shared is --shared against not, over loopback.
func (b *bench) shared() error {
	for _, kind := range []struct{ work, parameters string }{
		{"--shared, over loopback", "?sslmode=disable"},
		{"the same, without sslmode", ""},
	} {
		address := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/one%s", b.port, kind.parameters)
		alone := command{{b.program, "--database", address, "--state", filepath.Join(b.directory, "alone.db")}}
		shared := command{{b.program, "--database", address, "--state", filepath.Join(b.directory, "shared.db"),
			"--shared"}}
		if err := errors.Join(b.every("one", 0), b.expect(shared, "scaled", 1)); err != nil {
			return err
		}
		ours, other, _, err := inTurn(b.runs, shared, alone)
		if err != nil {
			return err
		}
		b.add(row{kind.work, milliseconds(ours), "not shared: " + milliseconds(other), (ours - other).Seconds() * 1000,
			10, "ms more"})
	}
	return nil
}

// output is a command that prints a great deal.
func (b *bench) output() error {
	line := strings.Repeat("0123456789", 8)[:79]
	for _, kind := range []struct {
		work, prints string
		bound        float64
	}{
		{"a command that prints 1 GB in lines of 80 bytes", "yes " + line + " | head -c %d", 2},
		{"1 GB without a newline", "head -c %d /dev/zero", 0},
		{"1 GB in lines of 2 bytes", "yes | head -c %d", 0},
	} {
		prints := func(bytes int) (string, error) {
			script := fmt.Sprintf(kind.prints, bytes)
			return script, b.sql("one", "UPDATE worker_pools SET executor_command = '"+script+"'")
		}
		if _, err := prints(b.sizes.output / 10); err != nil {
			return err
		}
		run, err := b.due("one", 1)
		if err != nil {
			return err
		}
		little, err := peak(run)
		if err != nil {
			return err
		}
		script, err := prints(b.sizes.output)
		if err != nil {
			return err
		}
		much, err := peak(run)
		if err != nil {
			return err
		}
		if err := b.compare(kind.work, b.fewRuns, run, command{{"sh", "-c", script + " | cat >/dev/null"}},
			`the command \| cat >/dev/null`, kind.bound); err != nil {
			return err
		}
		if kind.bound > 0 {
			b.add(row{"its peak memory", mebibytes(much), "100 MB: " + mebibytes(little), float64(much-little) / 1024,
				1, "MiB more"})
		}
	}
	return b.sql("one", "UPDATE worker_pools SET executor_command = 'true'")
}

// size is the program itself: its file, and how long it takes to start.
func (b *bench) size() error {
	info, err := os.Stat(b.program)
	if err != nil {
		return err
	}
	b.add(row{"the program, static, -trimpath, amd64", fmt.Sprintf("%.1f MiB", float64(info.Size())/(1<<20)),
		"", 0, 0, ""})
	return b.compare("--version", b.runs, command{{b.program, "--version"}}, command{{b.empty}},
		"an empty Go program", 0)
}

// psql is a bare psql with the query, which answers with a line a pool. Of a file it would end with 0 whatever the
// server says.
func (b *bench) psql(database string, pools int) (command, error) {
	query := command{{filepath.Join(b.bin, "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", b.address(database),
		"-f", b.query}}
	var printed strings.Builder
	if err := query.run(&printed); err != nil {
		return nil, err
	}
	if lines := strings.Count(printed.String(), "\n"); lines != pools {
		return nil, fmt.Errorf("psql prints %d lines instead of %d", lines, pools)
	}
	return query, nil
}

// due is a run in which each of the database's pools is due, each time.
func (b *bench) due(database string, pools int) (command, error) {
	run := b.onState(database, filepath.Join(b.directory, database+"-due.db"))
	return run, errors.Join(b.every(database, 0), b.expect(run, "scaled", pools))
}

func (b *bench) onState(database, state string, options ...string) command {
	return command{append([]string{b.program, "--database", b.address(database), "--state", state}, options...)}
}

// notDue is a run in which none of the database's pools is due: each was just evaluated.
func (b *bench) notDue(database string, pools int) (command, error) {
	state := filepath.Join(b.directory, database+".db")
	run := b.onState(database, state)
	if err := errors.Join(b.every(database, 1440),
		b.onState(database, state, "--force", "--queue", "pool-1").run(nil)); err != nil {
		return nil, err
	}
	if err := sqlite(state, fmt.Sprintf(`INSERT INTO evaluations (database, pool_id, pool, started, deadline, forced,
			queued, running, size, queued_size, ended, outcome, exit_code, output, planned)
		WITH RECURSIVE i(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM i WHERE n < %d)
		SELECT database, n, 'pool-' || n, started, deadline, 0, queued, running, size, queued_size, ended, outcome,
			exit_code, output, planned
		FROM (SELECT * FROM evaluations LIMIT 1), i WHERE n <= %[1]d`, pools)); err != nil {
		return nil, err
	}
	return run, b.expect(run, "not-due", pools)
}

// expect runs what is to be measured, and sees that it does what it is measured for: so many pools come to that
// outcome.
func (b *bench) expect(run command, outcome string, pools int) error {
	var printed strings.Builder
	last := slices.Clone(run[len(run)-1])
	if err := (command{append(last, "--output", "json")}).run(&printed); err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(printed.String()) {
		var record struct{ Outcome string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			return err
		}
		if record.Outcome == outcome {
			n++
		}
	}
	if n != pools {
		return fmt.Errorf("%d pools instead of %d are %s: %v", n, pools, outcome, last)
	}
	return nil
}

// compare measures two commands in turn, and adds a row.
func (b *bench) compare(work string, runs int, ours, other command, otherName string, bound float64) error {
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	one, two, ratio, err := inTurn(runs, ours, other)
	if err == nil {
		b.add(row{work, milliseconds(one), otherName + ": " + milliseconds(two), ratio, bound, "×"})
	}
	return err
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	say("%s: %s, %s", r.work, r.ours, r.other)
}

// print prints what was measured where, and the table.
func (b *bench) print(out io.Writer) {
	processor, _ := exec.Command("sed", "-n", "s/^model name.*: //p", "/proc/cpuinfo").Output()
	version, _ := exec.Command(filepath.Join(b.bin, "postgres"), "-V").Output()
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
	model, _, _ := strings.Cut(string(processor), "\n")
	fmt.Fprintf(out, "%s, commit %s, %d processors (%s), %s, %s\n\n", time.Now().UTC().Format(time.DateOnly),
		strings.TrimSpace(string(commit)), runtime.NumCPU(), model, runtime.Version(),
		strings.TrimSpace(string(version)))
	if b.sizes == small {
		fmt.Fprint(out, "With -small: nothing is as large as it says, and the figures mean nothing.\n\n")
	}
	fmt.Fprintln(out, "| work | ours | the other | measured | goal | met |\n|---|---|---|---|---|---|")
	for _, r := range b.rows {
		measured, goal, met := fmt.Sprintf("%.2f %s", r.figure, r.unit), "", ""
		if r.unit == "" {
			measured = ""
		}
		if r.bound > 0 {
			goal, met = fmt.Sprintf("at most %s %s", strconv.FormatFloat(r.bound, 'f', -1, 64), r.unit), "yes"
			if r.figure > r.bound {
				met = "no"
			}
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", r.work, r.ours, r.other, measured, goal, met)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }
func mebibytes(kib int) string            { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }

func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// sqlite runs statements on a state file.
func sqlite(path string, statements ...string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// count is the number of evaluations in a state file.
func count(path string) (n int, err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	return n, db.QueryRow("SELECT count(*) FROM evaluations").Scan(&n)
}
