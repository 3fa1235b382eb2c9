package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unique"

	"github.com/jackc/pgx/v5/pgconn"

	"vespene-autoscale/internal/sqlread"
)

// db.go owns Vespene's tables: the address of their database, the one read that returns the pools with their counts,
// and the one that returns a pool's builds. It writes nothing and decides nothing. What hosts share is in shared.go.

// credentialFile has the address if neither an option nor the environment does.
const credentialFile = "/etc/vespene-autoscale/database"

// Limits of one read; together they end it within 45 seconds.
const (
	connectLimit   = 10 * time.Second
	statementLimit = 30 * time.Second // enforced by PostgreSQL, which then frees what the statement held
)

// countColumns is how many columns poolsQuery adds to those of worker_pools; newPool knows their order.
const countColumns = 11

// poolsQuery reads pools and counts as one snapshot, on PostgreSQL and SQLite alike; %s is the choice of pools and $1
// the time as Unix seconds. The statuses are literals, since a partial index on them is used only then. A build whose
// project is gone gets Vespene's default timeout of 60 minutes.
const poolsQuery = `
SELECT p.*, a.queued, a.queued_projects, a.running, a.overdue, a.overdue_age, a.expired, a.expired_age,
       a.projectless, a.projectless_age, a.stale_queued, a.fresh_projects
FROM worker_pools p LEFT JOIN (
    SELECT b.worker_pool_id,
           count(*) FILTER (WHERE b.status = 'QUEUED') AS queued,
           count(DISTINCT coalesce(b.project_id, -1)) FILTER (WHERE b.status = 'QUEUED') AS queued_projects,
           count(*) FILTER (WHERE b.status = 'RUNNING') AS running,
           count(*) FILTER (WHERE b.overdue) AS overdue,
           max(b.running_age) FILTER (WHERE b.overdue) AS overdue_age,
           count(*) FILTER (WHERE b.expired) AS expired,
           max(b.queued_age) FILTER (WHERE b.expired) AS expired_age,
           count(*) FILTER (WHERE b.projectless) AS projectless,
           max(b.queued_age) FILTER (WHERE b.projectless) AS projectless_age,
           count(*) FILTER (WHERE b.expired OR b.projectless) AS stale_queued,
           count(DISTINCT b.project_id) FILTER (WHERE b.status = 'QUEUED' AND NOT b.expired) AS fresh_projects
    FROM (
        SELECT b.worker_pool_id, b.status, b.project_id,
               $1 - date_part('epoch', b.queued_time) AS queued_age,
               $1 - date_part('epoch', b.start_time) AS running_age,
               b.status = 'RUNNING'
                   AND $1 - date_part('epoch', b.start_time) > coalesce(j.timeout, 60) * 60.0 + 300 AS overdue,
               b.status = 'QUEUED'
                   AND (b.queued_time IS NULL
                        OR $1 - date_part('epoch', b.queued_time) > q.auto_abort_minutes * 60.0) AS expired,
               b.status = 'QUEUED' AND b.project_id IS NULL AS projectless
        FROM builds b
        JOIN worker_pools q ON q.id = b.worker_pool_id
        LEFT JOIN projects j ON j.id = b.project_id
        WHERE b.status IN ('QUEUED', 'RUNNING')
    ) b
    GROUP BY b.worker_pool_id
) a ON a.worker_pool_id = p.id
WHERE %s`

// buildsQuery reads the builds of the pool $1 that matter to a window from $2 on, on both databases. Builds that never
// started are orphans if they were queued before $3; $4 stands for a time that is missing. Times are whole microseconds
// since 1970: a setting of PostgreSQL decides how exactly it writes fractions.
const buildsQuery = `
SELECT * FROM (
    SELECT b.id, coalesce(b.project_id, 0), coalesce(b.pipeline_parent_build_id, 0), coalesce(j.timeout, 60),
           coalesce(CAST(round(date_part('epoch', b.queued_time) * 1000000) AS bigint), $4) AS queued,
           coalesce(CAST(round(date_part('epoch', b.start_time) * 1000000) AS bigint), $4) AS started,
           coalesce(CAST(round(date_part('epoch', b.end_time) * 1000000) AS bigint), $4) AS ended, b.status
    FROM builds b
    LEFT JOIN projects j ON j.id = b.project_id
    WHERE b.worker_pool_id = $1
) b
WHERE b.queued >= $2 OR b.started >= $2 OR b.ended >= $2
   OR b.queued = $4
   OR b.ended = $4 AND b.status IN ('QUEUED', 'RUNNING')
   OR b.started = $4 AND b.queued >= $3`

