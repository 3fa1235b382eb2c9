package main

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"modernc.org/sqlite"
)

// db.go owns Vespene's database: where it is, the one read that yields the pools with their counts, the one that yields a
// pool's builds and, where several hosts share pools, the lock and the times that they share. It writes nothing but those,
// and decides nothing.

// credentialFile has the address where nothing else gives one.
const credentialFile = "/etc/vespene-autoscale/database"

// Limits of one read; together they end it within 45 seconds.
const (
	connectLimit   = 10 * time.Second
	statementLimit = 30 * time.Second // enforced by PostgreSQL, which then frees what the statement held
	answerMargin   = 2 * time.Second  // for which an answer is waited for beyond the statement's limit
	closeLimit     = time.Second
	noLimit        = 0 // instead of statementLimit: only the context ends the read
)

// countColumns is how many columns poolsQuery adds behind those of worker_pools.
const countColumns = 11

// poolsQuery reads pools and counts as one snapshot, on PostgreSQL and SQLite alike; %s is the choice of pools and $1
// the time as Unix seconds. The statuses are literals, since a partial index on them is used only then. A build whose
// project is gone is given Vespene's default timeout of 60 minutes.
const poolsQuery = `
SELECT p.*,
       coalesce(a.queued, 0), coalesce(a.queued_projects, 0), coalesce(a.running, 0),
       coalesce(a.overdue, 0), a.overdue_age, coalesce(a.expired, 0), a.expired_age,
       coalesce(a.projectless, 0), a.projectless_age,
       coalesce(a.stale_queued, 0), coalesce(a.fresh_projects, 0)
FROM worker_pools p LEFT JOIN (
    SELECT b.worker_pool_id,
           count(*) FILTER (WHERE b.status = 'QUEUED') AS queued,
           count(DISTINCT coalesce(b.project_id, -1)) FILTER (WHERE b.status = 'QUEUED') AS queued_projects,
           count(*) FILTER (WHERE b.status = 'RUNNING') AS running,
           count(*) FILTER (WHERE b.overdue) AS overdue,
           max(b.running_age) FILTER (WHERE b.overdue) AS overdue_age,
           count(*) FILTER (WHERE b.expired) AS expired,
           max(b.queued_age) FILTER (WHERE b.expired) AS expired_age,
           count(*) FILTER (WHERE b.status = 'QUEUED' AND b.project_id IS NULL) AS projectless,
           max(b.queued_age) FILTER (WHERE b.status = 'QUEUED' AND b.project_id IS NULL) AS projectless_age,
           count(*) FILTER (WHERE b.status = 'QUEUED' AND (b.expired OR b.project_id IS NULL)) AS stale_queued,
           count(DISTINCT b.project_id) FILTER (WHERE b.status = 'QUEUED' AND NOT b.expired) AS fresh_projects
    FROM (
        SELECT b.worker_pool_id, b.status, b.project_id,
               $1 - date_part('epoch', b.queued_time) AS queued_age,
               $1 - date_part('epoch', b.start_time) AS running_age,
               b.status = 'RUNNING'
                   AND $1 - date_part('epoch', b.start_time) > coalesce(j.timeout, 60) * 60.0 + 300 AS overdue,
               b.status = 'QUEUED'
                   AND (b.queued_time IS NULL
                        OR $1 - date_part('epoch', b.queued_time) > q.auto_abort_minutes * 60.0) AS expired
        FROM builds b
        JOIN worker_pools q ON q.id = b.worker_pool_id
        LEFT JOIN projects j ON j.id = b.project_id
        WHERE b.status IN ('QUEUED', 'RUNNING')
    ) b
    GROUP BY b.worker_pool_id
) a ON a.worker_pool_id = p.id
WHERE %s`

// buildsQuery reads the builds of the pool $1 that matter to a window from $2 on, where those that never started are
// orphaned if they were queued before $3, on PostgreSQL and SQLite alike; $4 is the time of what has none. Times are
// microseconds since 1970, in whole numbers: how exact the fractions are that PostgreSQL writes is a setting.
const buildsQuery = `
SELECT b.id, b.project, b.parent, b.status, b.timeout,
       coalesce(b.queued, $4), coalesce(b.started, $4), coalesce(b.ended, $4)
FROM (
    SELECT b.id, coalesce(b.project_id, 0) AS project, coalesce(b.pipeline_parent_build_id, 0) AS parent, b.status,
           coalesce(j.timeout, 60) AS timeout,
           CAST(round(date_part('epoch', b.queued_time) * 1000000) AS bigint) AS queued,
           CAST(round(date_part('epoch', b.start_time) * 1000000) AS bigint) AS started,
           CAST(round(date_part('epoch', b.end_time) * 1000000) AS bigint) AS ended
    FROM builds b
    LEFT JOIN projects j ON j.id = b.project_id
    WHERE b.worker_pool_id = $1
) b
WHERE b.queued >= $2 OR b.started >= $2 OR b.ended >= $2
   OR b.queued IS NULL
   OR b.ended IS NULL AND b.status IN ('QUEUED', 'RUNNING')
   OR b.started IS NULL AND b.queued >= $3`

