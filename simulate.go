package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
)

// simulate.go owns the command simulate: the model of a pool and its workers (docs/simulation.md), and the search among
// settings. The model is pure, and sizes come from plan.go.

// simulate shows what came of the builds of pools, and what would have come of them with other settings.
func simulate(ctx context.Context, s *scaler, c *cli.Context, out *results) (code int, err error) {
	debug.SetGCPercent(20) // builds are many and small, so that less memory costs no time
	asked, err := newQuestion(c)
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
	if len(names) > 1 && asked.svg != "" {
		return 0, &failure{code: exitUsage, err: fmt.Errorf("--svg takes the picture of one pool, and there are %d", len(names)), hint: "name one with --queue"}
	}
	if len(names) == 0 {
		out.note("no worker pool has autoscaling enabled: name one with --queue, or enable it in Vespene")
	}
	for _, name := range names {
		p, exists := pools[name]
		if !exists {
			err = noPool(name)
		} else {
			err = s.simulate(ctx, asked, p, out)
		}
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

// question is what a simulation is asked.
type question struct {
	since          time.Duration
	boot           time.Duration
	maxBuilds      int64
	maxWait        *time.Duration
	perInstance    int64
	billingMinimum time.Duration
	changes        point // by --set
	sweep          [][]change
	target         *target // to recommend for
	svg            string  // file
}

// change is a setting with another value, as it is written.
type change struct{ setting, value string }

// point is changes of several settings, each once.
type point []change

func (p point) String() string {
	var all []string
	for _, c := range p {
		all = append(all, c.setting+"="+c.value)
	}
	return strings.Join(all, " ")
}

// has tells whether a setting is among the changes.
func (p point) has(setting string) bool {
	return slices.ContainsFunc(p, func(c change) bool { return c.setting == setting })
}

// with returns the changes and others, which count where both have a setting.
func (p point) with(others ...change) point {
	merged := slices.Clone(p)
	for _, other := range others {
		merged = append(slices.DeleteFunc(merged, func(c change) bool { return c.setting == other.setting }), other)
	}
	return merged
}

// target is what is to be reached: a figure of the waits that is at most so long.
type target struct {
	text     string
	quantile float64
	most     int64 // microseconds
}

// settableSetting is a setting that --set takes.
type settableSetting struct {
	name   string
	kind   any // of its value; nil: JSON
	steady bool
}

// settable are the settings that --set takes, those of the object "autoscaling" last. What is a number can be swept, too.
var settable = []settableSetting{
	{"multiplier", 1.0, false},
	{"excess", int64(0), false},
	{"minimum", int64(0), false},
	{"maximum", int64(0), false},
	{"queued_weight", 1.0, false},
	{"running_weight", 1.0, false},
	{"reevaluate_minutes", int64(0), false},
	{"build_latest", true, false},
	{"sleep_seconds", int64(0), false},
	{"auto_abort_minutes", int64(0), false},
	{"planner", "", false},
	{"executor", "", false},
	{"executor_command", "", false},
	{"variables", "", false},
	{scaleDownMinutes, int64(0), true},
	{maxStepUp, int64(0), true},
	{maxStepDown, int64(0), true},
	{scheduleKey, nil, true},
	{staleBuilds, nil, true},
}

// newQuestion is what the command line asks, or what is wrong with it.
func newQuestion(c *cli.Context) (q question, err error) {
	q = question{since: c.Duration("since"), boot: c.Duration("boot"), maxBuilds: c.Int64("max-builds"), perInstance: c.Int64("workers-per-instance"),
		billingMinimum: c.Duration("billing-minimum"), svg: c.String("svg")}
	if c.IsSet("max-wait") {
		q.maxWait = ptr(time.Duration(c.Float64("max-wait") * float64(time.Minute)))
	}
	usage := func(hint, format string, args ...any) (question, error) {
		return q, &failure{code: exitUsage, err: errors.New(withoutAddress(fmt.Sprintf(format, args...))), hint: hint}
	}
	switch {
	case q.since < time.Minute:
		return usage(durationHint, "--since is %v, and a simulation takes a minute at least", q.since)
	case q.boot < 0 || q.billingMinimum < 0:
		return usage(durationHint, "--boot and --billing-minimum cannot be below zero")
	case c.IsSet("max-builds") && q.maxBuilds < 1 || q.perInstance < 1:
		return usage(wholeHint, "--max-builds and --workers-per-instance cannot be below 1")
	case q.maxWait != nil && !(*q.maxWait >= 0 && c.Float64("max-wait") < longestMinutes):
		return usage(minutesHint, "--max-wait is not a number of minutes")
	case c.IsSet("svg") && q.svg == "":
		return usage("name a file", "--svg is empty")
	}
	for _, given := range *c.Generic("set").(*list) {
		setting, value, isChange := strings.Cut(given, "=")
		if _, known := settableNamed(setting); !isChange || !known {
			var names []string
			for _, its := range settable {
				names = append(names, its.name)
			}
			return usage("write SETTING=VALUE; settings are "+strings.Join(names, ", "), "--set %q is no setting of a pool with a value", given)
		}
		q.changes = q.changes.with(change{setting, value})
	}
	for _, given := range *c.Generic("sweep").(*list) {
		changes, err := parseSweep(given)
		if err != nil {
			return usage("write SETTING=FROM:TO:STEP, such as multiplier=1:3:0.25", "--sweep %q %v", given, err)
		}
		if slices.ContainsFunc(q.sweep, func(its []change) bool { return its[0].setting == changes[0].setting }) {
			return usage("give each setting one range", "--sweep %s is given twice", changes[0].setting)
		}
		q.sweep = append(q.sweep, changes)
	}
	combinations := 1
	for _, changes := range q.sweep {
		if combinations *= len(changes); combinations > mostCombinations {
			return usage("take larger steps", "--sweep gives more than %d combinations", mostCombinations)
		}
	}
	if text := c.String("recommend"); c.IsSet("recommend") {
		if q.target = parseTarget(text); q.target == nil {
			return usage("write wait_median, wait_p95 or wait_max, <= and a duration, such as 'wait_p95<=3m'", "--recommend %q is no target", text)
		}
	}
	return q, nil
}

// mostCombinations is how many combinations of settings are tried at most.
const mostCombinations = 10_000

func settableNamed(name string) (its settableSetting, known bool) {
	i := slices.IndexFunc(settable, func(its settableSetting) bool { return its.name == name })
	if i < 0 {
		return its, false
	}
	return settable[i], true
}

// isSteady tells whether a setting is a key of the object "autoscaling".
func isSteady(name string) bool {
	its, _ := settableNamed(name)
	return its.steady
}

// parseSweep reads SETTING=FROM:TO:STEP.
func parseSweep(text string) (changes []change, err error) {
	setting, bounds, _ := strings.Cut(text, "=")
	its, known := settableNamed(setting)
	if !known {
		return nil, errors.New("names no setting of a pool")
	}
	_, isWhole := its.kind.(int64)
	if _, isDecimal := its.kind.(float64); !isWhole && !isDecimal {
		return nil, errors.New("names a setting that is no number")
	}
	parts := strings.Split(bounds, ":")
	if len(parts) != 3 {
		return nil, errors.New("has not three numbers")
	}
	var numbers [3]*big.Rat
	for i, part := range parts {
		if !regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,15})?$`).MatchString(part) {
			return nil, fmt.Errorf("has %q, which is no decimal number", part)
		}
		numbers[i], _ = new(big.Rat).SetString(part)
		if isWhole && !numbers[i].IsInt() {
			return nil, fmt.Errorf("has %s, and %s is a whole number", part, setting)
		}
	}
	at, to, step := numbers[0], numbers[1], numbers[2]
	if step.Sign() <= 0 || at.Cmp(to) > 0 {
		return nil, errors.New("does not go up")
	}
	for ; at.Cmp(to) <= 0; at = new(big.Rat).Add(at, step) {
		if len(changes) > mostCombinations {
			return nil, fmt.Errorf("has more than %d steps", mostCombinations)
		}
		changes = append(changes, change{setting, decimalString(at)})
	}
	return changes, nil
}

// points are the combinations of one of each list, all of them changes of a point.
func points(of point, lists [][]change) []point {
	all := []point{of}
	for _, list := range lists {
		var more []point
		for _, p := range all {
			for _, c := range list {
				more = append(more, p.with(c))
			}
		}
		all = more
	}
	return all
}

func parseTarget(text string) *target {
	figure, most, _ := strings.Cut(text, "<=")
	q, isFigure := map[string]float64{"wait_median": 0.5, "wait_p95": 0.95, "wait_max": 1}[strings.TrimSuffix(strings.TrimSpace(figure), "_s")]
	limit, err := time.ParseDuration(strings.TrimSpace(most))
	if !isFigure || err != nil || limit < 0 {
		return nil
	}
	return &target{text, q, limit.Microseconds()}
}

// figure is what the target is about, in microseconds: the waits since the window began of the builds that were started in
// it or dropped for their age, and of those that still waited at its end if that was longer than the target allows. ok says
// that there is any build to tell.
func (t target) figure(r simulated) (wait int64, ok bool) {
	missed, _ := slices.BinarySearch(r.unstarted, t.most+1)
	waits := r.compared
	if missed < len(r.unstarted) {
		waits = slices.Concat(waits, r.unstarted[missed:])
		slices.Sort(waits)
	}
	return int64(math.Ceil(quantile(waits, t.quantile))), len(waits) > 0
}

// changed returns a pool with changed settings.
func (p pool) changed(changes point) (pool, error) {
	all := p.columns.all()
	for _, c := range changes {
		its, _ := settableNamed(c.setting)
		var value any = c.value
		var err error
		switch its.kind.(type) {
		case int64:
			if !its.steady || c.value != "null" {
				value, err = strconv.ParseInt(c.value, 10, 64)
			}
		case float64:
			value, err = strconv.ParseFloat(c.value, 64)
		case bool:
			value, err = strconv.ParseBool(c.value)
		}
		if err != nil {
			return p, fmt.Errorf("%s is %q, which is not %s", c.setting, c.value, map[any]string{int64(0): "a whole number", 1.0: "a number", true: "true or false"}[its.kind])
		}
		if !its.steady {
			all[c.setting] = value
			continue
		}
		variables, err := parseVariables(all["variables"])
		if err != nil {
			return p, err
		}
		object, _ := variables["autoscaling"].(map[string]any)
		object = maps.Clone(object)
		if object == nil {
			object = map[string]any{}
		}
		object[c.setting] = value
		if text, isText := value.(string); isText {
			var parsed any
			if json.Unmarshal([]byte(text), &parsed) == nil {
				object[c.setting] = parsed
			}
		}
		if object[c.setting] == nil {
			delete(object, c.setting)
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

// way is how the pool is run with changed settings; it has no name yet.
func (s *scaler) way(q question, p pool, changes point) (way, error) {
	p, err := p.changed(changes)
	if err != nil {
		return way{}, &failure{code: exitInvalid, err: err, hint: "docs/autoscaling.md has the settings"}
	}
	checked, err := s.settings(p)
	if its := new(failure); len(changes) > 0 && errors.As(err, &its) {
		err = &failure{code: its.code, err: its.err, hint: "correct that in --set, or in Vespene"}
	}
	if err != nil {
		return way{}, err
	}
	r := columnReader{columns: p.columns}
	its := scenario{settings: checked, sleep: time.Duration(min(r.natural("sleep_seconds"), longestMinutes*60)) * time.Second,
		abort: time.Duration(min(r.natural("auto_abort_minutes"), longestMinutes)) * time.Minute,
		boot:  q.boot, maxBuilds: q.maxBuilds, maxWait: q.maxWait, perInstance: q.perInstance, billingMinimum: q.billingMinimum,
		adds: checked.executor == shell && uses(checked.command, "queued_size") && !uses(checked.command, "size")}
	switch {
	case r.err != nil:
		return way{}, &failure{code: exitInvalid, err: r.err, hint: "correct the pool's settings in Vespene"}
	case checked.planner != stock:
		return way{}, &failure{code: exitInvalid, err: fmt.Errorf("planner is %s, a program, which a simulation would have to ask at each evaluation", checked.planner),
			hint: "see what the formula would do: --set planner=stock"}
	}
	known := map[string]any{}
	steady, _ := checked.variables["autoscaling"].(map[string]any)
	for _, setting := range settable {
		if value, has := steady[setting.name]; has {
			known[setting.name] = value
		} else if !setting.steady && (setting.kind != "" || changes.has(setting.name)) {
			known[setting.name] = p.columns.get(setting.name)
		}
	}
	return way{scenario: its, settings: known}, nil
}

// uses tells whether a command has that size: in the template's tags, or in the environment.
func uses(command, size string) bool {
	tags := templateTags().FindAllString(command, -1)
	return regexp.MustCompile(`(^|[^.\w])`+size+`\b`).MatchString(strings.Join(tags, "")) ||
		regexp.MustCompile(`\bVESPENE_`+strings.ToUpper(size)+`\b`).MatchString(command)
}

var templateTags = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)\{[{%].*?[%}]\}`) })

