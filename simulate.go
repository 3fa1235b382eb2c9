package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"vespene-autoscale/internal/sim"
)

// simulate.go owns the command simulate: its options, the scenarios that they ask for, and the search among settings.
// internal/sim replays scenarios, plan.go sizes them, and simulation.go shows what came of them.

// simulate shows what came of the builds of pools, and what would have come of them with other settings.
func simulate(ctx context.Context, s *scaler, c *cli.Context, out *results) (code int, err error) {
	debug.SetGCPercent(20) // builds are many and small, so that less memory costs no time
	q, err := newQuestion(c)
	if err == nil {
		err = s.openDatabase(c)
	}
	if err == nil {
		err = s.readState(ctx, c)
	}
	if err != nil {
		return 0, err
	}
	pools, err := s.fresh(ctx)
	if err != nil {
		return 0, err
	}
	names := s.queues(pools)
	if len(names) > 1 && q.svg != "" {
		return 0, &failure{code: exitUsage, err: fmt.Errorf("--svg takes the picture of one pool, and there are %d", len(names)),
			hint: "name one with --queue"}
	}
	if len(names) == 0 {
		out.note("no worker pool has autoscaling enabled: name one with --queue, or enable it in Vespene")
	}
	for _, name := range names {
		err = s.simulatePool(ctx, q, pools, name, out)
		if ctx.Err() != nil || len(names) == 1 || exitCode(err) == exitDatabase || exitCode(err) == exitState {
			return code, err
		}
		if err != nil {
			s.log.Error(withCure(err), "pool", name)
			code = worse(code, exitCode(err))
		}
	}
	return code, nil
}

// simulatePool simulates the named pool, draws the picture, and writes the results.
func (s *scaler) simulatePool(ctx context.Context, q question, pools map[string]pool, name string, out *results) error {
	p, exists := pools[name]
	if !exists {
		return noPool(name)
	}
	r := &runner{scaler: s, question: q, pool: p}
	result, err := r.simulate(ctx)
	if err != nil {
		return err
	}
	if q.svg != "" {
		if err := replaceFile(q.svg, picture(result)); err != nil {
			return &failure{code: exitState, err: fmt.Errorf("write the picture: %w", err),
				hint: "name a file in a folder that this user may write to"}
		}
	}
	out.simulation(result)
	return nil
}

// question is what the command line asks.
type question struct {
	since   time.Duration
	base    sim.Scenario // what options say of workers
	changes point        // by --set
	ranges  [][]change   // by --sweep
	target  *target      // to recommend for
	svg     string       // file
}

// change is another value for a setting, as text.
type change struct{ setting, value string }

// point is changes of several settings, each at most once.
type point []change

func (p point) String() string {
	var all []string
	for _, c := range p {
		all = append(all, c.setting+"="+c.value)
	}
	return strings.Join(all, " ")
}

func (p point) has(setting string) bool {
	return slices.ContainsFunc(p, func(c change) bool { return c.setting == setting })
}

// with returns the changes and another one, which replaces that of the same setting.
func (p point) with(c change) point {
	others := slices.DeleteFunc(slices.Clone(p), func(other change) bool { return other.setting == c.setting })
	return append(others, c)
}

// combinations returns the point with one change of each range, for all combinations of them.
func (p point) combinations(ranges [][]change) []point {
	all := []point{p}
	for _, changes := range ranges {
		var more []point
		for _, at := range all {
			for _, c := range changes {
				more = append(more, at.with(c))
			}
		}
		all = more
	}
	return all
}

// target is a sim.Target as it was written.
type target struct {
	sim.Target
	text string
}

// The kinds of settings, as errors name them.
const (
	isWhole   = "a whole number"
	isDecimal = "a number"
	isBool    = "true or false"
	isText    = "text"
	isJSON    = "JSON"
)

// setting is one that --set takes. Numbers can be swept, too.
type setting struct{ name, kind string }

var settable = []setting{
	{"multiplier", isDecimal}, {"excess", isWhole}, {"minimum", isWhole}, {"maximum", isWhole},
	{"queued_weight", isDecimal}, {"running_weight", isDecimal}, {"reevaluate_minutes", isWhole},
	{"build_latest", isBool}, {"sleep_seconds", isWhole}, {"auto_abort_minutes", isWhole},
	{"planner", isText}, {"executor", isText}, {"executor_command", isText}, {"variables", isText},
	{scaleDownMinutes, isWhole}, {maxStepUp, isWhole}, {maxStepDown, isWhole}, {scheduleKey, isJSON}, {staleBuilds, isJSON},
}

