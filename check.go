package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"vespene-autoscale/internal/term"
)

// check.go owns the command check: what can be wrong before it goes wrong, with its cure. It gives each pool its turn
// as a dry run does, looks at what is around that, and changes nothing.

// The levels of a finding. What stops a run or a pool is an error; what will cost something one day is a warning.
const (
	isOK      = "ok"
	isWarning = "warning"
	isError   = "error"
)

// manyBuilds is how many builds are too many to read all of them each minute.
const manyBuilds = 10_000

// littleRoom is how many bytes are left on a file system that will be full soon.
const littleRoom = 16 << 20

// finding is what one check found. The JSON names are a contract; pool and cure are null where there is none.
type finding struct {
	Check   string  `json:"check"`
	Pool    *string `json:"pool"`
	Level   string  `json:"level"`
	Message string  `json:"message"`
	Cure    *string `json:"cure"`
}

// checkup is one look at everything.
type checkup struct {
	*scaler                 // as in a dry run, whose log says nothing: what a pool's turn would log is found here
	out     *term.Output    // findings go there
	levels  map[string]int  // how many findings have each
	pools   map[string]pool // nil: they could not be read
}

// check looks for what is wrong: its code is exitInvalid if there is an error among what it finds.
func check(ctx context.Context, s *scaler, c *cli.Context, out *term.Output) (code int, err error) {
	// Stale builds cost something without autoscaling, too, so that all pools are read.
	s.dryRun, s.all, s.log = true, true, slog.New(slog.DiscardHandler)
	k := &checkup{scaler: s, out: out, levels: map[string]int{}}
	if err := k.openDatabase(c); err != nil {
		k.wrong("database", "", err)
	} else {
		k.checkDatabase(ctx)
	}
	k.checkCredential(ctx, c)
	k.checkState(ctx, c)
	k.checkPrograms()
	if k.pools != nil {
		k.checkPools(ctx)
		k.checkBuilds()
	}
	k.checkTimer(ctx)
	out.Note(fmt.Sprintf("%s, %s", term.Count(int64(k.levels[isError]), "error"),
		term.Count(int64(k.levels[isWarning]), "warning")))
	if k.levels[isError] > 0 {
		return exitInvalid, nil
	}
	return exitOK, nil
}

// found writes a finding: one line, with the cure. pool and cure may be empty.
func (k *checkup) found(level, check, pool, cure, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	k.levels[level]++
	if k.out.JSON {
		k.out.Encode(finding{check, optional(pool), level, message, optional(cure)})
		return
	}
	if pool != "" {
		message = term.Label(pool) + ": " + message
	}
	if cure != "" {
		message += "; " + cure
	}
	style := map[string]string{isOK: term.Green, isWarning: term.Yellow, isError: term.Red}[level]
	fmt.Fprintf(k.out, "%s%*s  %-10s  %s\n", k.out.Paint(style, level), len(isWarning)-len(level), "", check, message)
}

func (k *checkup) ok(check, format string, args ...any) {
	k.found(isOK, check, "", "", format, args...)
}

func (k *checkup) warn(check, cure, format string, args ...any) {
	k.found(isWarning, check, "", cure, format, args...)
}

func (k *checkup) bad(check, cure, format string, args ...any) {
	k.found(isError, check, "", cure, format, args...)
}

// wrong writes an error as a finding; nil is none.
func (k *checkup) wrong(check, pool string, err error) {
	if err != nil {
		k.found(isError, check, pool, hintOf(err), "%s", oneLine(err))
	}
}

// checkDatabase checks whether the database answers, has the tables, and lets this role do what it needs and no more.
func (k *checkup) checkDatabase(ctx context.Context) {
	statement := "SELECT 'SQLite ' || sqlite_version(), ''"
	if k.database.postgres != nil {
		statement = "SELECT 'PostgreSQL ' || current_setting('server_version'), ' as ' || current_user"
	}
	answer, err := k.database.read(ctx, statement)
	if err != nil {
		k.wrong("database", "", explain(k.database, err))
		return
	}
	k.ok("database", "%s answers: %v%v", k.database.key, answer.values[0][0], answer.values[0][1])
	if k.pools, err = k.fresh(ctx); err != nil {
		k.wrong("tables", "", err)
		return
	}
	k.ok("tables", "worker_pools, builds and projects have what is needed, and may be read")
	if k.database.postgres == nil {
		return
	}
	if ahead := answer.clock - time.Until(clock()); ahead.Abs() > dueTolerance {
		k.warn("clock", "let both be set by NTP (timedatectl set-ntp true): ages of builds and, with --shared, what "+
			"is due are reckoned with them",
			"the database's clock and this machine's differ by %v", ahead.Abs().Round(time.Second))
	} else {
		k.ok("clock", "the database's clock and this machine's agree within %v", dueTolerance)
	}
	k.wrong("privileges", "", explain(k.database, k.checkPrivileges(ctx)))
	k.wrong("index", "", explain(k.database, k.checkIndex(ctx)))
}