// requiredColumns are those of worker_pools without which nothing can be planned.
var requiredColumns = []string{"id", "name", "variables", "autoscaling_enabled", "build_latest", "excess", "executor",
	"executor_command", "maximum", "minimum", "multiplier", "planner", "queued_weight", "reevaluate_minutes",
	"running_weight"}

// What the owner of the tables has to do, for a role whose name follows, and so that few builds are read.
const (
	asOwner     = "as the owner of the tables: "
	grantSelect = "GRANT SELECT ON worker_pools, builds, projects TO "
	grantShared = "GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO "
	createIndex = "CREATE INDEX CONCURRENTLY builds_active_idx ON builds (worker_pool_id, status) WHERE status IN ('QUEUED', 'RUNNING')"
)

// errNotVespene is what a missing table or column comes down to.
var errNotVespene = errors.New("not a Vespene database, or one older than autoscaling")

// errNoDatabase is that nothing says where the database is.
var errNoDatabase = errors.New("no database is given")

// database is an address, parsed.
type database struct {
	key      string // the address less user, password and options: what locks and state are kept under
	postgres *pgconn.Config
	file     string // of a SQLite database, or with the ending .sql a script that makes one in memory
	idle     *idle  // connections for what comes next, where one run has more to ask; nil: none is kept
}

// idle are connections that nothing is done with, each for pingEvery at most: after longer, what lies between may have
// forgotten it, and others may want its place.
type idle struct {
	mu    sync.Mutex
	conns []*pgconn.PgConn
}

func init() {
	// SQLite gets the one function of PostgreSQL's that our queries need, so that one statement serves both.
	sqlite.MustRegisterDeterministicScalarFunction("date_part", 2, datePart)
}

// findDatabase is the database that is given, or else the one that this machine or the environment names.
func findDatabase(given string) (database, error) {
	if given != "" {
		return parseDatabase(given)
	}
	files := []string{credentialFile}
	if directory := os.Getenv("CREDENTIALS_DIRECTORY"); directory != "" {
		files = []string{filepath.Join(directory, "database"), credentialFile}
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return database{}, &failure{code: exitUsage, err: fmt.Errorf("read the database address: %w", err),
				hint: "make the file readable for this user (its group, mode 0640), or give --database"}
		}
		if address := strings.TrimSpace(string(content)); address != "" {
			return parseDatabase(address)
		}
	}
	if hostaddr := os.Getenv("PGHOSTADDR"); hostaddr != "" {
		return parseDatabase("hostaddr='" + hostaddr + "'") // the one that pgx does not read itself
	}
	if os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") != "" {
		return parseDatabase("")
	}
	return database{}, &failure{code: exitUsage, err: errNoDatabase,
		hint: "put postgres://USER:PASSWORD@HOST/NAME into " + credentialFile + ", give it with --database, or set PGHOST"}
}

// parseDatabase parses the forms of --database. No part of a malformed address is in the error, since any part may
// be the password.
func parseDatabase(address string) (database, error) {
	malformed := &failure{code: exitUsage, err: errors.New("the database address is malformed, or has a parameter that is not supported"),
		hint: "write postgres://USER:PASSWORD@HOST:PORT/NAME with special characters percent-encoded (@ is %40), " +
			"host=HOST dbname=NAME user=USER password=PASSWORD, or sqlite:FILE"}

	if file, ok := strings.CutPrefix(address, "sqlite:"); ok {
		path, err := filepath.Abs(file)
		if file == "" || err != nil {
			return database{}, malformed
		}
		return database{key: "sqlite:" + path, file: path}, nil
	}
	scheme, rest, isURL := strings.Cut(address, "://")
	if isURL = isURL && !strings.ContainsAny(scheme, " ='"); isURL {
		// After an unencoded / ? or # in a password its rest would be taken for the database's name, and printed.
		end := strings.IndexAny(rest, "/?#")
		if scheme != "postgres" && scheme != "postgresql" || end >= 0 && strings.Contains(rest[end:], "@") {
			return database{}, malformed
		}
	}
	config, err := pgconn.ParseConfig(address)
	if err != nil {
		var file *os.PathError // of a certificate, key or service file: a path, and no secret
		if errors.As(err, &file) {
			return database{}, &failure{code: exitUsage, err: fmt.Errorf("the database address names a file: %w", file),
				hint: "make that file readable for this user, or take it out of the address"}
		}
		return database{}, malformed
	}
	// hostaddr is libpq's; pgx would pass it to the server as a setting of the session.
	if ip, ok := config.RuntimeParams["hostaddr"]; ok {
		if net.ParseIP(ip) == nil {
			return database{}, malformed
		}
		if network, _ := pgconn.NetworkAddress(config.Host, config.Port); network == "unix" {
			separator := " host="
			if isURL {
				separator = "&host="
			}
			if config, err = pgconn.ParseConfig(address + separator + ip); err != nil {
				return database{}, malformed
			}
		}
		delete(config.RuntimeParams, "hostaddr")
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{ip}, nil }
	}
	for name := range config.RuntimeParams {
		switch name {
		case "options", "search_path", "application_name":
		case "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity", // pgx's own
			"client_encoding", "fallback_application_name", "gssencmode", "timezone", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval",
			"load_balance_hosts", "sslcompression", "tcp_user_timeout":
			delete(config.RuntimeParams, name) // of no consequence here
		case "gssdelegation", "gsslib", "requirepeer", "requiressl", "sslcrl", "sslcrldir", "sslkeylogfile",
			"ssl_max_protocol_version", "ssl_min_protocol_version":
			return database{}, &failure{code: exitUsage, err: fmt.Errorf("the database address has %s, which is not supported", name),
				hint: "take it out; sslmode and sslrootcert are"}
		default:
			return database{}, malformed // a piece of the password, maybe, which the server would name in its refusal
		}
	}
	if strings.Contains(config.Database, "://") || strings.Contains(config.Database, "=") { // an address in PGDATABASE, or in dbname
		return database{}, malformed
	}
	config.RuntimeParams["application_name"] = "vespene-autoscale"
	config.DialFunc = dialOnce(config.DialFunc)

	hosts := []string{net.JoinHostPort(config.Host, fmt.Sprint(config.Port))}
	for _, other := range config.Fallbacks {
		hosts = append(hosts, net.JoinHostPort(other.Host, fmt.Sprint(other.Port)))
	}
	if isURL && strings.Contains(strings.Join(hosts, ""), "@") { // after an unencoded @ in a password, its rest
		return database{}, malformed
	}
	name := config.Database
	if name == "" {
		name = config.User // PostgreSQL's default
	}
	hosts = slices.Compact(hosts)
	if config.ConnectTimeout == 0 && len(hosts) > 1 { // else the first of several hosts that is silent takes all of connectLimit
		config.ConnectTimeout = connectLimit / time.Duration(len(hosts))
	}
	key := "postgres://" + strings.Join(hosts, ",") + "/" + name
	return database{key: key, postgres: config}, nil
}

