package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"vespene-autoscale/internal/shelltemplate"
	"vespene-autoscale/internal/term"
)

// plan.go owns the vocabulary (pool, settings, plan, outcomes, what a command is told) and the arithmetic: the formula,
// its bounds, the steps after it, and when a pool is due. It is pure: the clock is an argument, and nothing is read or
// logged.

// The outcomes of a pool's turn. Only scaled, failed and interrupted are evaluations, which the past keeps.
const (
	scaled      = "scaled"
	notDue      = "not-due"
	disabled    = "disabled"
	dryRun      = "dry-run"
	busy        = "busy"
	failed      = "failed"
	interrupted = "interrupted"
	invalid     = "invalid"
)

// Why a pool is blocked: a command that outlived its run holds the lock, another host does, or a run that goes on.
var (
	errBusy    = errors.New("busy")
	errRunning = errors.New("busy")
)

// dueTolerance is how early a pool may be due, so that a minutely timer with some jitter keeps a rhythm of five minutes
// instead of slipping to six.
const dueTolerance = 10 * time.Second

// longestMinutes bounds reevaluate_minutes: a century means never, and every time computed with it can be written.
const longestMinutes = 100 * 365 * 24 * 60

// keepFor is how long evaluations are remembered.
const keepFor = 90 * 24 * time.Hour

// The built-in planner, which is the formula, and the built-in executor, which is the pool's command. A pool that names
// none has these.
const (
	stock = "stock"
	shell = "shell"
)

// pool is one worker pool as Vespene's database has it: its row, and the counts of its builds at the same moment.
type pool struct {
	id      int64
	name    string
	enabled bool
	columns columns       // every column of the row: nil, bool, int64, float64, string or time.Time in UTC
	clock   time.Duration // how far the database's clock is ahead of ours

	queuedBuilds   int64 // builds in status QUEUED
	queuedProjects int64 // the projects of those; builds without a project count as one together
	running        int64 // builds in status RUNNING

	// Stale builds, which the counts above contain.
	overdue     stale // RUNNING for longer than their project's timeout and five minutes
	expired     stale // QUEUED for longer than auto_abort_minutes, or without a queued_time
	projectless stale // QUEUED without a project

	staleQueued   int64 // expired or projectless
	freshProjects int64 // the projects of the other QUEUED builds
}

// columns are the values of a row. The rows of one answer share the places of their names.
type columns struct {
	places map[string]int // in values
	values []any
}

// columnsOf returns columns with those names and values.
func columnsOf(all map[string]any) columns {
	c := columns{places: make(map[string]int, len(all))}
	for name, value := range all {
		c.places[name] = len(c.values)
		c.values = append(c.values, value)
	}
	return c
}

// get returns the value of a column, or nil if there is no such column.
func (c columns) get(name string) any {
	if place, is := c.places[name]; is {
		return c.values[place]
	}
	return nil
}

// all returns the values by their names, for the caller to change.
func (c columns) all() map[string]any {
	all := make(map[string]any, len(c.values))
	for name, place := range c.places {
		all[name] = c.values[place]
	}
	return all
}

// stale is a number of stale builds and the age of the oldest, which is 0 if none of them has a time.
type stale struct {
	count  int64
	oldest time.Duration
}

// warning is a sentence about what will cost something one day, and its cure.
type warning struct{ message, cure string }

func (w warning) String() string { return w.message + "; " + w.cure }

// staleWarnings returns a warning for each kind of stale builds.
func (p pool) staleWarnings() (all []warning) {
	add := func(kind stale, what, cure string) {
		oldest := ""
		if kind.oldest > 0 {
			oldest = fmt.Sprintf(" (the oldest for %s)", term.Span(kind.oldest))
		}
		if kind.count > 0 {
			all = append(all, warning{fmt.Sprintf("counted, but misleading: %s%s %s",
				term.Count(kind.count, "build"), oldest, what), cure})
		}
	}
	add(p.overdue, "RUNNING for longer than their project's timeout and 5 minutes more: their workers are gone",
		"stop them in Vespene")
	add(p.expired, "QUEUED for longer than auto_abort_minutes or without a queued_time: no worker takes them",
		"stop them in Vespene")
	add(p.projectless, "QUEUED without a project: every worker that meets one stops working", "delete them in Vespene")
	return all
}

// settings are what a pool's columns say about its size, checked.
type settings struct {
	buildLatest                             bool
	queuedWeight, runningWeight, multiplier *big.Rat
	excess, minimum, maximum                int64
	reevaluate                              time.Duration
	planner, executor                       string // stock, shell, or the name of a plugin program
	command                                 string // the template
	variables                               map[string]any
	steady                                  steadiness
}

