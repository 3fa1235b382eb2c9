package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for schedules, on hosts without time zones
	"unicode/utf8"

	"github.com/adhocore/gronx"
)

// plan.go owns the vocabulary (pool, settings, plan) and the arithmetic: the formula, its bounds and when a pool is
// due. It is pure: what it needs comes in as arguments, the clock included, and it neither logs nor reads anything.

// early is how much before its time a pool is due, so that a minutely timer with some jitter keeps a rhythm of five
// minutes instead of slipping to six.
const early = 10 * time.Second

// longestMinutes bounds reevaluate_minutes: a century is never, and every time computed with it can still be written.
const longestMinutes = 100 * 365 * 24 * 60

// The built-in planner, the formula, and executor, the pool's command: what a pool that names none has.
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
	clock   time.Duration // how much the database's clock is ahead of ours

	queuedBuilds   int64 // builds in status QUEUED
	queuedProjects int64 // the projects of those; builds without a project count as one together
	running        int64 // builds in status RUNNING

	// Builds that mislead the counts above, in which they are contained.
	overdue     misleading // RUNNING for longer than their project's timeout and five minutes
	expired     misleading // QUEUED for longer than auto_abort_minutes, or without a queued_time
	projectless misleading // QUEUED without a project

	staleQueued   int64 // expired or projectless
	freshProjects int64 // the projects of the other QUEUED builds
}

// columns are the values of a row. Rows of one answer have the places of their names in common.
type columns struct {
	places map[string]int // in values
	values []any
}

// columnsOf are the columns with those names and values.
func columnsOf(all map[string]any) columns {
	c := columns{places: make(map[string]int, len(all))}
	for name, value := range all {
		c.places[name] = len(c.values)
		c.values = append(c.values, value)
	}
	return c
}

// get is the value of a column; nil where there is no such column.
func (c columns) get(name string) any {
	if place, is := c.places[name]; is {
		return c.values[place]
	}
	return nil
}

// all are the values by their names, for the caller to change.
func (c columns) all() map[string]any {
	all := make(map[string]any, len(c.values))
	for name, place := range c.places {
		all[name] = c.values[place]
	}
	return all
}

// misleading is a number of builds and the age of the oldest; the age is 0 where none of them has a time.
type misleading struct {
	count  int64
	oldest time.Duration
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

// plan is a size and how it came about: (queued × queuedWeight + running × runningWeight) × multiplier + excess,
// rounded up and held within minimum … maximum.
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
	steps      []step // by which the pool's steadiness led to the size, in their order
	planned    int64  // the size before those of them that look back, which later evaluations look back to

	answer *answer // of the plugin program that planned instead of the formula: then base is nil, and raw its size
}

// plugins are the programs that are enabled besides stock and shell, by the name under which a pool selects them.
type plugins struct{ planners, executors map[string]string }

// answer is what a planner program says, before it is held within the pool's bounds.
type answer struct {
	size, queuedSize int64
	reason           string
}

// checked returns the pool's settings, or an error that names the setting and its value. It may name enabled plugins.
func (p pool) checked(enabled plugins) (settings, error) {
	r := &columnReader{columns: p.columns}
	s := settings{
		buildLatest:   typed[bool](r, "build_latest", "true or false"),
		queuedWeight:  r.decimal("queued_weight"),
		runningWeight: r.decimal("running_weight"),
		multiplier:    r.decimal("multiplier"),
		excess:        r.integer("excess"),
		minimum:       r.natural("minimum"),
		maximum:       r.integer("maximum"),
		reevaluate:    time.Duration(min(r.natural("reevaluate_minutes"), longestMinutes)) * time.Minute,
		planner:       r.text("planner", stock),
		executor:      r.text("executor", shell),
		command:       r.text("executor_command", ""),
	}
	var err error
	if s.variables, err = parseVariables(p.columns.get("variables")); r.err == nil {
		r.err = err
	}
	switch {
	case r.err != nil:
		return settings{}, r.err
	case s.minimum > s.maximum:
		return settings{}, aboveMaximum(s.minimum, s.maximum)
	case s.planner != stock && enabled.planners[s.planner] == "":
		return settings{}, notEnabled("planner", s.planner, stock, enabled.planners)
	case s.executor != shell && enabled.executors[s.executor] == "":
		return settings{}, notEnabled("executor", s.executor, shell, enabled.executors)
	}
	if object, steady := s.variables["autoscaling"]; steady {
		if s.steady, err = parseSteadiness(object, s); err != nil {
			return settings{}, fmt.Errorf("variables: %w", err)
		}
	}
	return s, nil
}

