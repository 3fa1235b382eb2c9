package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// state.go owns what this host remembers: the SQLite file with one row per evaluation, claimed before its command
// starts and completed after. It does not say when a pool is due, and no transaction is open while a command runs.

// applicationID marks a SQLite file as ours (PRAGMA application_id); schemaVersion is its user_version.
const (
	applicationID = 0x76736361 // "vsca"
	schemaVersion = 2
)

// How many evaluations that are older than keepFor go in one run at most, and at a time.
const (
	pruneMost = 1000
	pruneStep = 10
)

// systemUser is whom the service runs as.
const systemUser = "vespene-autoscale"

// schema: times are Unix milliseconds. A row whose ended is NULL belongs to a run that goes on or was killed.
const schema = `
CREATE TABLE IF NOT EXISTS evaluations (
    id          INTEGER PRIMARY KEY,
    database    TEXT NOT NULL,
    pool_id     INTEGER NOT NULL,
    pool        TEXT NOT NULL,
    started     INTEGER NOT NULL,
    deadline    INTEGER NOT NULL, -- by when its command was to be over
    forced      INTEGER NOT NULL,
    queued      INTEGER NOT NULL,
    running     INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    queued_size INTEGER NOT NULL,
    ended       INTEGER,
    outcome     TEXT,             -- scaled, failed or interrupted
    exit_code   INTEGER,
    error       TEXT,
    output      TEXT,             -- the end of what the command printed
    planned     INTEGER           -- the size before the steps that look back to it
);
CREATE INDEX IF NOT EXISTS evaluations_of_pool ON evaluations (database, pool_id);
CREATE INDEX IF NOT EXISTS evaluations_scaled ON evaluations (database, pool_id) WHERE outcome = 'scaled';
CREATE INDEX IF NOT EXISTS evaluations_open ON evaluations (database, pool_id) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS evaluations_started ON evaluations (started);`

// state is the open state file. One of a dry run cannot write.
type state struct {
	db   *sql.DB
	path string
	file os.FileInfo // what was opened, to notice when it has been removed since
}

// poolKey names a pool of a database; rows and locks are kept under it.
type poolKey struct {
	database string
	id       int64
}

// claim is what is recorded of an evaluation before its command starts.
type claim struct {
	pool              string
	started, deadline time.Time // deadline is when its command must have ended
	follows           time.Time // when the interval before it began; zero: it is the first
	forced            bool
	plan              plan
}

// outcome is how an evaluation ended; exitCode is nil if no command ended.
type outcome struct {
	ended    time.Time
	outcome  string
	exitCode *int
	err      string
	output   string
}

// statePath returns the absolute path of the state file: the given one, or the default for this user.
func statePath(path string) (string, error) {
	if path == "" {
		directory, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
		me, err := user.Current()
		isService := os.Geteuid() == 0 || err == nil && me.Username == systemUser
		if directory == "" && isService {
			directory = "/var/lib/vespene-autoscale"
		} else if directory == "" {
			base := os.Getenv("XDG_STATE_HOME")
			if home := os.Getenv("HOME"); !filepath.IsAbs(base) && home != "" {
				base = filepath.Join(home, ".local/state")
			}
			if !filepath.IsAbs(base) {
				return "", usage("name a file with --state", "there is no place for the state: HOME is not set")
			}
			directory = filepath.Join(base, "vespene-autoscale")
		}
		path = filepath.Join(directory, "state.db")
	}
	path, err := filepath.Abs(path)
	return path, stateFailure(path, err)
}

// notRootInstead returns an error if root is about to write into the directory of another user's state file, since
// files of root's would stop that user's next run.
func notRootInstead(path string) error {
	if owner := ownerOf(filepath.Dir(path)); owner != "" && os.Geteuid() == 0 && owner != "root" {
		return usage("sudo -u "+owner+" vespene-autoscale …", "%s belongs to the user %s, and what root makes there "+
			"would stop that user's next run", filepath.Dir(path), owner)
	}
	return nil
}

// ownerOf returns the name of the user to whom a file belongs, as sudo -u takes it, or "" if there is no such file.
func ownerOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	id := fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid)
	if owner, err := user.LookupId(id); err == nil {
		return owner.Username
	}
	return "'#" + id + "'"
}

// openState opens the state file, and makes it and its directory if they are missing.
func openState(ctx context.Context, path string) (*state, error) {
	err := makeFile(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path) // locks stand beside the file, by whatever name it is found
	}
	if err != nil {
		return nil, stateFailure(path, err)
	}
	// The log of changes stays when a run ends: a later run finds it, syncs less, and copies it into the file when it
	// has grown to a megabyte.
	s, empty, err := openSQLite(ctx, path, "mode=rw&_pragma=wal_autocheckpoint(256)")
	if empty {
		if err = s.create(ctx); err != nil {
			s.close()
			s = nil
		}
	}
	return s, stateFailure(path, err)
}

