package sqlread

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// TestDecode: values in PostgreSQL's binary format, as pgx writes them.
func TestDecode(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456e3, time.UTC)
	types := pgtype.NewMap()
	for _, test := range []struct {
		oid         uint32
		value, want any
	}{
		{pgtype.TextOID, "a b", "a b"},
		{pgtype.VarcharOID, "", ""},
		{pgtype.Int4OID, int32(math.MinInt32), int64(math.MinInt32)},
		{pgtype.Int8OID, int64(math.MaxInt64), int64(math.MaxInt64)},
		{pgtype.BoolOID, true, true},
		{pgtype.BoolOID, false, false},
		{pgtype.Float8OID, -0.25, -0.25},
		{pgtype.Float8OID, math.Inf(1), math.Inf(1)},
		{pgtype.TimestamptzOID, at, at},
		{pgtype.TimestamptzOID, time.Date(1969, 12, 31, 23, 59, 59, 5e8, time.UTC), time.Unix(-1, 5e8).UTC()},
		{pgtype.TimestamptzOID, pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}, pgtype.Infinity},
		{pgtype.Int2OID, int16(7), int16(7)},
		{pgtype.ByteaOID, []byte("raw"), "raw"},
		{pgtype.JSONBOID, map[string]any{"a": 1.0}, map[string]any{"a": 1.0}},
		{pgtype.DateOID, at.Truncate(24 * time.Hour), at.Truncate(24 * time.Hour)},
		{pgtype.TextOID, nil, nil},
	} {
		raw, err := types.Encode(test.oid, pgtype.BinaryFormatCode, test.value, []byte{})
		if err != nil {
			t.Fatal(err)
		}
		for _, last := range []any{nil, "another", int64(1), test.want} {
			if got, err := decode(test.oid, raw, last); err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%v of type %d after %v is %#v, %v; want %#v", test.value, test.oid, last, got, err, test.want)
			}
		}
	}
	if got, err := decode(99_999, []byte("linux"), nil); err != nil || got != "linux" {
		t.Errorf("an enumeration is %#v, %v", got, err)
	}
	if got, err := decode(pgtype.Int2OID, []byte("long"), nil); err == nil {
		t.Errorf("too long a value is %#v, want an error", got)
	}
}

// TestRows: rows are copied into Values, and given to Each as they are.
func TestRows(t *testing.T) {
	var all, one Rows
	each := 0
	one.Each = func(row []any) error { each += row[0].(int); return io.EOF }
	row := []any{0}
	for i := range 3 {
		row[0] = i
		if err := all.add(row); err != nil {
			t.Error(err)
		}
		if err := one.add(row); err != io.EOF {
			t.Errorf("the error of Each is lost: %v", err)
		}
	}
	if want := [][]any{{0}, {1}, {2}}; !reflect.DeepEqual(all.Values, want) || one.Values != nil || each != 3 {
		t.Errorf("%v, %v, %d", all.Values, one.Values, each)
	}
}

// TestChangedMeanwhile: a file with a write-ahead log that nobody has open is read without locks. If it is written to
// meanwhile, what was read is no answer.
func TestChangedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vespene.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)")
	if err == nil {
		_, err = db.Exec("CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1)")
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	read := func(each func([]any) error) error {
		return QuerySQLite(t.Context(), path, NoLimit, &Rows{Each: each}, "SELECT x FROM t")
	}
	if err := read(func([]any) error { return nil }); err != nil {
		t.Error(err)
	}
	hour := time.Now().Add(time.Hour)
	if err := read(func([]any) error { return os.Chtimes(path, hour, hour) }); !errors.Is(err, ErrChanged) {
		t.Errorf("%v, want %v", err, ErrChanged)
	}
	if err := read(func([]any) error { return os.WriteFile(path+"-wal", nil, 0o600) }); !errors.Is(err, ErrChanged) {
		t.Errorf("%v, want %v", err, ErrChanged)
	}
}

// TestDialOnce: a connection is used again if all that was read from it is a refusal of TLS.
func TestDialOnce(t *testing.T) {
	for answer, isKept := range map[string]bool{"N": true, "S": false, "": false, "NO": false} {
		dials, refused := 0, map[string]net.Conn{}
		dial := dialOnce(func(context.Context, string, string) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			go io.Copy(theirs, bytes.NewBufferString(answer))
			return ours, nil
		}, refused)
		conn, err := dial(t.Context(), "tcp", "host:5432")
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(conn, make([]byte, len(answer)))
		conn.Close()
		if (len(refused) == 1) != isKept {
			t.Errorf("%q: %d connections are kept", answer, len(refused))
		}
		if _, err := dial(t.Context(), "tcp", "other:5432"); err != nil || dials != 2 {
			t.Errorf("%q: %d dials for two hosts, %v", answer, dials, err)
		}
		if _, err := dial(t.Context(), "tcp", "host:5432"); err != nil || dials == 2 != isKept {
			t.Errorf("%q: %d dials, %v", answer, dials, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 11, 22, 10, 0, 0, 250e6, time.UTC)
	for _, s := range []string{"2026-11-22 10:00:00.25", "2026-11-22T10:00:00.25Z", "2026-11-22 11:00:00.250000+01:00",
		"2026-11-22 11:00:00.25+01"} {
		if got, err := parseTime(s); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "yesterday", "2026-11-22", "1763805600"} {
		if got, err := parseTime(s); err == nil {
			t.Errorf("%q is %v, want an error", s, got)
		}
	}
}
