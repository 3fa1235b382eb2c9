// Package sqlread runs a transaction on PostgreSQL in one round trip, and fast: one connection also where the server
// refuses TLS, all statements in one batch, and rows decoded without pgx's registry of types. It runs the same queries
// on SQLite.
package sqlread

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	NoLimit      = 0               // instead of a statement's limit: only the context ends it
	answerMargin = 2 * time.Second // how much longer than its limit a statement's answer is waited for
	closeLimit   = time.Second
)

// ErrNoAnswer means that nothing was heard from the database within the time limit.
var ErrNoAnswer = errors.New("no answer within the time limit")

// NoTransactionLimit lifts PostgreSQL 17's limit for whole transactions in the one that is open.
var NoTransactionLimit = Statement{Text: "SELECT set_config('transaction_timeout', '0', true) " +
	"WHERE current_setting('transaction_timeout', true) IS NOT NULL"}

// Server is where PostgreSQL is, and how it is connected to.
type Server struct {
	Config       *pgconn.Config
	ConnectLimit time.Duration // for all attempts to connect, on all hosts

	keepFor time.Duration
	idle    chan *Conn // connections that are kept; nil: none is
}

// Conn is a connection to a server. It is the protocol's alone: setting up pgx's types takes longer than connecting.
type Conn struct {
	server   *Server
	protocol *pgconn.PgConn
}

// Statement is one of several that are sent together.
type Statement struct {
	Text string
	Args []any // numbers, strings, booleans or nil
	Into *Rows // takes the answer; nil: it has none
}

// Rows are the answer to a statement. A value is nil, bool, int64, float64, string, a time in UTC, or what pgx makes of
// other types.
type Rows struct {
	Columns []string
	Values  [][]any
	Each    func(row []any) error // takes each row instead of Values; the row is valid until it returns
}

// within returns the context for waiting for the answer to a statement with that limit.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == NoLimit {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit+answerMargin, ErrNoAnswer)
}

// cause returns why the context ended, if it has and there is an error, and else the error.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Keep makes the server keep connections for its next transactions, each for that time at most.
func (s *Server) Keep(limit time.Duration) {
	const spare = 16
	s.keepFor, s.idle = limit, make(chan *Conn, spare)
}

// Transaction runs statements in a transaction of that kind, such as READ ONLY, each within the limit.
func (s *Server) Transaction(ctx context.Context, kind string, limit time.Duration, all ...Statement) error {
	conn, err := s.Begin(ctx, kind, limit, append(all, Statement{Text: "COMMIT"})...)
	if err == nil {
		conn.Done(ctx)
	}
	return err
}

// Begin is Transaction without its end: the caller sends COMMIT, and has to call the connection's Done.
func (s *Server) Begin(ctx context.Context, kind string, limit time.Duration, all ...Statement) (*Conn, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	begin := []Statement{{Text: "BEGIN " + kind},
		{Text: fmt.Sprintf("SET LOCAL statement_timeout = %d", limit.Milliseconds())}} // whatever the role's is
	if limit == NoLimit {
		begin = append(begin, NoTransactionLimit)
	}
	if err := conn.Send(ctx, limit, append(begin, all...)...); err != nil {
		conn.Done(ctx)
		return nil, err
	}
	return conn, nil
}

// connect returns a connection that was kept, or makes one.
func (s *Server) connect(ctx context.Context) (*Conn, error) {
	select {
	case kept := <-s.idle:
		return kept, nil
	default:
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.ConnectLimit, ErrNoAnswer)
	defer cancel()
	config, refused := *s.Config, map[string]net.Conn{}
	config.DialFunc = dialOnce(config.DialFunc, refused)
	protocol, err := pgconn.ConnectConfig(ctx, &config)
	for _, conn := range refused {
		conn.Close()
	}
	return &Conn{s, protocol}, cause(ctx, err)
}

// dialOnce makes dial keep connections on which PostgreSQL refuses TLS, by their addresses, and return them for the
// attempt without TLS, as libpq does. pgconn would close them, and PostgreSQL would start a second process.
func dialOnce(dial pgconn.DialFunc, refused map[string]net.Conn) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if kept := refused[address]; kept != nil {
			delete(refused, address)
			return kept, nil
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &dialled{Conn: conn, keep: func() { refused[address] = conn }}, nil
	}
}

// dialled is a connection that is kept instead of closed, if all that was read from it is a refusal of TLS.
type dialled struct {
	net.Conn
	keep func()
	read []byte // the first two bytes
}

func (d *dialled) Read(buffer []byte) (n int, err error) {
	n, err = d.Conn.Read(buffer)
	if len(d.read) < 2 {
		d.read = append(d.read, buffer[:min(n, 2)]...)
	}
	return n, err
}

func (d *dialled) Close() error {
	if string(d.read) != "N" || d.SetDeadline(time.Time{}) != nil {
		return d.Conn.Close()
	}
	d.keep()
	return nil
}

