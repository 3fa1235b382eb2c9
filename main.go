//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Package main is vespene-autoscale, which sizes the worker pools of a Vespene CI server once and exits: it reads the
// pools and their builds from Vespene's database (db.go), looks up in a local file when each was last evaluated
// (state.go), computes how many workers it should have (plan.go), makes and runs its command (render.go, exec.go), and
// says what it did (report.go). main.go has the command line, the run over the pools and the exit codes.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// The exit codes, those of sysexits.h where it has one. One ended by signal n is 128 + n.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 64
	exitDatabase = 69
	exitState    = 74
	exitBusy     = 75
	exitInvalid  = 78
)

// exitCodes says what each code means; of those that pools come to, the run's is the first.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitUsage, "wrong usage"},
	{exitState, "the state, a lock or the results cannot be opened, read or written, or a lock is held for longer than its evaluation may take"},
	{exitDatabase, "the Vespene database cannot be reached or queried"},
	{exitFailed, "a command failed or ran out of time"},
	{exitInvalid, "a pool does not exist, or its settings, template or plugin are invalid"},
	{exitBusy, "something due was blocked: another run holds the pool's lock"},
	{exitOK, "all done: scaled, not due, disabled, or a dry run"},
}

// freshFor is how long counts may decide; older ones are read again.
const freshFor = time.Minute

// clock is this host's; a test has hosts whose clocks differ.
var clock = time.Now

const (
	durationHint = "write a duration with its unit, such as 90s, 30m or 1h30m"
	wholeHint    = "write a whole number from 1 on"
	minutesHint  = "write minutes, such as 5"
)

// failure is an error with the exit code it leads to and, for what people get wrong, the cure.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// signalled is the cause of a context that a signal ended.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return "ended by " + unix.SignalName(s.Signal) }

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// signalContext returns a context that the first SIGINT, SIGTERM or SIGHUP ends; further ones change nothing, since
// commands are being ended already. A closed standard output is told by its error, not by a signal that kills us. That is so
// from when watched is closed, a moment later: no result is written and no pool served before.
func signalContext() (ctx context.Context, watched <-chan struct{}) {
	ctx, end := context.WithCancelCause(context.Background())
	ready := make(chan struct{})
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		if !signal.Ignored(syscall.SIGHUP) { // as under nohup
			signal.Notify(signals, syscall.SIGHUP)
		}
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not Ignore, which the command would inherit
		close(ready)
		end(signalled{(<-signals).(syscall.Signal)})
	}()
	return ctx, ready
}

// run is the program: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, watched := signalContext()
	log, out := newLogStream(stderr, os.Getenv("JOURNAL_STREAM")), newResults(stdout, os.Getenv)
	out.watched = watched
	code := exitOK
	app := newApp(out, func(do job) cli.ActionFunc {
		return func(c *cli.Context) error {
			out.json = c.String("output") == "json"
			s, err := newScaler(c, log)
			if err != nil {
				return err
			}
			if c.Bool("version") {
				fmt.Fprintln(out, "vespene-autoscale version", version())
				return nil
			}
			if code, err = do(ctx, s, c, out); ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	})
	err := app.Run(args)
	<-watched
	if err == nil && out.err != nil {
		err = &failure{code: worse(code, exitState), err: fmt.Errorf("write the results: %w", out.err),
			hint: "see where standard output goes, and make room there"}
	}
	if err == nil {
		return code
	}
	log.complain(err)
	return exitCode(err)
}

// exitCode is the code that an error leads to; what is not ours comes from parsing the command line.
func exitCode(err error) int {
	var signal signalled
	var f *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &signal):
		return 128 + int(signal.Signal)
	case errors.As(err, &f):
		return f.code
	}
	return exitUsage
}

// worse returns which of two codes a run ends with: the one that stands first, and before all one of a signal.
func worse(a, b int) int {
	for _, c := range slices.Backward(exitCodes) {
		switch c.code {
		case a:
			return b
		case b:
			return a
		}
	}
	return a
}

// job is what a command line asks for: the main job, or a command. Its error is what kept it from being done, or the
// signal that ended it.
type job func(ctx context.Context, s *scaler, c *cli.Context, out *results) (code int, err error)