// build is a row of builds. Its times are microseconds since 1970, and never where there is none.
type build struct {
	id, project, parent    int64 // project and parent, the build whose end started it: 0 where there is none
	queued, started, ended int64
	timeout                int64 // of its project, in minutes
	status                 string
}

// never is no time.
const never = math.MinInt64

// rows are what a query gave.
type rows struct {
	columns []string
	values  [][]any       // of plainValue's types
	clock   time.Duration // how much the database's clock is ahead of ours
}

// read runs a query, which changes nothing.
func (d database) read(ctx context.Context, query string, args ...any) (result rows, err error) {
	if d.postgres != nil {
		result.clock, err = d.queryPostgres(ctx, statementLimit, result.takePostgres, query, args)
	} else {
		err = d.querySQLite(ctx, statementLimit, result.takeSQLite, query, args)
	}
	return result, err
}

// readPools reads the named pools, or with no names every pool with autoscaling enabled or, if all is set, really every
// pool, into a map by name; now is what the age of builds is reckoned from. Named pools that do not exist are not in the
// result.
func (d database) readPools(ctx context.Context, names []string, all bool, now time.Time) (map[string]pool, error) {
	choice := "p.autoscaling_enabled"
	if all {
		choice = "true"
	}
	args := []any{float64(now.UnixMilli()) / 1000}
	if len(names) > 0 {
		places := make([]string, len(names))
		for i, name := range names {
			args = append(args, name)
			places[i] = fmt.Sprintf("$%d", len(args))
		}
		choice = "p.name IN (" + strings.Join(places, ", ") + ")"
	}
	ours := time.Until(now) // how much now is ahead of this machine's clock
	answer, err := d.read(ctx, fmt.Sprintf(poolsQuery, choice), args...)
	if err != nil {
		return nil, explain(d, err)
	}
	columns := answer.columns[:len(answer.columns)-countColumns]
	for _, column := range requiredColumns {
		if !slices.Contains(columns, column) {
			return nil, explain(d, fmt.Errorf("%w: no column worker_pools.%s", errNotVespene, column))
		}
	}
	places := make(map[string]int, len(columns))
	for i, column := range columns {
		places[column] = i
	}
	pools := make(map[string]pool, len(answer.values))
	for _, row := range answer.values {
		p, err := newPool(places, row)
		if err != nil {
			return nil, explain(d, err)
		}
		p.clock = answer.clock - ours
		pools[p.name] = p
	}
	return pools, nil
}

// cursor is pgx.Rows, or *sql.Rows.
type cursor interface {
	Next() bool
	Scan(into ...any) error
	Err() error
}