// makeFile makes the file and its directory if they are missing. SQLite would fall back to reading what it may not
// write, and give a new file other rights. It is closed before SQLite opens it, since closing later would drop SQLite's
// own locks on it.
func makeFile(path string) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = regular(path)
	}
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// readState opens the state file without being able to write to it; it returns nil if nothing is recorded.
func readState(ctx context.Context, path string) (*state, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := regular(path); err != nil || isEmpty(path) {
		return nil, stateFailure(path, err)
	}
	mode := "mode=ro"
	if isEmpty(path+"-wal") && isEmpty(path+"-journal") {
		mode += "&immutable=1" // else SQLite would make an empty log and its index, and need the right to
	}
	s, empty, err := openSQLite(ctx, path, mode)
	if empty { // its first run goes on, or was killed
		return nil, s.close()
	}
	return s, stateFailure(path, err)
}

// isEmpty tells whether there is nothing in a file, or no file.
func isEmpty(path string) bool {
	info, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}

// regular returns an error for what is there and no file that SQLite could write: a directory or, worse, a device.
func regular(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular():
		return errNotRegular
	}
	return nil
}

var errNotRegular = errors.New("it is no regular file")

// openSQLite opens the file and checks, before anything is written to it, that it is a state file of ours, or empty and
// may become one.
func openSQLite(ctx context.Context, path, options string) (s *state, empty bool, err error) {
	file, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String()+
		"?_busy_timeout=10000&_error_rc=1&"+options)
	if err != nil {
		return nil, false, err
	}
	db.SetMaxOpenConns(1)
	var application, version, tables int
	err = db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).
		Scan(&application, &version, &tables)
	empty = application == 0 && version == 0 && tables == 0
	switch {
	case err != nil || empty:
	case application != applicationID:
		err = fail(exitState, "name another file with --state", "it is a SQLite database of something else")
	case version != schemaVersion:
		age := "a newer"
		if version < schemaVersion {
			age = "an older"
		}
		err = fail(exitState, "run that version", "it was written by %s version of this program (schema %d, this one "+
			"knows %d)", age, version, schemaVersion)
	}
	if err != nil {
		db.Close()
		return nil, false, err
	}
	return &state{db, path, file}, empty, nil
}

// create makes the tables in an empty file. Several first runs may do so at once: one does, the others find it done.
func (s *state) create(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, fmt.Sprintf(`PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;
		PRAGMA application_id = %d; PRAGMA user_version = %d;%s COMMIT`, applicationID, schemaVersion, schema))
	return err
}

func (s *state) close() error { return s.db.Close() }

// each calls scan for each row of an answer. Of a state that does not exist there are none.
func (s *state) each(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	if s == nil {
		return nil
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return stateFailure(s.path, err)
	}
	defer rows.Close()
	for err == nil && rows.Next() {
		err = scan(rows)
	}
	return stateFailure(s.path, cmp.Or(err, rows.Err()))
}

// lastRun returns what a pool's past means for its next evaluation, and the evaluations that say so, the newest last:
// the last that ended, the last that scaled, and those without an outcome.
func (s *state) lastRun(ctx context.Context, key poolKey) (last lastRun, all []evaluation, err error) {
	all, err = s.evaluations(ctx, false, `
		id = (SELECT max(id) FROM evaluations WHERE database = $1 AND pool_id = $2 AND ended IS NOT NULL)
		OR id = (SELECT max(id) FROM evaluations WHERE database = $1 AND pool_id = $2 AND outcome = 'scaled')
		OR database = $1 AND pool_id = $2 AND ended IS NULL ORDER BY id`, key.database, key.id)
	for _, e := range all {
		if e.ended.IsZero() {
			last.open = true
			continue
		}
		last.last = nextInterval(e.outcome.outcome, e.started, e.ended)
		if e.outcome.outcome == scaled {
			last.previousSize = &e.size
		}
	}
	return last, all, err
}

// millis scans a time that is kept as Unix milliseconds; NULL is zero.
type millis struct{ *time.Time }

func (m millis) Scan(value any) error {
	if milliseconds, ok := value.(int64); ok {
		*m.Time = time.UnixMilli(milliseconds)
	} else if *m.Time = (time.Time{}); value != nil {
		return fmt.Errorf("%v is not a time", value)
	}
	return nil
}