// requiredColumns are the columns of worker_pools without which nothing can be planned.
var requiredColumns = []string{"id", "name", "variables", "autoscaling_enabled", "build_latest", "excess", "executor",
	"executor_command", "maximum", "minimum", "multiplier", "planner", "queued_weight", "reevaluate_minutes",
	"running_weight"}

// Cures for the owner of the tables; a role's name follows each GRANT. The index makes each run read few builds.
const (
	asOwner     = "as the owner of the tables: "
	grantSelect = "GRANT SELECT ON worker_pools, builds, projects TO "
	grantShared = "GRANT UPDATE (last_autoscaled, autoscaling_status) ON worker_pools TO "
	createIndex = "CREATE INDEX CONCURRENTLY builds_active_idx ON builds (worker_pool_id, status) " +
		"WHERE status IN ('QUEUED', 'RUNNING')"
)

var (
	errNotVespene = errors.New("not a Vespene database, or one older than autoscaling") // a table or column is missing
	errNoDatabase = errors.New("no database is given")
)

// errMalformed quotes no part of the address, since any part may be the password.
var errMalformed = usage("write postgres://USER:PASSWORD@HOST:PORT/NAME with special characters percent-encoded "+
	"(@ is %40), host=HOST dbname=NAME user=USER password=PASSWORD, or sqlite:FILE",
	"the database address is malformed, or has a parameter that is not supported")

// database is a parsed address.
type database struct {
	key      string          // the address less user, password and options: what locks and the state call it
	postgres *sqlread.Server // nil: it is SQLite
	file     string          // of a SQLite database, or with the ending .sql a script that makes one in memory
}

// findDatabase returns the database that is given, or else the one that this machine or the environment names.
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
			return database{}, usage("make the file readable for this user (its group, mode 0640), or give --database",
				"read the database address: %w", err)
		}
		if address := strings.TrimSpace(string(content)); address != "" {
			return parseDatabase(address)
		}
	}
	if hostaddr := os.Getenv("PGHOSTADDR"); hostaddr != "" { // pgx does not read this variable
		return parseDatabase("hostaddr='" + hostaddr + "'")
	}
	if os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") != "" {
		return parseDatabase("")
	}
	return database{}, usage("put postgres://USER:PASSWORD@HOST/NAME into "+credentialFile+
		", give it with --database, or set PGHOST", "%w", errNoDatabase)
}

// parseDatabase parses what --database takes.
func parseDatabase(address string) (database, error) {
	if file, ok := strings.CutPrefix(address, "sqlite:"); ok {
		path, err := filepath.Abs(file)
		if file == "" || err != nil {
			return database{}, errMalformed
		}
		return database{key: "sqlite:" + path, file: path}, nil
	}
	config, err := parsePostgres(address)
	if err != nil {
		return database{}, err
	}
	hosts := []string{net.JoinHostPort(config.Host, fmt.Sprint(config.Port))}
	for _, other := range config.Fallbacks {
		hosts = append(hosts, net.JoinHostPort(other.Host, fmt.Sprint(other.Port)))
	}
	hosts = slices.Compact(hosts) // each is there with TLS and without
	if config.ConnectTimeout == 0 && len(hosts) > 1 {
		// A silent host may not use up the time of the next one.
		config.ConnectTimeout = connectLimit / time.Duration(len(hosts))
	}
	key := "postgres://" + strings.Join(hosts, ",") + "/" + cmp.Or(config.Database, config.User)
	return database{key: key, postgres: &sqlread.Server{Config: config, ConnectLimit: connectLimit}}, nil
}