// readBuilds reads the builds of the pool that a simulation of a window from then on may need, by id: those that were
// queued, ran or ended in it, those that waited or ran when it began (those queued for longer than abort never start) and
// those without a queued_time. It takes as long as it takes, and tells progress, which may be nil, how many it has.
func (d database) readBuilds(ctx context.Context, pool int64, from time.Time, abort time.Duration, progress func(n int)) ([]build, error) {
	const size = 4096
	var chunks [][]build // since a slice of all that grows would be there twice, time and again
	n := 0
	take := func(answer cursor) error {
		var b build
		status := interned{known: make(map[string]string)}
		into := []any{&b.id, &b.project, &b.parent, &status, &b.timeout, &b.queued, &b.started, &b.ended}
		for ; answer.Next(); n++ {
			if err := answer.Scan(into...); err != nil {
				return err
			}
			b.status = status.string
			if n%size == 0 {
				chunks = append(chunks, make([]build, 0, size))
				if progress != nil && n > 0 {
					progress(n)
				}
			}
			last := &chunks[n/size]
			*last = append(*last, b)
		}
		return answer.Err()
	}

	var err error
	args := []any{pool, from.UnixMicro(), from.Add(-abort).UnixMicro(), int64(never)}
	if d.postgres != nil {
		_, err = d.queryPostgres(ctx, noLimit, func(answer *pgconn.ResultReader) error {
			return take(pgx.RowsFromResultReader(pgtype.NewMap(), answer))
		}, buildsQuery, args)
	} else {
		err = d.querySQLite(ctx, noLimit, func(answer *sql.Rows) error { return take(answer) }, buildsQuery, args)
	}
	if err != nil {
		return nil, explain(d, err)
	}
	// Sorted here, since PostgreSQL would sort a million in files, and give none before.
	order := make([]*build, 0, n)
	for _, chunk := range chunks {
		for i := range chunk {
			order = append(order, &chunk[i])
		}
	}
	slices.SortFunc(order, func(a, b *build) int { return cmp.Compare(a.id, b.id) })
	builds := make([]build, n)
	for i, b := range order {
		builds[i] = *b
	}
	return builds, nil
}

// interned takes strings of a column with few different ones, each of which it makes once.
type interned struct {
	string
	known map[string]string
}

// ScanBytes is what pgx calls.
func (s *interned) ScanBytes(value []byte) error {
	known, ok := s.known[string(value)]
	if !ok {
		known = string(value)
		s.known[known] = known
	}
	s.string = known
	return nil
}

// Scan is what database/sql calls.
func (s *interned) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("%v is not text", value)
	}
	return s.ScanBytes([]byte(text))
}

// role is the role's name as a statement has it.
func (d database) role() string {
	name := d.postgres.User
	if !regexp.MustCompile(`^[a-z_][a-z0-9_]*$`).MatchString(name) {
		name = pgx.Identifier{name}.Sanitize()
	}
	return name
}

// connect connects to PostgreSQL within connectLimit. It is the protocol's connection, without pgx's types: to set those up
// would take longer than to connect.
func (d database) connect(ctx context.Context) (*pgconn.PgConn, error) {
	if kept := d.idle.take(); kept != nil {
		return kept, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectLimit, errNoAnswer)
	defer cancel()
	refused := make(map[string]net.Conn)
	conn, err := pgconn.ConnectConfig(context.WithValue(ctx, refusedKey{}, refused), d.postgres)
	for _, left := range refused {
		left.Close()
	}
	return conn, causeOf(ctx, err)
}

// refusedKey is where the context of an attempt to connect has the connections on which TLS was refused, by their addresses.
type refusedKey struct{}

// dialOnce makes dial keep a connection on which PostgreSQL has refused TLS, and give it for the attempt without, as libpq
// does: pgconn would close it and have PostgreSQL start a second process.
func dialOnce(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		refused, _ := ctx.Value(refusedKey{}).(map[string]net.Conn)
		if kept := refused[address]; kept != nil {
			delete(refused, address)
			return kept, nil
		}
		conn, err := dial(ctx, network, address)
		if err != nil || refused == nil {
			return conn, err
		}
		return &dialled{Conn: conn, keep: func() { refused[address] = conn }}, nil
	}
}

// dialled is a connection that keeps itself instead of closing, if all that was read of it is a refusal of TLS.
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

// done keeps a connection for what comes next, or closes it.
func (d database) done(ctx context.Context, conn *pgconn.PgConn) {
	if d.idle == nil || ctx.Err() != nil || conn.IsClosed() || conn.TxStatus() != 'I' {
		closeConn(ctx, conn)
		return
	}
	d.idle.mu.Lock()
	defer d.idle.mu.Unlock()
	d.idle.conns = append(d.idle.conns, conn)
	time.AfterFunc(pingEvery, func() {
		d.idle.mu.Lock()
		defer d.idle.mu.Unlock()
		if i := slices.Index(d.idle.conns, conn); i >= 0 {
			d.idle.conns = slices.Delete(d.idle.conns, i, i+1)
			closeConn(ctx, conn)
		}
	})
}

// take takes the connection that was kept last; nil if there is none.
func (i *idle) take() *pgconn.PgConn {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.conns)
	if n == 0 {
		return nil
	}
	last := i.conns[n-1]
	i.conns = i.conns[:n-1]
	return last
}

// close closes the connections that are kept.
func (d database) close(ctx context.Context) {
	for kept := d.idle.take(); kept != nil; kept = d.idle.take() {
		closeConn(ctx, kept)
	}
}

// closeConn ends a connection, also when the context has ended: PostgreSQL is told then to end what it does for us, which
// would else go on when we are gone. Nothing of ours depends on how.
func closeConn(ctx context.Context, conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	conn.Close(ctx)
	select {
	case <-conn.CleanupDone():
	case <-ctx.Done():
	}
}

// statement is one of several that are sent together; take, where it is set, takes its rows.
type statement struct {
	text string
	args []any // numbers, strings, booleans, times or nil
	take func(*pgconn.ResultReader) error
}