// writable are the tables in which the role may change something, those with columns if it may not change others, and
// whether the role owns them.
const writable = `
SELECT name, CASE WHEN whole THEN name ELSE name || ' (' || columns || ')' END, owned FROM (
    SELECT c.oid::regclass::text AS name, pg_has_role(c.relowner, 'USAGE') AS owned,
           has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS whole,
           coalesce(string_agg(a.attname::text, ', ' ORDER BY a.attname)
                    FILTER (WHERE has_column_privilege(c.oid, a.attnum, 'INSERT, UPDATE')), '') AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg\_t%'
    GROUP BY c.oid) t
WHERE whole OR columns <> '' ORDER BY name`

// checkPrivileges checks whether the role may write what it does not need to or, with --shared, may not write what it
// does.
func (k *checkup) checkPrivileges(ctx context.Context) error {
	role := k.database.role()
	if k.shared {
		may, err := k.database.read(ctx, `SELECT has_column_privilege('worker_pools', 'last_autoscaled', 'UPDATE')
			AND has_column_privilege('worker_pools', 'autoscaling_status', 'UPDATE')`)
		if err == nil && may.values[0][0] != true {
			k.bad("privileges", asOwner+grantShared+role,
				"with --shared the role has to write worker_pools.last_autoscaled and autoscaling_status, and may not")
		}
		if err != nil || may.values[0][0] != true {
			return err
		}
	}
	tables, err := k.database.read(ctx, writable)
	if err != nil {
		return err
	}
	var more, names []string
	owned := false
	for _, row := range tables.values {
		name, what := row[0].(string), row[1].(string)
		if k.shared && what == "worker_pools (autoscaling_status, last_autoscaled)" {
			continue
		}
		more, names, owned = append(more, what), append(names, name), owned || row[2] == true
	}
	if len(more) == 0 {
		k.ok("privileges", "the role %s may do what it needs and write no other table", role)
		return nil
	}
	right, cure := role, asOwner+"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON "+strings.Join(names, ", ")+" FROM "+role
	if owned { // nothing can be taken from an owner for long
		right = "vespene_autoscale"
		cure = "use a role that owns nothing: CREATE ROLE " + right + " LOGIN PASSWORD '…'; " + grantSelect + right
	}
	if k.shared {
		cure += "; " + grantShared + right
	}
	const named = 5
	if n := len(more) - named; n > 0 {
		more = append(more[:named], fmt.Sprintf("%d more", n))
	}
	k.warn("privileges", cure, "the role %s may write: %s", role, strings.Join(more, ", "))
	return nil
}

// activeIndexes are the indexes by which queued and running builds are found without reading all, and whether each is
// valid.
const activeIndexes = `
SELECT i.indexrelid::regclass::text, i.indisvalid FROM pg_index i
WHERE i.indrelid = 'builds'::regclass AND CASE WHEN i.indpred IS NULL
    THEN pg_get_indexdef(i.indexrelid, 1, false) = 'status'
         OR pg_get_indexdef(i.indexrelid, 1, false) = 'worker_pool_id'
            AND pg_get_indexdef(i.indexrelid, 2, false) = 'status'
    ELSE pg_get_expr(i.indpred, i.indrelid) ~ 'QUEUED.*RUNNING|RUNNING.*QUEUED'
         AND pg_get_expr(i.indpred, i.indrelid) !~ '<>|NOT ' END
ORDER BY i.indisvalid DESC`