// newApp is the command line; action makes of each job what is done for it.
func newApp(stdout io.Writer, action func(job) cli.ActionFunc) *cli.App {
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this help", DisableDefaultText: true}
	queues := &list{}
	var codes strings.Builder
	for _, c := range exitCodes {
		fmt.Fprintf(&codes, "\n%5d  %s", c.code, c.meaning)
	}
	options := []cli.Flag{
		&cli.GenericFlag{Name: "queue", Value: queues, Usage: "the worker pool `NAME`; repeatable, in this order " +
			"(default: every pool with autoscaling enabled) [$VESPENE_AUTOSCALE_QUEUE, comma separated]"},
		&cli.GenericFlag{Name: "q", Value: queues, Usage: "is --queue `NAME`"}, // as an alias, it could not stand beside it
		&cli.StringFlag{Name: "database", EnvVars: []string{"VESPENE_AUTOSCALE_DATABASE"}, Usage: "Vespene's database as `URL`: " +
			"postgres://…, key=value …, or sqlite:FILE (default: what " + credentialFile + " says, else the PG* variables)"},
		&cli.StringFlag{Name: "state", TakesFile: true, EnvVars: []string{"VESPENE_AUTOSCALE_STATE"}, Usage: "keep what was done when in `FILE` " +
			"(default: state.db in $STATE_DIRECTORY, /var/lib/vespene-autoscale or ~/.local/state/vespene-autoscale)"},
		&cli.BoolFlag{Name: "force", Usage: "evaluate now, due or not", DisableDefaultText: true},
		&cli.BoolFlag{Name: "dry-run", Usage: "print the size and the command; run and write nothing", DisableDefaultText: true},
		&cli.DurationFlag{Name: "timeout", EnvVars: []string{"VESPENE_AUTOSCALE_TIMEOUT"}, Value: 30 * time.Minute, DefaultText: "30m",
			Usage: "end a command after `DURATION`"},
		&cli.GenericFlag{Name: "planner", Value: &list{}, Usage: "enable the planner program `NAME=PROGRAM`, which a pool's planner names; " +
			"repeatable [$VESPENE_AUTOSCALE_PLANNER, comma separated]"},
		&cli.GenericFlag{Name: "executor", Value: &list{}, Usage: "enable the executor program `NAME=PROGRAM`, which a pool's executor names; " +
			"repeatable [$VESPENE_AUTOSCALE_EXECUTOR, comma separated]"},
		&cli.IntFlag{Name: "jobs", EnvVars: []string{"VESPENE_AUTOSCALE_JOBS"}, Value: 1, Usage: "run the commands of `N` pools at the same time"},
		&cli.BoolFlag{Name: "shared", EnvVars: []string{"VESPENE_AUTOSCALE_SHARED"}, DisableDefaultText: true,
			Usage: "several hosts serve these pools: keep lock and timer in PostgreSQL"},
		&cli.StringFlag{Name: "metrics-file", TakesFile: true, EnvVars: []string{"VESPENE_AUTOSCALE_METRICS_FILE"},
			Usage: "write Prometheus metrics to `FILE`, for node_exporter's textfile collector"},
		&cli.StringFlag{Name: "output", Value: "text", Usage: "print results as `FORMAT`: text, or json, one object a line"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log more", DisableDefaultText: true},
		&cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true},
	}
	onUsageError := func(_ *cli.Context, err error, _ bool) error { return usageError(err) }
	command := func(name, usage, description string, do job, own ...cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, UsageText: "vespene-autoscale " + name + " [options]", Description: description,
			HideHelpCommand: true, OnUsageError: onUsageError, Before: inherit, Action: action(do), Flags: own}
	}
	return &cli.App{
		Name:      "vespene-autoscale",
		Usage:     "size the worker pools of a Vespene CI server once",
		UsageText: "vespene-autoscale [options]\nvespene-autoscale status|history|check|simulate [options]",
		Description: "Reads the pools and their builds from Vespene's database and, for each pool that is due, runs the\n" +
			"pool's command once with the number of workers it should have. How often it runs is the timer's.\n\n" +
			"Exit codes, of several the first:\n128+n  ended by signal n" + codes.String(),
		HideVersion:               true, // run prints it, when the arguments are right
		Writer:                    stdout,
		ErrWriter:                 io.Discard, // run prints errors, once
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a pool's name may hold a comma
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              onUsageError,
		Action:                    action(scale),
		Flags:                     options,
		Commands: []*cli.Command{
			command("status", "show how the pools stand",
				"One line a pool, without --queue also of those without autoscaling: its builds, the size it was last scaled to and\n"+
					"the one it should have now, its last evaluation, when it is due next, and the settings that are not Vespene's\n"+
					"defaults. Nothing is written, and no planner program asked.",
				status, ofCommand(options, "queue", "q", "database", "state", "planner", "executor", "shared", "output")...),
			command("history", "show past evaluations, and charts of builds and sizes",
				"What this host's state file has of them, the newest last. Vespene's database is not connected to.",
				history, append(ofCommand(options, "queue", "q", "database", "state", "output"), &cli.DurationFlag{
					Name: "since", Value: 24 * time.Hour, DefaultText: "24h", Usage: "show the evaluations of the last `DURATION`"})...),
			command("check", "look for what is wrong before it goes wrong",
				"One line a finding: ok, warning or error, and the cure. Nothing is written or run, but planner programs are asked.\n"+
					"It ends with 0, or with 78 if there are errors. Run it as the user of the service:\n"+
					"sudo -u vespene-autoscale vespene-autoscale check",
				check, ofCommand(options, "queue", "q", "database", "state", "planner", "executor", "shared", "output")...),
			command("simulate", "show what past builds would have waited and cost with other settings",
				"Replays the pools' builds through the planner: as they are configured, with --set, and with a fixed number of\n"+
					"workers. Nothing is run, and nothing but --svg written. docs/simulation.md has the model and its limits.",
				simulate, append(ofCommand(options, "queue", "q", "database", "state", "planner", "executor", "shared", "output"),
					&cli.DurationFlag{Name: "since", Value: 7 * 24 * time.Hour, DefaultText: "168h", Usage: "replay the builds of the last `DURATION`"},
					&cli.DurationFlag{Name: "boot", Usage: "a worker is ready so long after it was asked for: `DURATION`", DefaultText: "0s"},
					&cli.GenericFlag{Name: "set", Value: &list{}, Usage: "simulate another value of a setting, too: `SETTING=VALUE`; repeatable"},
					&cli.GenericFlag{Name: "sweep", Value: &list{}, Usage: "simulate all values of a setting: `SETTING=FROM:TO:STEP`; repeatable, for all combinations"},
					&cli.StringFlag{Name: "recommend", Usage: "look for the settings with the fewest worker-hours that meet `TARGET`: wait_median, wait_p95 or wait_max, " +
						"such as 'wait_p95<=3m'"},
					&cli.Int64Flag{Name: "max-builds", Usage: "a worker ends after `N` builds", DefaultText: "any number"},
					&cli.Float64Flag{Name: "max-wait", Usage: "a worker ends after it has waited for `MINUTES`", DefaultText: "never"},
					&cli.Int64Flag{Name: "workers-per-instance", Value: 1, Usage: "size counts instances with `N` workers each"},
					&cli.DurationFlag{Name: "billing-minimum", Usage: "a worker is billed for `DURATION` at least", DefaultText: "0s"},
					&cli.StringFlag{Name: "svg", TakesFile: true, Usage: "draw the pool's builds and workers over time, or with --sweep the trade-off, into `FILE`"})...),
		},
	}
}