// noTransactionLimit lifts PostgreSQL 17's limit for whole transactions in the one that is open.
const noTransactionLimit = "SELECT set_config('transaction_timeout', '0', true) WHERE current_setting('transaction_timeout', true) IS NOT NULL"

// begin returns statements that begin a transaction of that kind, in which each has that limit, whatever the role's is.
func begin(kind string, limit time.Duration) []statement {
	all := []statement{{text: "BEGIN " + kind}, {text: fmt.Sprintf("SET LOCAL statement_timeout = %d", limit.Milliseconds())}}
	if limit == noLimit {
		all = append(all, statement{text: noTransactionLimit})
	}
	return all
}

// send sends statements, all in one round trip, and waits for their answers within the limit. None stays prepared, since
// PgBouncer hands each transaction any of its connections.
func send(ctx context.Context, conn *pgconn.PgConn, limit time.Duration, all ...statement) error {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	batch := &pgconn.Batch{}
	for _, one := range all {
		values := make([][]byte, len(one.args))
		for i, arg := range one.args {
			values[i] = parameter(arg)
		}
		batch.ExecParams(one.text, values, nil, nil, []int16{pgtype.BinaryFormatCode})
	}
	answers := conn.ExecBatch(ctx, batch)
	for i := 0; answers.NextResult(); i++ {
		answer, take := answers.ResultReader(), all[i].take
		if take == nil {
			answer.Close() // its error is that of all
		} else if err := take(answer); err != nil {
			answers.Close()
			return causeOf(ctx, err)
		}
	}
	return causeOf(ctx, answers.Close())
}

// parameter is a statement's argument as PostgreSQL takes it: text, whose type it finds out; nil is NULL.
func parameter(arg any) []byte {
	switch v := arg.(type) {
	case nil:
		return nil
	case time.Time:
		return v.AppendFormat(nil, time.RFC3339Nano)
	}
	return fmt.Append(nil, arg)
}

// within is the context for the answer to a statement with that limit.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == noLimit {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit+answerMargin, errNoAnswer)
}

// queryPostgres runs the query in a read-only transaction of its own, has its answer taken, and returns how much the
// database's clock is ahead of ours.
func (d database) queryPostgres(ctx context.Context, limit time.Duration, take func(*pgconn.ResultReader) error, query string, args []any) (clock time.Duration, err error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer d.done(ctx, conn)

	all := append(begin("READ ONLY", limit),
		statement{text: "SELECT clock_timestamp()", take: func(answer *pgconn.ResultReader) error {
			var its rows
			err := its.takePostgres(answer)
			if err != nil {
				return err
			}
			now, err := asTime(its.values[0][0])
			clock = time.Until(now)
			return err
		}},
		statement{text: query, args: args, take: take},
		statement{text: "COMMIT"})
	return clock, send(ctx, conn, limit, all...)
}

// takePostgres takes an answer of PostgreSQL's.
func (r *rows) takePostgres(answer *pgconn.ResultReader) error {
	fields := answer.FieldDescriptions()
	for _, field := range fields {
		r.columns = append(r.columns, field.Name)
	}
	var types *pgtype.Map // for those that Vespene has none of
	last := make([]any, len(fields))
	for answer.NextRow() {
		row := make([]any, len(fields))
		for i, raw := range answer.Values() {
			value, isPlain := binaryValue(fields[i].DataTypeOID, raw, last[i])
			if !isPlain {
				if types == nil {
					types = pgtype.NewMap()
				}
				var err error
				if value, err = otherValue(types, fields[i].DataTypeOID, raw); err != nil {
					return fmt.Errorf("column %s: %w", r.columns[i], err)
				}
			}
			row[i] = value
		}
		r.values, last = append(r.values, row), row
	}
	_, err := answer.Close()
	return err
}

// binaryValue is a value that PostgreSQL sent in its binary format as nil, bool, int64, float64, string or a time in UTC;
// isPlain is false for types that Vespene's tables have not. last is that of the row before, which most settings repeat and
// which is then returned, since it need not be made again.
func binaryValue(oid uint32, raw []byte, last any) (value any, isPlain bool) {
	switch {
	case raw == nil:
		return nil, true
	case oid == pgtype.TextOID || oid == pgtype.VarcharOID:
		if text, isText := last.(string); isText && text == string(raw) {
			return last, true
		}
		return string(raw), true
	case oid == pgtype.Int4OID && len(raw) == 4:
		return again(last, int64(int32(binary.BigEndian.Uint32(raw)))), true
	case oid == pgtype.Int8OID && len(raw) == 8:
		return again(last, int64(binary.BigEndian.Uint64(raw))), true
	case oid == pgtype.BoolOID && len(raw) == 1:
		return raw[0] != 0, true
	case oid == pgtype.Float8OID && len(raw) == 8:
		return again(last, math.Float64frombits(binary.BigEndian.Uint64(raw))), true
	case oid == pgtype.TimestamptzOID && len(raw) == 8:
		const year2000 = 946_684_800                 // in seconds since 1970
		since := int64(binary.BigEndian.Uint64(raw)) // then, in microseconds
		isFinite := since != math.MinInt64 && since != math.MaxInt64
		return time.Unix(year2000+since/1e6, since%1e6*1e3).UTC(), isFinite
	}
	return nil, false
}