func aboveMaximum(minimum, maximum int64) error {
	return fmt.Errorf("minimum %d is above maximum %d", minimum, maximum)
}

func notEnabled(what, name, builtIn string, programs map[string]string) error {
	names := append([]string{builtIn}, slices.Sorted(maps.Keys(programs))...)
	return fmt.Errorf("%s %q is not enabled here (enabled: %s)", what, name, strings.Join(names, ", "))
}

// columnReader reads typed columns and keeps the first error.
type columnReader struct {
	columns columns
	err     error
}

// fail says that the value of column is not what it should be.
func (r *columnReader) fail(column, shouldBe string) {
	value := r.columns.get(column)
	if value == nil {
		value = "NULL"
	}
	if r.err == nil {
		r.err = fmt.Errorf("%s is %v, which is not %s", column, value, shouldBe)
	}
}

func typed[T any](r *columnReader, column, shouldBe string) T {
	v, ok := r.columns.get(column).(T)
	if !ok {
		r.fail(column, shouldBe)
	}
	return v
}

func (r *columnReader) integer(column string) int64 { return typed[int64](r, column, "a whole number") }

func (r *columnReader) natural(column string) int64 {
	v := r.integer(column)
	if v < 0 {
		r.fail(column, "zero or more")
	}
	return v
}

// one is what most weights and multipliers are. Settings are read only.
var one = big.NewRat(1, 1)

// decimal reads a floating-point setting of zero or more as its shortest decimal form, which is what its owner typed:
// 1.1 is 11/10, not the binary fraction next to it.
func (r *columnReader) decimal(column string) *big.Rat {
	d, finite := new(big.Rat), true
	switch v := r.columns.get(column).(type) {
	case float64:
		// Most are 1 or a few quarters, whose shortest form is their value; to look for it takes ten times as long.
		if v == 1 {
			return one
		} else if quarters := v * 4; quarters > 0 && quarters < 1<<32 && quarters == math.Trunc(quarters) {
			return d.SetFrac64(int64(quarters), 4)
		}
		d, finite = d.SetString(strconv.FormatFloat(v, 'g', -1, 64))
	case int64: // of SQLite's, where a column has no type of its own
		d.SetInt64(v)
	default:
		r.fail(column, "a number")
		return d
	}
	if !finite {
		r.fail(column, "a finite number")
	} else if d.Sign() < 0 {
		r.fail(column, "zero or more")
	}
	return d
}

// text reads a text setting; empty and NULL mean byDefault.
func (r *columnReader) text(column, byDefault string) string {
	if r.columns.get(column) == nil {
		return byDefault
	}
	return cmp.Or(typed[string](r, column, "text"), byDefault)
}

// parseVariables parses the column variables, a JSON object; empty, NULL and an empty list are an empty one.
func parseVariables(column any) (map[string]any, error) {
	text, _ := column.(string)
	variables := map[string]any{}
	if text = strings.TrimSpace(text); text == "" || text == "{}" {
		return variables, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&variables); err != nil {
		var list []any
		if json.Unmarshal([]byte(text), &list) == nil && len(list) == 0 { // as PHP and others write an empty object
			return map[string]any{}, nil
		}
		return nil, fmt.Errorf("variables is not a JSON object: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("variables is not a JSON object: there is more behind its end")
	}
	for name, value := range variables {
		variables[name] = number(value)
	}
	return variables, nil
}

// number turns the numbers in a parsed JSON value into int64 or float64; an integer beyond those keeps its digits, as
// a string.
func number(value any) any {
	switch v := value.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = number(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = number(v[name])
		}
	}
	return value
}