// checkIndex checks whether each run reads all builds, and whether those are many.
func (k *checkup) checkIndex(ctx context.Context) error {
	indexes, err := k.database.read(ctx, activeIndexes)
	if err != nil {
		return err
	}
	if len(indexes.values) > 0 && indexes.values[0][1] == true {
		k.ok("index", "queued and running builds are found by the index %v", indexes.values[0][0])
		return nil
	}
	builds, err := k.database.read(ctx,
		fmt.Sprintf("SELECT count(*) FROM (SELECT FROM builds LIMIT %d) b", manyBuilds+1))
	if err != nil {
		return err
	}
	switch n := builds.values[0][0].(int64); {
	case n <= manyBuilds:
		k.ok("index", "each run reads all of builds, which has %d rows: no index is needed yet", n)
	case len(indexes.values) > 0:
		index := indexes.values[0][0]
		k.warn("index", fmt.Sprintf("%sDROP INDEX %v; then %s", asOwner, index, createIndex),
			"the index %v on builds was not finished, so that each run reads all of the table", index)
	default:
		k.warn("index", asOwner+createIndex,
			"builds has more than %d rows and no index on status, so that each run reads all of it", manyBuilds)
	}
	return nil
}

// checkCredential checks who may read the password, and whether the service finds the file.
func (k *checkup) checkCredential(ctx context.Context, c *cli.Context) {
	given := c.String("database")
	hasPassword := regexp.MustCompile(`^\w+://[^/@]*:[^/@]*@|password\s*=`).MatchString(given)
	if hasPassword && given != os.Getenv("VESPENE_AUTOSCALE_DATABASE") {
		k.warn("credential", "write the address into "+credentialFile,
			"the database's password stands on the command line, where every user of this machine can see it")
	}
	info, err := os.Stat(credentialFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if service, err := show(ctx, unit+".service"); err == nil && service["LoadState"] == "loaded" {
			k.bad("credential", "sudo install -D -m 0640 -g "+systemUser+" /dev/null "+credentialFile,
				"the service cannot start without %s, which may be empty", credentialFile)
			return
		}
		k.ok("credential", "there is no %s, and no service that needs it", credentialFile)
	case err != nil:
		k.bad("credential", "make the directory readable: sudo chmod 0755 "+filepath.Dir(credentialFile), "%v", err)
	case info.Mode().Perm()&0o027 != 0:
		k.warn("credential", "sudo chmod 0640 "+credentialFile+", and change the password if others may have seen it",
			"%s has the mode %#o, which lets others than root and its group read it or write to it", credentialFile,
			info.Mode().Perm())
	default:
		k.ok("credential", "%s has the mode %#o", credentialFile, info.Mode().Perm())
	}
}

// checkState checks whether the state can be kept, and opens what there is of it.
func (k *checkup) checkState(ctx context.Context, c *cli.Context) {
	if err := k.readState(ctx, c); err != nil {
		k.wrong("state", "", err)
		return
	}
	path, _ := statePath(c.String("state"))
	directory := filepath.Dir(path)
	owner := ownerOf(directory)
	if os.Geteuid() == 0 && owner != "" && owner != "root" {
		k.warn("user", "sudo -u "+owner+" vespene-autoscale check",
			"this is root's view, and %s belongs to %s: what that user may not read or run is not seen", directory,
			owner)
	}
	there := directory // or where it would be made
	for ownerOf(there) == "" && there != "/" {
		there = filepath.Dir(there)
	}
	const unwritable = "%s cannot be written to: %v"
	if err := unix.Faccessat(unix.AT_FDCWD, there, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		k.bad("state", "make it writable for the user of this run, run as the service's user (sudo -u "+systemUser+
			"), or name another file with --state", unwritable, there, err)
		return
	}
	files, _ := filepath.Glob(filepath.Join(directory, "*.lock"))
	for _, file := range append([]string{path, path + "-wal", path + "-shm"}, files...) {
		err := unix.Faccessat(unix.AT_FDCWD, file, unix.R_OK|unix.W_OK, unix.AT_EACCESS)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.bad("state", "sudo chown "+owner+": "+file+"; sudo chmod 0600 "+file, unwritable, file, err)
			return
		}
	}
	const networkFile = 0x6969 // NFS_SUPER_MAGIC
	var system unix.Statfs_t
	warned := k.levels[isWarning]
	if err := unix.Statfs(there, &system); err == nil && system.Blocks > 0 &&
		system.Bavail*uint64(system.Bsize) < littleRoom {
		k.warn("state", "make room on it: without a record nothing is run", "the file system of %s is nearly full",
			there)
	} else if err == nil && system.Type == networkFile {
		k.warn("state", "keep the state on a local disk", "%s is on NFS, whose locks do not do for those of the pools",
			there)
	}
	for _, file := range []string{directory, path} {
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
			k.warn("state", "sudo chmod go= "+file,
				"%s has the mode %#o, so that others can see or change what commands printed", file, info.Mode().Perm())
		}
	}
	switch {
	case k.levels[isWarning] > warned:
	case k.state == nil:
		k.ok("state", "%s will be made by the first run", path)
	default:
		k.ok("state", "%s can be read and written", path)
	}
}

