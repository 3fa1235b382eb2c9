//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Package main is vespene-autoscale, which sizes the worker pools of a Vespene CI server once and exits: it reads the
// pools and their builds from Vespene's database (db.go), looks up when each was last evaluated (past.go, state.go),
// computes how many workers it should have (plan.go), runs its command (exec.go), and records and says what it did
// (run.go, record.go). main.go has the commands: it opens what each needs, has it done and shown, and exits.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"vespene-autoscale/internal/term"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is the program: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, end := context.WithCancelCause(context.Background())
	log, out := term.NewLog(stderr, os.Getenv("JOURNAL_STREAM")), term.NewOutput(stdout, os.Getenv)
	out.Watched = watchSignals(end)
	code := exitOK
	app := newApp(out, func(do job) cli.ActionFunc {
		return func(c *cli.Context) error {
			out.JSON = c.String("output") == "json"
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
	<-out.Watched
	if err == nil && out.Err != nil {
		err = &failure{code: worse(code, exitState), err: fmt.Errorf("write the results: %w", out.Err),
			hint: "see where standard output goes, and make room there"}
	}
	if err == nil {
		return code
	}
	level, sentences := slog.LevelError, []string{"vespene-autoscale: " + oneLine(err)}
	if exitCode(err) > 128 { // being stopped is no failure
		level = slog.LevelWarn
	}
	if hint := hintOf(err); hint != "" {
		sentences = append(sentences, "hint: "+hint)
	}
	log.Say(level, sentences...)
	return exitCode(err)
}

// job is what a command line asks for: the main job, or a command. Its error is what kept it from being done, or the
// signal that ended it.
type job func(ctx context.Context, s *scaler, c *cli.Context, out *term.Output) (code int, err error)

// newApp returns the command line; action makes of each job what is done for it.
func newApp(stdout io.Writer, action func(job) cli.ActionFunc) *cli.App {
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this help",
		DisableDefaultText: true}
	var codes strings.Builder
	for _, c := range exitCodes {
		fmt.Fprintf(&codes, "\n%5d  %s", c.code, c.meaning)
	}
	command := func(name, usage, description string, do job, own ...cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, UsageText: "vespene-autoscale " + name + " [options]",
			Description: strings.TrimSpace(description), HideHelpCommand: true, OnUsageError: usageError,
			Action: action(do), Flags: own}
	}
	pools := []string{"queue", "q", "database", "state", "planner", "executor", "shared", "output"}
	return &cli.App{
		Name:      "vespene-autoscale",
		Usage:     "size the worker pools of a Vespene CI server once",
		UsageText: "vespene-autoscale [options]\nvespene-autoscale status|history|check|simulate [options]",
		Description: `Reads the pools and their builds from Vespene's database and, for each pool that is due, runs the
pool's command once with the number of workers it should have. How often it runs is the timer's.

Exit codes, of several the first:
128+n  ended by signal n` + codes.String(),
		HideVersion:               true, // run prints it, when the arguments are right
		Writer:                    stdout,
		ErrWriter:                 io.Discard, // run prints errors, once
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a pool's name may hold a comma
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageError,
		Action:                    action(scale),
		Flags:                     options(),
		Commands: []*cli.Command{
			command("status", "show how the pools stand", `
One line a pool, without --queue also of those without autoscaling: its builds, the size it was last scaled to and
the one it should have now, its last evaluation, when it is due next, and the settings that are not Vespene's
defaults. Nothing is written, and no planner program asked.`,
				status, options(pools...)...),
			command("history", "show past evaluations, and charts of builds and sizes", `
What this host's state file has of them, the newest last. Vespene's database is not connected to.`,
				history, append(options("queue", "q", "database", "state", "output"),
					&cli.DurationFlag{Name: "since", Value: 24 * time.Hour, DefaultText: "24h",
						Usage: "show the evaluations of the last `DURATION`"})...),
			command("check", "look for what is wrong before it goes wrong", `
One line a finding: ok, warning or error, and the cure. Nothing is written or run, but planner programs are asked.
It ends with 0, or with 78 if there are errors. Run it as the user of the service:
sudo -u vespene-autoscale vespene-autoscale check`,
				check, options(pools...)...),
			command("simulate", "show what past builds would have waited and cost with other settings", `
Replays the pools' builds through the planner: as they are configured, with --set, and with a fixed number of
workers. Nothing is run, and nothing but --svg written. docs/simulation.md has the model and its limits.`,
				simulate, append(options(pools...), simulateOptions()...)...),
		},
	}
}