// simulate shows what a pool's builds tell.
func (s *scaler) simulate(ctx context.Context, q question, p pool, out *results) error {
	ways, unfit, err := s.ways(q, p)
	if err != nil {
		return err
	}
	to := clock()
	from, abort := to.Add(-q.since), ways[0].scenario.abort
	builds, err := s.builds(ctx, p, from, abort)
	if err != nil {
		return err
	}
	bench := lab{load: newLoad(builds, from, to, abort), stderr: s.stream.File}
	if q.target == nil {
		builds = nil // a million is 70 MB
	}
	recorded, err := s.recorded(ctx, q, p, bench.load, ways[0].scenario.adds)
	if err != nil {
		return err
	}
	its := simulation{Pool: p.name, From: from, To: to, Builds: int64(len(bench.load.tasks)), Variants: []variant{recorded},
		Warnings: slices.Concat(bench.load.notes, q.notes(ways[len(ways)-1].scenario))}
	if its.Builds == 0 && len(bench.load.notes) == 0 {
		its.Warnings = append(its.Warnings, "no builds in the window: --since DURATION takes a longer one")
	} else if s.shared {
		its.Warnings = append(its.Warnings, "what was recorded in sizes is not known: of hosts that share pools, each knows its own evaluations only")
	} else if recorded.WorkerHours == nil && !ways[0].scenario.adds {
		its.Warnings = append(its.Warnings, "what was recorded in sizes is not known: this state file has no evaluation that scaled the pool from before the window")
	}

	results := make([]simulated, len(ways))
	if err := bench.run(ctx, scenariosOf(ways), timelineSamples, func(i int, r simulated) { results[i] = r }); err != nil {
		return err
	}
	for i, r := range results {
		if r.err != nil {
			return &failure{code: exitInvalid, err: fmt.Errorf("as %s: %w", ways[i].name, r.err), hint: "lower it in Vespene, or by --set maximum=N"}
		}
		its.Variants = append(its.Variants, bench.load.variant(ways[i].name, ways[i].settings, r))
	}
	if unfit != nil {
		its.Warnings = append(its.Warnings, "as configured, the pool cannot be simulated: "+unfit.Error())
	} else {
		its.Warnings = append(its.Warnings, unlike(recorded, its.Variants[1])...)
	}
	today := results[0]
	if len(today.waits) > 0 {
		n, r, err := bench.fewest(ctx, ways[0].scenario, today, today.asTarget(), quantile(today.waits, 0.95))
		if err != nil {
			return err
		}
		if n == 0 {
			its.Warnings = append(its.Warnings, "no fixed number of workers that was tried waits as little")
		} else {
			its.Variants = append(its.Variants, bench.load.variant(fmt.Sprintf("fixed %d", n), fixedAt(n, ways[0].settings), r))
		}
	}
	if q.sweep != nil {
		var impossible []string
		if its.Sweep, impossible, err = s.sweep(ctx, q, p, bench); err != nil {
			return err
		}
		its.Warnings = append(its.Warnings, impossible...)
	}
	if q.target != nil {
		if its.Recommendation, err = s.recommend(ctx, q, p, builds, bench, ways[len(ways)-1].scenario, today, its.Variants[1]); err != nil {
			return err
		}
		if its.Recommendation == nil {
			its.Warnings = append(its.Warnings, "no recommendation: no build was started in the first two thirds of the window; --since DURATION takes a longer one")
		}
	}
	if q.svg != "" {
		image, err := picture(its)
		if err == nil {
			err = replaceFile(q.svg, image)
		}
		if err != nil {
			return &failure{code: exitState, err: fmt.Errorf("write the picture: %w", err), hint: "name a file in a folder that this user may write to"}
		}
	}
	out.simulation(its)
	return nil
}