// Send sends statements in one round trip, and waits for their answers within the limit. No statement stays prepared,
// since PgBouncer gives each transaction any of its connections.
func (c *Conn) Send(ctx context.Context, limit time.Duration, all ...Statement) error {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	batch := &pgconn.Batch{}
	for _, one := range all {
		values := make([][]byte, len(one.Args))
		for i, arg := range one.Args {
			if arg != nil {
				values[i] = fmt.Append(nil, arg) // text, whose type PostgreSQL finds out
			}
		}
		batch.ExecParams(one.Text, values, nil, nil, []int16{pgtype.BinaryFormatCode})
	}
	answers := c.protocol.ExecBatch(ctx, batch)
	for i := 0; answers.NextResult(); i++ {
		answer, into := answers.ResultReader(), all[i].Into
		if into == nil {
			answer.Close() // answers.Close returns its error
		} else if err := into.read(answer); err != nil {
			answers.Close()
			return cause(ctx, err)
		}
	}
	return cause(ctx, answers.Close())
}

// Done keeps the connection for the server's next transaction, or closes it.
func (c *Conn) Done(ctx context.Context) {
	if ctx.Err() == nil && !c.protocol.IsClosed() && c.protocol.TxStatus() == 'I' {
		select {
		case c.server.idle <- c:
			time.AfterFunc(c.server.keepFor, func() { c.server.closeIdle(ctx) })
			return
		default:
		}
	}
	c.close(ctx)
}

// Close closes the connections that are kept, if there is a server.
func (s *Server) Close(ctx context.Context) {
	for s != nil && s.closeIdle(ctx) {
	}
}

// closeIdle closes the connection that has been kept for the longest time, and tells whether there was one.
func (s *Server) closeIdle(ctx context.Context) bool {
	select {
	case kept := <-s.idle:
		kept.close(ctx)
		return true
	default:
		return false
	}
}

// close ends a connection. When the context has ended, PostgreSQL is told to end the statement that it runs for us,
// which would go on without us.
func (c *Conn) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	c.protocol.Close(ctx)
	select {
	case <-c.protocol.CleanupDone():
	case <-ctx.Done():
	}
}

// read takes an answer of PostgreSQL's.
func (r *Rows) read(answer *pgconn.ResultReader) error {
	fields := answer.FieldDescriptions()
	for _, field := range fields {
		r.Columns = append(r.Columns, field.Name)
	}
	row := make([]any, len(fields))
	for answer.NextRow() {
		for i, raw := range answer.Values() {
			var err error
			if row[i], err = decode(fields[i].DataTypeOID, raw, row[i]); err != nil {
				return fmt.Errorf("column %s: %w", r.Columns[i], err)
			}
		}
		if err := r.add(row); err != nil {
			return err
		}
	}
	_, err := answer.Close()
	return err
}

// add adds a row to the answer, a copy of it to Values.
func (r *Rows) add(row []any) error {
	if r.Each != nil {
		return r.Each(row)
	}
	r.Values = append(r.Values, slices.Clone(row))
	return nil
}

// decode decodes a value in PostgreSQL's binary format. last is the value in the row before: most settings are the same
// in many rows, and made once.
func decode(oid uint32, raw []byte, last any) (any, error) {
	switch {
	case raw == nil:
		return nil, nil
	case oid == pgtype.TextOID || oid == pgtype.VarcharOID:
		if text, isText := last.(string); isText && text == string(raw) {
			return last, nil
		}
		return string(raw), nil
	case oid == pgtype.Int4OID && len(raw) == 4:
		return again(last, int64(int32(binary.BigEndian.Uint32(raw)))), nil
	case oid == pgtype.Int8OID && len(raw) == 8:
		return again(last, int64(binary.BigEndian.Uint64(raw))), nil
	case oid == pgtype.BoolOID && len(raw) == 1:
		return raw[0] != 0, nil
	case oid == pgtype.Float8OID && len(raw) == 8:
		return again(last, math.Float64frombits(binary.BigEndian.Uint64(raw))), nil
	case oid == pgtype.TimestamptzOID && len(raw) == 8:
		const year2000 = 946_684_800                          // in seconds since 1970
		since := int64(binary.BigEndian.Uint64(raw))          // since then, in microseconds
		if since != math.MinInt64 && since != math.MaxInt64 { // not infinite
			return time.Unix(year2000+since/1e6, since%1e6*1e3).UTC(), nil
		}
	}
	// As pgx decodes it; a value of a type that pgx does not know, such as an enumeration, is a string. (PostgreSQL has
	// no binary format of a few types, such as aclitem, and says so.)
	types := pgtype.NewMap()
	other, isRegistered := types.TypeForOID(oid)
	if !isRegistered {
		return string(raw), nil
	}
	value, err := other.Codec.DecodeValue(types, oid, pgtype.BinaryFormatCode, raw)
	if text, is := value.([]byte); is {
		return string(text), err
	}
	return value, err
}

// again returns last if it equals the value, and else the value.
func again[T comparable](last any, value T) any {
	if v, is := last.(T); is && v == value {
		return last
	}
	return value
}