func settingNamed(name string) (s setting, exists bool) {
	i := slices.IndexFunc(settable, func(s setting) bool { return s.name == name })
	if i < 0 {
		return s, false
	}
	return settable[i], true
}

// parse reads a value of the setting. null, for a key of "autoscaling", is nil.
func (s setting) parse(text string) (value any, err error) {
	switch {
	case isSteadiness(s.name) && text == "null":
	case s.kind == isWhole:
		value, err = strconv.ParseInt(text, 10, 64)
	case s.kind == isDecimal:
		value, err = strconv.ParseFloat(text, 64)
	case s.kind == isBool:
		value, err = strconv.ParseBool(text)
	case s.kind == isText || json.Unmarshal([]byte(text), &value) != nil:
		value = text
	}
	if err != nil {
		return nil, fmt.Errorf("%s is %q, which is not %s", s.name, text, s.kind)
	}
	return value, nil
}

// newQuestion reads the options, or says what is wrong with them.
func newQuestion(c *cli.Context) (q question, err error) {
	q = question{since: c.Duration("since"), svg: c.String("svg"), base: sim.Scenario{Boot: c.Duration("boot"),
		MaxBuilds: c.Int64("max-builds"), PerInstance: c.Int64("workers-per-instance"),
		BillingMinimum: c.Duration("billing-minimum")}}
	if c.IsSet("max-wait") {
		q.base.MaxWait = ptr(time.Duration(c.Float64("max-wait") * float64(time.Minute)))
	}
	usage := func(hint, format string, args ...any) (question, error) {
		return q, &failure{code: exitUsage, err: errors.New(withoutAddress(fmt.Sprintf(format, args...))), hint: hint}
	}
	switch {
	case q.since < time.Minute:
		return usage(durationHint, "--since is %v, and a simulation takes a minute at least", q.since)
	case q.base.Boot < 0 || q.base.BillingMinimum < 0:
		return usage(durationHint, "--boot and --billing-minimum cannot be below zero")
	case c.IsSet("max-builds") && q.base.MaxBuilds < 1 || q.base.PerInstance < 1:
		return usage(wholeHint, "--max-builds and --workers-per-instance cannot be below 1")
	case q.base.MaxWait != nil && !(*q.base.MaxWait >= 0 && c.Float64("max-wait") < longestMinutes):
		return usage(minutesHint, "--max-wait is not a number of minutes")
	case c.IsSet("svg") && q.svg == "":
		return usage("name a file", "--svg is empty")
	}
	for _, given := range *c.Generic("set").(*list) {
		name, value, isChange := strings.Cut(given, "=")
		if _, exists := settingNamed(name); !isChange || !exists {
			var names []string
			for _, s := range settable {
				names = append(names, s.name)
			}
			return usage("write SETTING=VALUE; settings are "+strings.Join(names, ", "), "--set %q is no setting of a pool with a value", given)
		}
		q.changes = q.changes.with(change{name, value})
	}
	combinations := 1
	for _, given := range *c.Generic("sweep").(*list) {
		changes, err := parseRange(given)
		if err != nil {
			return usage("write SETTING=FROM:TO:STEP, such as multiplier=1:3:0.25", "--sweep %q %v", given, err)
		}
		if slices.ContainsFunc(q.ranges, func(other []change) bool { return other[0].setting == changes[0].setting }) {
			return usage("give each setting one range", "--sweep %s is given twice", changes[0].setting)
		}
		if combinations *= len(changes); combinations > maxCombinations {
			return usage("take larger steps", "--sweep gives more than %d combinations", maxCombinations)
		}
		q.ranges = append(q.ranges, changes)
	}
	if text := c.String("recommend"); c.IsSet("recommend") {
		if q.target = parseTarget(text); q.target == nil {
			return usage("write wait_median, wait_p95 or wait_max, <= and a duration, such as 'wait_p95<=3m'",
				"--recommend %q is no target", text)
		}
	}
	return q, nil
}

// maxCombinations is how many combinations of settings a sweep has at most.
const maxCombinations = 10_000