// lastRuns returns the same for all pools of a database whose last evaluation scaled, by their ids. That is all that
// most runs need, in one statement, which takes a step in an index for each pool, however many evaluations it has.
func (s *state) lastRuns(ctx context.Context, database string) (map[int64]lastRun, error) {
	all := make(map[int64]lastRun)
	err := s.each(ctx, func(rows *sql.Rows) error {
		var pool, size int64
		var started, ended time.Time
		err := rows.Scan(&pool, millis{&started}, millis{&ended}, &size)
		all[pool] = lastRun{last: nextInterval(scaled, started, ended), previousSize: &size}
		return err
	}, `WITH RECURSIVE newest(id, pool_id) AS (
			SELECT * FROM (SELECT id, pool_id FROM evaluations WHERE database = $1
			               ORDER BY pool_id DESC, id DESC LIMIT 1)
			UNION ALL
			SELECT e.id, e.pool_id FROM newest CROSS JOIN evaluations e WHERE e.id =
				(SELECT id FROM evaluations WHERE database = $1 AND pool_id < newest.pool_id
				 ORDER BY pool_id DESC, id DESC LIMIT 1))
		SELECT e.pool_id, e.started, e.ended, e.size FROM newest CROSS JOIN evaluations e
		WHERE e.id = newest.id AND e.outcome = 'scaled'
		AND e.pool_id NOT IN (SELECT pool_id FROM evaluations WHERE database = $1 AND ended IS NULL)`, database)
	return all, err
}

// evaluation is one evaluation, as it is recorded.
type evaluation struct {
	id                                int64
	database, pool                    string
	started, deadline                 time.Time
	forced                            bool
	queued, running, size, queuedSize int64
	outcome                           // its time is zero while it goes on, and if its run was killed
}

// history returns, by their start, the evaluations since then: of the database with that key and the named pools, if
// those are given; without what their commands printed, which is most of it, unless it is asked for.
func (s *state) history(ctx context.Context, database string, pools []string, since time.Time, output bool) (
	[]evaluation, error) {
	named, _ := json.Marshal(pools) // texts always have JSON
	return s.evaluations(ctx, output, `started >= $1 AND ($2 = '' OR database = $2)
		AND ($3 OR pool IN (SELECT value FROM json_each($4))) ORDER BY started, id`,
		since.UnixMilli(), database, len(pools) == 0, string(named))
}

// largest returns the largest size that was planned for a pool since then, before the steps, or nil.
func (s *state) largest(ctx context.Context, key poolKey, since time.Time) (size *int64, err error) {
	err = s.each(ctx, func(rows *sql.Rows) error { return rows.Scan(&size) },
		"SELECT max(coalesce(planned, size)) FROM evaluations WHERE database = $1 AND pool_id = $2 AND started >= $3",
		key.database, key.id, since.UnixMilli())
	return size, err
}

// summary is what the metrics and status say of a pool's past.
type summary struct {
	newest   *evaluation // nil: never evaluated
	isWhole  bool        // of the newest, more is known than when it began, its outcome and its exit code
	scaled   time.Time   // when its last evaluation began that scaled; zero: none did
	failures *int64      // evaluations since then, which did not scale; nil: unknown
}

// summary returns the summary of a pool's past.
func (s *state) summary(ctx context.Context, key poolKey) (summary, error) {
	newest, err := s.evaluations(ctx, false, "database = $1 AND pool_id = $2 ORDER BY id DESC LIMIT 1",
		key.database, key.id)
	if err != nil || len(newest) == 0 {
		return summary{}, err
	}
	result := summary{newest: &newest[0], isWhole: true, failures: new(int64)}
	err = s.each(ctx, func(rows *sql.Rows) error { return rows.Scan(millis{&result.scaled}, result.failures) }, `
		WITH last AS (SELECT id, started FROM evaluations WHERE database = $1 AND pool_id = $2 AND outcome = 'scaled'
		              ORDER BY id DESC LIMIT 1)
		SELECT (SELECT started FROM last), (SELECT count(*) FROM evaluations WHERE database = $1 AND pool_id = $2
			AND id > coalesce((SELECT id FROM last), 0) AND ended IS NOT NULL)`, key.database, key.id)
	return result, err
}

// evaluations returns the rows that a condition chooses and puts into order, with what their commands printed or
// without.
func (s *state) evaluations(ctx context.Context, output bool, condition string, args ...any) (
	all []evaluation, err error) {
	printed := "''"
	if output {
		printed = "coalesce(output, '')"
	}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var e evaluation
		err := rows.Scan(&e.id, &e.database, &e.pool, millis{&e.started}, millis{&e.deadline}, &e.forced, &e.queued,
			&e.running, &e.size, &e.queuedSize, millis{&e.ended}, &e.outcome.outcome, &e.exitCode, &e.err, &e.output)
		all = append(all, e)
		return err
	}, `SELECT id, database, pool, started, deadline, forced, queued, running, size, queued_size, ended,
		coalesce(outcome, ''), exit_code, coalesce(error, ''), `+printed+` FROM evaluations WHERE `+condition, args...)
	return all, err
}