// parsePostgres parses a URL or libpq's key=value form, and leaves no parameter in it that a PgBouncer would refuse. It
// refuses what looks like an unencoded password, a piece of which would be taken for something that is printed.
func parsePostgres(address string) (*pgconn.Config, error) {
	scheme, rest, isURL := strings.Cut(address, "://")
	if isURL = isURL && !strings.ContainsAny(scheme, " ='"); isURL {
		end := strings.IndexAny(rest, "/?#")
		if scheme != "postgres" && scheme != "postgresql" || end >= 0 && strings.Contains(rest[end:], "@") {
			return nil, errMalformed
		}
	}
	config, err := pgconn.ParseConfig(address)
	if file, is := errors.AsType[*os.PathError](err); is { // of a certificate, key or service: a path, and no secret
		return nil, usage("make that file readable for this user, or take it out of the address",
			"the database address names a file: %w", file)
	} else if err != nil {
		return nil, errMalformed
	}
	// hostaddr is libpq's; pgx would pass it to the server as a setting of the session.
	if ip, ok := config.RuntimeParams["hostaddr"]; ok {
		if net.ParseIP(ip) == nil {
			return nil, errMalformed
		}
		if network, _ := pgconn.NetworkAddress(config.Host, config.Port); network == "unix" { // there is no host
			separator := map[bool]string{true: "&", false: " "}[isURL]
			if config, err = pgconn.ParseConfig(address + separator + "host=" + ip); err != nil {
				return nil, errMalformed
			}
		}
		delete(config.RuntimeParams, "hostaddr")
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{ip}, nil }
	}
	for name := range config.RuntimeParams {
		switch name {
		case "options", "search_path", "application_name":
		case "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity", // pgx's own
			"client_encoding", "fallback_application_name", "gssencmode", "timezone", "keepalives", "keepalives_count",
			"keepalives_idle", "keepalives_interval", "load_balance_hosts", "sslcompression", "tcp_user_timeout":
			delete(config.RuntimeParams, name) // of no consequence here
		case "gssdelegation", "gsslib", "requirepeer", "requiressl", "sslcrl", "sslcrldir", "sslkeylogfile",
			"ssl_max_protocol_version", "ssl_min_protocol_version":
			return nil, usage("take it out; sslmode and sslrootcert are",
				"the database address has %s, which is not supported", name)
		default:
			return nil, errMalformed // maybe a piece of the password, which the server would name in its refusal
		}
	}
	hasAt := func(other *pgconn.FallbackConfig) bool { return strings.Contains(other.Host, "@") }
	if isURL && (strings.Contains(config.Host, "@") || slices.ContainsFunc(config.Fallbacks, hasAt)) ||
		strings.Contains(config.Database, "://") || strings.Contains(config.Database, "=") { // a whole address
		return nil, errMalformed
	}
	config.RuntimeParams["application_name"] = "vespene-autoscale"
	return config, nil
}