// parseRange reads SETTING=FROM:TO:STEP.
func parseRange(text string) (changes []change, err error) {
	name, bounds, _ := strings.Cut(text, "=")
	s, exists := settingNamed(name)
	parts := strings.Split(bounds, ":")
	switch {
	case !exists:
		return nil, errors.New("names no setting of a pool")
	case s.kind != isWhole && s.kind != isDecimal:
		return nil, errors.New("names a setting that is no number")
	case len(parts) != 3:
		return nil, errors.New("has not three numbers")
	}
	var numbers [3]*big.Rat
	for i, part := range parts {
		if !regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,15})?$`).MatchString(part) {
			return nil, fmt.Errorf("has %q, which is no decimal number", part)
		}
		numbers[i], _ = new(big.Rat).SetString(part)
		if s.kind == isWhole && !numbers[i].IsInt() {
			return nil, fmt.Errorf("has %s, and %s is a whole number", part, name)
		}
	}
	at, to, step := numbers[0], numbers[1], numbers[2]
	if step.Sign() <= 0 || at.Cmp(to) > 0 {
		return nil, errors.New("does not go up")
	}
	for ; at.Cmp(to) <= 0; at = new(big.Rat).Add(at, step) {
		if len(changes) > maxCombinations {
			return nil, fmt.Errorf("has more than %d steps", maxCombinations)
		}
		changes = append(changes, change{name, decimalString(at)})
	}
	return changes, nil
}

func parseTarget(text string) *target {
	figure, most, _ := strings.Cut(text, "<=")
	quantiles := map[string]float64{"wait_median": 0.5, "wait_p95": 0.95, "wait_max": 1}
	quantile, isFigure := quantiles[strings.TrimSuffix(strings.TrimSpace(figure), "_s")]
	limit, err := time.ParseDuration(strings.TrimSpace(most))
	if !isFigure || err != nil || limit < 0 {
		return nil
	}
	return &target{sim.Target{Quantile: quantile, Most: limit.Microseconds()}, text}
}

// runner replays one pool's workload.
type runner struct {
	*scaler
	question
	pool     pool
	builds   []build // only kept to recommend
	workload *sim.Workload
}

// scenario is a way to run the pool: its settings, and what internal/sim takes of them.
type scenario struct {
	sim.Scenario
	name    string
	changes point
	command string         // template
	shown   map[string]any // the settable ones
}

// scenario is the pool with changed settings. It has no name yet.
func (r *runner) scenario(changes point) (scenario, error) {
	unusable := func(err error, hint string) (scenario, error) {
		return scenario{}, &failure{code: exitInvalid, err: err, hint: hint}
	}
	p, err := r.pool.changed(changes)
	if err != nil {
		return unusable(err, "docs/autoscaling.md has the settings")
	}
	checked, err := r.settings(p)
	if f := new(failure); len(changes) > 0 && errors.As(err, &f) {
		err = &failure{code: f.code, err: f.err, hint: "correct that in --set, or in Vespene"}
	}
	if err != nil {
		return scenario{}, err
	}
	columns := columnReader{columns: p.columns}
	sleep, abort := columns.natural("sleep_seconds"), columns.natural("auto_abort_minutes")
	switch {
	case columns.err != nil:
		return unusable(columns.err, "correct the pool's settings in Vespene")
	case checked.planner != stock:
		return unusable(fmt.Errorf("planner is %s, a program, which a simulation would have to ask at each evaluation",
			checked.planner), "see what the formula would do: --set planner=stock")
	}
	shown := map[string]any{}
	object, _ := checked.variables["autoscaling"].(map[string]any)
	for _, s := range settable {
		if value, has := object[s.name]; has {
			shown[s.name] = value
		} else if !isSteadiness(s.name) && (s.kind != isText || changes.has(s.name)) {
			shown[s.name] = p.columns.get(s.name)
		}
	}
	simulated := r.base
	simulated.Planner, simulated.Interval = func() sim.Planner { return newPlanner(checked) }, checked.reevaluate
	simulated.BuildLatest = checked.buildLatest
	simulated.Sleep = time.Duration(min(sleep, longestMinutes*60)) * time.Second
	simulated.Abort = time.Duration(min(abort, longestMinutes)) * time.Minute
	simulated.Adds = checked.executor == shell && uses(checked.command, "queued_size") && !uses(checked.command, "size")
	return scenario{simulated, "", changes, checked.command, shown}, nil
}

// changed returns the pool with changed settings.
func (p pool) changed(changes point) (pool, error) {
	all := p.columns.all()
	for _, c := range changes {
		s, _ := settingNamed(c.setting)
		value, err := s.parse(c.value)
		if err != nil {
			return p, err
		}
		if !isSteadiness(s.name) {
			all[s.name] = value
			continue
		}
		variables, err := parseVariables(all["variables"])
		if err != nil {
			return p, err
		}
		object, isObject := variables["autoscaling"].(map[string]any)
		if !isObject {
			object = map[string]any{}
		}
		object[s.name] = value
		if value == nil {
			delete(object, s.name)
		}
		variables["autoscaling"] = object
		text, err := json.Marshal(variables)
		if err != nil {
			return p, err
		}
		all["variables"] = string(text)
	}
	p.columns = columnsOf(all)
	return p, nil
}

// uses tells whether a command has that size: in the template's tags, or in the environment.
func uses(command, size string) bool {
	tags := strings.Join(templateTags().FindAllString(command, -1), "")
	return regexp.MustCompile(`(^|[^.\w])`+size+`\b`).MatchString(tags) ||
		regexp.MustCompile(`\bVESPENE_`+strings.ToUpper(size)+`\b`).MatchString(command)
}

var templateTags = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)\{[{%].*?[%}]\}`) })

