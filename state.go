package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver
)

// state.go owns what this host remembers: the SQLite file with one row per evaluation, claimed before its command
// starts and completed after, and the lock of each pool beside it. When a pool is due is for others to say, and no
// transaction is open while a command runs.

// applicationID marks a SQLite file as ours (PRAGMA application_id); schemaVersion is its user_version.
const (
	applicationID = 0x76736361 // "vsca"
	schemaVersion = 2
)

// Evaluations are kept for so long; of the older ones so many go in one run at most, so many at a time.
const (
	keepFor   = 90 * 24 * time.Hour
	pruneMost = 1000
	pruneStep = 10
)

// heldTooLong is how far past its evaluation's limit a lock is held by something that hangs.
const heldTooLong = time.Minute

// systemUser is whom the service runs as.
const systemUser = "vespene-autoscale"

// schema: times are Unix milliseconds. A row whose ended is NULL belongs to a run that goes on or was killed.
const schema = `
CREATE TABLE evaluations (
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
    planned     INTEGER           -- the size before the steps that look back to it; NULL: size, of the first schema
);
CREATE INDEX evaluations_of_pool ON evaluations (database, pool_id);
CREATE INDEX evaluations_scaled ON evaluations (database, pool_id) WHERE outcome = 'scaled';
CREATE INDEX evaluations_open ON evaluations (database, pool_id) WHERE ended IS NULL;
CREATE INDEX evaluations_started ON evaluations (started);`

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

// past is what the state knows of a pool.
type past struct {
	last         time.Time // what the next interval is counted from; zero: never evaluated
	previousSize *int64    // the size of the last evaluation that ended scaled
	open         []row     // evaluations without an outcome: going on, or killed
	newest       row       // evaluation, with an outcome or without
}

// row is of an evaluation what tells whether it goes on for too long.
type row struct {
	id                int64
	started, deadline time.Time
	ended             bool
}

// claim is what is known of an evaluation before its command starts.
type claim struct {
	pool              string
	started, deadline time.Time
	forced            bool
	plan              plan
}

// outcome is how an evaluation ended; exitCode is nil where no command ended.
type outcome struct {
	ended    time.Time
	outcome  string
	exitCode *int
	err      string
	output   string
}

// statePath is the absolute path of the state file: the given one, or the default for this user.
func statePath(path string) (string, error) {
	if path == "" {
		directory, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
		me, err := user.Current()
		switch {
		case directory != "":
		case os.Geteuid() == 0 || err == nil && me.Username == systemUser:
			directory = "/var/lib/vespene-autoscale"
		default:
			base := os.Getenv("XDG_STATE_HOME")
			if home := os.Getenv("HOME"); !filepath.IsAbs(base) && home != "" {
				base = filepath.Join(home, ".local/state")
			}
			if !filepath.IsAbs(base) {
				return "", &failure{code: exitUsage, err: errors.New("there is no place for the state: HOME is not set"),
					hint: "name a file with --state"}
			}
			directory = filepath.Join(base, "vespene-autoscale")
		}
		path = filepath.Join(directory, "state.db")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", stateFailure(path, err)
	}
	return path, nil
}

// notRootInstead is an error where root is about to write into the directory of another user's state file, since files
// of root's would stop that user's next run.
func notRootInstead(path string) error {
	if owner := ownerOf(filepath.Dir(path)); owner != "" && os.Geteuid() == 0 && owner != "root" {
		return &failure{code: exitUsage,
			err:  fmt.Errorf("%s belongs to the user %s, and what root makes there would stop that user's next run", filepath.Dir(path), owner),
			hint: "sudo -u " + owner + " vespene-autoscale …"}
	}
	return nil
}

// ownerOf is the name of the user to whom a file belongs, as sudo -u takes it; "" where there is no such file.
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