// way is a way to run a pool, and the settings that make it.
type way struct {
	name     string
	scenario scenario
	settings map[string]any // the settable ones
}

// ways are those that are always shown: as the pool is configured and, with --set, as it is set. unfit is why the first
// is not among them, and err why the last is not or, where a recommendation compares with it, the first.
func (s *scaler) ways(q question, p pool) (ways []way, unfit, err error) {
	configured, unfit := s.way(q, p, nil)
	if unfit == nil {
		configured.name = "configured"
		ways = append(ways, configured)
	} else if len(q.changes) == 0 || q.target != nil {
		return nil, nil, unfit
	}
	if len(q.changes) > 0 {
		set, err := s.way(q, p, q.changes)
		if err != nil {
			return nil, nil, err
		}
		set.name = "set"
		ways = append(ways, set)
	}
	return ways, unfit, nil
}

func scenariosOf(ways []way) (all []scenario) {
	for _, w := range ways {
		all = append(all, w.scenario)
	}
	return all
}

// notes say what a simulation of a pool that is run so takes for granted.
func (q question) notes(s scenario) (notes []string) {
	if uses(s.settings.command, "size") && uses(s.settings.command, "queued_size") {
		notes = append(notes, "the pool's command has both size and queued_size: simulated as one that goes by size; --set executor_command='{{ queued_size }}' simulates one that adds")
	}
	if s.adds && q.maxBuilds == 0 && q.maxWait == nil {
		notes = append(notes, "the pool's command only adds workers (queued_size), which end by --max-builds or --max-wait: without them they never do here")
	}
	if q.maxWait != nil && *q.maxWait >= time.Second {
		notes = append(notes, "Vespene's own worker takes its --max-wait-minutes=N for N/60 seconds, so that it ends at its first look after the one that found nothing: --max-wait 0 simulates that")
	}
	return notes
}

// asTarget is the target to wait no longer than this, by the 95 % wait.
func (r simulated) asTarget() target {
	its := target{quantile: 0.95, most: -1} // so that all that still wait count
	its.most, _ = its.figure(r)
	return its
}

// timelineSamples is how many parts a timeline has: as many as a picture can show.
const timelineSamples = 600

// fixedAt are the settings with which a pool has always n instances.
func fixedAt(n int64, settings map[string]any) map[string]any {
	settings = maps.Clone(settings)
	maps.DeleteFunc(settings, func(name string, _ any) bool { return isSteady(name) })
	settings["minimum"], settings["maximum"] = n, n
	return settings
}

// builds reads the pool's builds.
func (s *scaler) builds(ctx context.Context, p pool, from time.Time, abort time.Duration) ([]build, error) {
	bar := newProgress(s.stream.File, "builds read", 0)
	defer bar.done()
	read := 0
	builds, err := s.database.readBuilds(ctx, p.id, from, abort, func(n int) {
		bar.add(n - read)
		read = n
	})
	return builds, err
}

// recorded is what was, as far as the builds and the state tell.
func (s *scaler) recorded(ctx context.Context, q question, p pool, l *load, adds bool) (variant, error) {
	r := l.recorded
	v := variant{Name: "recorded", Finished: r.finished, Unfinished: r.unfinished, Dropped: r.dropped}
	v.setWaits(r.waits)
	if s.state == nil || adds || s.shared { // its sizes are no totals, or those of one host of several
		return v, nil
	}
	all, err := s.state.history(ctx, s.database.key, []string{p.name}, time.Time{}, false)
	if err != nil {
		return v, err
	}
	var previous *evaluation
	var workers, changes, atRisk, peak int64
	total, since := time.Duration(0), l.from
	for _, e := range all {
		if e.outcome.outcome != scaled || e.started.After(l.to) {
			continue
		}
		if previous == nil && e.started.After(l.from) {
			return v, nil
		}
		if e.started.After(l.from) {
			total += e.started.Sub(since) * time.Duration(workers)
			since = e.started
			if e.size != previous.size {
				changes++
			}
			if e.size < previous.size {
				atRisk += max(0, e.running-e.size*q.perInstance) - max(0, e.running-previous.size*q.perInstance)
			}
		} else {
			peak = 0
		}
		previous, workers = &e, e.size*q.perInstance
		peak = max(peak, workers)
	}
	if previous == nil {
		return v, nil
	}
	total += l.to.Sub(since) * time.Duration(workers)
	v.WorkerHours, v.SizeMean, v.SizePeak = ptr(total.Hours()), ptr(total.Hours()/l.to.Sub(l.from).Hours()), &peak
	v.Changes, v.AtRisk = &changes, &atRisk
	if total > 0 {
		v.Utilisation = ptr(float64(r.busy) / float64(total.Microseconds()))
	}
	return v, nil
}

// variant is what a simulation of the load with those settings came to.
func (l *load) variant(name string, settings map[string]any, r simulated) variant {
	window := float64(l.to.Sub(l.from).Microseconds())
	v := variant{Name: name, Settings: settings, Finished: r.finished, Unfinished: r.unfinished, Dropped: r.dropped, Estimated: r.estimated,
		WorkerHours: ptr(float64(r.billed) / perHour), SizeMean: ptr(float64(r.held) / window), SizePeak: &r.sizePeak,
		Changes: &r.changes, AtRisk: &r.atRisk, timeline: r.timeline, wait: math.Inf(1)}
	v.setWaits(r.waits)
	if v.WaitP95 != nil {
		v.wait = *v.WaitP95
	}
	if 20*len(r.unstarted) > len(r.waits) { // too many to be left out
		v.wait = max(v.wait, float64(r.asTarget().most)/perSecond)
	}
	if r.billed > 0 {
		v.Utilisation = ptr(float64(r.busy) / float64(r.billed))
	}
	return v
}

// Microseconds.
const (
	perSecond = float64(time.Second / time.Microsecond)
	perHour   = float64(time.Hour / time.Microsecond)
)

// setWaits fills in the figures of sorted waits, in microseconds.
func (v *variant) setWaits(waits []int64) {
	if len(waits) == 0 {
		return
	}
	v.WaitMedian, v.WaitP95, v.WaitMax = ptr(quantile(waits, 0.5)/perSecond), ptr(quantile(waits, 0.95)/perSecond), ptr(quantile(waits, 1)/perSecond)
}

// unlike warns where the pool as it is configured does not come to what was recorded.
func unlike(recorded, configured variant) (warnings []string) {
	number := func(f float64) string { return fmt.Sprintf("%.4g", f) }
	wait := func(f float64) string { return waited(&f).text }
	builds := func(n int64) *float64 { return ptr(float64(n)) }
	var off []string
	for _, figure := range []struct {
		name                string
		recorded, simulated *float64
		slack               float64 // nobody minds
		text                func(float64) string
	}{
		{"worker-hours", recorded.WorkerHours, configured.WorkerHours, 0, number},
		{"median wait", recorded.WaitMedian, configured.WaitMedian, 1, wait},
		{"95 % wait", recorded.WaitP95, configured.WaitP95, 1, wait},
		{"longest wait", recorded.WaitMax, configured.WaitMax, 1, wait},
		{"builds finished", builds(recorded.Finished), builds(configured.Finished), 0, number},
		{"dropped", builds(recorded.Dropped), builds(configured.Dropped), 0, number},
		{"unfinished", builds(recorded.Unfinished), builds(configured.Unfinished), 0, number},
		{"mean size", recorded.SizeMean, configured.SizeMean, 0, number},
	} {
		if figure.recorded == nil || figure.simulated == nil {
			continue
		}
		if by := math.Abs(*figure.simulated - *figure.recorded); by > figure.slack && by > *figure.recorded*0.2 {
			off = append(off, fmt.Sprintf("%s %s for %s", figure.name, figure.text(*figure.simulated), figure.text(*figure.recorded)))
		}
	}
	if off == nil {
		return nil
	}
	return []string{"as configured is more than 20 % off what was recorded: " + strings.Join(off, ", ") +
		"; trust the differences between simulated columns more than their values (docs/simulation.md, Limits)"}
}

// lab runs scenarios over one load.
type lab struct {
	load   *load
	stderr io.Writer // for its progress
}