// ofCommand returns the named options for a command. They leave the environment to those they are made of (inherit).
func ofCommand(options []cli.Flag, names ...string) (own []cli.Flag) {
	for _, option := range options {
		if !slices.Contains(names, option.Names()[0]) {
			continue
		}
		switch o := option.(type) {
		case *cli.StringFlag:
			its := *o
			its.EnvVars, its.Usage = nil, its.Usage+inEnvironment(o.EnvVars)
			option = &its
		case *cli.BoolFlag:
			its := *o
			its.EnvVars, its.Usage = nil, its.Usage+inEnvironment(o.EnvVars)
			option = &its
		}
		own = append(own, option) // others have their value in common
	}
	return own
}

func inEnvironment(variables []string) string {
	if len(variables) == 0 {
		return ""
	}
	return " [$" + variables[0] + "]"
}

// inherit gives the options of a command that are not set there the values of those before it and of the environment.
func inherit(c *cli.Context) error {
	for _, option := range c.Command.Flags {
		name := option.Names()[0]
		_, common := option.(*cli.GenericFlag)
		if outer := c.Lineage()[1]; !common && !c.IsSet(name) && outer.IsSet(name) {
			if err := c.Set(name, fmt.Sprint(outer.Value(name))); err != nil {
				return err
			}
		}
	}
	return nil
}

// list is the value of an option that may be given more than once.
type list []string

func (l *list) Set(value string) error { *l = append(*l, value); return nil }
func (l *list) String() string         { return strings.Join(*l, ", ") }

// usageError makes a sentence of what the flag parser says.
func usageError(err error) error {
	text, hint := err.Error(), "see vespene-autoscale --help"
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		if end := strings.IndexAny(name, ":/@='\" "); end >= 0 { // as of -dpostgres://…, whose rest may be secret
			name = name[:end]
		}
		text = "there is no option --" + strings.TrimPrefix(name, "-")
		if name == "sleep" {
			hint = "each run is one pass; how often it runs is the timer's (OnCalendar= in vespene-autoscale.timer) or crontab's"
		}
	} else if _, flag, isValue := strings.Cut(text, " for flag "); isValue {
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "-"), ":")
		switch name {
		case "timeout", "since", "boot", "billing-minimum":
			hint = durationHint
		case "jobs", "max-builds", "workers-per-instance":
			hint = wholeHint
		case "max-wait":
			hint = minutesHint
		}
	}
	return &failure{code: exitUsage, err: errors.New(withoutAddress(text)), hint: hint}
}

// withoutAddress is text without what may be a database's address that was given to another option.
func withoutAddress(text string) string {
	if strings.Contains(text, "://") || strings.Contains(text, "password=") {
		return "a database's address was given to an option that takes none"
	}
	return text
}

// scaler is one run over the pools.
type scaler struct {
	database database
	state    *state // nil in a dry run that finds no state file; left open, since closing would sync what need not be
	plugins  plugins
	force    bool
	dryRun   bool
	shared   bool // the database has the locks and decides what is due
	all      bool // with no names: pools without autoscaling, too
	jobs     int  // pools at the same time
	timeout  time.Duration
	log      *slog.Logger
	stream   *logStream // for the output of commands

	names     []string    // of the pools to serve; none: all that are enabled
	evaluated atomic.Bool // something was

	pasts     map[int64]past // of pools, by their ids
	pastsRead time.Time      // when they were

	mu     sync.Mutex // of what follows
	counts map[string]pool
	read   time.Time // when they were
}