// newPlanner returns a planner with these settings, which remembers what it planned.
func newPlanner(s settings) sim.Planner {
	type planned struct {
		at   time.Time
		size int64
	}
	var recent []planned // those that scale_down_minutes looks back to, each larger than the next
	var previous *int64
	return func(at time.Time, d sim.Demand) (size, queuedSize int64) {
		p := pool{queuedBuilds: d.Queued, queuedProjects: d.QueuedProjects, staleQueued: d.StaleQueued,
			freshProjects: d.FreshProjects, running: d.Running, overdue: misleading{count: d.StaleRunning}}
		for len(recent) > 0 && recent[0].at.Before(at.Add(-s.steady.scaleDown)) {
			recent = recent[1:]
		}
		var largest *int64
		if len(recent) > 0 {
			largest = &recent[0].size
		}
		plan := newPlan(p, s, at).steadied(previous, largest)
		for len(recent) > 0 && recent[len(recent)-1].size <= plan.planned {
			recent = recent[:len(recent)-1]
		}
		recent = append(recent, planned{at, plan.planned})
		previous = &plan.size
		return plan.size, plan.queuedSize
	}
}

// timelineSamples is how many parts a timeline has: as many as a picture can show.
const timelineSamples = 600

// simulate replays the pool as it was, as it is configured and as it is set, with a fixed size, and with what is swept
// or searched.
func (r *runner) simulate(ctx context.Context) (simulation, error) {
	scenarios, unfit, err := r.scenarios()
	if err != nil {
		return simulation{}, err
	}
	base := scenarios[len(scenarios)-1]
	if err := r.read(ctx, scenarios[0].Abort); err != nil {
		return simulation{}, err
	}
	recorded, err := r.recorded(ctx, scenarios[0].Adds)
	if err != nil {
		return simulation{}, err
	}
	result := simulation{Pool: r.pool.name, From: r.workload.From, To: r.workload.To, Builds: int64(r.workload.Len()),
		Variants: []variant{recorded}, Warnings: slices.Concat(r.workload.Notes, r.notes(base))}
	warn := func(warnings ...string) { result.Warnings = append(result.Warnings, warnings...) }
	switch {
	case result.Builds == 0 && len(r.workload.Notes) == 0:
		warn("no builds in the window: --since DURATION takes a longer one")
	case r.shared:
		warn("what was recorded in sizes is not known: of hosts that share pools, each knows its own evaluations only")
	case recorded.WorkerHours == nil && !scenarios[0].Adds:
		warn("what was recorded in sizes is not known: this state file has no evaluation that scaled the pool from before the window")
	}
	outcomes, err := replayAll(ctx, r, scenarios, timelineSamples, allOf)
	if err != nil {
		return simulation{}, err
	}
	for i, outcome := range outcomes {
		if outcome.Err != nil {
			return simulation{}, &failure{code: exitInvalid, err: fmt.Errorf("as %s: %w", scenarios[i].name, outcome.Err),
				hint: "lower it in Vespene, or by --set maximum=N"}
		}
		result.Variants = append(result.Variants, r.variant(scenarios[i], outcome))
	}
	today, todays := outcomes[0], result.Variants[1]
	if unfit != nil {
		warn("as configured, the pool cannot be simulated: " + unfit.Error())
	} else {
		warn(differences(recorded, todays)...)
	}
	if len(today.Waits) > 0 {
		n, outcome, err := r.minFixedSize(ctx, scenarios[0], today, today.AsTarget(), sim.Quantile(today.Waits, 0.95))
		if err != nil {
			return simulation{}, err
		}
		if n == 0 {
			warn("no fixed number of workers that was tried waits as little")
		} else {
			result.Variants = append(result.Variants, r.variant(fixedAt(n, scenarios[0]), outcome))
		}
	}
	if r.ranges != nil {
		points, impossible, err := r.sweep(ctx)
		if err != nil {
			return simulation{}, err
		}
		result.Sweep = points
		warn(impossible...)
	}
	if r.target != nil {
		if result.Recommendation, err = r.recommend(ctx, base, today, todays); err != nil {
			return simulation{}, err
		}
		if result.Recommendation == nil {
			warn("no recommendation: no build was started in the first two thirds of the window; --since DURATION takes a longer one")
		}
	}
	return result, nil
}