// run simulates the scenarios, as many at the same time as there are processors, and gives each result to take, one at a
// time. The error is why the context ended, and with it the run.
func (l lab) run(ctx context.Context, scenarios []scenario, samples int, take func(i int, r simulated)) error {
	bar := newProgress(l.stderr, "simulated", len(scenarios))
	defer bar.done()
	var all sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range min(runtime.GOMAXPROCS(0), len(scenarios)) {
		all.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(scenarios) {
					return
				}
				r := l.load.simulate(ctx, scenarios[i], samples)
				r.fates = nil
				mu.Lock()
				take(i, r)
				mu.Unlock()
				bar.add(1)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// fewest is the least fixed number of instances that meets a target, and what comes of it; 0 if none does. The figure that
// is shown is not above shown, either. It is found by taking ever smaller ranges. like is what came of the scenario as it is.
func (l lab) fewest(ctx context.Context, s scenario, like simulated, t target, shown float64) (n int64, best simulated, err error) {
	s.adds, s.hopeless = false, &t
	most := 16 * (like.sizePeak/s.perInstance + 1) // more than a load of that peak has use for
	low, high := int64(0), most+1                  // too few, and enough
	// Staffing by the square root: where the answer mostly is.
	busy := float64(like.busy) / float64(s.perInstance*l.load.to.Sub(l.load.from).Microseconds())
	probes := []int64{int64(busy + math.Sqrt(busy)), int64(busy + 2*math.Sqrt(busy))}
	for high-low > 1 {
		probes = slices.DeleteFunc(probes, func(n int64) bool { return n <= low || n >= high })
		if len(probes) == 0 && high > most && 2*low < most {
			probes = []int64{2*low + 1}
		} else if len(probes) == 0 {
			parts := min(int64(runtime.GOMAXPROCS(0))+1, high-low)
			for i := range parts - 1 {
				probes = append(probes, low+(high-low)*(i+1)/parts)
			}
		}
		probes = slices.Compact(probes)
		scenarios, results := make([]scenario, len(probes)), make([]simulated, len(probes))
		for i := range scenarios {
			scenarios[i] = s
			scenarios[i].fixed = &probes[i]
		}
		if err := l.run(ctx, scenarios, 0, func(i int, r simulated) { results[i] = r }); err != nil {
			return 0, best, err
		}
		for i, r := range results {
			if wait, ok := t.figure(r); r.err == nil && ok && wait <= t.most && quantile(r.waits, t.quantile) <= shown {
				high, best = probes[i], r
				break
			}
			low = probes[i]
		}
		probes = nil
	}
	if high > most {
		high = 0
	}
	return high, best, nil
}

// sweep is what comes of all combinations of the settings that are swept, those that nothing beats marked. impossible are
// such as cannot be simulated, and why.
func (s *scaler) sweep(ctx context.Context, q question, p pool, l lab) (all []variant, impossible []string, err error) {
	var ways []way
	for _, at := range points(nil, q.sweep) {
		its, err := s.way(q, p, q.changes.with(at...))
		if err != nil {
			impossible = append(impossible, fmt.Sprintf("not simulated: %s: %v", at, err))
			continue
		}
		its.name = at.String()
		maps.DeleteFunc(its.settings, func(name string, _ any) bool { return !at.has(name) })
		ways = append(ways, its)
	}
	all = make([]variant, len(ways))
	err = l.run(ctx, scenariosOf(ways), 0, func(i int, r simulated) {
		if r.err != nil {
			impossible = append(impossible, fmt.Sprintf("not simulated: %s: %v", ways[i].name, r.err))
			return
		}
		all[i] = l.load.variant(ways[i].name, ways[i].settings, r)
	})
	if err != nil {
		return nil, nil, err
	}
	all = slices.DeleteFunc(all, func(v variant) bool { return v.WorkerHours == nil })
	slices.Sort(impossible)
	for i := range all {
		all[i].Unbeaten = ptr(!slices.ContainsFunc(all, func(other variant) bool { return other.beats(all[i]) }))
	}
	if len(impossible) > mostImpossible {
		more := len(impossible) - mostImpossible
		impossible = append(impossible[:mostImpossible], fmt.Sprintf("and %d more of the sweep not simulated", more))
	}
	return all, impossible, nil
}

// mostImpossible is how many reasons are still read.
const mostImpossible = 3

// beats tells whether the variant waits less than another, by its 95 %, or costs less, and neither is more.
func (v variant) beats(other variant) bool {
	cost, otherCost := *v.WorkerHours, *other.WorkerHours
	return v.wait <= other.wait && cost <= otherCost && (v.wait < other.wait || cost < otherCost)
}

// trial is settings that were tried, and what they came to over the first two thirds of a window.
type trial struct {
	point
	way
	searched variant // what it came to
	cost     int64   // microseconds of workers
	wait     int64   // the target's figure
	mean     float64 // wait
}

// compare says which of two trials comes first: of those that meet the target the cheaper, else that which waits less.
func (t target) compare(a, b trial) int {
	if isMet := a.wait <= t.most; isMet && b.wait <= t.most {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.wait, b.wait), cmp.Compare(len(a.point), len(b.point)))
	} else if isMet {
		return -1
	}
	return cmp.Or(cmp.Compare(a.wait, b.wait), cmp.Compare(a.mean, b.mean), cmp.Compare(a.cost, b.cost), cmp.Compare(len(a.point), len(b.point)))
}

// try has the points simulated that were not yet, and puts the trials of all into order. What is impossible is no choice.
func (s *scaler) try(ctx context.Context, q question, p pool, l lab, trials []trial, all []point) ([]trial, error) {
	tried := map[string]bool{}
	for _, t := range trials {
		tried[fmt.Sprint(t.settings)] = true
	}
	var ways []way
	first := len(trials)
	for _, at := range all {
		its, err := s.way(q, p, at)
		if key := fmt.Sprint(its.settings); err == nil && !tried[key] {
			tried[key] = true
			ways, trials = append(ways, its), append(trials, trial{point: at, way: its, wait: math.MaxInt64})
		}
	}
	err := l.run(ctx, scenariosOf(ways), 0, func(i int, r simulated) {
		its := &trials[first+i]
		its.cost, its.searched = r.billed, l.load.variant("then", its.settings, r)
		if wait, ok := q.target.figure(r); ok && r.err == nil {
			its.wait = wait
			for _, wait := range r.compared {
				its.mean += float64(wait) / float64(len(r.compared))
			}
		}
	})
	slices.SortStableFunc(trials, q.target.compare)
	return trials, err
}

// search tries settings until none of those near the best ones is better; the best comes first.
func (s *scaler) search(ctx context.Context, q question, p pool, l lab, peak int64) (trials []trial, err error) {
	if q.sweep != nil {
		return s.try(ctx, q, p, l, nil, points(q.changes, q.sweep))
	}
	near := nearby(peak)
	trials, err = s.try(ctx, q, p, l, nil, append([]point{q.changes}, points(q.changes, near[:3])...))
	for improved := true; improved && err == nil; {
		best := trials[0]
		var all []point
		for _, list := range near {
			all = append(all, points(best.point, [][]change{list})...)
		}
		trials, err = s.try(ctx, q, p, l, trials, all)
		improved = q.target.compare(trials[0], best) < 0
	}
	return trials, err
}

// recommend looks for the settings with the fewest worker-hours that meet the target over the first two thirds of the
// window and, unseen by the search, over its last third. today is what came of the pool as it is configured, and base the
// scenario that the search begins with. With no build to tell it recommends nothing.
func (s *scaler) recommend(ctx context.Context, q question, p pool, builds []build, whole lab, base scenario, configured simulated, today variant) (*recommendation, error) {
	l := whole.load
	middle := l.from.Add(l.to.Sub(l.from) * 2 / 3)
	first, last := lab{newLoad(builds, l.from, middle, l.tooOld), whole.stderr}, lab{newLoad(builds, middle, l.to, l.tooOld), whole.stderr}
	builds = nil
	// How many it would take that are always there tells how far to look, too.
	enough, always, err := whole.fewest(ctx, base, configured, *q.target, math.Inf(1))
	if err != nil {
		return nil, err
	}
	trials, err := s.search(ctx, q, p, first, max(1, enough, configured.sizePeak/q.perInstance))
	if err != nil {
		return nil, err
	}
	if len(trials) == 0 {
		return nil, &failure{code: exitInvalid, err: errors.New("none of the settings that --sweep names is possible"), hint: "sweep others"}
	}
	if trials[0].wait == math.MaxInt64 {
		return nil, nil
	}
	its := &recommendation{Target: q.target.text, Tried: int64(len(trials)), Today: today, Settings: map[string]any{}}
	its.Today.timeline = nil
	chosen, nearest := trials[0], int64(math.MaxInt64)
	for i, t := range trials {
		hopes := t.wait <= q.target.most
		if !hopes && i > 0 {
			break
		}
		var wait int64
		var ok bool
		var verified variant
		err := last.run(ctx, []scenario{t.scenario}, 0, func(_ int, r simulated) {
			wait, ok = q.target.figure(r)
			verified = last.load.variant("then", t.settings, r)
		})
		if err != nil {
			return nil, err
		}
		its.Met = hopes && wait <= q.target.most
		if its.Met || !hopes || wait < nearest {
			chosen, nearest, its.Verified = t, wait, verified
		}
		if its.Met {
			its.Unverified = !ok
			break
		}
		if hopes {
			its.Failed++
		}
	}
	if !its.Met && enough > 0 {
		its.Always, its.AlwaysHours = &enough, ptr(float64(always.billed)/perHour)
	}
	for _, names := range []map[string]any{chosen.settings, today.Settings} {
		for name := range names {
			if value := chosen.settings[name]; fmt.Sprint(value) != fmt.Sprint(today.Settings[name]) {
				its.Settings[name] = value
			}
		}
	}
	its.Searched = chosen.searched
	err = whole.run(ctx, []scenario{chosen.scenario}, 0, func(_ int, r simulated) { its.Then = l.variant("then", chosen.settings, r) })
	its.Why = its.why(*q.target, chosen.scenario.sleep)
	return its, err
}