// scale does the main job, and writes the metrics of it.
func scale(ctx context.Context, s *scaler, c *cli.Context, out *term.Output) (code int, err error) {
	if err = openAll(ctx, s, c, out); err == nil {
		code, err = s.servePools(ctx, func(t turn) { writeTurn(out, t, s.force, s.dryRun) })
		if err == nil && len(s.names) == 0 {
			out.Note("no worker pool has autoscaling enabled: enable it in Vespene, in the settings of a worker pool")
		}
	}
	s.database.postgres.Close(ctx)
	file := c.String("metrics-file")
	if file == "" || s.dryRun {
		return code, err
	}
	ended := worse(code, exitCode(cmp.Or(context.Cause(ctx), err)))
	ctx = context.WithoutCancel(ctx)
	s.usePast(nil) // without what was read before this run
	var all []poolStatus
	for _, name := range s.names {
		if p, exists := s.counts[name]; exists && p.enabled {
			all = append(all, newPoolStatus(s.inspect(ctx, name, s.counts)))
		}
	}
	if unwritten := writeMetrics(file, version(), all, s.counts != nil, ended); unwritten != nil {
		s.log.Error(withCure(unwritten))
		code = worse(code, exitState)
	}
	return code, err
}

// openAll reads the pools and opens the state at the same time: while PostgreSQL is connected to and answers, the state
// opens. Without it there is nothing to wait for.
func openAll(ctx context.Context, s *scaler, c *cli.Context, out *term.Output) error {
	if err := s.openDatabase(c); err != nil {
		return err
	}
	path, err := statePath(c.String("state"))
	if err == nil {
		err = notRootInstead(path)
	}
	if err != nil {
		return err
	}
	debug.SetGCPercent(400) // of 4 MiB: nothing is collected in most runs, which end before it pays
	reading, end := context.WithCancel(ctx)
	defer end()
	var unopened error
	var opening sync.WaitGroup
	opening.Go(func() {
		if unopened = openPast(context.WithoutCancel(ctx), s, path); unopened != nil {
			end()
		}
	})
	_, err = s.fresh(reading)
	<-out.Watched
	opening.Wait()
	if unopened != nil {
		s.counts = nil // which say nothing without the state
		return unopened
	}
	return err
}

// openPast opens the state at path and, if all pools are to be served and go by it, reads what it knows of all.
func openPast(ctx context.Context, s *scaler, path string) (err error) {
	open := openState
	if s.dryRun {
		open = readState
	}
	if s.state, err = open(ctx, path); err != nil {
		return err
	}
	var all map[int64]lastRun
	if s.state != nil && len(s.names) == 0 && !s.shared {
		if all, err = s.state.lastRuns(ctx, s.database.key); err != nil {
			s.state.close() // nothing was written, and nothing is to stay beside it
		}
	}
	s.usePast(all)
	return err
}

// status shows how the pools stand.
func status(ctx context.Context, s *scaler, c *cli.Context, out *term.Output) (code int, err error) {
	s.all = true
	var pools map[string]pool
	if err = s.openDatabase(c); err == nil {
		err = s.readState(ctx, c)
	}
	if err == nil {
		pools, err = s.fresh(ctx)
	}
	if err != nil {
		return 0, err
	}
	var all []poolStatus
	for _, name := range s.queues(pools) {
		i := s.inspect(ctx, name, pools)
		code = worse(code, exitCode(i.err))
		all = append(all, newPoolStatus(i))
	}
	writeStatus(out, all)
	return code, nil
}

// history shows the evaluations in the state file: those of the database if one is given, else all.
func history(ctx context.Context, s *scaler, c *cli.Context, out *term.Output) (code int, err error) {
	if err = s.openDatabase(c); err == nil || errors.Is(err, errNoDatabase) {
		err = s.readState(ctx, c)
	}
	if err != nil {
		return 0, err
	}
	if s.state == nil {
		out.Note("nothing was evaluated yet by this user, or --state names another file than the service's; " +
			"see vespene-autoscale check")
		return 0, nil
	}
	now, window := clock(), c.Duration("since")
	all, err := s.state.history(ctx, s.database.key, s.names, now.Add(-window), out.JSON)
	if err == nil {
		writeHistory(out, all, window, now)
	}
	return 0, err
}

// release is the package's version, which packaging/build sets.
var release string

// version returns the package's version or else the build info's: a module's, and the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := cmp.Or(release, info.Main.Version)
	for _, setting := range info.Settings {
		if release == "" && setting.Key == "vcs.revision" &&
			!strings.Contains(text, setting.Value[:min(12, len(setting.Value))]) {
			text += " " + setting.Value
		}
	}
	return text + " " + info.GoVersion
}