// scenarios returns the pool as it is configured and, with --set, as it is set. If the first is impossible, unfit says why;
// it is an error if there is nothing else, or a recommendation would have to compare with it.
func (r *runner) scenarios() (all []scenario, unfit, err error) {
	configured, unfit := r.scenario(nil)
	if unfit == nil {
		configured.name = "configured"
		all = append(all, configured)
	} else if len(r.changes) == 0 || r.target != nil {
		return nil, nil, unfit
	}
	if len(r.changes) > 0 {
		set, err := r.scenario(r.changes)
		if err != nil {
			return nil, nil, err
		}
		set.name = "set"
		all = append(all, set)
	}
	return all, unfit, nil
}

// notes say what a simulation of the scenario takes for granted.
func (q question) notes(s scenario) (notes []string) {
	if uses(s.command, "size") && uses(s.command, "queued_size") {
		notes = append(notes, "the pool's command has both size and queued_size: simulated as one that goes by size; "+
			"--set executor_command='{{ queued_size }}' simulates one that adds")
	}
	if s.Adds && q.base.MaxBuilds == 0 && q.base.MaxWait == nil {
		notes = append(notes, "the pool's command only adds workers (queued_size), which end by --max-builds or --max-wait: "+
			"without them they never do here")
	}
	if q.base.MaxWait != nil && *q.base.MaxWait >= time.Second {
		notes = append(notes, "Vespene's own worker takes its --max-wait-minutes=N for N/60 seconds, so that it ends at its "+
			"first look after the one that found nothing: --max-wait 0 simulates that")
	}
	return notes
}

// read reads the workload of the window that ends now.
func (r *runner) read(ctx context.Context, abort time.Duration) error {
	to := clock()
	from := to.Add(-r.since)
	bar := newProgress(r.stream.w, "builds read", 0)
	read := 0
	builds, err := r.database.readBuilds(ctx, r.pool.id, from, abort, func(n int) {
		bar.add(n - read)
		read = n
	})
	bar.done()
	if err != nil {
		return err
	}
	r.builds = builds
	r.workload = r.window(from, to, abort)
	if r.target == nil {
		r.builds = nil // a million is 70 MB
	}
	return nil
}

// window is the workload of a part of the builds.
func (r *runner) window(from, to time.Time, abort time.Duration) *sim.Workload {
	return sim.NewWorkload(len(r.builds), func(i int) sim.Build {
		b := &r.builds[i]
		return sim.Build{ID: b.id, Project: b.project, Parent: b.parent, Queued: b.queued, Started: b.started,
			Ended: b.ended, Timeout: b.timeout, Status: b.status}
	}, from, to, abort)
}