// again is last where it equals the value, and else the value.
func again[T comparable](last any, value T) any {
	if v, is := last.(T); is && v == value {
		return last
	}
	return value
}

// otherValue is a value of another type as pgx has it, or of a type that it does not know, such as an enumeration, a string.
// (Of a few types, such as aclitem, PostgreSQL has no binary format, and says so.)
func otherValue(types *pgtype.Map, oid uint32, raw []byte) (any, error) {
	known, ok := types.TypeForOID(oid)
	if !ok {
		return string(raw), nil
	}
	value, err := known.Codec.DecodeValue(types, oid, pgtype.BinaryFormatCode, raw)
	if err != nil {
		return nil, err
	}
	return plainValue("", value)
}

// querySQLite runs the query on a SQLite file, read-only, or on what a .sql script makes in memory, and has its answer taken.
func (d database) querySQLite(ctx context.Context, limit time.Duration, take func(*sql.Rows) error, query string, args []any) (err error) {
	var script []byte
	if info, err := os.Stat(d.file); err != nil {
		return err // SQLite would not say that the file is missing
	} else if err := regular(info); err != nil { // a pipe might be waited for without end
		return err
	}
	file, mode := d.file, "ro"
	if isWAL(file) { // whose readers write, too
		copied, remove, err := copySQLite(file)
		if err != nil {
			return err
		}
		defer remove()
		file, mode = copied, "rw"
	}
	dsn := (&url.URL{Scheme: "file", Path: file}).String() + "?_busy_timeout=5000&_error_rc=1&mode=" + mode
	if strings.HasSuffix(d.file, ".sql") {
		if script, err = os.ReadFile(d.file); err != nil {
			return err
		}
		dsn = "file::memory:?_error_rc=1"
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := within(ctx, limit)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer conn.Close()

	if script != nil {
		// A script is read, it does not reach for other files: neither by ATTACH nor by VACUUM INTO, which attaches.
		const limitAttached = 7 // SQLITE_LIMIT_ATTACHED
		if _, err := sqlite.Limit(conn, limitAttached, 0); err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, string(script)); err != nil {
			return causeOf(ctx, err)
		}
	}
	answer, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer answer.Close()
	return causeOf(ctx, take(answer))
}

// takeSQLite takes an answer of SQLite's.
func (r *rows) takeSQLite(answer *sql.Rows) error {
	types, err := answer.ColumnTypes()
	if err != nil {
		return err
	}
	for _, t := range types {
		r.columns = append(r.columns, t.Name())
	}
	for answer.Next() {
		row, into := make([]any, len(types)), make([]any, len(types))
		for i := range row {
			into[i] = &row[i]
		}
		if err := answer.Scan(into...); err != nil {
			return err
		}
		for i := range row {
			if row[i], err = plainValue(types[i].DatabaseTypeName(), row[i]); err != nil {
				return fmt.Errorf("column %s: %w", r.columns[i], err)
			}
		}
		r.values = append(r.values, row)
	}
	return answer.Err()
}

// isWAL tells whether a SQLite file says that it is written to by way of a write-ahead log.
func isWAL(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	const version = 18 // the offset of the format's version for writing
	header := make([]byte, version+1)
	_, err = io.ReadFull(file, header)
	return err == nil && header[version] == 2
}

// newPool makes a pool of one row of poolsQuery, in which the columns have those places.
func newPool(places map[string]int, row []any) (pool, error) {
	own, counts := row[:len(row)-countColumns], row[len(row)-countColumns:]
	p := pool{columns: columns{places, own}}
	var isNumber, isName, isSwitch bool
	p.id, isNumber = p.columns.get("id").(int64)
	p.name, isName = p.columns.get("name").(string)
	p.enabled, isSwitch = p.columns.get("autoscaling_enabled").(bool)
	if !isNumber || !isName || !isSwitch {
		return pool{}, fmt.Errorf("%w: worker_pools has a row with id %v, name %v and autoscaling_enabled %v",
			errNotVespene, p.columns.get("id"), p.columns.get("name"), p.columns.get("autoscaling_enabled"))
	}
	p.queuedBuilds, p.queuedProjects, p.running = counts[0].(int64), counts[1].(int64), counts[2].(int64)
	for i, m := range []*stale{&p.overdue, &p.expired, &p.projectless} {
		m.count = counts[3+2*i].(int64)
		if age, ok := counts[4+2*i].(float64); ok {
			m.oldest = time.Duration(min(age, longestMinutes*60)) * time.Second
		}
	}
	p.staleQueued, p.freshProjects = counts[9].(int64), counts[10].(int64)
	return p, nil
}

// plainValue turns what a driver made of a column into nil, bool, int64, float64, string or a time in UTC; declared is
// the column's type in SQLite, which has neither booleans nor times. Values of other types, which no column of Vespene's
// has, pass as they are and cannot be printed by a template.
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
	switch v := args[1].(type) {
	case nil:
		return nil, nil
	case string:
		t, err := parseTime(v)
		return float64(t.UnixMicro()) / 1e6, err
	default:
		return nil, fmt.Errorf("%v is not a time", v)
	}
}