// newPlan sizes a pool with the settings that its checked gave, as they are at that time. What looks back is for steadied.
func newPlan(p pool, s settings, now time.Time) plan {
	result := formula(p, s)
	if s.steady.ignoreStale {
		p.queuedBuilds, p.queuedProjects, p.running = p.queuedBuilds-p.staleQueued, p.freshProjects, p.running-p.overdue.count
		result = result.stepTo("stale_builds", formula(p, s))
	}
	if when := s.steady.at(now); when != nil {
		result = result.stepTo("schedule "+when.String(), formula(p, when.replaces(s)))
	}
	return result
}

// formula is the size that counts and settings make.
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

	result.size, result.capped = hold(ceiling(result.raw), s.minimum, s.maximum)
	result.queuedSize, _ = hold(big.NewInt(result.queued), s.minimum, s.maximum)
	result.planned = result.size
	return result
}

// answered returns the plan with a planner program's sizes, held within the pool's bounds, in place of the formula's.
func (p plan) answered(a answer) plan {
	p.answer, p.base, p.raw = &a, nil, new(big.Rat).SetInt64(a.size)
	p.size, p.capped = hold(big.NewInt(a.size), p.minimum, p.maximum)
	p.queuedSize, _ = hold(big.NewInt(a.queuedSize), p.minimum, p.maximum)
	p.planned, p.steps = p.size, nil
	return p
}

// steadiness is what the object "autoscaling" in a pool's variables says about changing its size less abruptly.
type steadiness struct {
	scaleDown   time.Duration // never below the largest size planned in so long; 0: whatever was planned
	stepUp      *int64        // most workers to add in one evaluation; nil: any number
	stepDown    *int64        // most workers to take away in one
	schedule    []scheduled
	ignoreStale bool // misleading builds do not count
}

// step is how one part of the steadiness changed the size.
type step struct {
	name          string
	before, after int64
}

// stepTo returns the plan after, to which the step of that name led.
func (p plan) stepTo(name string, after plan) plan {
	after.steps = append(slices.Clip(p.steps), step{name, p.size, after.size})
	return after
}

// resized returns the plan with another size, to which the step of that name led.
func (p plan) resized(name string, size int64) plan {
	after := p
	after.size = size
	if size != p.size {
		after.capped = ""
	}
	return p.stepTo(name, after)
}

// steadied returns the plan with a size as steady as the pool wants it. previous is the size of its last evaluation that
// scaled, and largest the largest that was planned within scaleDown until now; either is nil where there is none.
func (p plan) steadied(previous, largest *int64) plan {
	if p.steady.scaleDown > 0 && largest != nil {
		p = p.resized(scaleDownMinutes, max(p.size, *largest))
	}
	if p.steady.stepUp != nil && previous != nil {
		p = p.resized(maxStepUp, min(p.size, add(*previous, *p.steady.stepUp)))
	}
	if p.steady.stepDown != nil && previous != nil {
		p = p.resized(maxStepDown, max(p.size, *previous-*p.steady.stepDown))
	}
	if size, bound := hold(big.NewInt(p.size), p.minimum, p.maximum); bound != "" {
		p = p.resized(bound, size)
		p.capped = bound
	}
	return p
}

// add adds two numbers of zero or more, to the largest that there is at most.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// The keys of the object "autoscaling".
const (
	scaleDownMinutes = "scale_down_minutes"
	maxStepUp        = "max_step_up"
	maxStepDown      = "max_step_down"
	scheduleKey      = "schedule"
	staleBuilds      = "stale_builds"
)