// recorded is what was, as far as the builds and the state tell.
func (r *runner) recorded(ctx context.Context, adds bool) (variant, error) {
	w := r.workload
	v := variant{Name: "recorded", Finished: w.Recorded.Finished, Unfinished: w.Recorded.Unfinished, Dropped: w.Recorded.Dropped}
	v.setWaits(w.Recorded.Waits)
	if r.state == nil || adds || r.shared { // its sizes are no totals, or those of one host of several
		return v, nil
	}
	all, err := r.state.history(ctx, r.database.key, []string{r.pool.name}, time.Time{}, false)
	if err != nil {
		return v, err
	}
	all = slices.DeleteFunc(all, func(e evaluation) bool { return e.outcome.outcome != scaled || e.started.After(w.To) })
	inWindow := slices.IndexFunc(all, func(e evaluation) bool { return e.started.After(w.From) })
	if inWindow < 0 {
		inWindow = len(all)
	}
	if inWindow == 0 {
		return v, nil
	}
	var changes, atRisk, peak int64
	var total time.Duration
	above := func(busy, size int64) int64 { return max(0, busy-size*r.base.PerInstance) }
	for i := inWindow - 1; i < len(all); i++ {
		e, from, to := all[i], w.From, w.To
		if i >= inWindow {
			previous := all[i-1]
			from = e.started
			if e.size != previous.size {
				changes++
			}
			atRisk += max(0, above(e.running, e.size)-above(e.running, previous.size))
		}
		if i+1 < len(all) {
			to = all[i+1].started
		}
		total += to.Sub(from) * time.Duration(e.size*r.base.PerInstance)
		peak = max(peak, e.size*r.base.PerInstance)
	}
	v.WorkerHours, v.SizeMean = ptr(total.Hours()), ptr(total.Hours()/w.To.Sub(w.From).Hours())
	v.SizePeak, v.Changes, v.AtRisk = &peak, &changes, &atRisk
	if total > 0 {
		v.Utilisation = ptr(float64(w.Recorded.Busy) / float64(total.Microseconds()))
	}
	return v, nil
}

// replayAll replays the scenarios, as many at the same time as there are processors, and returns what of each result is
// to be kept, since results are large. The error is why the context ended.
func replayAll[T any](ctx context.Context, r *runner, all []scenario, samples int, keep func(scenario, sim.Result) T) ([]T, error) {
	bar := newProgress(r.stream.w, "simulated", len(all))
	defer bar.done()
	kept := make([]T, len(all))
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for i, s := range all {
		processors <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			kept[i] = keep(s, r.workload.Replay(ctx, s.Scenario, samples))
			bar.add(1)
			<-processors
		})
	}
	running.Wait()
	return kept, context.Cause(ctx)
}

func (r *runner) variant(s scenario, outcome sim.Result) variant {
	return newVariant(s.name, s.shown, r.workload, outcome)
}

func allOf(_ scenario, outcome sim.Result) sim.Result { return outcome }