// checkPrograms looks for the plugin programs, also those that no pool selects.
func (k *checkup) checkPrograms() {
	enabled := map[string]map[string]string{"planner ": k.plugins.planners, "executor ": k.plugins.executors}
	for what, programs := range enabled {
		for name, program := range programs {
			if path, err := findProgram(what+name, program); err != nil {
				k.wrong("plugin", "", err)
			} else {
				k.ok("plugin", "%s is %s", what+name, path)
			}
		}
	}
}

// checkPools gives each pool its turn as a dry run does.
func (k *checkup) checkPools(ctx context.Context) {
	queues := slices.DeleteFunc(k.queues(k.pools),
		func(name string) bool { return len(k.names) == 0 && !k.pools[name].enabled })
	if len(queues) == 0 {
		k.warn("pools", "enable it in Vespene, in the settings of a worker pool",
			"no worker pool has autoscaling enabled")
		return
	}
	var keeper string // the pool that keeps the most workers when there is nothing to do
	var most int64
	for _, name := range queues {
		t := k.servePool(ctx, name)
		switch {
		case t.err != nil:
			k.wrong("pool", name, t.err)
		case t.outcome == disabled:
			k.found(isWarning, "pool", name, "enable it in Vespene, in the settings of the worker pool", "%s",
				reason(t))
		case t.plan.maximum == 0:
			k.found(isWarning, "pool", name, "raise it in Vespene, or disable autoscaling for the pool",
				"maximum is 0, so that it never has a worker")
		default:
			k.found(isOK, "pool", name, "", "settings, template and plugins are right, and make the size %d now",
				t.prepared.plan.size)
		}
		if t.timing != nil && t.timing.clockBack {
			k.found(isWarning, "clock", name, "set the clock right; the next run evaluates the pool at once",
				"its last evaluation lies in the future: the clock went back")
		}
		if t.err == nil && t.plan != nil {
			if least := leastSize(t.pool, *t.plan); least > most {
				keeper, most = name, least
			}
		}
	}
	switch {
	case most > 0:
		k.found(isOK, "minimum", keeper, "", "it keeps %s when there is nothing to do, for Vespene's schedules",
			term.Count(most, "worker"))
	case len(k.names) == 0:
		k.warn("minimum", "set the minimum of one pool to 1 in Vespene, or keep one worker elsewhere",
			"every pool may go down to 0 workers, and only workers start Vespene's scheduled builds, imports and "+
				"clean-up")
	}
}

// leastSize returns what a pool is held to when nothing is queued or running; for one with a planner program, its
// minimum.
func leastSize(p pool, planned plan) int64 {
	if planned.planner != stock {
		return planned.minimum
	}
	p.queuedBuilds, p.queuedProjects, p.running = 0, 0, 0
	return newPlan(p, planned.settings, clock()).size
}

// checkBuilds looks for builds that no worker takes or runs, in pools without autoscaling, too.
func (k *checkup) checkBuilds() {
	isStale := false
	for _, name := range k.queues(k.pools) {
		for _, warning := range k.pools[name].staleWarnings() {
			isStale = true
			k.found(isWarning, "builds", name, warning.cure, "%s", warning.message)
		}
	}
	if !isStale {
		k.ok("builds", "no build is older than workers take it, without a project, or running past its timeout")
	}
}

// unit is the service and timer that come with this program.
const unit = "vespene-autoscale"

