package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vespene-autoscale/internal/sim"
)

// scenario.go owns what a simulation is asked, and the scenarios that this makes of a pool: changed settings, and a
// planner that goes by them.

// question is what the command line asks.
type question struct {
	since   time.Duration
	base    sim.Scenario // what options say of workers
	changes point        // by --set
	ranges  [][]change   // by --sweep
	target  *sim.Target  // to recommend for
	written string       // the target as it was written
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
	{scaleDownMinutes, isWhole}, {maxStepUp, isWhole}, {maxStepDown, isWhole},
	{scheduleKey, isJSON}, {staleBuilds, isJSON},
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

// runner replays one pool's workload.
type runner struct {
	*scaler
	question
	pool     pool
	builds   []build // only kept to recommend
	workload *sim.Workload
}

// window is the workload of a part of the builds.
func (r *runner) window(from, to time.Time, abort time.Duration) *sim.Workload {
	return sim.NewWorkload(len(r.builds), func(i int) sim.Build {
		b := &r.builds[i]
		return sim.Build{ID: b.id, Project: b.project, Parent: b.parent, Queued: b.queued, Started: b.started,
			Ended: b.ended, Timeout: b.timeout, Status: b.status}
	}, from, to, abort)
}

// scenario is a way to run the pool: its settings, and what internal/sim takes of them.
type scenario struct {
	sim.Scenario
	name    string
	changes point
	command string         // template
	shown   map[string]any // the settable ones
}

// scenario is the pool with changed settings, by that name.
func (r *runner) scenario(name string, changes point) (scenario, error) {
	unusable := func(err error, hint string) (scenario, error) {
		return scenario{}, &failure{code: exitInvalid, err: err, hint: hint}
	}
	p, err := r.pool.changed(changes)
	if err != nil {
		return unusable(err, "docs/autoscaling.md has the settings")
	}
	checked, err := r.settings(p)
	if f, is := errors.AsType[*failure](err); is && len(changes) > 0 {
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
	return scenario{simulated, name, changes, checked.command, shown}, nil
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
			variables["autoscaling"] = object
		}
		object[s.name] = value
		if value == nil {
			delete(object, s.name)
		}
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
			freshProjects: d.FreshProjects, running: d.Running, overdue: stale{count: d.StaleRunning}}
		for len(recent) > 0 && recent[0].at.Before(at.Add(-s.steady.scaleDown)) {
			recent = recent[1:]
		}
		var largest *int64
		if len(recent) > 0 {
			largest = &recent[0].size
		}
		plan := newPlan(p, s, at).stabilized(previous, largest)
		for len(recent) > 0 && recent[len(recent)-1].size <= plan.planned {
			recent = recent[:len(recent)-1]
		}
		recent = append(recent, planned{at, plan.planned})
		previous = &plan.size
		return plan.size, plan.queuedSize
	}
}