// write changes the file, if it still has its name: SQLite would go on writing into one that has not.
func (s *state) write(ctx context.Context, statement string, args ...any) (result sql.Result, err error) {
	now, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, s.file) {
		err = fail(exitState, "see who does that; the next run starts a new one, in which every pool is due",
			"it was removed or replaced since it was opened")
	}
	if err == nil {
		result, err = s.db.ExecContext(ctx, statement, args...)
	}
	return result, stateFailure(s.path, err)
}

// claim records that an evaluation begins, and returns its id; when it returns, the row is on the disk.
func (s *state) claim(ctx context.Context, key poolKey, c claim) (id int64, err error) {
	result, err := s.write(ctx, `PRAGMA synchronous = FULL; INSERT INTO evaluations
		(database, pool_id, pool, started, deadline, forced, queued, running, size, queued_size, planned)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		key.database, key.id, c.pool, c.started.UnixMilli(), c.deadline.UnixMilli(), c.forced,
		c.plan.queued, c.plan.running, c.plan.size, c.plan.queuedSize, c.plan.planned)
	if err != nil {
		return 0, err
	}
	id, err = result.LastInsertId()
	return id, stateFailure(s.path, err)
}

// complete records how the evaluation with that id ended. It is not synced: if a power cut undoes it, the next run
// finds a killed one.
func (s *state) complete(ctx context.Context, id int64, o outcome) error {
	result, err := s.write(ctx, `PRAGMA synchronous = NORMAL; UPDATE evaluations
		SET ended = ?, outcome = ?, exit_code = ?, error = nullif(?, ''), output = ? WHERE id = ? AND ended IS NULL`,
		o.ended.UnixMilli(), o.outcome, o.exitCode, o.err, o.output, id)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return stateFailure(s.path, fmt.Errorf("evaluation %d is not there, or has an outcome already", id))
	}
	return nil
}

// prune removes evaluations that are older than keepFor, but never the last of a pool nor its last that scaled, which
// the next run needs. When it has taken as long as limit, it leaves the rest to the next run.
func (s *state) prune(ctx context.Context, now time.Time, limit time.Duration) error {
	begun := time.Now()
	for range pruneMost / pruneStep {
		result, err := s.db.ExecContext(ctx, `PRAGMA synchronous = NORMAL; DELETE FROM evaluations WHERE id IN (
			SELECT old.id FROM evaluations old
			WHERE old.started < ? AND old.ended IS NOT NULL AND EXISTS (
				SELECT 1 FROM evaluations later WHERE later.database = old.database AND later.pool_id = old.pool_id
				AND later.id > old.id AND later.ended IS NOT NULL
				AND (later.outcome = 'scaled' OR old.outcome <> 'scaled'))
			ORDER BY old.started LIMIT ?)`, now.Add(-keepFor).UnixMilli(), pruneStep)
		if err != nil {
			return stateFailure(s.path, err)
		}
		if n, err := result.RowsAffected(); err != nil || n < pruneStep || time.Since(begun) >= limit {
			return stateFailure(s.path, err)
		}
	}
	return nil
}

// stateFailure returns an error of the state file or a lock at path with what to do about it, or nil for nil.
func stateFailure(path string, err error) error {
	if err == nil {
		return nil
	}
	if named, is := errors.AsType[*fs.PathError](err); is && named.Path == path {
		err = named.Err // which would name it again
	}
	hint, code := hintOf(err), 0
	if e, is := errors.AsType[*sqlite.Error](err); is {
		code = e.Code()
	}
	switch {
	case hint != "":
	case code == sqlite3.SQLITE_READONLY_ROLLBACK:
		hint = "the run that made it was killed: run vespene-autoscale once as its user, who can write to it"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), code&0xff == sqlite3.SQLITE_READONLY:
		hint = "make the file and its directory writable for the user of this run, or name another file with --state"
	case code&0xff == sqlite3.SQLITE_CORRUPT, code&0xff == sqlite3.SQLITE_NOTADB:
		hint = "move the file away and keep it for a look; the next run starts a new one, in which every pool is due"
	case code&0xff == sqlite3.SQLITE_CANTOPEN:
		hint = "its log (-wal) lacks the index, which takes the right to write to the directory: run this as its " +
			"owner"
	case errors.Is(err, syscall.ENOSPC), code&0xff == sqlite3.SQLITE_FULL:
		hint = "make room on its file system"
	case code&0xff == sqlite3.SQLITE_IOERR:
		hint = "see that its file system has room, takes locks and is not damaged, or name another file with --state"
	case code&0xff == sqlite3.SQLITE_BUSY:
		hint = "another program has it open and writes: end that (sudo fuser -v " + path +
			"), or name another file with --state"
	case errors.Is(err, errNotRegular), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR),
		errors.Is(err, fs.ErrNotExist):
		hint = "name a file in a directory that exists or can be made, with --state"
	default:
		hint = "see to what it names, or name another file with --state"
	}
	return fail(exitState, hint, "state %s: %w", path, err)
}
