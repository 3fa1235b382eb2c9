package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"vespene-autoscale/internal/term"
)

// options.go owns the options: their flags and environment variables, what is wrong with them, and what they open. Each
// command has flags of its own.

const (
	durationHint = "write a duration with its unit, such as 90s, 30m or 1h30m"
	wholeHint    = "write a whole number from 1 on"
	minutesHint  = "write minutes, such as 5"
)

// options returns new flags with these names, or with no names all, in the order of the help.
func options(names ...string) (chosen []cli.Flag) {
	queues := &list{}
	for _, flag := range []cli.Flag{
		&cli.GenericFlag{Name: "queue", Value: queues, Usage: "the worker pool `NAME`; repeatable, in this order " +
			"(default: every pool with autoscaling enabled) [$VESPENE_AUTOSCALE_QUEUE, comma separated]"},
		// As an alias of --queue, -q could not stand beside it.
		&cli.GenericFlag{Name: "q", Value: queues, Usage: "is --queue `NAME`"},
		&cli.StringFlag{Name: "database", EnvVars: []string{"VESPENE_AUTOSCALE_DATABASE"},
			Usage: "Vespene's database as `URL`: postgres://…, key=value …, or sqlite:FILE (default: what " +
				credentialFile + " says, else the PG* variables)"},
		&cli.StringFlag{Name: "state", TakesFile: true, EnvVars: []string{"VESPENE_AUTOSCALE_STATE"},
			Usage: "keep what was done when in `FILE` (default: state.db in $STATE_DIRECTORY, " +
				"/var/lib/vespene-autoscale or ~/.local/state/vespene-autoscale)"},
		&cli.BoolFlag{Name: "force", Usage: "evaluate now, due or not", DisableDefaultText: true},
		&cli.BoolFlag{Name: "dry-run", Usage: "print the size and the command; run and write nothing",
			DisableDefaultText: true},
		&cli.DurationFlag{Name: "timeout", EnvVars: []string{"VESPENE_AUTOSCALE_TIMEOUT"}, Value: 30 * time.Minute,
			DefaultText: "30m", Usage: "end a command after `DURATION`"},
		&cli.GenericFlag{Name: "planner", Value: &list{},
			Usage: "enable the planner program `NAME=PROGRAM`, which a pool's planner names; repeatable " +
				"[$VESPENE_AUTOSCALE_PLANNER, comma separated]"},
		&cli.GenericFlag{Name: "executor", Value: &list{},
			Usage: "enable the executor program `NAME=PROGRAM`, which a pool's executor names; repeatable " +
				"[$VESPENE_AUTOSCALE_EXECUTOR, comma separated]"},
		&cli.IntFlag{Name: "jobs", EnvVars: []string{"VESPENE_AUTOSCALE_JOBS"}, Value: 1,
			Usage: "run the commands of `N` pools at the same time"},
		&cli.BoolFlag{Name: "shared", EnvVars: []string{"VESPENE_AUTOSCALE_SHARED"}, DisableDefaultText: true,
			Usage: "several hosts serve these pools: keep lock and timer in PostgreSQL"},
		&cli.StringFlag{Name: "metrics-file", TakesFile: true, EnvVars: []string{"VESPENE_AUTOSCALE_METRICS_FILE"},
			Usage: "write Prometheus metrics to `FILE`, for node_exporter's textfile collector"},
		&cli.StringFlag{Name: "output", Value: "text",
			Usage: "print results as `FORMAT`: text, or json, one object a line"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log more", DisableDefaultText: true},
		&cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true},
	} {
		if len(names) == 0 || slices.Contains(names, flag.Names()[0]) {
			chosen = append(chosen, flag)
		}
	}
	return chosen
}

// simulateOptions returns the flags that only simulate has.
func simulateOptions() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "since", Value: 7 * 24 * time.Hour, DefaultText: "168h",
			Usage: "replay the builds of the last `DURATION`"},
		&cli.DurationFlag{Name: "boot", Usage: "a worker is ready so long after it was asked for: `DURATION`",
			DefaultText: "0s"},
		&cli.GenericFlag{Name: "set", Value: &list{},
			Usage: "simulate another value of a setting, too: `SETTING=VALUE`; repeatable"},
		&cli.GenericFlag{Name: "sweep", Value: &list{},
			Usage: "simulate all values of a setting: `SETTING=FROM:TO:STEP`; repeatable, for all combinations"},
		&cli.StringFlag{Name: "recommend",
			Usage: "look for the settings with the fewest worker-hours that meet `TARGET`: " +
				"wait_median, wait_p95 or wait_max, such as 'wait_p95<=3m'"},
		&cli.Int64Flag{Name: "max-builds", Usage: "a worker ends after `N` builds", DefaultText: "any number"},
		&cli.Float64Flag{Name: "max-wait", Usage: "a worker ends after it has waited for `MINUTES`",
			DefaultText: "never"},
		&cli.Int64Flag{Name: "workers-per-instance", Value: 1, Usage: "size counts instances with `N` workers each"},
		&cli.DurationFlag{Name: "billing-minimum", Usage: "a worker is billed for `DURATION` at least",
			DefaultText: "0s"},
		&cli.StringFlag{Name: "svg", TakesFile: true,
			Usage: "draw the pool's builds and workers over time, or with --sweep the trade-off, into `FILE`"},
	}
}