// minFixedSize returns the least fixed number of instances that meets the target, and what comes of it; 0 if there is none
// among sixteen times the peak. The wait that is shown must not be above shown, either. More instances are taken not to
// wait longer.
func (r *runner) minFixedSize(ctx context.Context, s scenario, came sim.Result, t sim.Target, shown float64) (n int64, best sim.Result, err error) {
	peak := came.SizePeak / s.PerInstance
	low, high, most := int64(0), max(1, peak), 16*(peak+1)
	s.Adds, s.Hopeless = false, &t
	meets := func(n int64) bool {
		s.Fixed = &n
		var all []sim.Result
		if all, err = replayAll(ctx, r, []scenario{s}, 0, allOf); err != nil {
			return false
		}
		wait, isKnown := t.Wait(all[0])
		if all[0].Err != nil || !isKnown || wait > t.Most || sim.Quantile(all[0].Waits, t.Quantile) > shown {
			return false
		}
		best = all[0]
		return true
	}
	for ; !meets(high); low, high = high, min(2*high, most) {
		if err != nil || high == most {
			return 0, best, err
		}
	}
	for high-low > 1 && err == nil {
		if middle := (low + high) / 2; meets(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high, best, err
}

// fixedAt is the scenario of a pool that always has n instances, for its name and settings.
func fixedAt(n int64, s scenario) scenario {
	shown := maps.Clone(s.shown)
	maps.DeleteFunc(shown, func(name string, _ any) bool { return isSteadiness(name) })
	shown["minimum"], shown["maximum"] = n, n
	return scenario{name: fmt.Sprintf("fixed %d", n), shown: shown}
}

// maxImpossible is how many reasons people still read.
const maxImpossible = 3

// sweep is what comes of all combinations of the settings that are swept. impossible says why some cannot be simulated.
func (r *runner) sweep(ctx context.Context) (all []variant, impossible []string, err error) {
	var scenarios []scenario
	for _, at := range point(nil).combinations(r.ranges) {
		changes := r.changes
		for _, c := range at {
			changes = changes.with(c)
		}
		s, err := r.scenario(changes)
		if err != nil {
			impossible = append(impossible, fmt.Sprintf("not simulated: %s: %v", at, err))
			continue
		}
		s.name = at.String()
		maps.DeleteFunc(s.shown, func(name string, _ any) bool { return !at.has(name) })
		scenarios = append(scenarios, s)
	}
	if all, err = replayAll(ctx, r, scenarios, 0, r.variant); err != nil {
		return nil, nil, err
	}
	all = slices.DeleteFunc(all, func(v variant) bool {
		if v.err != nil {
			impossible = append(impossible, fmt.Sprintf("not simulated: %s: %v", v.Name, v.err))
		}
		return v.err != nil
	})
	slices.Sort(impossible)
	for i := range all {
		all[i].ParetoOptimal = ptr(!slices.ContainsFunc(all, func(other variant) bool { return other.beats(all[i]) }))
	}
	if more := len(impossible) - maxImpossible; more > 0 {
		impossible = append(impossible[:maxImpossible], fmt.Sprintf("and %d more of the sweep not simulated", more))
	}
	return all, impossible, nil
}

// candidate is a scenario that might be recommended, and what it came to over the first two thirds of the window.
type candidate struct {
	scenario
	searched variant
	cost     int64   // microseconds of workers
	wait     int64   // that the target limits; math.MaxInt64 if there is none to judge by
	mean     float64 // wait
}

func (r *runner) candidate(s scenario, outcome sim.Result) candidate {
	c := candidate{scenario: s, searched: r.variant(s, outcome), cost: outcome.Billed, wait: math.MaxInt64}
	if wait, isKnown := r.target.Wait(outcome); isKnown && outcome.Err == nil {
		c.wait = wait
		for _, wait := range outcome.Compared {
			c.mean += float64(wait) / float64(len(outcome.Compared))
		}
	}
	return c
}

// compare orders candidates: first those that meet the target, by their cost, and then the others, by their wait.
func (t target) compare(a, b candidate) int {
	fewer := cmp.Compare(len(a.changes), len(b.changes))
	if a.wait <= t.Most && b.wait <= t.Most {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.wait, b.wait), fewer)
	} else if a.wait <= t.Most {
		return -1
	}
	return cmp.Or(cmp.Compare(a.wait, b.wait), cmp.Compare(a.mean, b.mean), cmp.Compare(a.cost, b.cost), fewer)
}

// try adds the possible ones among the points to the candidates, unless they were tried before, and sorts all.
func (r *runner) try(ctx context.Context, candidates []candidate, points []point) ([]candidate, error) {
	tried := map[string]bool{}
	for _, c := range candidates {
		tried[fmt.Sprint(c.shown)] = true
	}
	var scenarios []scenario
	for _, at := range points {
		s, err := r.scenario(at)
		if key := fmt.Sprint(s.shown); err == nil && !tried[key] {
			tried[key] = true
			s.name = "then"
			scenarios = append(scenarios, s)
		}
	}
	more, err := replayAll(ctx, r, scenarios, 0, r.candidate)
	candidates = append(candidates, more...)
	slices.SortStableFunc(candidates, r.target.compare)
	return candidates, err
}

// search tries settings until none near the best ones are better, and returns them from the best on. peak is how many
// instances the pool has use for.
func (r *runner) search(ctx context.Context, peak int64) (candidates []candidate, err error) {
	if r.ranges != nil {
		return r.try(ctx, nil, r.changes.combinations(r.ranges))
	}
	nearby := searchRanges(peak)
	candidates, err = r.try(ctx, nil, append([]point{r.changes}, r.changes.combinations(nearby[:3])...))
	for improved := true; improved && err == nil; {
		best := candidates[0]
		var points []point
		for _, changes := range nearby {
			points = append(points, best.changes.combinations([][]change{changes})...)
		}
		candidates, err = r.try(ctx, candidates, points)
		improved = r.target.compare(candidates[0], best) < 0
	}
	return candidates, err
}

