package sqlread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"
)

// ErrNoFile means that a SQLite database is a pipe or a device, whose content might be waited for without end.
var ErrNoFile = errors.New("it is no regular file")

func init() {
	// The one function of PostgreSQL that serves in statements for both databases.
	sqlite.MustRegisterDeterministicScalarFunction("date_part", 2, datePart)
}

// QuerySQLite runs a query within the limit on a SQLite file, to which it does not write, or on what a script with the
// ending .sql makes in memory. Columns that are declared as booleans or times have such values.
func QuerySQLite(ctx context.Context, path string, limit time.Duration, into *Rows, query string, args ...any) (
	err error) {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	defer func() { err = cause(ctx, err) }()
	switch info, err := os.Stat(path); {
	case err != nil:
		return err // SQLite would not say that the file is missing
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular():
		return ErrNoFile
	}
	isScript, file, before := strings.HasSuffix(path, ".sql"), "file::memory:?", stamp(path)
	if !isScript {
		file = (&url.URL{Scheme: "file", Path: path}).String() + "?_busy_timeout=5000&" + readOnly(path)
	}
	db, err := sql.Open("sqlite", file+"&_error_rc=1")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if isScript {
		script, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// It may not reach for other files: neither by ATTACH nor by VACUUM INTO, which attaches.
		const limitAttached = 7 // SQLITE_LIMIT_ATTACHED
		if _, err = sqlite.Limit(conn, limitAttached, 0); err != nil {
			return err
		}
		if _, err = conn.ExecContext(ctx, string(script)); err != nil {
			return err
		}
	}
	answer, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer answer.Close()
	err = takeSQLite(answer, into)
	if strings.Contains(file, immutable) && stamp(path) != before {
		return ErrChanged
	}
	return err
}

// ErrChanged is that a file was written to while it was read without locks.
var ErrChanged = errors.New("it was written to while it was read: run again")

// stamp changes with a file and its write-ahead log.
func stamp(path string) (stamp string) {
	for _, file := range []string{path, path + "-wal"} {
		if info, err := os.Stat(file); err == nil {
			stamp += fmt.Sprintln(file, info.Size(), info.ModTime().UnixNano())
		}
	}
	return stamp
}

const immutable = "immutable=1"

// readOnly returns the options with which SQLite writes neither to a file nor to what stands beside it. A file with a
// write-ahead log is open nowhere while there is no log; SQLite takes no locks on it then, and the caller sees whether
// it changes.
func readOnly(path string) string {
	header := make([]byte, 19) // its last byte says how the file is written: 2 is by a write-ahead log
	if file, err := os.Open(path); err == nil {
		file.Read(header)
		file.Close()
	}
	if _, err := os.Stat(path + "-wal"); header[18] == 2 && errors.Is(err, fs.ErrNotExist) {
		return "mode=ro&" + immutable
	}
	return "mode=ro&readonly_shm=1"
}

// takeSQLite takes an answer of SQLite's.
func takeSQLite(answer *sql.Rows, into *Rows) error {
	types, err := answer.ColumnTypes()
	if err != nil {
		return err
	}
	row, places := make([]any, len(types)), make([]any, len(types))
	for i, t := range types {
		into.Columns, places[i] = append(into.Columns, t.Name()), &row[i]
	}
	for answer.Next() {
		if err := answer.Scan(places...); err != nil {
			return err
		}
		for i, t := range types {
			if row[i], err = plainValue(t.DatabaseTypeName(), row[i]); err != nil {
				return fmt.Errorf("column %s: %w", t.Name(), err)
			}
		}
		if err := into.add(row); err != nil {
			return err
		}
	}
	return answer.Err()
}

// plainValue turns a value of SQLite, which has neither booleans nor times, into what PostgreSQL would return: nil,
// bool, int64, float64, string or a time in UTC. declared is the column's type.
func plainValue(declared string, value any) (any, error) {
	switch v := value.(type) {
	case int64:
		if strings.HasPrefix(declared, "BOOL") {
			if v != 0 && v != 1 {
				return nil, fmt.Errorf("%d is not a boolean", v)
			}
			return v == 1, nil
		}
	case []byte:
		if strings.HasPrefix(declared, "VARCHAR") || declared == "TEXT" {
			return nil, fmt.Errorf("%v is not text", v)
		}
		return string(v), nil
	case time.Time:
		return v.UTC(), nil
	case string:
		if strings.HasPrefix(declared, "TIMESTAMP") || strings.HasPrefix(declared, "DATETIME") {
			return parseTime(v)
		}
	}
	return value, nil
}

// datePart is PostgreSQL's date_part('epoch', time) for SQLite.
func datePart(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	if args[1] == nil {
		return nil, nil
	}
	t, err := parseTime(fmt.Sprint(args[1]))
	return float64(t.UnixMicro()) / 1e6, err
}

// parseTime reads a time as Django, SQLite and PostgreSQL write it into text. A time without a zone is in UTC.
func parseTime(s string) (t time.Time, err error) {
	for _, zone := range []string{"", "Z07:00", "Z07"} {
		if t, err = time.Parse(time.DateTime+zone, strings.Replace(s, "T", " ", 1)); err == nil {
			return t.UTC(), nil
		}
	}
	return t, fmt.Errorf("%q is not a time", s)
}