// parseTime reads a time as Django, SQLite and PostgreSQL write it into text; one without a zone is in UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07"} {
		if t, err := time.Parse(layout, strings.Replace(s, "T", " ", 1)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", s)
}

var errNoAnswer = errors.New("no answer within the time limit")

// causeOf says why the context ended where that is why err came about.
func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// explain makes of an error the sentence, the cure and the exit code that people see. No password can be in it: what
// is quoted is the server's own message, the address less its secrets, or the network's error.
func explain(d database, err error) error { return explainAs("read", d, err) }

// explainAs is explain for another doing than reading: lock or write.
func explainAs(doing string, d database, err error) error {
	what, hint := strings.Join(strings.Fields(err.Error()), " "), ""
	var server *pgconn.PgError
	var name *net.DNSError
	var network *net.OpError
	switch {
	case errors.As(err, &server):
		what = fmt.Sprintf("%s: %s (SQLSTATE %s)", server.Severity, server.Message, server.Code)
		code := server.Code
		if code == "08P01" && strings.HasSuffix(server.Message, "does not exist") { // PgBouncer's word for it
			code = "3D000"
		}
		switch code {
		case "42P01", "42703", "3F000": // undefined table, column, schema
			what = fmt.Sprintf("%v: %s", errNotVespene, server.Message)
		case "28P01", "28000":
			hint = "check the user and the password in the database address"
		case "3D000":
			hint = "check the name at the end of the database address"
		case "42501":
			hint = asOwner + grantSelect + d.role()
			if doing == "write" {
				hint = asOwner + grantShared + d.role()
			}
		case "57014":
			hint = "without an index every build is read: " + createIndex
		}
	case strings.Contains(what, "no such table") || strings.Contains(what, "no such column"): // SQLite has one code for all
		what = fmt.Sprintf("%v: %s", errNotVespene, what)
	case errors.As(err, &name):
		what, hint = name.Error(), "check the host in the database address"
	case errors.As(err, &network):
		what = network.Error()
		hint = "check that PostgreSQL runs and that the host and port in the database address are right"
	case d.file != "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EISDIR) || strings.Contains(what, "no regular file")):
		hint = "name a SQLite database, or a script that ends in .sql, as sqlite:FILE"
	case errors.Is(err, errNoAnswer):
		hint = "check that the database is not overloaded or locked, and that the network lets its answers through"
	}
	if hint == "" && d.postgres != nil {
		hint = "PostgreSQL's log says more"
	} else if hint == "" {
		hint = "see that the file is whole: a SQLite database with Vespene's tables, or a script that makes one"
	}
	if strings.Contains(what, errNotVespene.Error()) {
		hint = "check the name of the database; the columns come with Vespene's own migrations (manage.py migrate)"
		if d.postgres != nil {
			hint += "; in a schema of its own, the role needs USAGE on it and a search_path with it"
		}
	}
	return &failure{code: exitDatabase, hint: hint, err: fmt.Errorf("%s %s: %s", doing, d.key, what)}
}

// Of a shared lock: how often its connection is pinged, how long an answer may take, and the class of advisory locks, of
// which the pool's id is the other half: "vsca".
const (
	pingEvery   = 5 * time.Second
	pingLimit   = 10 * time.Second
	sharedClass = 0x76736361
)

// sharedLock is a pool's lock that hosts share: an advisory lock of a transaction that is open for as long as it is held,
// so that PostgreSQL frees it when this process ends or its network is gone.
type sharedLock struct {
	database database
	conn     *pgconn.PgConn
	mu       sync.Mutex    // of conn
	stop     chan struct{} // closed to end the pinging
	ended    chan struct{} // closed when the pinging has ended: by stop, or because
	lost     error         // the lock was lost; to be read when ended is closed
	status   any           // autoscaling_status, when lastAutoscaled read it: an int64, or nil for NULL
}

// lockShared takes the lock of the pool with that id: an error that is errBusy where another host holds it.
func (d database) lockShared(ctx context.Context, id int64) (*sharedLock, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, explainAs("lock", d, err)
	}
	// READ COMMITTED holds no snapshot, which would keep vacuum from its work for as long as the command runs. The TCP
	// settings are those of the server's side, which has to notice that we are gone.
	all := begin("ISOLATION LEVEL READ COMMITTED READ ONLY", statementLimit)
	for setting, value := range map[string]int{"idle_in_transaction_session_timeout": 0, "tcp_keepalives_idle": 5,
		"tcp_keepalives_interval": 3, "tcp_keepalives_count": 3, "tcp_user_timeout": 14_000} {
		all = append(all, statement{text: fmt.Sprintf("SET LOCAL %s = %d", setting, value)})
	}
	var locked rows
	all = append(all, statement{text: noTransactionLimit},
		statement{text: "SELECT pg_try_advisory_xact_lock($1, $2)", args: []any{sharedClass, id}, take: locked.takePostgres})
	if err = send(ctx, conn, statementLimit, all...); err == nil && locked.values[0][0] == true {
		l := &sharedLock{database: d, conn: conn, stop: make(chan struct{}), ended: make(chan struct{})}
		go l.ping(context.WithoutCancel(ctx))
		return l, nil
	}
	d.done(ctx, conn)
	if err != nil {
		return nil, explainAs("lock", d, err)
	}
	return nil, &failure{code: exitBusy, err: fmt.Errorf("another host holds this pool's lock in PostgreSQL (%w)", errBusy),
		hint: "nothing was run; the next run tries again"}
}