// nearby are the values that a recommendation tries, of a pool that has use for so many instances; the first three settings
// are tried in all combinations.
func nearby(peak int64) (lists [][]change) {
	for _, its := range []struct {
		setting string
		values  []any
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
		var list []change
		for _, value := range its.values {
			list = append(list, change{its.setting, fmt.Sprint(value)})
		}
		lists = append(lists, list)
	}
	return lists
}

// load is what a pool had to do in a window: its builds, the same for every scenario.
type load struct {
	from, to time.Time     // the window
	tooOld   time.Duration // what had waited for longer when the window began was gone
	tasks    []task        // by id
	dead     []int64       // when builds began that count as running for good: microseconds since from, below 0
	recorded simulated     // what was, as far as the builds tell: no fates, nothing of workers
	notes    []string      // what was odd about the builds, for people

	once     sync.Once         // for what is made of the tasks:
	arrivals []int32           // those that arrive by themselves, by arrival and id
	children map[int32][]int32 // those that follow one
	projects int32             // the highest number
}

// task is a build as the model has it. Its times are microseconds since the window began.
type task struct {
	id        int64
	project   int32 // numbered from 1 on; 0: none
	parent    int32 // the task that it follows; -1: none
	arrival   int64 // when it is queued; of one with a parent, how long after the parent's end
	started   int64 // when it was started, of one that ran when the window began; else never
	duration  int64
	timeout   int64 // of its project
	estimated bool  // its duration is
	untaken   bool  // no worker ever takes it: it has no project, or
	timeless  bool  // it has no queued_time: it is queued from the beginning on
}

// isOverdue tells whether the task's build, running for so long, has lost its worker: a live one is ended by then.
func (t task) isOverdue(running int64) bool { return running > t.timeout+overdueAfter }

// scenario is a way to run a pool.
type scenario struct {
	settings       settings
	sleep          time.Duration // between looks of an idle worker
	abort          time.Duration // a build that is queued for longer is not taken
	boot           time.Duration
	maxBuilds      int64          // after which a worker ends; 0: any number
	maxWait        *time.Duration // for which a worker waits in vain before it ends; nil: for ever
	perInstance    int64          // workers on an instance
	billingMinimum time.Duration
	adds           bool    // each evaluation adds queued_size instances
	fixed          *int64  // there are always so many instances, whatever the settings say
	hopeless       *target // which the simulation ends early for, as soon as it is sure to be missed
}

// What becomes of a task.
const (
	unarrived = iota
	waiting
	taken
	finished
	dropped
)

// fate is what becomes of a task in a simulation. Its times are in microseconds since the window began.
type fate struct {
	arrival, start int64
	worker         int32 // that took it
	status         int8
	stale          bool // while it waits: as the planner's staleQueued counts it
}

// simulated is what came of a scenario. Its times are in microseconds.
type simulated struct {
	fates                []fate  // of the load's tasks
	waits                []int64 // of those that were started and finished within the window, in order
	unstarted            []int64 // how long those had waited by the end, since the window began, that were still to be taken
	compared             []int64 // waits since the window began of those that were started in it, finished or not, or orphaned
	billed, held, busy   int64   // time that workers were billed, were there, and had builds
	finished, unfinished int64   // builds; with dropped, all
	dropped, orphaned    int64   // orphaned ones are among the dropped
	estimated            int64
	sizePeak             int64 // workers
	changes              int64 // of size
	atRisk               int64 // busy workers above a smaller size
	timeline             []sample
	err                  error // it could not be simulated to its end
}

// sample is the most that there was in a part of the window.
type sample struct{ queued, running, size int64 }

// newLoad makes of a pool's builds, by id, what it had to do from then to then. One that had waited for longer than abort
// when the window began had gone by then, unless it is QUEUED still.
func newLoad(builds []build, from, to time.Time, abort time.Duration) *load {
	r := reader{load: &load{from: from, to: to, tooOld: abort}, begin: from.UnixMicro(), end: to.UnixMicro(),
		durations: map[int32][]int64{}, numbers: map[int64]int32{}, resumed: map[int64]bool{}}
	n := 0
	for _, b := range builds {
		if b.queued < r.end && (b.queued >= r.begin || b.ended >= r.begin) {
			n++
		}
	}
	r.tasks, r.origins = make([]task, 0, n), make([]origin, 0, n)
	for _, b := range builds {
		r.read(b)
	}
	if len(r.durations) == 0 {
		r.leaveOut()
	}
	for _, its := range r.origins {
		switch its.status {
		case finished:
			r.recorded.finished++
		case dropped:
			r.recorded.dropped++
		default:
			r.recorded.unfinished++
		}
	}
	r.estimate()
	r.follow()
	r.note()
	slices.Sort(r.recorded.waits)
	return r.load
}

// reader makes a load of builds.
type reader struct {
	*load
	begin, end int64             // of the window, in microseconds since 1970
	origins    []origin          // of the tasks
	durations  map[int32][]int64 // those that are known, of each project's builds
	numbers    map[int64]int32   // of the projects
	resumed    map[int64]bool    // projects of which a build waited when the window began, and was taken in it

	timeless, future, unfit, reversed, endless, early, projectless, impatient, unknowable int64 // builds that are odd
}

// origin is what a task's build has recorded: the build that started it, its end, never where that is not known, and how
// long it has run for sure.
type origin struct {
	parent, end, soFar int64
	status             int8 // what had become of it when the window ended: finished, dropped, or waiting for anything else
}

// read makes a task of a build, if it is of the window.
func (r *reader) read(b build) {
	isQueued, isRunning, ran := b.status == "QUEUED", b.status == "RUNNING" && b.ended == never, b.started != never
	t := task{id: b.id, parent: -1, arrival: b.queued - r.begin, started: never, duration: never, timeout: (time.Duration(b.timeout) * time.Minute).Microseconds()}
	isOverdue := func(now int64) bool { return isRunning && ran && t.isOverdue(now-b.started) }
	switch {
	case b.queued == never && isQueued:
		t.arrival, t.timeless, t.untaken = 0, true, true
		r.timeless++
	case b.queued == never:
		r.timeless++
		return
	case b.queued >= r.end:
		if b.queued > r.end+ahead {
			r.future++
		}
		return
	case !ran && (b.status == "BLOCKED" || b.status == "UNKNOWN"):
		r.unfit++
		return
	case b.queued >= r.begin || isQueued && !ran:
	case ran && b.started >= r.begin:
		r.resumed[b.project] = true
	case isOverdue(r.begin):
		r.dead = append(r.dead, b.started-r.begin)
		return
	case ran && (isRunning || b.ended > r.begin):
		t.started = b.started - r.begin
	case !ran && (b.ended > r.begin || b.status == "ORPHANED" && r.begin-b.queued <= r.tooOld.Microseconds() || b.project != 0 && r.resumed[b.project]):
	default:
		return // it was over when the window began
	}
	switch number, seen := r.numbers[b.project]; {
	case b.project == 0 && isQueued && !ran:
		t.untaken = true
		r.projectless++
	case seen:
		t.project = number
	default: // one without a project had one of its own
		t.project = int32(len(r.numbers)) + 1
		r.numbers[cmp.Or(b.project, -b.id)] = t.project
	}
	its := origin{parent: b.parent, end: never, status: waiting}
	switch {
	case ran && b.ended >= b.started:
		t.duration, its.end = b.ended-b.started, b.ended
		r.durations[t.project] = append(r.durations[t.project], t.duration)
	case ran && b.ended != never:
		r.reversed++
	case ran && !isRunning:
		r.endless++
	case isOverdue(r.end): // its worker died in the window
		its.soFar = max(0, r.begin-b.started)
	case ran:
		its.soFar = r.end - b.started
	}
	until := its.end
	if isRunning && ran && !isOverdue(r.end) {
		until = r.end
	}
	if until != never {
		r.recorded.busy += max(0, min(until, r.end)-max(b.started, r.begin))
	}
	switch {
	case its.end != never && its.end <= r.end:
		its.status = finished
		if b.started >= r.begin && b.started >= b.queued {
			r.recorded.waits = append(r.recorded.waits, b.started-b.queued)
		}
	case ran && its.end == never && !isRunning: // it ended, if nobody knows when
		its.status = finished
	case !ran && !isQueued:
		its.status = dropped
	}
	if ran && b.started < b.queued {
		r.early++
	}
	r.tasks, r.origins = append(r.tasks, t), append(r.origins, its)
}