// steadiness is what the object "autoscaling" in a pool's variables says about changing its size less abruptly.
type steadiness struct {
	scaleDown   time.Duration // never below the largest size planned in this time; 0: whatever was planned
	stepUp      *int64        // most workers to add in one evaluation; nil: any number
	stepDown    *int64        // most workers to take away in one
	schedule    []scheduled
	ignoreStale bool // stale builds do not count
}

// The keys of the object "autoscaling".
const (
	scaleDownMinutes = "scale_down_minutes"
	maxStepUp        = "max_step_up"
	maxStepDown      = "max_step_down"
	scheduleKey      = "schedule"
	staleBuilds      = "stale_builds"
)

// isSteadiness tells whether a setting is a key of the object "autoscaling" in the pool's variables.
func isSteadiness(name string) bool {
	return slices.Contains([]string{scaleDownMinutes, maxStepUp, maxStepDown, scheduleKey, staleBuilds}, name)
}

// needsHistory returns the first key that looks back to earlier evaluations, or "".
func (s steadiness) needsHistory() string {
	switch {
	case s.scaleDown > 0:
		return scaleDownMinutes
	case s.stepUp != nil:
		return maxStepUp
	case s.stepDown != nil:
		return maxStepDown
	}
	return ""
}

// scheduled are settings for the minutes that a cron expression matches.
type scheduled struct {
	when                     string
	zone                     *time.Location
	minimum, maximum, excess *int64 // nil: as the pool has it
}

func (s scheduled) String() string { return fmt.Sprintf("%q (%s)", s.when, s.zone) }

// at returns the last entry of the schedule that matches the minute, or nil.
func (s steadiness) at(now time.Time) *scheduled {
	parser := gronx.New()
	for _, entry := range slices.Backward(s.schedule) {
		if matches, err := parser.IsDue(entry.when, now.In(entry.zone).Truncate(time.Minute)); err == nil && matches {
			return &entry
		}
	}
	return nil
}

// replaces returns the settings with those that the entry has.
func (s scheduled) replaces(base settings) settings {
	base.minimum = *cmp.Or(s.minimum, &base.minimum)
	base.maximum = *cmp.Or(s.maximum, &base.maximum)
	base.excess = *cmp.Or(s.excess, &base.excess)
	return base
}

// plan is a size and how it was computed: (queued × queuedWeight + running × runningWeight) × multiplier + excess,
// rounded up and held within minimum … maximum, and then the steps.
type plan struct {
	settings
	builds     int64    // QUEUED builds
	queued     int64    // what of them the formula counts: all, or with build_latest one per project
	running    int64    // RUNNING builds
	base       *big.Rat // queued × queuedWeight + running × runningWeight
	raw        *big.Rat // base × multiplier + excess
	size       int64
	queuedSize int64  // queued held within minimum … maximum
	capped     string // the bound that changed the size: "minimum", "maximum" or ""
	steps      []step // that the pool's steadiness took to the size, in their order
	planned    int64  // the size before those of them that look back, for later evaluations to look back to

	answer *answer // of the program that planned instead of the formula: then base is nil, and raw is its size
}

// answer is what a planner program says, before it is held within the pool's bounds.
type answer struct {
	size, queuedSize int64
	reason           string
}