// longestLookBack is how long evaluations are remembered, in minutes.
const longestLookBack = int64(keepFor / time.Minute)

// parseSteadiness reads the object "autoscaling" of a pool with those settings. An error names the key.
func parseSteadiness(value any, base settings) (s steadiness, err error) {
	object, isObject := value.(map[string]any)
	if !isObject {
		return s, isNot("autoscaling", value, "an object")
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value, name := object[key], "autoscaling."+key
		switch key {
		case scaleDownMinutes:
			var minutes int64
			if minutes, err = whole(name, value, longestLookBack); err == nil {
				s.scaleDown = time.Duration(minutes) * time.Minute
			}
		case maxStepUp:
			s.stepUp, err = wholePointer(name, value)
		case maxStepDown:
			s.stepDown, err = wholePointer(name, value)
		case scheduleKey:
			s.schedule, err = parseSchedule(name, value, base)
		case staleBuilds:
			if s.ignoreStale = value == "ignore"; !s.ignoreStale {
				err = isNot(name, value, `"ignore"`)
			}
		default:
			err = fmt.Errorf("%s means nothing (known: %s)", name, strings.Join([]string{scaleDownMinutes, maxStepUp, maxStepDown, scheduleKey, staleBuilds}, ", "))
		}
		if err != nil {
			return steadiness{}, err
		}
	}
	return s, nil
}

// needsHistory is the key of what looks back to earlier evaluations, "" if nothing does.
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

// parseSchedule reads the list of a pool with those settings.
func parseSchedule(name string, value any, base settings) (all []scheduled, err error) {
	list, isList := value.([]any)
	if !isList {
		return nil, isNot(name, value, "a list")
	}
	for i, value := range list {
		name := fmt.Sprintf("%s[%d]", name, i)
		entry, isObject := value.(map[string]any)
		if !isObject {
			return nil, isNot(name, value, "an object")
		}
		s := scheduled{zone: time.UTC}
		for _, key := range slices.Sorted(maps.Keys(entry)) {
			value, name := entry[key], name+"."+key
			switch key {
			case "when":
				s.when, _ = value.(string)
				// Five fields, since the parser takes seconds, years and names for expressions, too.
				if parser := gronx.New(); len(strings.Fields(s.when)) != 5 || !parser.IsValid(s.when) {
					err = isNot(name, value, "a cron expression of five fields: minute, hour, day of the month, month, day of the week")
				}
			case "timezone":
				zone, _ := value.(string)
				if s.zone, err = time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
					err = isNot(name, value, "a time zone such as Europe/Berlin")
				}
			case "minimum":
				s.minimum, err = wholePointer(name, value)
			case "maximum":
				s.maximum, err = wholePointer(name, value)
			case "excess":
				if excess, isWhole := value.(int64); isWhole {
					s.excess = &excess
				} else {
					err = isNot(name, value, "a whole number")
				}
			default:
				err = fmt.Errorf("%s means nothing (known: when, timezone, minimum, maximum, excess)", name)
			}
			if err != nil {
				return nil, err
			}
		}
		if s.when == "" {
			return nil, fmt.Errorf("%s has no key when, a cron expression", name)
		}
		if then := s.replaces(base); then.minimum > then.maximum {
			return nil, fmt.Errorf("%s: %w", name, aboveMaximum(then.minimum, then.maximum))
		}
		all = append(all, s)
	}
	return all, nil
}

// at returns the last entry of the schedule that matches the minute; nil if none does.
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
	for _, replace := range []struct {
		with *int64
		it   *int64
	}{{s.minimum, &base.minimum}, {s.maximum, &base.maximum}, {s.excess, &base.excess}} {
		if replace.with != nil {
			*replace.it = *replace.with
		}
	}
	return base
}

// whole reads a whole number from 0 to most.
func whole(name string, value any, most int64) (int64, error) {
	if n, isWhole := value.(int64); isWhole && n >= 0 && n <= most {
		return n, nil
	}
	return 0, isNot(name, value, fmt.Sprintf("a whole number from 0 to %d", most))
}