// ahead is how much clocks may differ, in microseconds, without a word.
const ahead = int64(time.Minute / time.Microsecond)

// leaveOut leaves out the tasks of which nobody can tell how long they take, where no build is known to have ended.
func (r *reader) leaveOut() {
	tasks, origins := r.tasks, r.origins
	r.tasks, r.origins = nil, nil
	for i, t := range tasks {
		if t.untaken || origins[i].soFar > 0 {
			r.tasks, r.origins = append(r.tasks, t), append(r.origins, origins[i])
		} else {
			r.unknowable++
		}
	}
}

// estimate gives the tasks a duration that have none: their project's median or else the pool's.
func (r *reader) estimate() {
	medians := map[int32]int64{}
	typical := sync.OnceValue(func() int64 {
		all := make([]int64, 0, len(r.tasks))
		for _, durations := range r.durations {
			all = append(all, durations...)
		}
		return median(all)
	})
	for i := range r.tasks {
		t := &r.tasks[i]
		if t.duration != never {
			continue
		}
		duration, known := medians[t.project]
		if !known {
			if durations := r.durations[t.project]; len(durations) > 0 {
				duration = median(durations)
			} else {
				duration = typical()
			}
			medians[t.project] = duration
		}
		t.duration, t.estimated = max(duration, r.origins[i].soFar), true
	}
}

// follow finds the tasks that others started.
func (r *reader) follow() {
	for i := range r.tasks {
		t := &r.tasks[i]
		if r.origins[i].parent == 0 {
			continue
		}
		parent, there := slices.BinarySearchFunc(r.tasks[:i], r.origins[i].parent, func(t task, id int64) int { return cmp.Compare(t.id, id) })
		if !there || t.started != never || t.timeless || t.arrival < 0 || r.origins[parent].end == never {
			continue
		}
		if gap := t.arrival + r.begin - r.origins[parent].end; gap >= 0 {
			t.parent, t.arrival = int32(parent), gap
		} else {
			r.impatient++
		}
	}
}

// note says what was odd.
func (r *reader) note() {
	for _, odd := range []struct {
		n    int64
		what string
	}{
		{r.timeless, "without a queued_time: left out, or where QUEUED counted and never taken"},
		{r.future, "queued after the window's end, so that clocks differ or went back: left out"},
		{r.unfit, "BLOCKED or UNKNOWN that never ran: left out"},
		{r.reversed, "with an end before the start, so that clocks differ or went back: taken to last as long as the median of the project"},
		{r.endless, "with a start and no end that does not run any more: taken to last as long as the median of the project"},
		{r.early, "started before being queued, so that clocks differ or went back: not in the recorded waits"},
		{r.impatient, "queued before the end of the build that started them in a pipeline: taken to arrive by their own time"},
		{r.unknowable, "of unknown duration, and none of the pool ended that would tell how long they take: left out"},
		{r.projectless, "QUEUED without a project, on which workers stall: counted, and never taken; to be deleted or aborted in Vespene"},
		{int64(len(r.dead)), "RUNNING since before the window, for longer than the project's timeout: counted, and without a worker; to be aborted in Vespene"},
	} {
		if odd.n > 0 {
			r.notes = append(r.notes, count(odd.n, "build")+" "+odd.what)
		}
	}
}

// overdueAfter is how much longer than its project's timeout a live build may run, in microseconds.
const overdueAfter = int64(5 * time.Minute / time.Microsecond)

// median sorts the values; of none it is 0.
func median(values []int64) int64 {
	slices.Sort(values)
	return int64(math.Round(quantile(values, 0.5)))
}

// quantile returns the q-quantile of sorted values, interpolated as PostgreSQL's percentile_cont does; of none it is 0.
func quantile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	below, above := float64(sorted[int(at)]), float64(sorted[int(math.Ceil(at))])
	return below + (above-below)*(at-math.Floor(at))
}

// prepare makes of the tasks what every simulation needs.
func (l *load) prepare() {
	l.children = map[int32][]int32{}
	for i, t := range l.tasks {
		l.projects = max(l.projects, t.project)
		if t.parent >= 0 {
			l.children[t.parent] = append(l.children[t.parent], int32(i))
		} else if t.started == never {
			l.arrivals = append(l.arrivals, int32(i))
		}
	}
	slices.SortStableFunc(l.arrivals, func(a, b int32) int { return cmp.Compare(l.tasks[a].arrival, l.tasks[b].arrival) })
}

// event is when something happens to the one with that number.
type event struct {
	at     int64
	number int32
}

func (e event) compare(other event) int {
	if e.at == other.at {
		return cmp.Compare(e.number, other.number)
	}
	return cmp.Compare(e.at, other.at)
}

// heap has the least of its items first.
type heap[T any] struct {
	items   []T
	compare func(a, b T) int
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	i := len(h.items) - 1
	for ; i > 0; i = (i - 1) / 2 {
		above := h.items[(i-1)/2]
		if h.compare(above, item) <= 0 {
			break
		}
		h.items[i] = above
	}
	h.items[i] = item
}

func (h *heap[T]) pop() T {
	first, end := h.items[0], len(h.items)-1
	item := h.items[end]
	h.items = h.items[:end]
	i := 0
	for below := 1; below < end; below = 2*i + 1 {
		if below+1 < end && h.compare(h.items[below+1], h.items[below]) < 0 {
			below++
		}
		if h.compare(item, h.items[below]) <= 0 {
			break
		}
		h.items[i] = h.items[below]
		i = below
	}
	if end > 0 {
		h.items[i] = item
	}
	return first
}

// instance is a machine with workers: number × perInstance and those that follow.
type instance struct {
	requested int64
	busy      int64 // workers
	left      int64 // workers that have not ended; 0: nor is there the instance any more
}

type worker struct {
	task  int32 // that it has; -1: none
	taken int64 // tasks that it has or had
	idle  int64 // since when; never: it is not ready, busy, or has ended
}

// crowd is waiting tasks, and their projects.
type crowd struct {
	tasks, projects int64
	of              []int32 // tasks of each project
}

func (c *crowd) add(project int32, n int32) {
	before := c.of[project]
	c.of[project] += n
	c.tasks += int64(n)
	if before == 0 {
		c.projects++
	} else if before+n == 0 {
		c.projects--
	}
}

// replay is a simulation that goes on.
type replay struct {
	*load
	scenario
	simulated
	now, end int64

	arrived       int         // of load.arrivals
	later         heap[event] // tasks whose parents have ended, by arrival
	queue         heap[int32] // takeable tasks, and such as were dropped
	takeable      int64       // tasks that wait and that a worker would take or drop
	queued, fresh crowd       // the tasks that wait, and those of them that are not stale
	ageing        []int32     // tasks by arrival; what comes before aged is stale or does not wait any more
	aged          int
	orphans       []int32   // tasks that the next look drops
	siblings      [][]int32 // of each project, tasks that wait, and such as do not any more

	running   heap[event] // workers by the end of their tasks
	instances []instance
	workers   []worker
	alive     []int32 // instances that have not ended
	present   int64   // workers that have not
	booting   []event // instances by when they are ready
	idle      []event // workers by when they look, in each interval of sleep
	patience  []event // workers by since when they were idle, and such as are not any more

	next     int64   // evaluation
	most     int64   // instances that the size leaves room for
	previous *int64  // size
	planned  []plans // those that scale_down_minutes looks back to, each larger than the next
	late     int64   // finished tasks that missed the target
	drawn    int     // parts of the timeline
	last     sample
}