// openState opens the state file, making it and its directory where they are missing.
func openState(ctx context.Context, path string) (*state, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, stateFailure(path, err)
	}
	if info, err := os.Stat(path); err == nil {
		if err := regular(info); err != nil {
			return nil, stateFailure(path, err)
		}
	}
	// Opened here first, since SQLite would fall back to reading what it may not write, and give a new file other
	// rights; closed before SQLite opens it, since closing later would drop SQLite's own locks on it.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, stateFailure(path, err)
	}
	info, err := file.Stat()
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, stateFailure(path, err)
	}
	// Locks stand beside the file, by whatever name it is found.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, stateFailure(path, err)
	}
	// The log of changes stays when a run ends: a later run finds it, syncs less, and copies it into the file when it has
	// grown to a megabyte.
	s, empty, err := openSQLite(ctx, path, path, "mode=rw&_txlock=immediate&_pragma=wal_autocheckpoint(256)", info)
	if empty {
		if err := s.create(ctx); err != nil {
			s.close()
			return nil, stateFailure(path, err)
		}
	}
	return s, err
}

// readState opens what the state file says at this moment, whatever a killed run left beside it; nil where nothing is
// recorded. It is a copy, so that nothing is written to.
func readState(ctx context.Context, path string) (*state, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return nil, nil
	}
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, stateFailure(path, err)
	}
	copied, remove, err := copySQLite(path)
	if err != nil {
		return nil, stateFailure(path, err)
	}
	defer remove() // what is open stays
	s, empty, err := openSQLite(ctx, path, copied, "mode=rw", info)
	if empty { // its first run goes on, or was killed
		return nil, s.close()
	}
	return s, err
}

// regular is an error of what is no file that SQLite could write: a directory or, worse, a device.
func regular(info os.FileInfo) error {
	switch {
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	}
	return nil
}