// step is how one part of the steadiness changed the size. The JSON names are a contract.
type step struct {
	Name   string `json:"name"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

// newPlan sizes a pool with its settings at that time. The steps that look back are for stabilized.
func newPlan(p pool, s settings, now time.Time) plan {
	result := formula(p, s)
	if s.steady.ignoreStale {
		p.queuedBuilds, p.queuedProjects = p.queuedBuilds-p.staleQueued, p.freshProjects
		p.running -= p.overdue.count
		result = result.stepTo(staleBuilds, formula(p, s))
	}
	if when := s.steady.at(now); when != nil {
		result = result.stepTo(scheduleKey+" "+when.String(), formula(p, when.replaces(s)))
	}
	return result
}

// formula returns the size that counts and settings make.
func formula(p pool, s settings) plan {
	result := plan{settings: s, builds: p.queuedBuilds, queued: p.queuedBuilds, running: p.running}
	if s.buildLatest {
		result.queued = p.queuedProjects
	}
	result.base, result.raw = new(big.Rat), new(big.Rat).SetInt64(s.excess)
	if result.queued > 0 || result.running > 0 { // of many pools, most are idle
		result.base.Mul(new(big.Rat).SetInt64(result.queued), s.queuedWeight)
		result.base.Add(result.base, new(big.Rat).Mul(new(big.Rat).SetInt64(result.running), s.runningWeight))
		result.raw.Add(result.raw, new(big.Rat).Mul(result.base, s.multiplier))
	}

	result.size, result.capped = clamp(ceiling(result.raw), s.minimum, s.maximum)
	result.queuedSize, _ = clamp(big.NewInt(result.queued), s.minimum, s.maximum)
	result.planned = result.size
	return result
}

// answered returns the plan with a planner program's sizes, held within the pool's bounds, instead of the formula's.
func (p plan) answered(a answer) plan {
	p.answer, p.base, p.raw = &a, nil, new(big.Rat).SetInt64(a.size)
	p.size, p.capped = clamp(big.NewInt(a.size), p.minimum, p.maximum)
	p.queuedSize, _ = clamp(big.NewInt(a.queuedSize), p.minimum, p.maximum)
	p.planned, p.steps = p.size, nil
	return p
}

// stepTo returns the plan after the step of that name.
func (p plan) stepTo(name string, after plan) plan {
	after.steps = append(slices.Clip(p.steps), step{name, p.size, after.size})
	return after
}

// stabilized returns the plan with a size as steady as the pool wants it. previous is the size of its last evaluation
// that scaled, and largest the largest that was planned within scaleDown until now; either is nil if there is none.
func (p plan) stabilized(previous, largest *int64) plan {
	resize := func(name string, size int64, capped string) {
		after := p
		if size != p.size {
			after.size, after.capped = size, capped
		}
		p = p.stepTo(name, after)
	}
	if p.steady.scaleDown > 0 && largest != nil {
		resize(scaleDownMinutes, max(p.size, *largest), "")
	}
	if p.steady.stepUp != nil && previous != nil {
		resize(maxStepUp, *previous+min(p.size-*previous, *p.steady.stepUp), "")
	}
	if p.steady.stepDown != nil && previous != nil {
		resize(maxStepDown, max(p.size, *previous-*p.steady.stepDown), "")
	}
	if size, bound := clamp(big.NewInt(p.size), p.minimum, p.maximum); bound != "" {
		resize(bound, size, bound)
	}
	return p
}

// clamp returns n held within minimum … maximum, and the name of the bound that changed it or "".
func clamp(n *big.Int, minimum, maximum int64) (int64, string) {
	switch {
	case n.Cmp(big.NewInt(minimum)) < 0:
		return minimum, "minimum"
	case n.Cmp(big.NewInt(maximum)) > 0:
		return maximum, "maximum"
	}
	return n.Int64(), ""
}

// ceiling returns the least integer that is not below d.
func ceiling(d *big.Rat) *big.Int {
	n := new(big.Int).Neg(d.Num())
	return n.Neg(n.Div(n, d.Denom())) // Div rounds down
}

// decimalString prints d exactly, or to 17 digits if that would take more than 40 characters.
func decimalString(d *big.Rat) string {
	places, _ := d.FloatPrec()
	if s := d.FloatString(places); len(s) <= 40 {
		return s
	}
	return new(big.Float).SetRat(d).Text('g', 17)
}

// clause is one step of an explanation from the counts to the size.
type clause struct{ subject, text string }

// clauses explain the size.
func (p plan) clauses() (all []clause) {
	say := func(subject, format string, args ...any) {
		all = append(all, clause{subject, fmt.Sprintf(format, args...)})
	}
	product := func(n int64, weight *big.Rat) string {
		result := new(big.Rat).Mul(new(big.Rat).SetInt64(n), weight)
		return fmt.Sprintf("%d * %s = %s", n, decimalString(weight), decimalString(result))
	}
	if a := p.answer; a != nil && a.reason != "" {
		say("planner", "%s says %d: %s", p.planner, a.size, term.Label(a.reason))
	} else if a != nil {
		say("planner", "%s says %d", p.planner, a.size)
	} else {
		ofBuilds := ""
		if p.buildLatest {
			ofBuilds = fmt.Sprintf(" (%s of %s, by build_latest)", term.Count(p.queued, "project"),
				term.Count(p.builds, "build"))
		}
		excess := fmt.Sprintf("+ %d", p.excess)
		if p.excess < 0 {
			excess = fmt.Sprintf("- %d", -p.excess)
		}
		say("queued", "%s%s", product(p.queued, p.queuedWeight), ofBuilds)
		say("running", "%s", product(p.running, p.runningWeight))
		say("load", "%s * %s %s = %s", decimalString(p.base), decimalString(p.multiplier), excess, decimalString(p.raw))
	}
	size, held := clamp(ceiling(p.raw), p.minimum, p.maximum)
	if held != "" {
		held = ", held to the " + held
	}
	say("bounds", "%d to %d, so size %d%s", p.minimum, p.maximum, size, held)
	for _, s := range p.steps {
		say("step", "%s: %d, after it %d", s.Name, s.Before, s.After)
	}
	return all
}

// why explains the size in one sentence.
func (p plan) why() string {
	var all []string
	for _, c := range p.clauses() {
		all = append(all, c.subject+" "+c.text)
	}
	return strings.Join(all, "; ")
}

// fact is something that a command is told of its pool.
type fact struct {
	name  string // in templates and JSON; in the environment it is VESPENE_NAME
	value any
	to    audience
}

// audience is a set of those who are told a fact.
type audience int

const (
	toTemplate audience = 1 << iota
	toEnvironment
	toPlanner
	toExecutor

	toPrograms = toPlanner | toExecutor
	toCommands = toTemplate | toEnvironment | toExecutor
	toAll      = toCommands | toPlanner
)

// facts returns all that commands and plugin programs are told of a pool, its plan, and the size of the last evaluation
// that scaled, which is nil if there is none.
func facts(p pool, planned plan, previous *int64) []fact {
	row := p.columns.all()
	var previousSize any
	if previous != nil {
		previousSize = *previous
	}
	return []fact{
		{"pool", p.name, toEnvironment | toPrograms},
		{"worker_pool", row, toTemplate | toPrograms},
		{"worker", row, toTemplate},
		{"variables", planned.variables, toTemplate | toPrograms},
		{"queued", planned.queued, toAll},
		{"running", planned.running, toAll},
		{"previous_size", previousSize, toAll},
		{"size", planned.size, toCommands},
		{"queued_size", planned.queuedSize, toCommands},
		{"minimum", planned.minimum, toPrograms},
		{"maximum", planned.maximum, toPrograms},
		{"planner", planned.planner, toPrograms},
		{"executor", planned.executor, toPrograms},
		{"raw", json.RawMessage(decimalString(planned.raw)), toExecutor},
		{"capped", planned.capped, toExecutor},
		{"reason", planned.why(), toExecutor},
	}
}

// told returns the facts for that audience, by their names.
func told(all []fact, to audience) map[string]any {
	values := map[string]any{}
	for _, f := range all {
		if f.to&to != 0 {
			values[f.name] = f.value
		}
	}
	return values
}

// environment returns the variables in which a command finds the facts. One that is NULL is empty.
func environment(all []fact) (variables []string) {
	for _, f := range all {
		if f.value == nil {
			f.value = ""
		}
		if f.to&toEnvironment != 0 {
			variables = append(variables, fmt.Sprintf("VESPENE_%s=%v", strings.ToUpper(f.name), f.value))
		}
	}
	return variables
}

// environmentOf has the variable of a command's environment that holds the same as a name in its template.
var environmentOf = map[string]string{"worker_pool.name": "VESPENE_POOL", "worker.name": "VESPENE_POOL",
	"previous_size": "VESPENE_PREVIOUS_SIZE"}

// render makes the command line of a pool's template. The error is a sentence about executor_command.
func render(p pool, planned plan, previousSize *int64) (line string, err error) {
	values := told(facts(p, planned, previousSize), toTemplate)
	command, err := shelltemplate.Render(planned.command, values, environmentOf)
	if err != nil {
		return "", fmt.Errorf("executor_command: %w", err)
	}
	return command.Line, nil
}

// lastRun is what a pool's past means for its next evaluation.
type lastRun struct {
	last         time.Time // when the interval began after which the pool is due; zero: it was never evaluated
	previousSize *int64    // the size of the last evaluation that scaled; nil: none did
	open         bool      // an evaluation has no outcome: its command runs, or its run was killed
}

// settled returns the same without the open evaluation.
func (l lastRun) settled() lastRun {
	l.open = false
	return l
}

// nextInterval returns when the interval after an evaluation begins: with its start if it scaled, and else with its
// end, since nobody knows what it did until then.
func nextInterval(outcome string, started, ended time.Time) time.Time {
	if outcome == scaled {
		return started
	}
	return ended
}

// timing is when a pool is due.
type timing struct {
	isDue     bool
	clockBack bool      // the last evaluation lies in the future
	next      time.Time // zero: unknown
}

// timing returns when the pool is due, which is unknown while an evaluation is open. If its last evaluation lies too
// far ahead to be true, it is due at once.
func (p plan) timing(l lastRun, now time.Time) *timing {
	switch {
	case l.open:
		return &timing{}
	case l.last.IsZero():
		return &timing{isDue: true}
	}
	clockBack := l.last.Sub(now) > p.reevaluate
	isDue := clockBack || now.Sub(l.last) >= p.reevaluate-dueTolerance
	return &timing{isDue, clockBack, l.last.Add(p.reevaluate)}
}