// role returns the role's name as a statement has it.
func (d database) role() string {
	name := d.postgres.Config.User
	if !regexp.MustCompile(`^[a-z_][a-z0-9_]*$`).MatchString(name) {
		name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}

// rows are what a query returned.
type rows struct {
	columns []string
	values  [][]any       // nil, bool, int64, float64, string or a time in UTC
	clock   time.Duration // how much the database's clock is ahead of ours
}

// read runs a query, which changes nothing.
func (d database) read(ctx context.Context, query string, args ...any) (rows, error) {
	var answer sqlread.Rows
	clock, err := d.query(ctx, statementLimit, &answer, query, args...)
	return rows{answer.Columns, answer.Values, clock}, err
}

// query runs a query in a read-only transaction of its own, and returns how much the database's clock is ahead of ours.
func (d database) query(ctx context.Context, limit time.Duration, into *sqlread.Rows, query string, args ...any) (
	ahead time.Duration, err error) {
	if d.postgres == nil {
		return 0, sqlread.QuerySQLite(ctx, d.file, limit, into, query, args...)
	}
	var now sqlread.Rows // asked last, since its answer waits for that of the query
	err = d.postgres.Transaction(ctx, "READ ONLY", limit,
		sqlread.Statement{Text: query, Args: args, Into: into},
		sqlread.Statement{Text: "SELECT clock_timestamp()", Into: &now})
	if err != nil {
		return 0, err
	}
	return time.Until(now.Values[0][0].(time.Time)), nil
}

// readPools reads pools into a map by their names: the named ones that exist, or without names all with autoscaling
// enabled or, if all is set, really all. now is what the age of builds is reckoned from.
func (d database) readPools(ctx context.Context, names []string, all bool, now time.Time) (map[string]pool, error) {
	choice, args := "p.autoscaling_enabled", []any{float64(now.UnixMilli()) / 1000}
	if all {
		choice = "true"
	}
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
	places := make(map[string]int, len(answer.columns))
	for i, column := range answer.columns[:len(answer.columns)-countColumns] {
		places[column] = i
	}
	for _, column := range requiredColumns {
		if _, is := places[column]; !is {
			return nil, explain(d, fmt.Errorf("%w: no column worker_pools.%s", errNotVespene, column))
		}
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
	// Of a pool without builds all counts are NULL, and so are the ages of builds that have no time.
	odd := slices.IndexFunc(counts, func(n any) bool {
		_, isCount := n.(int64)
		_, isAge := n.(float64)
		return n != nil && !isCount && !isAge
	})
	if odd >= 0 {
		return pool{}, fmt.Errorf("%w: a count of builds is %v", errNotVespene, counts[odd])
	}
	number := func(i int) int64 { n, _ := counts[i].(int64); return n }
	staleBuilds := func(i int) stale {
		seconds, _ := counts[i+1].(float64)
		return stale{number(i), time.Duration(min(seconds, longestMinutes*60)) * time.Second}
	}
	p.queuedBuilds, p.queuedProjects, p.running = number(0), number(1), number(2)
	p.overdue, p.expired, p.projectless = staleBuilds(3), staleBuilds(5), staleBuilds(7)
	p.staleQueued, p.freshProjects = number(9), number(10)
	return p, nil
}

// build is a row of builds. Its times are microseconds since 1970.
type build struct {
	id, project, parent    int64 // project and parent, the build whose end started it: 0 where there is none
	queued, started, ended int64 // never where there is none
	timeout                int64 // of its project, in minutes
	status                 string
}

// never stands for a time that is missing.
const never = math.MinInt64

// readBuilds reads, by id, the builds of the pool that a simulation of a window from then on may need: builds that were
// queued, ran or ended in it, builds that waited or ran when it began (those queued for longer than abort never start),
// and builds without a queued_time. It has no time limit, and tells progress, which may be nil, how many it has.
func (d database) readBuilds(ctx context.Context, pool int64, from time.Time, abort time.Duration,
	progress func(n int)) ([]build, error) {
	var builds []build
	answer := sqlread.Rows{Each: func(row []any) error {
		var b build
		into := []*int64{&b.id, &b.project, &b.parent, &b.timeout, &b.queued, &b.started, &b.ended, nil}
		for i, to := range into {
			number, isNumber := row[i].(int64)
			text, isText := row[i].(string)
			switch {
			case to != nil && isNumber:
				*to = number
			case to == nil && isText:
				b.status = unique.Make(text).Value() // few texts, each of which is kept once
			default:
				return fmt.Errorf("a build has %v where that cannot be", row[i])
			}
		}
		if n := len(builds); progress != nil && n > 0 && n%4096 == 0 {
			progress(n)
		}
		builds = append(builds, b)
		return nil
	}}
	_, err := d.query(ctx, sqlread.NoLimit, &answer, buildsQuery,
		pool, from.UnixMicro(), from.Add(-abort).UnixMicro(), int64(never))
	if err != nil {
		return nil, explain(d, err)
	}
	// Sorted here: PostgreSQL would sort a million builds in files, and return none before.
	slices.SortFunc(builds, func(a, b build) int { return cmp.Compare(a.id, b.id) })
	return builds, nil
}

// explain turns an error of reading into the sentence, the cure and the exit code that people see. It contains no
// password: it quotes only the server's own message, the address less its secrets, and the network's error.
func explain(d database, err error) error { return explainAs("read", d, err) }

// explainAs is explain for what is being done, such as lock or write. It makes no error of nil.
func explainAs(doing string, d database, err error) error {
	if err == nil {
		return nil
	}
	what, hint := strings.Join(strings.Fields(err.Error()), " "), "PostgreSQL's log says more"
	if d.postgres == nil {
		hint = "see that the file is whole: a SQLite database with Vespene's tables, or a script that makes one"
	}
	var server *pgconn.PgError
	var name *net.DNSError
	var network *net.OpError
	isOther := errors.Is(err, errNotVespene)
	switch {
	case isOther:
	case errors.As(err, &server):
		code := server.Code
		if code == "08P01" && strings.HasSuffix(server.Message, "does not exist") { // PgBouncer's word for it
			code = "3D000"
		}
		what = fmt.Sprintf("%s: %s (SQLSTATE %s)", server.Severity, server.Message, server.Code)
		switch code {
		case "42P01", "42703", "3F000": // undefined table, column, schema
			isOther, what = true, fmt.Sprintf("%v: %s", errNotVespene, server.Message)
		case "28P01", "28000":
			hint = "check the user and the password in the database address"
		case "3D000":
			hint = "check the name at the end of the database address"
		case "42501":
			hint = asOwner + map[bool]string{true: grantShared, false: grantSelect}[doing == "write"] + d.role()
		case "57014":
			hint = "without an index every build is read: " + createIndex
		}
	case strings.Contains(what, "no such table") || strings.Contains(what, "no such column"): // SQLite's
		isOther, what = true, fmt.Sprintf("%v: %s", errNotVespene, what)
	case errors.As(err, &name):
		what, hint = name.Error(), "check the host in the database address"
	case errors.As(err, &network):
		what = network.Error()
		hint = "check that PostgreSQL runs and that the host and port in the database address are right"
	case d.postgres == nil &&
		(errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EISDIR) || errors.Is(err, sqlread.ErrNoFile)):
		hint = "name a SQLite database, or a script that ends in .sql, as sqlite:FILE"
	case errors.Is(err, sqlread.ErrNoAnswer):
		hint = "check that the database is not overloaded or locked, and that the network lets its answers through"
	}
	if isOther {
		hint = "check the name of the database; the columns come with Vespene's own migrations (manage.py migrate)"
		if d.postgres != nil {
			hint += "; in a schema of its own, the role needs USAGE on it and a search_path with it"
		}
	}
	return &failure{code: exitDatabase, hint: hint, err: fmt.Errorf("%s %s: %s", doing, d.key, what)}
}