// searchRanges are the values that a search tries; it combines those of the first three settings.
func searchRanges(peak int64) (ranges [][]change) {
	for _, s := range []struct {
		name   string
		values []any
	}{
		{"multiplier", []any{0.5, 0.75, 1, 1.25, 1.5, 2}},
		{"minimum", []any{0, 1, 2, peak / 8, peak / 4, peak / 2, peak}},
		{"maximum", []any{peak / 2, peak * 3 / 4, peak, peak * 2}},
		{"excess", []any{0, 1, 2, peak / 8}},
		{"queued_weight", []any{0.25, 0.5, 1, 2}},
		{"running_weight", []any{0, 0.5, 1, 1.25}},
		{"reevaluate_minutes", []any{1, 2, 5, 10, 15}},
		{scaleDownMinutes, []any{0, 10, 30, 60}},
		{maxStepUp, []any{"null", 2, 5, 10}},
		{maxStepDown, []any{"null", 1, 2, 5}},
	} {
		var changes []change
		for _, value := range s.values {
			changes = append(changes, change{s.name, fmt.Sprint(value)})
		}
		ranges = append(ranges, changes)
	}
	return ranges
}

// recommend looks for the settings with the fewest worker-hours that meet the target over the first two thirds of the
// window and, unseen by the search, over its last third. configured and today are what came of the pool as it is, and the
// search begins with base. It returns nil if there are no builds to judge by.
func (r *runner) recommend(ctx context.Context, base scenario, configured sim.Result, today variant) (*recommendation, error) {
	w := r.workload
	middle := w.From.Add(w.To.Sub(w.From) * 2 / 3)
	first, last := *r, *r
	first.workload, last.workload = r.window(w.From, middle, base.Abort), r.window(middle, w.To, base.Abort)
	r.builds, first.builds, last.builds = nil, nil, nil
	enough, always, err := r.minFixedSize(ctx, base, configured, r.target.Target, math.Inf(1)) // tells how far to look, too
	if err != nil {
		return nil, err
	}
	candidates, err := first.search(ctx, max(1, enough, configured.SizePeak/r.base.PerInstance))
	switch {
	case err != nil:
		return nil, err
	case len(candidates) == 0:
		return nil, &failure{code: exitInvalid, err: errors.New("none of the settings that --sweep names is possible"), hint: "sweep others"}
	case candidates[0].wait == math.MaxInt64:
		return nil, nil
	}
	result := &recommendation{Target: r.target.text, Tried: int64(len(candidates)), Today: today, Settings: map[string]any{}}
	result.Today.timeline = nil
	chosen, err := last.verify(ctx, candidates, result)
	if err != nil {
		return nil, err
	}
	if !result.Met && enough > 0 {
		result.Always, result.AlwaysHours = &enough, ptr(float64(always.Billed)/perHour)
	}
	for _, names := range []map[string]any{chosen.shown, today.Settings} {
		for name := range names {
			if value := chosen.shown[name]; fmt.Sprint(value) != fmt.Sprint(today.Settings[name]) {
				result.Settings[name] = value
			}
		}
	}
	then, err := replayAll(ctx, r, []scenario{chosen.scenario}, 0, r.variant)
	result.Searched, result.Then = chosen.searched, then[0]
	result.Why = result.why(r.target.Target, chosen.Sleep)
	return result, err
}

// verify replays the candidates that met the target, from the cheapest on, until one meets it again: now over the last
// third of the window. Where none does, it chooses the one that came nearest; where none met it at all, the first.
func (r *runner) verify(ctx context.Context, candidates []candidate, result *recommendation) (chosen candidate, err error) {
	nearest := int64(math.MaxInt64)
	for i, c := range candidates {
		hopes := c.wait <= r.target.Most
		if !hopes && i > 0 {
			break
		}
		outcomes, err := replayAll(ctx, r, []scenario{c.scenario}, 0, allOf)
		if err != nil {
			return chosen, err
		}
		wait, isKnown := r.target.Wait(outcomes[0])
		result.Met = hopes && wait <= r.target.Most
		if result.Met || i == 0 || wait < nearest {
			chosen, nearest, result.Verified = c, wait, r.variant(c.scenario, outcomes[0])
		}
		if result.Met {
			result.Unverified = !isKnown
			break
		}
		if hopes {
			result.Failed++
		}
	}
	return chosen, nil
}