// newScaler is what the command line asks for, or what is wrong with its options. Nothing is opened yet.
func newScaler(c *cli.Context, stream *logStream) (*scaler, error) {
	f := &failure{code: exitUsage, hint: "see vespene-autoscale --help"}
	for _, name := range []string{"database", "state"} {
		_, byVariable := os.LookupEnv("VESPENE_AUTOSCALE_" + strings.ToUpper(name))
		if c.IsSet(name) && c.String(name) == "" && !byVariable { // there, empty is unset
			f.err = fmt.Errorf("--%s is empty", name)
		}
	}
	s := &scaler{names: values(c, "queue"), force: c.Bool("force"), dryRun: c.Bool("dry-run"), timeout: c.Duration("timeout"),
		shared: c.Bool("shared"), jobs: c.Int("jobs"), log: stream.logger(c.Bool("verbose")), stream: stream}
	isCommand := c.Command.Name != c.App.Name
	switch output := c.String("output"); {
	case c.Args().Present():
		f.err = errors.New("there is an argument that belongs to no option") // not quoted: it may be a database's address
		f.hint = "name a worker pool with --queue, the database with --database; commands are status, history, check and simulate"
	case isCommand && (s.force || s.dryRun):
		f.err = fmt.Errorf("--force and --dry-run have no meaning for %s", c.Command.Name)
		f.hint = "leave them away: it runs no pool's command"
	case slices.Contains(s.names, ""):
		f.err, f.hint = errors.New("--queue is empty"), "name a worker pool, or leave the option away for all"
	case s.timeout <= 0:
		f.err, f.hint = fmt.Errorf("--timeout is %v, not above zero", s.timeout), durationHint
	case c.Duration("since") < 0 || c.IsSet("since") && c.Duration("since") == 0:
		f.err, f.hint = fmt.Errorf("--since is %v, not above zero", c.Duration("since")), durationHint
	case s.jobs < 1:
		f.err, f.hint = fmt.Errorf("--jobs is %d", s.jobs), wholeHint
	case output != "text" && output != "json":
		f.err = errors.New(withoutAddress(fmt.Sprintf("--output is %q, neither text nor json", output)))
	}
	if f.err == nil {
		s.plugins.planners, f.err = programs(c, "planner", stock)
	}
	if f.err == nil {
		s.plugins.executors, f.err = programs(c, "executor", shell)
	}
	if f.err != nil {
		return nil, f
	}
	return s, nil
}

// openDatabase finds the database; nothing is asked yet.
func (s *scaler) openDatabase(c *cli.Context) (err error) {
	if s.database, err = findDatabase(c.String("database")); err != nil {
		return err
	}
	if s.shared && s.database.postgres == nil {
		return &failure{code: exitUsage, err: errors.New("--shared needs a PostgreSQL database, which hosts can share"),
			hint: "give one as postgres://…, or leave the option away"}
	}
	if s.shared {
		s.database.postgres.Keep(pingEvery)
	}
	return nil
}

// scale does the main job.
func scale(ctx context.Context, s *scaler, c *cli.Context, out *results) (code int, err error) {
	code, err = s.scale(ctx, c, out)
	if file := c.String("metrics-file"); file != "" && !s.dryRun {
		ended := worse(code, exitCode(cmp.Or(context.Cause(ctx), err)))
		if unwritten := s.writeMetrics(context.WithoutCancel(ctx), file, ended); unwritten != nil {
			s.log.Error(withCure(unwritten))
			code = worse(code, exitState)
		}
	}
	return code, err
}

func (s *scaler) scale(ctx context.Context, c *cli.Context, out *results) (code int, err error) {
	if err = s.openDatabase(c); err != nil {
		return 0, err
	}
	path, err := statePath(c.String("state"))
	if err == nil {
		err = notRootInstead(path)
	}
	if err != nil {
		return 0, err
	}
	debug.SetGCPercent(400) // of 4 MiB: nothing is collected in most runs, which end before it pays
	// While PostgreSQL is connected to and answers, the state opens. Without it there is nothing to wait for.
	reading, end := context.WithCancel(ctx)
	defer end()
	defer s.database.close(ctx)
	opened := make(chan error, 1)
	go func() {
		err := s.openState(context.WithoutCancel(ctx), path)
		if err != nil {
			end()
		}
		opened <- err
	}()
	_, err = s.fresh(reading)
	<-out.watched
	if unopened := <-opened; unopened != nil {
		s.counts = nil // which say nothing without the state
		return 0, unopened
	}
	if err != nil {
		return 0, err
	}
	return s.pools(ctx, out)
}

// openState opens the state, and reads what it knows of all pools where all are to be served, and by what it knows.
func (s *scaler) openState(ctx context.Context, path string) (err error) {
	open := openState
	if s.dryRun {
		open = readState
	}
	if s.state, err = open(ctx, path); err != nil || s.state == nil || len(s.names) > 0 || s.shared {
		return err
	}
	s.pastsRead = clock()
	if s.pasts, err = s.state.pasts(ctx, s.database.key); err != nil {
		s.state.close() // nothing was written, and nothing is to stay beside it
	}
	return err
}

// readState opens the state for a command, which writes nothing.
func (s *scaler) readState(ctx context.Context, c *cli.Context) error {
	path, err := statePath(c.String("state"))
	if err == nil {
		s.state, err = readState(ctx, path)
	}
	return err
}