// copySQLite copies a SQLite file with its journals, as they are at one moment, to a place of its own, where SQLite can do
// with them what a reader has to do where a writer was killed.
func copySQLite(path string) (copied string, remove func(), err error) {
	directory, err := os.MkdirTemp("", "vespene-autoscale-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(directory) }
	copied = filepath.Join(directory, "copy.db")
	for range 50 {
		before := fingerprint(path)
		if err = copyFiles(path, copied); err == nil && before == fingerprint(path) {
			return copied, remove, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	remove()
	if err == nil {
		err = errors.New("it is written to all the time")
	}
	return "", nil, err
}

// sqliteFiles are the endings of a SQLite database's file and its journals.
var sqliteFiles = []string{"", "-journal", "-wal"}

// fingerprint changes with each change of a SQLite database.
func fingerprint(path string) (all string) {
	for _, ending := range sqliteFiles {
		if info, err := os.Stat(path + ending); err == nil {
			all += fmt.Sprintln(ending, info.Size(), info.ModTime().UnixNano(), info.Sys().(*syscall.Stat_t).Ino)
		}
	}
	return all
}

func copyFiles(from, to string) error {
	for _, ending := range sqliteFiles {
		err := func() error {
			in, err := os.Open(from + ending)
			if errors.Is(err, fs.ErrNotExist) && ending != "" {
				return os.RemoveAll(to + ending)
			} else if err != nil {
				return err
			}
			defer in.Close()
			out, err := os.OpenFile(to+ending, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			_, err = io.Copy(out, in)
			return errors.Join(err, out.Close())
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

// openSQLite opens a file, which is that at path or a copy, and sees that it is a state file of ours, or empty and may become one.
func openSQLite(ctx context.Context, path, file, options string, info os.FileInfo) (s *state, empty bool, err error) {
	dsn := (&url.URL{Scheme: "file", Path: file}).String() + "?_busy_timeout=10000&_error_rc=1&" + options
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, false, stateFailure(path, err)
	}
	db.SetMaxOpenConns(1)
	s = &state{db: db, path: path, file: info}
	if empty, err = s.recognise(ctx); err != nil {
		db.Close()
		return nil, false, stateFailure(path, err)
	}
	return s, empty, nil
}

// recognise checks what kind of SQLite file this is, before anything is written to it.
func (s *state) recognise(ctx context.Context) (empty bool, err error) {
	var application, version, tables int
	row := s.db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`)
	if err := row.Scan(&application, &version, &tables); err != nil {
		return false, err
	}
	switch {
	case application == applicationID && version == schemaVersion:
		return false, nil
	case application == applicationID && version == 1:
		return false, s.upgrade(ctx)
	case application == applicationID && version > schemaVersion:
		return false, fmt.Errorf("it was written by a newer version of this program (schema %d, this one knows %d)", version, schemaVersion)
	case application != 0 || version != 0 || tables != 0:
		return false, errors.New("it is a SQLite database of something else")
	}
	return true, nil
}

// create makes the tables in an empty file. Several first runs may do so at once: one does, the others find it done.
func (s *state) create(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var tables int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil || tables > 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;%s",
		applicationID, schemaVersion, schema))
	if err != nil {
		return err
	}
	return tx.Commit()
}

// upgrade makes a state file of the first schema one of this. Several runs may do so at once.
func (s *state) upgrade(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRowContext(ctx, "SELECT user_version FROM pragma_user_version").Scan(&version); err != nil || version != 1 {
		return err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("ALTER TABLE evaluations ADD COLUMN planned INTEGER; PRAGMA user_version = %d", schemaVersion))
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (s *state) close() error { return s.db.Close() }

// past returns what is known of a pool: what its last evaluation, its last that scaled, and the open ones say.
func (s *state) past(ctx context.Context, key poolKey) (past, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT id, started, deadline, size, ended, coalesce(outcome, '') FROM evaluations
		WHERE id = (SELECT id FROM evaluations WHERE database = $1 AND pool_id = $2 AND ended IS NOT NULL
		            ORDER BY id DESC LIMIT 1)
		   OR id = (SELECT id FROM evaluations WHERE database = $1 AND pool_id = $2 AND outcome = 'scaled'
		            ORDER BY id DESC LIMIT 1)
		   OR database = $1 AND pool_id = $2 AND ended IS NULL
		ORDER BY id`, key.database, key.id)
	if err != nil {
		return past{}, stateFailure(s.path, err)
	}
	defer rows.Close()
	var known past
	for rows.Next() {
		var id, started, deadline, size int64
		var ended sql.NullInt64
		var how string
		if err := rows.Scan(&id, &started, &deadline, &size, &ended, &how); err != nil {
			return past{}, stateFailure(s.path, err)
		}
		known.newest = row{id, time.UnixMilli(started), time.UnixMilli(deadline), ended.Valid}
		switch {
		case !ended.Valid:
			known.open = append(known.open, known.newest)
		case how == scaled:
			known.last, known.previousSize = time.UnixMilli(started), &size
		default:
			known.last = time.UnixMilli(ended.Int64) // what it did until then is unknown
		}
	}
	return known, stateFailure(s.path, rows.Err())
}

// pasts returns what is known, without newest, of all pools of a database whose last evaluation scaled, by their ids: all
// that most runs need, in one statement, which takes a step in an index for each pool, however many evaluations it has.
func (s *state) pasts(ctx context.Context, database string) (map[int64]past, error) {
	rows, err := s.db.QueryContext(ctx, `
		WITH RECURSIVE newest(id, pool_id) AS (
			SELECT * FROM (SELECT id, pool_id FROM evaluations WHERE database = $1 ORDER BY pool_id DESC, id DESC LIMIT 1)
			UNION ALL
			SELECT e.id, e.pool_id FROM newest CROSS JOIN evaluations e WHERE e.id =
				(SELECT id FROM evaluations WHERE database = $1 AND pool_id < newest.pool_id ORDER BY pool_id DESC, id DESC LIMIT 1))
		SELECT e.pool_id, e.started, e.size FROM newest CROSS JOIN evaluations e
		WHERE e.id = newest.id AND e.outcome = 'scaled'
		AND e.pool_id NOT IN (SELECT pool_id FROM evaluations WHERE database = $1 AND ended IS NULL)`, database)
	if err != nil {
		return nil, stateFailure(s.path, err)
	}
	defer rows.Close()
	all := make(map[int64]past)
	for rows.Next() {
		var pool, started, size int64
		if err := rows.Scan(&pool, &started, &size); err != nil {
			return nil, stateFailure(s.path, err)
		}
		all[pool] = past{last: time.UnixMilli(started), previousSize: &size}
	}
	return all, stateFailure(s.path, rows.Err())
}

// evaluation is one row, as it is shown.
type evaluation struct {
	database, pool                    string
	started                           time.Time
	forced                            bool
	queued, running, size, queuedSize int64
	outcome                           // its time is zero while it goes on, and if its run was killed
}

// history returns, by their start, the evaluations since then, of the database with that key and the named pools, where
// those are given; without what their commands printed, which is most of it, unless it is asked for.
func (s *state) history(ctx context.Context, database string, pools []string, since time.Time, output bool) ([]evaluation, error) {
	named, err := json.Marshal(pools)
	if err != nil {
		return nil, stateFailure(s.path, err)
	}
	return s.evaluations(ctx, output, `started >= $1 AND ($2 = '' OR database = $2)
		AND ($3 OR pool IN (SELECT value FROM json_each($4))) ORDER BY started, id`,
		since.UnixMilli(), database, len(pools) == 0, string(named))
}

// largest is the largest size that was planned for a pool since then, before it was held up or back; nil: none was.
func (s *state) largest(ctx context.Context, key poolKey, since time.Time) (size *int64, err error) {
	row := s.db.QueryRowContext(ctx, `SELECT max(coalesce(planned, size)) FROM evaluations
		WHERE database = $1 AND pool_id = $2 AND started >= $3`, key.database, key.id, since.UnixMilli())
	return size, stateFailure(s.path, row.Scan(&size))
}

// summary is what the metrics and status say of a pool's past.
type summary struct {
	newest   *evaluation // nil: never evaluated
	scaled   time.Time   // when its last evaluation began that scaled; zero: none did
	failures int64       // evaluations since then, which did not scale
}

// summary returns the summary of a pool's past.
func (s *state) summary(ctx context.Context, key poolKey) (summary, error) {
	newest, err := s.evaluations(ctx, false, "database = $1 AND pool_id = $2 ORDER BY id DESC LIMIT 1", key.database, key.id)
	if err != nil || len(newest) == 0 {
		return summary{}, err
	}
	var id, started int64
	its := summary{newest: &newest[0]}
	row := s.db.QueryRowContext(ctx, `SELECT id, started FROM evaluations WHERE database = $1 AND pool_id = $2
		AND outcome = 'scaled' ORDER BY id DESC LIMIT 1`, key.database, key.id)
	if err := row.Scan(&id, &started); err == nil {
		its.scaled = time.UnixMilli(started)
	} else if !errors.Is(err, sql.ErrNoRows) {
		return summary{}, stateFailure(s.path, err)
	}
	row = s.db.QueryRowContext(ctx, `SELECT count(*) FROM evaluations WHERE database = $1 AND pool_id = $2 AND id > $3
		AND ended IS NOT NULL`, key.database, key.id, id)
	return its, stateFailure(s.path, row.Scan(&its.failures))
}

// evaluations returns the rows that a condition chooses and puts into order, with what their commands printed or without.
func (s *state) evaluations(ctx context.Context, output bool, condition string, args ...any) (all []evaluation, err error) {
	printed := "''"
	if output {
		printed = "coalesce(output, '')"
	}
	rows, err := s.db.QueryContext(ctx, `SELECT database, pool, started, forced, queued, running, size, queued_size,
		ended, coalesce(outcome, ''), exit_code, coalesce(error, ''), `+printed+` FROM evaluations WHERE `+condition, args...)
	if err != nil {
		return nil, stateFailure(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var e evaluation
		var started int64
		var ended sql.NullInt64
		if err := rows.Scan(&e.database, &e.pool, &started, &e.forced, &e.queued, &e.running, &e.size, &e.queuedSize,
			&ended, &e.outcome.outcome, &e.exitCode, &e.err, &e.output); err != nil {
			return nil, stateFailure(s.path, err)
		}
		e.started = time.UnixMilli(started)
		if ended.Valid {
			e.ended = time.UnixMilli(ended.Int64)
		}
		all = append(all, e)
	}
	return all, stateFailure(s.path, rows.Err())
}

// claim records that an evaluation begins, and returns its id; when it returns, the row is on the disk.
func (s *state) claim(ctx context.Context, key poolKey, c claim) (id int64, err error) {
	if err := s.inPlace(); err != nil {
		return 0, err
	}
	result, err := s.db.ExecContext(ctx, `PRAGMA synchronous = FULL; INSERT INTO evaluations
		(database, pool_id, pool, started, deadline, forced, queued, running, size, queued_size, planned)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		key.database, key.id, c.pool, c.started.UnixMilli(), c.deadline.UnixMilli(), c.forced,
		c.plan.queued, c.plan.running, c.plan.size, c.plan.queuedSize, c.plan.planned)
	if err != nil {
		return 0, stateFailure(s.path, err)
	}
	id, err = result.LastInsertId()
	return id, stateFailure(s.path, err)
}

// inPlace sees that the file has its name still: SQLite would write on into one that has not.
func (s *state) inPlace() error {
	now, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, s.file) {
		err = errReplaced
	}
	return stateFailure(s.path, err)
}

var errReplaced = errors.New("it was removed or replaced since it was opened")

// complete records how the evaluation with that id ended. It is not synced: where a power cut undoes it, the next run finds
// a killed one.
func (s *state) complete(ctx context.Context, id int64, o outcome) error {
	if err := s.inPlace(); err != nil {
		return err
	}
	result, err := s.db.ExecContext(ctx, `PRAGMA synchronous = NORMAL; UPDATE evaluations
		SET ended = ?, outcome = ?, exit_code = ?, error = nullif(?, ''), output = ? WHERE id = ? AND ended IS NULL`,
		o.ended.UnixMilli(), o.outcome, o.exitCode, o.err, o.output, id)
	if err != nil {
		return stateFailure(s.path, err)
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
	for removed := int64(0); removed < pruneMost; {
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
		n, err := result.RowsAffected()
		if removed += n; err != nil || n < pruneStep || time.Since(begun) >= limit {
			return stateFailure(s.path, err)
		}
	}
	return nil
}

// errBusy says that the pool's lock is held: by a command that outlived its run or, errRunning, by a run that goes on.
var (
	errBusy    = errors.New("busy")
	errRunning = fmt.Errorf("%w", errBusy)
)

// lock takes the pool's lock, which the kernel frees when the last process that has the file open ends or one of them
// unlocks it. It does not wait: an error that is errBusy where another holds it. The file is for the command to inherit.
func (s *state) lock(ctx context.Context, key poolKey, now time.Time) (*os.File, error) {
	path := s.lockPath(key)
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, stateFailure(path, err)
		}
		// Two locks: the record lock is the run's alone, and ends with it; the other is inherited, and is what counts.
		held := errRunning
		if err = unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err == nil {
			held = errBusy
			err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err == nil {
			opened, openedErr := file.Stat()
			named, namedErr := os.Stat(path)
			if err = errors.Join(openedErr, namedErr); err == nil && os.SameFile(opened, named) {
				return file, nil
			}
		}
		file.Close()
		switch {
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EACCES):
			return nil, s.blocked(ctx, key, now, held)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, stateFailure(path, err)
		}
		// The file was removed or replaced between opening and locking it: the name has another lock now.
	}
}

// blocked is the error of a pool whose lock another holds; held is errBusy or errRunning.
func (s *state) blocked(ctx context.Context, key poolKey, now time.Time, held error) error {
	known, err := s.past(ctx, key) // which may have begun since the caller looked
	if err != nil {
		return err
	}
	holders := strings.Join(s.holders(key), ", ")
	if holders == "" {
		holders = "a process that this user may not see, or that has just ended"
	}
	who := "another run"
	if held != errRunning {
		who = "a command that outlived its run"
	}
	f := &failure{code: exitBusy, err: fmt.Errorf("%s holds this pool's lock (%w): %s", who, held, holders),
		hint: "nothing was run; the next run tries again"}
	// A run that goes on has just begun where it has no evaluation yet.
	hangs := held != errRunning || !known.newest.ended
	if over := now.Sub(known.newest.deadline); hangs && known.newest.id > 0 && over > heldTooLong {
		f.code, f.hint = exitState, "see what these processes wait for, and end them (sudo fuser -v "+s.lockPath(key)+")"
		f.err = fmt.Errorf("this pool's lock is held since %s, though its command was to end by %s (%w): %s",
			known.newest.started.Format(time.DateTime), known.newest.deadline.Format(time.DateTime), held, holders)
	}
	return f
}

// unlock frees a lock for everybody, also where a daemon that the command left behind has the file open still.
func unlock(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}

func (s *state) lockPath(key poolKey) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", key.database, key.id))
	return filepath.Join(filepath.Dir(s.path), fmt.Sprintf("%x.lock", hash[:12]))
}

// holders names the processes that have the pool's lock open, as far as this user may see them: "123 (terraform)".
func (s *state) holders(key poolKey) []string {
	lock, err := os.Stat(s.lockPath(key))
	if err != nil {
		return nil
	}
	var holders []string
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, descriptor := range descriptors {
		file, err := os.Stat(descriptor)
		if err != nil || !os.SameFile(file, lock) {
			continue
		}
		pid := strings.Split(descriptor, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		holders = append(holders, fmt.Sprintf("%s (%s)", pid, strings.TrimSpace(string(name))))
	}
	return slices.Compact(holders) // a process may have it open more than once
}

// stateFailure is an error of the state file or a lock at path with what to do about it; nil of none.
func stateFailure(path string, err error) error {
	if err == nil {
		return nil
	}
	var named *fs.PathError
	if errors.As(err, &named) && named.Path == path {
		err = named.Err // which would name it again
	}
	f := &failure{code: exitState, err: fmt.Errorf("state %s: %w", path, err)}
	what := err.Error()
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), strings.Contains(what, "readonly"):
		f.hint = "make the file and its directory writable for the user of this run, or name another file with --state"
	case strings.Contains(what, "malformed"), strings.Contains(what, "not a database"):
		f.hint = "move the file away and keep it for a look; the next run starts a new one, in which every pool is due"
	case strings.Contains(what, "newer version"):
		f.hint = "run that version"
	case strings.Contains(what, "something else"):
		f.hint = "name another file with --state"
	case errors.Is(err, errReplaced):
		f.hint = "see who does that; the next run starts a new one, in which every pool is due"
	case errors.Is(err, syscall.ENOSPC), strings.Contains(what, "full"):
		f.hint = "make room on its file system"
	case strings.Contains(what, "disk I/O error"):
		f.hint = "see that its file system has room, takes locks and is not damaged, or name another file with --state"
	case strings.Contains(what, "database is locked"):
		f.hint = "another program has it open and writes: end that (sudo fuser -v " + path + "), or name another file with --state"
	case strings.Contains(what, "no regular file"), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrNotExist):
		f.hint = "name a file in a directory that exists or can be made, with --state"
	default:
		f.hint = "see to what it names, or name another file with --state"
	}
	return f
}