// list is the value of an option that may be given more than once.
type list []string

func (l *list) Set(value string) error { *l = append(*l, value); return nil }
func (l *list) String() string         { return strings.Join(*l, ", ") }

// values returns those of an option that may be given more than once or, if it is not given, of its comma-separated
// variable.
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

// programs returns those that --planner or --executor enables, by name.
func programs(c *cli.Context, option, builtIn string) (map[string]string, error) {
	enabled := map[string]string{}
	for _, value := range values(c, option) {
		name, program, _ := strings.Cut(value, "=")
		switch {
		case name == "" || program == "":
			return nil, errors.New(withoutAddress(fmt.Sprintf("--%s is %q, not NAME=PROGRAM", option, value)))
		case name == builtIn:
			return nil, fmt.Errorf("--%s %s is built in, and cannot be another program: take another name",
				option, name)
		case enabled[name] != "":
			return nil, fmt.Errorf("--%s %s is given twice", option, name)
		}
		enabled[name] = program
	}
	return enabled, nil
}

// usageError makes a sentence of what the flag parser says.
func usageError(_ *cli.Context, err error, _ bool) error {
	text, hint := err.Error(), "see vespene-autoscale --help"
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		if end := strings.IndexAny(name, ":/@='\" "); end >= 0 { // as of -dpostgres://…, whose rest may be secret
			name = name[:end]
		}
		text = "there is no option --" + strings.TrimPrefix(name, "-")
		if name == "sleep" {
			hint = "each run is one pass; how often it runs is the timer's (OnCalendar= in vespene-autoscale.timer) " +
				"or crontab's"
		}
	} else if _, flag, isValue := strings.Cut(text, " for flag "); isValue {
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "-"), ":")
		hint = cmp.Or(map[string]string{"timeout": durationHint, "since": durationHint, "boot": durationHint,
			"billing-minimum": durationHint, "jobs": wholeHint, "max-builds": wholeHint,
			"workers-per-instance": wholeHint, "max-wait": minutesHint}[name], hint)
	}
	return usage(hint, "%s", withoutAddress(text))
}

// newScaler returns what the command line asks for, or what is wrong with its options. Nothing is opened yet.
func newScaler(c *cli.Context, stream *term.Log) (*scaler, error) {
	const seeHelp = "see vespene-autoscale --help"
	for _, name := range []string{"database", "state"} {
		_, byVariable := os.LookupEnv("VESPENE_AUTOSCALE_" + strings.ToUpper(name))
		if c.IsSet(name) && c.String(name) == "" && !byVariable { // there, empty is unset
			return nil, usage(seeHelp, "--%s is empty", name)
		}
	}
	s := &scaler{names: values(c, "queue"), force: c.Bool("force"), dryRun: c.Bool("dry-run"), shared: c.Bool("shared"),
		timeout: c.Duration("timeout"), jobs: c.Int("jobs"), log: stream.Logger(c.Bool("verbose")), stream: stream}
	window, output := c.Duration("since"), c.String("output")
	switch {
	case c.Args().Present():
		// It is not quoted, since it may be a database's address.
		return nil, usage("name a worker pool with --queue, the database with --database; commands are status, "+
			"history, check and simulate", "there is an argument that belongs to no option")
	case c.Command.Name != c.App.Name && c.Lineage()[1].NumFlags() > 0:
		return nil, usage(fmt.Sprintf("write them behind it: vespene-autoscale %s [options]", c.Command.Name),
			"there are options before the command %s", c.Command.Name)
	case slices.Contains(s.names, ""):
		return nil, usage("name a worker pool, or leave the option away for all", "--queue is empty")
	case s.timeout <= 0:
		return nil, usage(durationHint, "--timeout is %v, not above zero", s.timeout)
	case window < 0 || c.IsSet("since") && window == 0:
		return nil, usage(durationHint, "--since is %v, not above zero", window)
	case s.jobs < 1:
		return nil, usage(wholeHint, "--jobs is %d", s.jobs)
	case output != "text" && output != "json":
		return nil, usage(seeHelp, "%s", withoutAddress(fmt.Sprintf("--output is %q, neither text nor json", output)))
	}
	var err error
	if s.plugins.planners, err = programs(c, "planner", stock); err == nil {
		s.plugins.executors, err = programs(c, "executor", shell)
	}
	if err != nil {
		return nil, usage(seeHelp, "%w", err)
	}
	return s, nil
}

// openDatabase finds the database; nothing is asked yet.
func (s *scaler) openDatabase(c *cli.Context) (err error) {
	if s.database, err = findDatabase(c.String("database")); err != nil {
		return err
	}
	if s.shared && s.database.postgres == nil {
		return usage("give one as postgres://…, or leave the option away",
			"--shared needs a PostgreSQL database, which hosts can share")
	}
	if s.shared {
		s.database.postgres.Keep(pingEvery)
	}
	return nil
}

// readState opens the state for a command, which writes nothing.
func (s *scaler) readState(ctx context.Context, c *cli.Context) error {
	path, err := statePath(c.String("state"))
	if err == nil {
		s.state, err = readState(ctx, path)
	}
	s.usePast(nil)
	return err
}