// status shows how the pools stand.
func status(ctx context.Context, s *scaler, c *cli.Context, out *results) (code int, err error) {
	if err = s.openDatabase(c); err != nil {
		return 0, err
	}
	if err = s.readState(ctx, c); err != nil {
		return 0, err
	}
	s.all = true
	pools, err := s.fresh(ctx)
	if err != nil {
		return 0, err
	}
	var all []standing
	for _, name := range s.queues(pools) {
		its, err := s.standing(ctx, name, pools)
		code = worse(code, exitCode(err))
		all = append(all, its)
	}
	out.standings(all)
	return code, nil
}

// history shows the evaluations in the state file: those of the database where one is given, else all.
func history(ctx context.Context, s *scaler, c *cli.Context, out *results) (code int, err error) {
	if err = s.openDatabase(c); err != nil && !errors.Is(err, errNoDatabase) {
		return 0, err
	}
	if err = s.readState(ctx, c); err != nil {
		return 0, err
	}
	now := clock()
	if s.state == nil {
		out.note("nothing was evaluated yet by this user, or --state names another file than the service's; see vespene-autoscale check")
		return 0, nil
	}
	all, err := s.state.history(ctx, s.database.key, s.names, now.Add(-c.Duration("since")), out.json)
	if err != nil {
		return 0, err
	}
	out.history(all, c.Duration("since"), now)
	return 0, nil
}

// values are those of an option that may be given more than once or, where it is not, of its comma-separated variable.
func values(c *cli.Context, option string) []string {
	given := *c.Generic(option).(*list)
	if names := os.Getenv("VESPENE_AUTOSCALE_" + strings.ToUpper(option)); names != "" && len(given) == 0 {
		for name := range strings.SplitSeq(names, ",") {
			if name = strings.TrimSpace(name); name != "" {
				given = append(given, name)
			}
		}
	}
	return given
}

// programs are those that --planner or --executor enables, by name.
func programs(c *cli.Context, option, builtIn string) (map[string]string, error) {
	enabled := map[string]string{}
	for _, value := range values(c, option) {
		name, program, _ := strings.Cut(value, "=")
		switch {
		case name == "" || program == "":
			return nil, errors.New(withoutAddress(fmt.Sprintf("--%s is %q, not NAME=PROGRAM", option, value)))
		case name == builtIn:
			return nil, fmt.Errorf("--%s %s is built in, and cannot be another program: take another name", option, name)
		case enabled[name] != "":
			return nil, fmt.Errorf("--%s %s is given twice", option, name)
		}
		enabled[name] = program
	}
	return enabled, nil
}

// pools serves the pools, some at the same time, and writes their records in the pools' order. The error is that of the
// first read.
func (s *scaler) pools(ctx context.Context, out *results) (code int, err error) {
	start := time.Now()
	pools, err := s.fresh(ctx)
	if err != nil {
		return 0, err
	}
	s.names = s.queues(pools)
	if len(s.names) == 0 {
		out.note("no worker pool has autoscaling enabled: enable it in Vespene, in the settings of a worker pool")
	}
	type turn struct {
		index  int
		record record
		err    error
	}
	turns := make(chan *turn, len(s.names)) // with room for all: no pool waits for who reads the results
	var begun atomic.Int64
	for range min(s.jobs, len(s.names)) {
		go func() {
			for i := int(begun.Add(1)) - 1; i < len(s.names); i = int(begun.Add(1)) - 1 {
				r, err := s.turn(ctx, s.names[i])
				turns <- &turn{i, r, err}
			}
		}()
	}
	written, early := 0, make(map[int]*turn) // those whose place in the order has not come
	for range s.names {
		t := <-turns
		code = worse(code, exitCode(t.err))
		for early[t.index] = t; early[written] != nil; written++ {
			out.write(early[written].record)
			delete(early, written)
		}
	}
	if s.evaluated.Load() {
		const share = 20 // of the time that the run has taken, this part
		if err := s.state.prune(context.WithoutCancel(ctx), clock(), time.Since(start)/share); err != nil {
			s.log.Error(err.Error())
			code = worse(code, exitState)
		}
	}
	return code, nil
}