func wholePointer(name string, value any) (*int64, error) {
	n, err := whole(name, value, math.MaxInt64)
	return &n, err
}

// isNot says that what a key has is not what it should be.
func isNot(name string, value any, shouldBe string) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is %.80s, which is not %s", name, text, shouldBe)
}

// parseAnswer parses what a planner program printed: one JSON object with the integers size and queued_size, of zero or
// more and 64 bits at most, and perhaps a text as reason. Anything else is an error, since it may mean anything.
func parseAnswer(printed []byte) (answer, error) {
	decoder := json.NewDecoder(bytes.NewReader(printed))
	if open, err := decoder.Token(); err == io.EOF {
		return answer{}, errors.New("answered nothing")
	} else if err != nil || open != json.Delim('{') {
		return answer{}, errors.New("answered something else than one JSON object")
	}
	noJSON := func(err error) (answer, error) { return answer{}, fmt.Errorf("answered what is no JSON: %w", err) }
	var a answer
	sizes, seen := map[string]*int64{"size": &a.size, "queued_size": &a.queuedSize}, map[any]bool{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return noJSON(err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return noJSON(err)
		}
		name, _ := key.(string)
		size, isSize := sizes[name]
		switch {
		case seen[key]:
			return answer{}, fmt.Errorf("answered with %s twice", name)
		case isSize:
			if *size, err = strconv.ParseInt(string(value), 10, 64); err != nil || *size < 0 {
				return answer{}, fmt.Errorf("answered with a %s of %.40q, which is not a whole number from 0 to %d", name, value, math.MaxInt64)
			}
		case name == "reason":
			if value[0] != '"' || json.Unmarshal(value, &a.reason) != nil || utf8.RuneCountInString(a.reason) > reasonLimit {
				return answer{}, fmt.Errorf("answered with a reason that is not a text of %d characters at most", reasonLimit)
			}
			a.reason = strings.Join(strings.Fields(a.reason), " ")
		default:
			return answer{}, fmt.Errorf("answered with %.40q, which means nothing (known: size, queued_size, reason)", name)
		}
		seen[key] = true
	}
	if _, err := decoder.Token(); err != nil {
		return noJSON(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return answer{}, errors.New("answered with more than one JSON object")
	}
	for _, name := range []string{"size", "queued_size"} {
		if !seen[name] {
			return answer{}, fmt.Errorf("answered without %s", name)
		}
	}
	return a, nil
}

// reasonLimit is how many characters of a reason are read with ease.
const reasonLimit = 1000

// hold returns n within minimum … maximum, and the name of the bound that changed it or "".
func hold(n *big.Int, minimum, maximum int64) (int64, string) {
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
	floor, rest := new(big.Int).DivMod(d.Num(), d.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		floor.Add(floor, big.NewInt(1))
	}
	return floor
}

// decimalString prints d exactly, or to 17 digits where that would take more than 40 characters.
func decimalString(d *big.Rat) string {
	places, _ := d.FloatPrec()
	if s := d.FloatString(places); len(s) <= 40 {
		return s
	}
	return new(big.Float).SetRat(d).Text('g', 17)
}

// due tells whether a pool last evaluated at last (zero: never) is due now when it is to be evaluated each interval.
// clockBack says that it is due only because last lies too far ahead to be true.
func due(last time.Time, interval time.Duration, now time.Time) (isDue, clockBack bool) {
	switch {
	case last.IsZero():
		return true, false
	case last.Sub(now) > interval:
		return true, true
	}
	return now.Sub(last) >= interval-early, false
}

// nextDue is the end of the interval that began at last; zero where there was no evaluation to begin one.
func nextDue(last time.Time, interval time.Duration) time.Time {
	if last.IsZero() {
		return time.Time{}
	}
	return last.Add(interval)
}