// plans is the size that was planned at that time, before what looks back.
type plans struct{ at, size int64 }

// micro is a duration in microseconds, of which there is one at least.
func micro(d time.Duration) int64 { return max(1, d.Microseconds()) }

// simulate runs the scenario over the load, unless the context ends; samples is how many parts its timeline has.
func (l *load) simulate(ctx context.Context, s scenario, samples int) simulated {
	l.once.Do(l.prepare)
	r := &replay{load: l, scenario: s, end: l.to.Sub(l.from).Microseconds(), most: math.MaxInt64}
	r.fates = make([]fate, len(l.tasks))
	if samples > 0 {
		r.timeline = make([]sample, samples)
	}
	r.queued.of, r.fresh.of, r.siblings = make([]int32, l.projects+1), make([]int32, l.projects+1), make([][]int32, l.projects+1)
	r.later.compare, r.running.compare, r.queue.compare = event.compare, event.compare, cmp.Compare[int32]
	r.begin()
	enough, steps := int64(math.MaxInt64), 0
	if s.hopeless != nil {
		enough = int64(float64(len(l.tasks))*(1-s.hopeless.quantile)) + 2
	}
	for r.now = r.nextMoment(); r.now < r.end && r.err == nil; r.now = r.nextMoment() {
		if r.late >= enough {
			r.err = errHopeless
			return r.simulated
		}
		if steps++; steps%(1<<14) == 0 && ctx.Err() != nil {
			r.err = context.Cause(ctx)
			return r.simulated
		}
		r.endTasks()
		r.arrive()
		r.evaluate()
		r.getReady()
		r.look()
		r.giveUp()
		r.draw()
	}
	r.now = r.end
	r.endTasks()
	r.draw()
	r.sum()
	return r.simulated
}

// errHopeless is that a simulation ended early, since it was sure to miss a target.
var errHopeless = errors.New("misses the target")

// begin starts what runs when the window begins, and what is there always.
func (r *replay) begin() {
	var tasks []int32
	for i, t := range r.tasks {
		if t.started != never {
			tasks = append(tasks, int32(i))
		}
	}
	n := (int64(len(tasks)) + r.perInstance - 1) / r.perInstance
	if r.fixed != nil {
		n = max(n, *r.fixed)
	}
	r.ask(n)
	r.booting = nil
	for w := range r.workers {
		if w >= len(tasks) {
			r.rest(int32(w))
			continue
		}
		t := r.tasks[tasks[w]]
		r.fates[tasks[w]] = fate{arrival: t.arrival, start: t.started, worker: int32(w), status: taken}
		r.work(int32(w), tasks[w])
	}
}

// nextMoment is when something happens next: now, if it is of now.
func (r *replay) nextMoment() int64 {
	at := r.next
	if r.arrived < len(r.arrivals) {
		at = min(at, r.tasks[r.arrivals[r.arrived]].arrival)
	}
	for _, coming := range [][]event{r.later.items, r.running.items, r.booting} {
		if len(coming) > 0 {
			at = min(at, coming[0].at)
		}
	}
	if first := r.impatient(); first != nil {
		at = min(at, first.at+r.patienceOf())
	}
	if r.takeable > 0 && len(r.idle) > 0 {
		every := micro(r.sleep)
		phase := r.now % every
		look := r.idle[0].at + every // of the next interval
		if i := r.lookers(phase); i < len(r.idle) {
			look = r.idle[i].at
		}
		at = min(at, r.now+look-phase)
	}
	return max(at, r.now)
}

// lookers is where in idle those begin that look at that phase or later.
func (r *replay) lookers(phase int64) int {
	i, _ := slices.BinarySearchFunc(r.idle, event{phase, -1}, event.compare)
	return i
}

// endTasks ends the tasks that end now and, where there are more instances than the size, those that it makes idle.
func (r *replay) endTasks() {
	some := false
	for ; len(r.running.items) > 0 && r.running.items[0].at <= r.now; some = true {
		number := r.running.pop().number
		w := &r.workers[number]
		its := &r.fates[w.task]
		its.status = finished
		if r.hopeless != nil && its.start-max(0, its.arrival) > r.hopeless.most && its.start >= 0 {
			r.late++
		}
		for _, child := range r.children[w.task] {
			r.later.push(event{r.now + r.tasks[child].arrival, child})
		}
		w.task = -1
		r.instances[int64(number)/r.perInstance].busy--
		if r.maxBuilds > 0 && w.taken >= r.maxBuilds {
			r.endWorker(number)
		} else {
			r.rest(number)
		}
	}
	if some {
		r.shrink()
	}
}

func (r *replay) arrive() {
	for ; r.arrived < len(r.arrivals) && r.tasks[r.arrivals[r.arrived]].arrival <= r.now; r.arrived++ {
		r.enter(r.arrivals[r.arrived], r.tasks[r.arrivals[r.arrived]].arrival)
	}
	for len(r.later.items) > 0 && r.later.items[0].at <= r.now {
		r.enter(r.later.pop().number, r.now)
	}
}

// enter queues a task that arrived then.
func (r *replay) enter(number int32, arrival int64) {
	t := r.tasks[number]
	r.fates[number] = fate{arrival: arrival, status: waiting, stale: t.untaken}
	r.queued.add(t.project, 1)
	if !t.untaken {
		r.fresh.add(t.project, 1)
		r.takeable++
		r.queue.push(number)
		r.ageing = append(r.ageing, number)
	}
	if r.settings.buildLatest && t.project > 0 {
		r.siblings[t.project] = append(r.siblings[t.project], number)
	}
}

// exit takes a task out of the queue, to become that.
func (r *replay) exit(number int32, status int8) {
	t, f := r.tasks[number], &r.fates[number]
	r.queued.add(t.project, -1)
	if !f.stale {
		r.fresh.add(t.project, -1)
	}
	if !t.untaken {
		r.takeable--
	}
	f.status, f.stale = status, false
}

// drop takes a task out of the queue that nobody takes any more, and all that would have followed it.
func (r *replay) drop(number int32) {
	r.exit(number, dropped)
	for following := r.children[number]; len(following) > 0; following = following[1:] {
		r.fates[following[0]].status = dropped
		following = append(slices.Clip(following), r.children[following[0]]...)
	}
}

// age makes stale what has waited for too long.
func (r *replay) age() {
	for ; r.aged < len(r.ageing); r.aged++ {
		number := r.ageing[r.aged]
		f := &r.fates[number]
		if r.now-f.arrival <= r.abort.Microseconds() {
			return
		}
		if f.status == waiting {
			f.stale = true
			r.fresh.add(r.tasks[number].project, -1)
			r.orphans = append(r.orphans, number)
		}
	}
}

// evaluate plans the size when it is time to, and asks for what the pool has below it or ends what it has above.
func (r *replay) evaluate() {
	if r.now < r.next {
		return
	}
	r.next = r.now + max(r.settings.reevaluate, time.Minute).Microseconds()
	size, queuedSize := r.plan()
	n := queuedSize
	if r.adds {
		if n > 0 {
			r.changes++
		}
	} else {
		if r.previous != nil && size != *r.previous {
			r.changes++
			r.atRisk += max(0, r.above(size)-r.above(*r.previous))
		}
		r.previous, r.most = &size, size
		n = size - int64(len(r.alive))
	}
	if n > (mostWorkers-int64(len(r.workers)))/r.perInstance {
		r.err = fmt.Errorf("it would start more than %d workers: lower the maximum", mostWorkers)
		return
	}
	r.ask(n)
	r.shrink()
	r.sizePeak = max(r.sizePeak, r.present)
}

// mostWorkers is how many a simulation starts at most, all in all.
const mostWorkers = 1_000_000