// checkTimer checks whether the installed timer ticks, and as often as the pools need.
func (k *checkup) checkTimer(ctx context.Context) {
	const name = unit + ".timer"
	timer, err := show(ctx, name)
	if err != nil {
		k.ok("timer", "systemd does not answer here: that this runs each minute is cron's or your own matter")
		return
	}
	isActive := timer["ActiveState"] == "active"
	others, _ := output(ctx, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", unit+"@*.timer")
	switch {
	case !isActive && strings.TrimSpace(others) != "":
		k.ok("timer", "single pools have timers of their own: systemctl list-timers")
	case timer["LoadState"] == "not-found":
		k.ok("timer", "%s is not installed: that this runs each minute is cron's or your own matter", name)
	case timer["LoadState"] != "loaded":
		k.warn("timer", "systemctl status "+name+" says why", "%s is %s, so that nothing runs by itself", name,
			timer["LoadState"])
	case !isActive:
		k.warn("timer", "sudo systemctl enable --now "+name,
			"%s is installed but not started, so that nothing runs by itself", name)
	default:
		if timer["UnitFileState"] != "enabled" {
			k.warn("timer", "sudo systemctl enable "+name, "%s is %s, and will not start with the machine", name,
				timer["UnitFileState"])
		}
		k.checkInterval(name, tick(ctx, timer))
	}
}

// checkInterval checks whether a timer with that interval, of which 0 is unknown, ticks as often as the pools need.
func (k *checkup) checkInterval(timer string, interval time.Duration) {
	if interval == 0 {
		k.warn("timer", "systemctl list-timers "+timer, "how often %s ticks could not be found out", timer)
		return
	}
	ticks, isLate := fmt.Sprintf("%s ticks every %s", timer, term.Span(interval)), false
	for _, name := range k.queues(k.pools) {
		p := k.pools[name]
		checked, err := p.checked(k.plugins)
		if err != nil || !p.enabled || checked.reevaluate == 0 {
			continue
		}
		actual := (checked.reevaluate - dueTolerance + interval - 1) / interval * interval
		if actual > checked.reevaluate+dueTolerance {
			isLate = true
			k.found(isWarning, "timer", name, "let it tick each minute (OnCalendar=minutely; sudo systemctl edit "+
				timer+"), or raise reevaluate_minutes in Vespene",
				"%s, so that the pool is evaluated every %s and not, as reevaluate_minutes has it, every %s",
				ticks, term.Span(actual), term.Span(checked.reevaluate))
		}
	}
	if k.pools != nil {
		ticks += ", as often as every pool needs"
	}
	if !isLate {
		k.ok("timer", "%s", ticks)
	}
}

// show returns the properties of a systemd unit. The lines of one that is there more than once are joined.
func show(ctx context.Context, name string) (map[string]string, error) {
	text, err := output(ctx, "systemctl", "show", name,
		"--property=LoadState,ActiveState,UnitFileState,TimersCalendar,TimersMonotonic")
	properties := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		properties[name] = strings.TrimSpace(properties[name] + "\n" + value)
	}
	return properties, err
}

// tick returns the longest time between two ticks of a timer, or 0 if that is unknown.
func tick(ctx context.Context, timer map[string]string) (longest time.Duration) {
	var ticks []time.Time
	var until time.Time // all its calendars are read
	all := func(pattern, text string) [][]string {
		return regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	}
	for _, calendar := range all(`OnCalendar=(.*?) ;`, timer["TimersCalendar"]) {
		text, err := output(ctx, "systemd-analyze", "calendar", "--iterations=3000", calendar[1])
		if err != nil {
			return 0
		}
		var last time.Time
		for _, match := range all(`(?:elapse|#\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)`, text) {
			if at, err := time.ParseInLocation(time.DateTime, match[1], time.Local); err == nil {
				ticks, last = append(ticks, at), at
			}
		}
		if until.IsZero() || last.Before(until) {
			until = last
		}
	}
	slices.SortFunc(ticks, time.Time.Compare)
	for i := 1; i < len(ticks) && !ticks[i].After(until); i++ {
		longest = max(longest, ticks[i].Sub(ticks[i-1]))
	}
	for _, monotonic := range all(`OnUnit(?:Active|Inactive)USec=(.*?) ;`, timer["TimersMonotonic"]) {
		text, _ := output(ctx, "systemd-analyze", "timespan", monotonic[1])
		for _, match := range all(`μs: (\d+)`, text) {
			every, _ := time.ParseDuration(match[1] + "us")
			if every > 0 && (longest == 0 || every < longest) {
				longest = every
			}
		}
	}
	return longest
}

// output returns what a program of systemd's prints, in a language that can be read.
func output(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	text, err := cmd.Output()
	return string(text), err
}