// lastAutoscaled returns when the pool was last evaluated, zero if never, and what time it is, both by PostgreSQL's clock.
// It is a statement of its own, since one with the lock's would see the state before the lock.
func (l *sharedLock) lastAutoscaled(ctx context.Context, id int64) (last, now time.Time, err error) {
	var answer rows
	l.mu.Lock()
	defer l.mu.Unlock()
	err = send(ctx, l.conn, statementLimit, statement{args: []any{id}, take: answer.takePostgres,
		text: "SELECT last_autoscaled, autoscaling_status, clock_timestamp() FROM worker_pools WHERE id = $1"})
	if err == nil && len(answer.values) == 0 {
		err = errors.New("the pool is not there any more")
	}
	if err != nil {
		return last, now, explain(l.database, err)
	}
	row := answer.values[0]
	if row[0] != nil {
		if last, err = asTime(row[0]); err != nil {
			return last, now, explain(l.database, fmt.Errorf("last_autoscaled: %w", err))
		}
	}
	l.status = row[1]
	now, err = asTime(row[2])
	return last, now, err
}

// asTime is the value of a column that has times; infinity is none.
func asTime(value any) (time.Time, error) {
	at, isTime := value.(time.Time)
	if !isTime {
		return at, fmt.Errorf("%v is not a time", value)
	}
	return at, nil
}

// ping keeps the connection from looking dead, and notices when it is.
func (l *sharedLock) ping(ctx context.Context) {
	defer close(l.ended)
	for l.lost == nil {
		select {
		case <-l.stop:
			return
		case <-time.After(pingEvery):
			l.lost = l.exec(ctx, "SELECT 1")
		}
	}
}

// exec runs a statement on the lock's connection. An error is that the lock is lost.
func (l *sharedLock) exec(ctx context.Context, statement string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, pingLimit, errNoAnswer)
	defer cancel()
	if _, err := l.conn.Exec(ctx, statement).ReadAll(); err != nil {
		return explainAs("lock", l.database, causeOf(ctx, err))
	}
	return nil
}

// release frees the lock. The error is that it was lost before.
func (l *sharedLock) release(ctx context.Context) error {
	close(l.stop)
	<-l.ended
	err := l.lost
	if err == nil {
		err = l.exec(context.WithoutCancel(ctx), "COMMIT")
	}
	l.database.done(ctx, l.conn)
	return err
}

// claimShared writes that an evaluation of the pool begins now, and returns when that is: errBusy if it was not last
// evaluated at last (zero: never), so that of two hosts one claims, whatever has become of the lock. Until its end there is
// no status, since that of the evaluation before would be taken for its own.
func (d database) claimShared(ctx context.Context, id int64, last time.Time) (now time.Time, err error) {
	return d.update(ctx, `UPDATE worker_pools SET last_autoscaled = clock_timestamp(), autoscaling_status = NULL
		WHERE id = $1 AND last_autoscaled IS NOT DISTINCT FROM $2::timestamptz RETURNING last_autoscaled`, id, orNull(last))
}

// unclaimShared takes a claim back, with which nothing was run: the pool was last evaluated at last, with that status.
func (d database) unclaimShared(ctx context.Context, id int64, claimed, last time.Time, status any) error {
	_, err := d.update(ctx, "UPDATE worker_pools SET last_autoscaled = $3::timestamptz, autoscaling_status = $4::integer "+
		"WHERE id = $1 AND last_autoscaled = $2 RETURNING clock_timestamp()", id, claimed, orNull(last), status)
	return err
}

// completeShared writes the exit code of the pool's command, and when its interval began. It returns that time as it was
// written; the error is errBusy if another host has claimed the pool since.
func (d database) completeShared(ctx context.Context, id int64, claimed time.Time, exitCode int, began time.Time) (
	last time.Time, err error) {
	return d.update(ctx, `UPDATE worker_pools SET autoscaling_status = $2, last_autoscaled = $3
		WHERE id = $1 AND last_autoscaled = $4 RETURNING last_autoscaled`, id, exitCode, began, claimed)
}

func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// update runs a statement that changes one row and returns a time, in a transaction and on a connection of its own.
func (d database) update(ctx context.Context, change string, args ...any) (at time.Time, err error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return at, explainAs("write", d, err)
	}
	defer d.done(ctx, conn)
	var answer rows
	all := append(begin("READ WRITE", statementLimit), statement{text: change, args: args, take: answer.takePostgres}, statement{text: "COMMIT"})
	switch err := send(ctx, conn, statementLimit, all...); {
	case err == nil && len(answer.values) == 0:
		return at, &failure{code: exitBusy, err: fmt.Errorf("another host has begun an evaluation of this pool (%w)", errBusy),
			hint: "the next run sees what has become of it"}
	case err != nil:
		return at, explainAs("write", d, err)
	}
	return asTime(answer.values[0][0])
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