// plan is what the planner says now: instances to have, or to add.
func (r *replay) plan() (size, queuedSize int64) {
	if r.fixed != nil {
		return *r.fixed, 0
	}
	r.age()
	p := pool{queuedBuilds: r.queued.tasks, queuedProjects: r.queued.projects, running: int64(len(r.running.items) + len(r.dead)),
		staleQueued: r.queued.tasks - r.fresh.tasks, freshProjects: r.fresh.projects}
	p.overdue.count = int64(len(r.dead))
	for _, end := range r.running.items {
		task := r.workers[end.number].task
		if r.tasks[task].isOverdue(r.now - r.fates[task].start) {
			p.overdue.count++
		}
	}
	planned := newPlan(p, r.settings, r.from.Add(time.Duration(r.now)*time.Microsecond))
	for len(r.planned) > 0 && r.planned[0].at < r.now-r.settings.steady.scaleDown.Microseconds() {
		r.planned = r.planned[1:]
	}
	var largest *int64
	if len(r.planned) > 0 {
		largest = &r.planned[0].size
	}
	stabilized := planned.stabilized(r.previous, largest)
	for len(r.planned) > 0 && r.planned[len(r.planned)-1].size <= stabilized.planned {
		r.planned = r.planned[:len(r.planned)-1]
	}
	r.planned = append(r.planned, plans{r.now, stabilized.planned})
	return stabilized.size, stabilized.queuedSize
}

// above is how many workers are busy on the instances that a size has no room for, those with the fewest of them.
func (r *replay) above(size int64) (workers int64) {
	excess := int64(len(r.alive)) - size
	if excess <= 0 {
		return 0
	}
	busy := make([]int64, len(r.alive))
	for i, number := range r.alive {
		busy[i] = r.instances[number].busy
	}
	slices.Sort(busy)
	for _, n := range busy[:excess] {
		workers += n
	}
	return workers
}

// ask asks for n more instances, where n is above 0.
func (r *replay) ask(n int64) {
	for ; n > 0; n-- {
		number := int32(len(r.instances))
		r.instances = append(r.instances, instance{requested: r.now, left: r.perInstance})
		r.alive = append(r.alive, number)
		r.booting = append(r.booting, event{r.now + r.boot.Microseconds(), number})
		r.present += r.perInstance
		for range r.perInstance {
			r.workers = append(r.workers, worker{task: -1, idle: never})
		}
	}
}

// shrink ends instances without a busy worker, the newest first, while there are more than the size.
func (r *replay) shrink() {
	for i := len(r.alive) - 1; i >= 0 && int64(len(r.alive)) > r.most; i-- {
		if its := r.instances[r.alive[i]]; its.busy == 0 {
			first := int64(r.alive[i]) * r.perInstance
			for w := first; w < first+r.perInstance; w++ {
				r.stopIdling(int32(w))
			}
			r.endInstance(i)
		}
	}
}

// endInstance ends the instance at that place of those that are alive, and its workers that have not ended.
func (r *replay) endInstance(place int) {
	its := &r.instances[r.alive[place]]
	r.bill(*its)
	r.present -= its.left
	its.left = 0
	r.alive = slices.Delete(r.alive, place, place+1)
}

// bill reckons an instance up that ends, and its workers that end with it.
func (r *replay) bill(its instance) {
	r.held += its.left * (r.now - its.requested)
	r.billed += r.perInstance * max(r.now-its.requested, r.billingMinimum.Microseconds())
}

// endWorker ends a worker that is not busy, and with the last its instance.
func (r *replay) endWorker(number int32) {
	r.stopIdling(number)
	its := int32(int64(number) / r.perInstance)
	r.present--
	r.held += r.now - r.instances[its].requested
	if r.instances[its].left--; r.instances[its].left == 0 {
		place, _ := slices.BinarySearch(r.alive, its)
		r.endInstance(place)
	}
}

// getReady lets the workers of instances look for work whose boot has ended.
func (r *replay) getReady() {
	for ; len(r.booting) > 0 && r.booting[0].at <= r.now; r.booting = r.booting[1:] {
		number := r.booting[0].number
		if r.instances[number].left == 0 {
			continue
		}
		for w := range r.perInstance {
			r.rest(int32(int64(number)*r.perInstance + w))
		}
	}
}

// rest makes a worker idle.
func (r *replay) rest(number int32) {
	r.workers[number].idle = r.now
	look := event{r.now % micro(r.sleep), number}
	place, _ := slices.BinarySearchFunc(r.idle, look, event.compare)
	r.idle = slices.Insert(r.idle, place, look)
	if r.maxWait != nil {
		r.patience = append(r.patience, event{r.now, number})
	}
}

func (r *replay) stopIdling(number int32) {
	if since := r.workers[number].idle; since != never {
		r.workers[number].idle = never
		place, _ := slices.BinarySearchFunc(r.idle, event{since % micro(r.sleep), number}, event.compare)
		r.idle = slices.Delete(r.idle, place, place+1)
	}
}

// look has the idle workers that look now drop what is too old, and take a task each.
func (r *replay) look() {
	phase := r.now % micro(r.sleep)
	for r.takeable > 0 {
		i := r.lookers(phase)
		if i == len(r.idle) || r.idle[i].at != phase {
			return
		}
		r.age()
		for _, number := range r.orphans {
			if r.fates[number].status == waiting {
				r.compared = append(r.compared, r.now-max(0, r.fates[number].arrival))
				r.drop(number)
				r.orphaned++
			}
		}
		r.orphans = r.orphans[:0]
		if r.takeable == 0 {
			return
		}
		task := r.queue.pop()
		for r.fates[task].status != waiting {
			task = r.queue.pop()
		}
		number := r.idle[i].number
		r.stopIdling(number)
		r.exit(task, taken)
		r.fates[task].start, r.fates[task].worker = r.now, number
		r.work(number, task)
		if project := r.tasks[task].project; r.settings.buildLatest {
			for _, other := range r.siblings[project] {
				if r.fates[other].status == waiting {
					r.drop(other)
				}
			}
			r.siblings[project] = r.siblings[project][:0]
		}
	}
}

// work has a worker begin a task, whose fate says when.
func (r *replay) work(number, task int32) {
	w := &r.workers[number]
	w.task, w.taken = task, w.taken+1
	r.instances[int64(number)/r.perInstance].busy++
	r.running.push(event{r.fates[task].start + r.tasks[task].duration, number})
	if r.tasks[task].estimated {
		r.estimated++
	}
}

// patienceOf is how long an idle worker waits: until a look.
func (r *replay) patienceOf() int64 {
	every := micro(r.sleep)
	return (micro(*r.maxWait) + every - 1) / every * every
}

// impatient is the worker that has been idle for the longest, and since when; nil if there is none, or patience has no end.
func (r *replay) impatient() *event {
	for ; len(r.patience) > 0; r.patience = r.patience[1:] {
		if first := &r.patience[0]; r.workers[first.number].idle == first.at {
			return first
		}
	}
	return nil
}

// giveUp ends the workers that have waited for too long.
func (r *replay) giveUp() {
	for first := r.impatient(); first != nil && first.at+r.patienceOf() <= r.now; first = r.impatient() {
		r.endWorker(first.number)
	}
}

// draw draws how it is now into the timeline, whose parts before it are as it was.
func (r *replay) draw() {
	if len(r.timeline) == 0 {
		return
	}
	part := min(int(r.now*int64(len(r.timeline))/r.end), len(r.timeline)-1)
	for ; r.drawn <= part; r.drawn++ {
		if r.drawn < part || r.now*int64(len(r.timeline))%r.end > 0 { // else it begins now
			r.timeline[r.drawn] = r.last
		}
	}
	is := sample{r.queued.tasks, int64(len(r.running.items) + len(r.dead)), r.present}
	most := &r.timeline[part]
	*most = sample{max(most.queued, is.queued), max(most.running, is.running), max(most.size, is.size)}
	r.last = is
}

// sum reckons up what has come of all.
func (r *replay) sum() {
	r.waits, r.compared = make([]int64, 0, len(r.fates)), slices.Grow(r.compared, len(r.fates))
	for _, number := range r.alive {
		r.bill(r.instances[number])
	}
	for i, f := range r.fates {
		t := r.tasks[i]
		end := f.start + t.duration
		switch f.status {
		case finished:
			r.finished++
			if t.started == never {
				r.waits = append(r.waits, f.start-f.arrival)
			}
		case dropped:
			r.dropped++
		default:
			r.unfinished++
		}
		if f.status == taken || f.status == finished {
			r.simulated.busy += min(end, r.end) - max(f.start, 0)
		}
		switch {
		case f.status == waiting && !t.untaken:
			r.unstarted = append(r.unstarted, r.end-max(0, f.arrival))
		case (f.status == taken || f.status == finished) && t.started == never:
			r.compared = append(r.compared, f.start-max(0, f.arrival))
		}
	}
	slices.Sort(r.waits)
	slices.Sort(r.unstarted)
	slices.Sort(r.compared)
}