// queues are the names of the pools to serve, each once: those that are asked for or else all that were read, by name.
func (s *scaler) queues(pools map[string]pool) []string {
	if len(s.names) == 0 {
		return slices.Sorted(maps.Keys(pools))
	}
	var once []string
	for _, name := range s.names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// fresh returns the pools with counts that are fresh: those that were read, unless too long ago.
func (s *scaler) fresh(ctx context.Context) (map[string]pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock()
	if now.Sub(s.read) <= freshFor {
		return s.counts, nil
	}
	pools, err := s.database.readPools(ctx, s.names, s.all, now)
	s.log.Debug("read the pools", "database", s.database.key, "pools", len(pools), "took", clock().Sub(now), "error", err)
	if err == nil {
		s.counts, s.read = pools, now
	}
	return pools, err
}

// turn gives the named pool its turn, and logs what went wrong: the error, which has the exit code.
func (s *scaler) turn(ctx context.Context, name string) (r record, err error) {
	r = record{Pool: name, Outcome: failed}
	pools, err := s.fresh(ctx)
	p, exists := pools[name]
	switch {
	case ctx.Err() != nil:
		r.Outcome, err = interrupted, context.Cause(ctx)
	case err != nil:
	case !exists:
		r.Outcome = invalid
		err = noPool(name)
	default:
		r, err = s.serve(ctx, p)
	}
	r.Forced, r.DryRun = s.force, s.dryRun
	if err != nil {
		r.fail(err)
		level := slog.LevelError
		if r.Outcome == interrupted || exitCode(err) == exitBusy {
			level = slog.LevelWarn
		}
		s.log.Log(ctx, level, r.Reason, "pool", name, "outcome", r.Outcome)
	}
	return r, err
}

func noPool(name string) error {
	return &failure{code: exitInvalid, err: fmt.Errorf("there is no worker pool %q", name),
		hint: "write its name as Vespene shows it; upper and lower case matter"}
}

// settings are the pool's, checked; the error has its cure.
func (s *scaler) settings(p pool) (settings, error) {
	checked, err := p.checked(s.plugins)
	if key := checked.steady.needsHistory(); err == nil && s.shared && key != "" {
		err = fmt.Errorf("variables: autoscaling.%s looks back to evaluations, of which each of several hosts (--shared) knows its own only", key)
	}
	if err != nil {
		err = &failure{code: exitInvalid, err: err, hint: "correct the pool's settings in Vespene"}
	}
	return checked, err
}

// past is what is known of the pool's past, and what time it is, by the clock that decides: this host's or, where hosts
// share the pool, PostgreSQL's.
func (s *scaler) past(ctx context.Context, p pool) (known past, now time.Time, err error) {
	now = clock()
	if s.shared {
		last, _ := p.columns.get("last_autoscaled").(time.Time)
		return past{last: last}, now.Add(p.clock), nil
	}
	known, isKnown := s.pasts[p.id]
	if isKnown = isKnown && now.Sub(s.pastsRead) <= freshFor; !isKnown && s.state != nil {
		known, err = s.state.past(ctx, poolKey{s.database.key, p.id})
	}
	return known, now, err
}

// standing returns how the named pool stands; the error is why that is not fully known.
func (s *scaler) standing(ctx context.Context, name string, pools map[string]pool) (its standing, err error) {
	its = standing{Pool: name, now: clock()}
	defer func() {
		if err != nil {
			its.Error = ptr(withCure(err))
		}
	}()
	p, exists := pools[name]
	if !exists {
		return its, noPool(name)
	}
	its.setPool(p)
	if s.shared {
		its.now = its.now.Add(p.clock)
	}
	if s.state != nil {
		summary, err := s.state.summary(ctx, poolKey{s.database.key, p.id})
		if err != nil {
			return its, err
		}
		its.setSummary(summary)
	}
	if s.shared {
		its.setShared(p)
	}
	if !p.enabled {
		return its, nil
	}
	checked, err := s.settings(p)
	if err != nil {
		return its, err
	}
	known, now, err := s.past(ctx, p)
	if err != nil {
		return its, err
	}
	r := record{now: now}
	r.setPlan(newPlan(p, checked, now))
	s.due(&r, known)
	steadied, err := s.steadied(ctx, *r.plan, poolKey{s.database.key, p.id}, known, now)
	if err != nil {
		return its, err
	}
	r.setPlan(steadied)
	its.setPlan(r, known)
	return its, nil
}

// writeMetrics writes the metrics of a run that ends with that code, and of its pools.
func (s *scaler) writeMetrics(ctx context.Context, file string, code int) error {
	s.pasts = nil // from before this run
	var all []standing
	for _, name := range s.names {
		if p, exists := s.counts[name]; exists && p.enabled {
			its, _ := s.standing(ctx, name, s.counts) // with what is known
			all = append(all, its)
		}
	}
	return writeMetrics(file, all, s.counts != nil, code)
}

// serve gives one pool its turn. The error is why the record's outcome is what it is, and has the exit code.
func (s *scaler) serve(ctx context.Context, p pool) (record, error) {
	r := record{Pool: p.name, Outcome: failed, now: clock()}
	if !p.enabled {
		r.Outcome, r.Reason = disabled, "autoscaling is not enabled for this pool in Vespene"
		return r, nil
	}
	settings, err := s.settings(p)
	if err != nil {
		r.Outcome = invalid
		return r, err
	}
	key := poolKey{s.database.key, p.id}
	known, now, err := s.past(context.WithoutCancel(ctx), p)
	r.now = now
	r.setPlan(newPlan(p, settings, now))
	r.setStale(p)
	if err != nil {
		return r, err
	}
	isDue := s.due(&r, known)
	if s.dryRun {
		if err = s.prepare(ctx, &r, p, known); err == nil {
			r.Outcome = dryRun
		}
		return r, err
	}
	if !isDue && !s.force && len(known.open) == 0 { // whether an open one is over, only who has the lock can tell
		r.setNotDue(known.last)
		return r, nil
	}
	lock, err := s.state.lock(context.WithoutCancel(ctx), key, clock())
	if isDue, _ := due(known.last, r.plan.reevaluate, r.now); errors.Is(err, errRunning) && !isDue && !s.force {
		r.setDue(false, nextDue(known.last, r.plan.reevaluate)) // that run was forced: nothing that is due is blocked
		r.setNotDue(known.last)
		return r, nil
	}
	if errors.Is(err, errBusy) {
		r.Outcome = busy
	}
	if err != nil {
		return r, err
	}
	var held bool
	if s.shared {
		held, err = s.evaluateShared(ctx, &r, p, key, lock)
	} else {
		held, err = s.evaluate(ctx, &r, p, key, lock, nil)
	}
	if held {
		lock.Close() // what could not be ended keeps it
	} else if unlockErr := unlock(lock); unlockErr != nil {
		s.log.Warn("the lock could not be freed, and will be when this run ends", "pool", p.name, "error", unlockErr)
	}
	return r, err
}

// due fills in when the pool is due, and says whether it is: while an evaluation is open that is not known.
func (s *scaler) due(r *record, known past) bool {
	if len(known.open) > 0 {
		r.setDue(false, time.Time{})
		return false
	}
	isDue, _ := due(known.last, r.plan.reevaluate, r.now)
	r.setDue(isDue, nextDue(known.last, r.plan.reevaluate))
	return isDue
}

// prepare fills in the size, of the formula or of the pool's planner program, and what is to be run for it.
func (s *scaler) prepare(ctx context.Context, r *record, p pool, known past) error {
	r.PreviousSize = known.previousSize
	if name := r.plan.planner; name != stock {
		answer, err := s.askPlanner(ctx, r, p, name)
		if err != nil {
			r.Outcome = invalid
			if ctx.Err() != nil {
				r.Outcome = interrupted
			}
			return err
		}
		r.setPlan(r.plan.answered(answer))
	}
	steadied, err := s.steadied(context.WithoutCancel(ctx), *r.plan, poolKey{s.database.key, p.id}, known, r.now)
	if err != nil {
		return err
	}
	r.setPlan(steadied)
	r.setSize()
	if _, clockBack := due(known.last, r.plan.reevaluate, r.now); clockBack {
		s.log.Warn("the last evaluation lies in the future, so the clock went back: due now", "pool", r.Pool, "last", known.last)
	}
	for _, warning := range misled(p) {
		s.log.Warn(warning, "pool", p.name)
	}
	var line string
	if name := r.plan.executor; name != shell {
		line, err = findProgram("executor "+name, s.plugins.executors[name])
	} else if line, err = render(p, *r.plan, known.previousSize); err != nil {
		err = &failure{code: exitInvalid, err: err, hint: "correct the pool's executor_command in Vespene; --dry-run shows what it makes"}
	}
	if err != nil {
		r.Outcome = invalid
		return err
	}
	r.Command = &line
	return nil
}

// steadied returns the plan with a size as steady as the pool wants it, by what is known of its past.
func (s *scaler) steadied(ctx context.Context, p plan, key poolKey, known past, now time.Time) (plan, error) {
	var largest *int64
	if p.steady.scaleDown > 0 && s.state != nil {
		var err error
		if largest, err = s.state.largest(ctx, key, now.Add(-p.steady.scaleDown)); err != nil {
			return p, err
		}
	}
	return p.steadied(known.previousSize, largest), nil
}

// askPlanner asks the pool's planner program.
func (s *scaler) askPlanner(ctx context.Context, r *record, p pool, name string) (answer, error) {
	program := s.plugins.planners[name]
	question, err := r.question(p)
	if err != nil {
		return answer{}, plannerFailure(name, program, err.Error())
	}
	printed, err := ask(ctx, name, program, question, s.stream, s.stream.prefix(p.name))
	if err != nil {
		return answer{}, err
	}
	a, err := parseAnswer(printed)
	if err != nil {
		return answer{}, plannerFailure(name, program, "it "+err.Error())
	}
	return a, nil
}

// evaluateShared is evaluate under the lock that hosts share, too.
func (s *scaler) evaluateShared(ctx context.Context, r *record, p pool, key poolKey, lock *os.File) (held bool, err error) {
	shared, err := s.database.lockShared(ctx, p.id)
	switch {
	case ctx.Err() != nil && err != nil:
		r.Outcome = interrupted
		return false, context.Cause(ctx)
	case errors.Is(err, errBusy):
		r.Outcome = busy
		return false, err
	case err != nil:
		return false, err
	}
	go func() {
		if <-shared.ended; shared.lost != nil {
			s.log.Error("the lock that hosts share was lost, so that another may run the command, too", "pool", p.name, "error", shared.lost)
		}
	}()
	held, err = s.evaluate(ctx, r, p, key, lock, shared)
	if lost := shared.release(ctx); lost != nil {
		ended := r.Outcome
		if err != nil {
			ended += ": " + err.Error()
		}
		err = &failure{code: worse(exitCode(err), exitDatabase), hint: "see that the network to PostgreSQL lasts as long as the command",
			err: fmt.Errorf("the lock that hosts share was lost, so that another may have run the command, too: %w; this one had ended: %s", lost, ended)}
	}
	return held, err
}

// evaluate is the turn of a pool that seemed due, under its lock: due still? – claim – command – outcome. held says that
// processes of the command are alive, and keep the lock. With a shared lock the database has when the pool was evaluated.
func (s *scaler) evaluate(ctx context.Context, r *record, p pool, key poolKey, lock *os.File, shared *sharedLock) (held bool, err error) {
	stateCtx := context.WithoutCancel(ctx) // what a signal ended is recorded, too
	known, err := s.state.past(stateCtx, key)
	if err != nil {
		return false, err
	}
	r.now = clock()
	for _, open := range known.open {
		s.log.Warn("an earlier run was killed before its evaluation ended; what it did is unknown, so its interval begins now",
			"pool", p.name, "started", open.started)
		known.last = r.now
		killed := outcome{ended: r.now, outcome: interrupted, err: "the run was killed"}
		if err := s.state.complete(stateCtx, open.id, killed); err != nil {
			return false, err
		}
	}
	known.open = nil
	if shared != nil {
		known = past{}
		if known.last, r.now, err = shared.lastAutoscaled(stateCtx, p.id); err != nil {
			return false, err
		}
	}
	if !s.due(r, known) && !s.force {
		r.setNotDue(known.last)
		return false, nil
	}
	if err := s.prepare(ctx, r, p, known); err != nil {
		return false, err
	}
	if ctx.Err() != nil { // nothing has been run: no interval begins
		r.Outcome = interrupted
		return false, context.Cause(ctx)
	}
	return s.run(ctx, stateCtx, r, p, key, known.last, lock, shared)
}

// run is the rest of an evaluation that is to be, of a pool that was last evaluated at last: claim – command – outcome.
// ctx ends the command, and stateCtx nothing.
func (s *scaler) run(ctx, stateCtx context.Context, r *record, p pool, key poolKey, last time.Time, lock *os.File, shared *sharedLock) (held bool, err error) {
	toRun := command{argv: shellCommand(*r.Command), variables: variables(p.name, *r.plan, r.PreviousSize), lock: lock,
		timeout: s.timeout, output: s.stream, prefix: s.stream.prefix(p.name)}
	if r.plan.executor != shell {
		toRun.argv = []string{*r.Command}
		if toRun.input, err = r.question(p); err != nil {
			r.Outcome = invalid
			return false, &failure{code: exitInvalid, err: fmt.Errorf("executor %s: %w", r.plan.executor, err), hint: "correct the pool's settings in Vespene"}
		}
	}
	started := r.now
	if shared != nil {
		started = clock()
		if err = shared.exec(stateCtx, "SELECT 1"); err != nil { // lost while a planner was asked, say
			return false, err
		}
		r.now, err = s.database.claimShared(stateCtx, p.id, last)
		if errors.Is(err, errBusy) {
			r.Outcome = busy
		}
		if err != nil {
			return false, err
		}
		if err = shared.exec(stateCtx, "SELECT 1"); err != nil { // lost while the claim waited, say
			return false, errors.Join(err, s.database.unclaimShared(stateCtx, p.id, r.now, last, shared.status))
		}
	}
	id, err := s.state.claim(stateCtx, key, claim{pool: p.name, started: started, deadline: clock().Add(s.timeout), forced: s.force, plan: *r.plan})
	if err != nil {
		if shared != nil {
			if undone := s.database.unclaimShared(stateCtx, p.id, r.now, last, shared.status); undone != nil {
				s.log.Error("the claim in PostgreSQL could not be taken back, and the pool waits an interval", "pool", p.name, "error", undone)
			}
		}
		return false, err
	}
	s.evaluated.Store(true)
	s.log.Info("run the command", "pool", p.name, "size", r.plan.size, "queued_size", r.plan.queuedSize, "why", r.Reason)
	result := execute(ctx, toRun)
	ended := clock()
	if result.left != nil {
		s.log.Warn("the command left processes running, which were ended", "pool", p.name, "processes", result.left)
	}
	err = result.problem(s.timeout)
	r.setResult(result, err)
	done := outcome{ended: ended, outcome: r.Outcome, exitCode: result.exitCode, output: result.tail}
	if err != nil {
		done.err = err.Error()
	}
	stateErr := s.state.complete(stateCtx, id, done)
	last = ended
	if err == nil {
		last = r.now
	}
	var sharedErr error
	if shared != nil {
		code := exitFailed
		if result.exitCode != nil && (err != nil) == (*result.exitCode != 0) {
			code = *result.exitCode
		}
		if last = r.now; err != nil {
			last = r.now.Add(ended.Sub(started))
		}
		if last, sharedErr = s.database.completeShared(stateCtx, p.id, r.now, code, last); sharedErr != nil {
			last = time.Time{}
		}
	}
	r.setDue(*r.Due, nextDue(last, r.plan.reevaluate))
	r.now = r.now.Add(ended.Sub(started))
	if unwritten := cmp.Or(stateErr, sharedErr); unwritten != nil {
		err = fmt.Errorf("%w; the command had ended: %s", unwritten, strings.TrimSpace(done.outcome+" "+done.err))
	}
	if stateErr != nil {
		r.Outcome, r.NextDue = failed, nil
	}
	if err == nil {
		s.log.Info(scaled, "pool", p.name, "size", r.plan.size, "took", result.duration.Round(time.Millisecond))
	}
	return result.alive != nil, err
}
