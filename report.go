package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/guptarohit/asciigraph"
	"golang.org/x/sys/unix"
)

// report.go owns all that is shown: on standard output the records of a run, how pools stand, past evaluations, what came
// of a simulation and what check found, as text or JSON; the metrics' file; a simulation's picture; and on standard error
// the log and how far a simulation is. It decides nothing.

// The outcomes of a pool's turn. Only scaled, failed and interrupted are evaluations and get into the state.
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

// record is what a run says of one pool. The JSON names are a contract, extended only by adding; what does not apply
// is null.
type record struct {
	Pool         string           `json:"pool"`
	Outcome      string           `json:"outcome"`
	Reason       string           `json:"reason"` // one sentence
	Size         *int64           `json:"size"`
	QueuedSize   *int64           `json:"queued_size"`
	Queued       *int64           `json:"queued"`
	Running      *int64           `json:"running"`
	PreviousSize *int64           `json:"previous_size"` // of the last evaluation that scaled
	Raw          *json.RawMessage `json:"raw"`           // before rounding and bounds, exact
	Minimum      *int64           `json:"minimum"`
	Maximum      *int64           `json:"maximum"`
	Capped       *string          `json:"capped"` // "minimum", "maximum" or ""
	Due          *bool            `json:"due"`
	NextDue      *time.Time       `json:"next_due"`
	Forced       bool             `json:"forced"`
	DryRun       bool             `json:"dry_run"`
	Planner      *string          `json:"planner"`
	Executor     *string          `json:"executor"`
	Command      *string          `json:"command"`
	ExitCode     *int             `json:"exit_code"`
	DurationMS   *int64           `json:"duration_ms"`
	Error        *string          `json:"error"`
	StaleQueued  *int64           `json:"stale_queued"`  // builds that mislead: no worker takes them
	StaleRunning *int64           `json:"stale_running"` // and: their workers are gone
	Steps        []sizeStep       `json:"steps"`         // by which the pool's steadiness led to the size

	plan *plan     // of a pool with valid settings
	now  time.Time // of the pool's turn, and then its end, for the text
}

// setPlan keeps the plan, and fills in the settings and counts that it is made of.
func (r *record) setPlan(p plan) {
	r.plan = &p
	r.Queued, r.Running = &p.queued, &p.running
	r.Minimum, r.Maximum = &p.minimum, &p.maximum
	r.Planner, r.Executor = &p.planner, &p.executor
}

// sizeStep is a step as results have it.
type sizeStep struct {
	Name   string `json:"name"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

// setStale fills in the builds that mislead.
func (r *record) setStale(p pool) { r.StaleQueued, r.StaleRunning = &p.staleQueued, &p.overdue.count }

// setSize fills in the plan's size and how it came about.
func (r *record) setSize() {
	r.Size, r.QueuedSize, r.Capped = &r.plan.size, &r.plan.queuedSize, &r.plan.capped
	r.Steps = []sizeStep{}
	for _, s := range r.plan.steps {
		r.Steps = append(r.Steps, sizeStep{s.name, s.before, s.after})
	}
	raw := json.RawMessage(decimalString(r.plan.raw))
	r.Raw, r.Reason = &raw, strings.Join(terms(*r.plan), "; ")
}

// question is what a plugin program gets on its standard input: what is known of the pool when its turn has come, by the
// names that results and templates have for it.
func (r *record) question(p pool) ([]byte, error) {
	known := map[string]any{
		"pool": r.Pool, "worker_pool": p.columns.all(), "variables": r.plan.variables, "queued": r.Queued, "running": r.Running,
		"previous_size": r.PreviousSize, "minimum": r.Minimum, "maximum": r.Maximum, "planner": r.Planner, "executor": r.Executor,
	}
	if r.Size != nil {
		maps.Copy(known, map[string]any{"size": r.Size, "queued_size": r.QueuedSize, "raw": r.Raw, "capped": r.Capped, "reason": r.Reason})
	}
	return json.Marshal(known)
}

// setDue fills in when the pool is due; a next of zero is left out.
func (r *record) setDue(isDue bool, next time.Time) {
	r.Due, r.NextDue = &isDue, moment(next)
}

// setNotDue makes the record that of a pool last evaluated at last, whose setDue has been called.
func (r *record) setNotDue(last time.Time) {
	r.Outcome = notDue
	r.Reason = fmt.Sprintf("last evaluated at %s, due again at %s", last.UTC().Format(time.RFC3339), r.NextDue.Format(time.RFC3339))
}

// setResult fills in how the command ended; problem is why it did not do its work.
func (r *record) setResult(result result, problem error) {
	took := result.duration.Milliseconds()
	r.ExitCode, r.DurationMS = result.exitCode, &took
	switch exitCode(problem) {
	case exitOK:
		r.Outcome = scaled
	case exitFailed:
		r.Outcome = failed
	default:
		r.Outcome = interrupted
	}
}

// fail makes the error, with its cure, the reason of the record's outcome.
func (r *record) fail(err error) {
	text := withCure(err)
	r.Reason, r.Error = text, &text
}

// withCure is the error as one sentence with its cure.
func withCure(err error) string {
	text := err.Error()
	var f *failure
	if errors.As(err, &f) && f.hint != "" {
		text += "; " + f.hint
	}
	return text
}

// terms explain a plan: each is one step from the counts to the size, named by its first word.
func terms(p plan) []string {
	term := func(name string, n int64, weight *big.Rat) string {
		product := new(big.Rat).Mul(new(big.Rat).SetInt64(n), weight)
		return fmt.Sprintf("%s %d * %s = %s", name, n, decimalString(weight), decimalString(product))
	}
	held := ""
	size, bound := hold(ceiling(p.raw), p.minimum, p.maximum)
	if bound != "" {
		held = ", held to the " + bound
	}
	last := []string{fmt.Sprintf("bounds %d to %d, so size %d%s", p.minimum, p.maximum, size, held)}
	for _, s := range p.steps {
		last = append(last, fmt.Sprintf("step %s: %d, after it %d", s.name, s.before, s.after))
	}
	if p.answer != nil {
		asked := fmt.Sprintf("planner %s says %d", p.planner, p.answer.size)
		if p.answer.reason != "" {
			asked += fmt.Sprintf(": %s", label(p.answer.reason))
		}
		return append([]string{asked}, last...)
	}
	queued := term("queued", p.queued, p.queuedWeight)
	if p.buildLatest {
		queued += fmt.Sprintf(" (%s of %s, by build_latest)", count(p.queued, "project"), count(p.builds, "build"))
	}
	excess := fmt.Sprintf("+ %d", p.excess)
	if p.excess < 0 {
		excess = fmt.Sprintf("- %d", -p.excess)
	}
	return append([]string{
		queued,
		term("running", p.running, p.runningWeight),
		fmt.Sprintf("load %s * %s %s = %s", decimalString(p.base), decimalString(p.multiplier), excess, decimalString(p.raw)),
	}, last...)
}

// writeText writes the record as a block for people.
func (o *results) writeText(r record) {
	var b strings.Builder
	row := func(what, text string) { fmt.Fprintf(&b, "  %-8s %s\n", what, text) }
	outcome := o.paint(styleOf(r.Outcome), r.Outcome)
	if r.Size == nil {
		fmt.Fprintf(&b, "%s: %s\n", o.paint(bold, label(r.Pool)), outcome)
		if r.Outcome != notDue {
			row("reason", r.Reason)
		}
	} else {
		was := ""
		if r.PreviousSize != nil {
			was = fmt.Sprintf(", was %d", *r.PreviousSize)
		}
		size := o.paint(bold, fmt.Sprintf("size %d", *r.Size))
		fmt.Fprintf(&b, "%s: %s, queued_size %d (%s%s)\n", o.paint(bold, label(r.Pool)), size, *r.QueuedSize, outcome, was)
		for _, term := range terms(*r.plan) {
			what, text, _ := strings.Cut(term, " ")
			row(what, text)
		}
		if r.Error != nil {
			row("error", o.paint(red, *r.Error))
		}
	}
	if r.DryRun && r.Command != nil {
		row("command", strings.ReplaceAll(*r.Command, "\n", "\n           "))
	} else if r.ExitCode != nil {
		row("command", fmt.Sprintf("exit status %d after %v", *r.ExitCode, time.Duration(max(*r.DurationMS, 1))*time.Millisecond))
	}
	if r.NextDue != nil && r.NextDue.After(r.now) || r.DryRun && r.Due != nil && *r.Due {
		row("due", dueIn(r.DryRun && *r.Due, r.NextDue, r.now)) // what was run is due again next
	}
	io.WriteString(o, b.String())
}

// dueIn says when a pool is due: "now" or "in 3m", and "-" where that is not known.
func dueIn(isDue bool, next *time.Time, now time.Time) string {
	switch {
	case isDue:
		return "now"
	case next != nil:
		return "in " + span(next.Sub(now))
	}
	return "-"
}

// span is a length of time as people say it, in two units at most: 12s, 3m, 2h5m, 4d.
func span(d time.Duration) string {
	seconds, minutes := int(d.Round(time.Second)/time.Second), int(d.Round(time.Minute)/time.Minute)
	switch {
	case seconds < 60:
		return fmt.Sprintf("%ds", max(0, seconds))
	case minutes < 60:
		return fmt.Sprintf("%dm", minutes)
	case minutes%60 == 0 && minutes < 48*60:
		return fmt.Sprintf("%dh", minutes/60)
	case minutes < 48*60:
		return fmt.Sprintf("%dh%dm", minutes/60, minutes%60)
	}
	return fmt.Sprintf("%dd", int(math.Round(d.Hours()/24)))
}

// misled are the warnings about builds that mislead a pool's counts, each with its cure.
func misled(p pool) []string {
	var warnings []string
	for _, kind := range []struct {
		misleading
		what string
	}{
		{p.overdue, "RUNNING for longer than their project's timeout and 5 minutes more: their workers are gone; stop them in Vespene"},
		{p.expired, "QUEUED for longer than auto_abort_minutes or without a queued_time: no worker takes them; stop them in Vespene"},
		{p.projectless, "QUEUED without a project: every worker that meets one stops working; delete them in Vespene"},
	} {
		if kind.count > 0 {
			oldest := ""
			if kind.oldest > 0 {
				oldest = fmt.Sprintf(" (the oldest for %s)", span(kind.oldest))
			}
			warnings = append(warnings, fmt.Sprintf("counted, but misleading: %s%s %s", count(kind.count, "build"), oldest, kind.what))
		}
	}
	return warnings
}

func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// label is a pool's name on one line.
func label(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// standing is how a pool stands: what status shows, and the metrics. The JSON names are a contract, as record's are, and
// have its meanings; what is not known, or does not apply, is null. last_… is of the newest evaluation.
type standing struct {
	Pool           string         `json:"pool"`
	Enabled        *bool          `json:"enabled"`
	Queued         *int64         `json:"queued"`
	Running        *int64         `json:"running"`
	Size           *int64         `json:"size"` // by the formula, now
	QueuedSize     *int64         `json:"queued_size"`
	PreviousSize   *int64         `json:"previous_size"`
	Minimum        *int64         `json:"minimum"`
	Maximum        *int64         `json:"maximum"`
	LastEvaluation *time.Time     `json:"last_evaluation"` // its start
	LastOutcome    *string        `json:"last_outcome"`    // null while it goes on, and if its run was killed
	LastSize       *int64         `json:"last_size"`
	LastQueuedSize *int64         `json:"last_queued_size"`
	LastExitCode   *int           `json:"last_exit_code"`
	LastDurationMS *int64         `json:"last_duration_ms"`
	LastError      *string        `json:"last_error"`
	LastSuccess    *time.Time     `json:"last_success"` // the start of the newest evaluation that scaled
	Failures       *int64         `json:"failures"`     // evaluations since then
	Due            *bool          `json:"due"`          // null while an evaluation goes on
	NextDue        *time.Time     `json:"next_due"`
	Settings       map[string]any `json:"settings"` // those that are not Vespene's defaults
	Warnings       []string       `json:"warnings"`
	Error          *string        `json:"error"` // why there is no size

	interval, took *time.Duration // reevaluate_minutes, and the last_duration_ms
	now            time.Time      // by the clock of last_evaluation and next_due
}

func ptr[T any](v T) *T { return &v }

// optional is nil for what is zero.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// moment is a time as results have it, nil for zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return ptr(t.UTC().Truncate(time.Millisecond)) // as the state keeps it
}

// defaults are Vespene's for the settings by which a pool is sized, in the order in which they are shown.
var defaults = []struct {
	setting string
	value   any
}{
	{"minimum", int64(0)}, {"maximum", int64(10)}, {"excess", int64(0)}, {"multiplier", 1.0}, {"queued_weight", 1.0}, {"running_weight", 1.0},
	{"build_latest", true}, {"reevaluate_minutes", int64(10)}, {"planner", stock}, {"executor", shell},
}

// setPool fills in what Vespene's database says of the pool.
func (s *standing) setPool(p pool) {
	s.Enabled, s.Queued, s.Running = &p.enabled, &p.queuedBuilds, &p.running
	s.Settings, s.Warnings = map[string]any{}, append([]string{}, misled(p)...)
	for _, d := range defaults {
		value := p.columns.get(d.setting)
		if unnamed := value == nil || value == ""; unnamed && (d.setting == "planner" || d.setting == "executor") {
			continue
		}
		if f, isFloat := value.(float64); isFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
			value = fmt.Sprint(f) // JSON has no such numbers
		}
		if fmt.Sprint(value) != fmt.Sprint(d.value) {
			s.Settings[d.setting] = value
		}
	}
}

// setSummary fills in what the state says.
func (s *standing) setSummary(its summary) {
	if its.newest == nil {
		return
	}
	e := its.newest
	s.LastEvaluation, s.LastSuccess = moment(e.started), moment(its.scaled)
	s.LastSize, s.LastQueuedSize, s.Failures = &e.size, &e.queuedSize, &its.failures
	s.LastOutcome, s.LastExitCode, s.LastError = optional(e.outcome.outcome), e.exitCode, optional(e.err)
	if !e.ended.IsZero() {
		s.took = ptr(e.ended.Sub(e.started))
		s.LastDurationMS = ptr(s.took.Milliseconds())
	}
}

// setShared fills in what hosts that share the pool have in Vespene's database. The rest of the newest evaluation is known
// only where it was this host's.
func (s *standing) setShared(p pool) {
	last, _ := p.columns.get("last_autoscaled").(time.Time)
	ours := false
	if s.LastEvaluation != nil { // last_autoscaled is when it began or, where it failed, when it ended
		sinceStart := last.Sub(s.LastEvaluation.Add(p.clock))
		ours = sinceStart.Abs() < early || s.took != nil && (sinceStart-*s.took).Abs() < early
	}
	if !ours {
		s.LastSize, s.LastQueuedSize, s.LastDurationMS, s.took, s.LastError, s.Failures = nil, nil, nil, nil, nil, nil
	}
	s.LastEvaluation, s.LastOutcome, s.LastExitCode = moment(last), nil, nil
	if code, ended := p.columns.get("autoscaling_status").(int64); ended {
		s.LastExitCode, s.LastOutcome = ptr(int(code)), ptr(failed)
		if code == 0 {
			s.LastOutcome, s.LastSuccess, s.Failures = ptr(scaled), s.LastEvaluation, ptr(int64(0))
		}
	}
}

// setPlan fills in the plan of a record, and when the pool is due, which is not known while an evaluation is open.
func (s *standing) setPlan(r record, known past) {
	s.Queued, s.Minimum, s.Maximum, s.interval = r.Queued, r.Minimum, r.Maximum, &r.plan.reevaluate
	s.PreviousSize = known.previousSize
	if r.plan.planner == stock { // a program would have to be asked
		s.Size, s.QueuedSize = &r.plan.size, &r.plan.queuedSize
	}
	if len(known.open) == 0 {
		s.Due, s.NextDue = r.Due, r.NextDue
	}
}

// last is the newest evaluation in a few words.
func (s *standing) last() (text, style string) {
	if s.LastEvaluation == nil {
		return "never", faint
	}
	when := span(s.now.Sub(*s.LastEvaluation)) + " ago"
	if s.LastEvaluation.Sub(s.now) > early {
		when = "in the future" // the clock went back
	}
	if s.LastOutcome == nil {
		return "begun " + when, yellow
	}
	code := ""
	if s.LastExitCode != nil && *s.LastExitCode != 0 {
		code = fmt.Sprintf(" (exit %d)", *s.LastExitCode)
	}
	return fmt.Sprintf("%s%s %s", *s.LastOutcome, code, when), styleOf(*s.LastOutcome)
}

// inOrder are the names of settings in the order of defaults, and then of the alphabet.
func inOrder(settings map[string]any) []string {
	rank := func(name string) int {
		for i, d := range defaults {
			if d.setting == name {
				return i
			}
		}
		return len(defaults)
	}
	return slices.SortedFunc(maps.Keys(settings), func(a, b string) int { return cmp.Or(rank(a)-rank(b), cmp.Compare(a, b)) })
}

// spelled are those of the settings that have these names, on one line.
func spelled(settings map[string]any, names []string) string {
	var all []string
	for _, name := range names {
		if value, has := settings[name]; has {
			all = append(all, name+" "+valueText(value))
		}
	}
	return strings.Join(all, ", ")
}

func valueText(value any) string {
	switch value.(type) {
	case nil:
		return "NULL"
	case []any, map[string]any: // of a pool's variables
		if text, err := json.Marshal(value); err == nil {
			return string(text)
		}
	}
	return label(fmt.Sprint(value))
}

// standings writes how pools stand: a line each and, below, what is wrong with them.
func (o *results) standings(all []standing) {
	if o.json {
		for _, s := range all {
			o.encode(s)
		}
		return
	}
	if len(all) == 0 {
		o.note("Vespene has no worker pools yet")
		return
	}
	table := [][]cell{headings("POOL", "ENABLED", "QUEUED", "RUNNING", "SIZE", "WANTED", "LAST EVALUATION", "NEXT DUE", "SETTINGS")}
	var below []string
	for _, s := range all {
		if s.Enabled == nil {
			below = append(below, o.paint(red, label(s.Pool)+": "+*s.Error))
			continue
		}
		size := s.PreviousSize
		if size == nil && s.LastOutcome != nil && *s.LastOutcome == scaled { // hosts that share a pool have no previous size
			size = s.LastSize
		}
		row := []cell{{label(s.Pool), bold, false}, {"yes", "", false}, digits(s.Queued), digits(s.Running), digits(size), digits(s.Size)}
		if !*s.Enabled {
			row[1] = cell{"no", faint, false}
		}
		if s.Size != nil && size != nil && *s.Size != *size {
			row[5].style = yellow
		}
		last, style := s.last()
		due := "-"
		if s.Due != nil {
			due = dueIn(*s.Due, s.NextDue, s.now)
		}
		settings := cmp.Or(spelled(s.Settings, inOrder(s.Settings)), "defaults")
		table = append(table, append(row, cell{last, style, false}, cell{due, "", false}, cell{settings, "", false}))
		if s.Error != nil {
			below = append(below, o.paint(red, label(s.Pool)+": "+*s.Error))
		}
		if s.LastError != nil && s.LastOutcome != nil {
			below = append(below, fmt.Sprintf("%s: the last evaluation %s: %s; more with vespene-autoscale history", label(s.Pool), *s.LastOutcome, *s.LastError))
		}
		for _, warning := range s.Warnings {
			below = append(below, o.paint(yellow, label(s.Pool)+": "+warning))
		}
	}
	if len(table) > 1 {
		o.table(table)
	}
	for _, line := range below {
		fmt.Fprintln(o, line)
	}
}

// pastEvaluation is an evaluation as history's JSON has it, by record's names; ended and what follows it are null while
// it goes on, and if its run was killed.
type pastEvaluation struct {
	Database   string     `json:"database"` // its address less user, password and options
	Pool       string     `json:"pool"`
	Started    *time.Time `json:"started"`
	Forced     bool       `json:"forced"`
	Queued     int64      `json:"queued"`
	Running    int64      `json:"running"`
	Size       int64      `json:"size"`
	QueuedSize int64      `json:"queued_size"`
	Ended      *time.Time `json:"ended"`
	Outcome    *string    `json:"outcome"`
	ExitCode   *int       `json:"exit_code"`
	DurationMS *int64     `json:"duration_ms"`
	Error      *string    `json:"error"`
	Output     *string    `json:"output"` // the end of what the command printed
}

// history writes evaluations, and above them a chart of each pool.
func (o *results) history(all []evaluation, since time.Duration, now time.Time) {
	byPool := map[[2]string][]evaluation{} // of two servers, pools may have one name
	databases := map[string]bool{}
	table := [][]cell{headings("STARTED", "POOL", "QUEUED", "RUNNING", "SIZE", "OUTCOME", "TOOK", "WHY")}
	for _, e := range all {
		took := "-"
		line := pastEvaluation{e.database, e.pool, moment(e.started), e.forced, e.queued, e.running, e.size, e.queuedSize, moment(e.ended),
			optional(e.outcome.outcome), e.exitCode, nil, optional(e.err), nil}
		if !e.ended.IsZero() {
			line.DurationMS, line.Output = ptr(e.ended.Sub(e.started).Milliseconds()), &e.output
			took = e.ended.Sub(e.started).Round(time.Millisecond).String()
		}
		if o.json {
			o.encode(line)
			continue
		}
		key := [2]string{e.pool, e.database}
		byPool[key], databases[e.database] = append(byPool[key], e), true
		how, why := cmp.Or(e.outcome.outcome, "open"), strings.Join(strings.Fields(e.err), " ")
		if e.forced {
			why = strings.TrimPrefix(why+", forced", ", ")
		}
		table = append(table, []cell{{e.started.Local().Format(time.DateTime), "", false}, {label(e.pool), bold, false}, digits(&e.queued), digits(&e.running),
			digits(&e.size), {how, styleOf(how), false}, {took, "", true}, {why, "", false}})
	}
	if o.json {
		return
	}
	if len(all) == 0 {
		o.note(fmt.Sprintf("no evaluation in the last %s; --since DURATION shows older ones, of up to 90 days", span(since)))
		return
	}
	keys := slices.SortedFunc(maps.Keys(byPool), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	if len(keys) > mostCharts {
		o.note(fmt.Sprintf("no charts of %d pools: --queue NAME shows that of one\n", len(keys)))
		keys = nil
	}
	for _, key := range keys {
		title := o.paint(bold, label(key[0]))
		if len(databases) > 1 {
			title += " of " + key[1]
		}
		o.chart(title, byPool[key], now)
	}
	o.table(table)
}

// mostCharts is how many charts are still looked at.
const mostCharts = 10

// chart draws queued and running builds and the size of one pool over time. Between evaluations each is as it was.
func (o *results) chart(title string, all []evaluation, now time.Time) {
	since := now.Add(-time.Minute)
	highest := int64(1)
	for _, e := range all {
		if e.started.Before(since) {
			since = e.started // what was before is not known
		}
		highest = max(highest, e.queued, e.running, e.size)
	}
	if all[0].started.After(now) {
		return // the clock went back, and nothing is before now
	}
	x := timeAxis(since, now)
	columns := o.columns(x, highest)
	lines := make([][]float64, 3)
	current := []float64{math.NaN(), math.NaN(), math.NaN()}
	for column, rest := 0, all; column < columns; column++ {
		at := now.Add(-time.Duration(float64(now.Sub(since)) * float64(columns-1-column) / float64(columns-1)))
		seen := 0
		for ; len(rest) > 0 && !rest[0].started.After(at); rest = rest[1:] {
			for i, n := range []int64{rest[0].queued, rest[0].running, rest[0].size} {
				if seen == 0 || float64(n) > current[i] { // of several in a column, the most
					current[i] = float64(n)
				}
			}
			seen++
		}
		for i := range lines {
			lines[i] = append(lines[i], current[i])
		}
	}
	o.plot(title, []string{"queued", "running", "size"}, x, highest, lines)
	o.note("")
}

// axis is what stands below a chart.
type axis struct {
	from, to float64
	label    func(float64) string
}

func timeAxis(from, to time.Time) axis {
	clock := "15:04"
	if long := to.Sub(from); long > 24*time.Hour {
		clock = "Jan 2 15:04"
	} else if long < 10*time.Minute {
		clock = time.TimeOnly
	}
	return axis{float64(from.Unix()), float64(to.Unix()), func(t float64) string { return time.Unix(int64(t), 0).Local().Format(clock) }}
}

// columns is how many values a line of a chart has.
func (o *results) columns(x axis, highest int64) int {
	const scale = 4 // what stands before a line besides the number
	return max(20, cmp.Or(o.width, 80)-len(fmt.Sprint(highest))-scale-len(x.label(x.to))/2)
}

// plot draws lines from 0 to the highest. Several are told apart by their marks, which have their names in the title.
func (o *results) plot(title string, names []string, x axis, highest int64, lines [][]float64) {
	const rows = 10 // at most
	options := []asciigraph.Option{asciigraph.Height(int(min(rows, highest))), asciigraph.LowerBound(0), asciigraph.UpperBound(float64(highest)), asciigraph.Precision(0),
		asciigraph.XAxisRange(x.from, x.to), asciigraph.XAxisTickCount(max(2, len(lines[0])/16)), asciigraph.XAxisValueFormatter(x.label)}
	if len(lines) > 1 {
		styles, marks := []string{yellow, blue, green}, []string{"q", "r", "#"}
		if o.colour {
			marks = []string{"─", "─", "─"}
			options = append(options, asciigraph.SeriesColors(asciigraph.Yellow, asciigraph.Blue, asciigraph.Green))
		} else {
			options = append(options, asciigraph.SeriesChars(asciigraph.CreateCharSet(marks[0]), asciigraph.CreateCharSet(marks[1]), asciigraph.CreateCharSet(marks[2])))
		}
		for i := range lines {
			title += "   " + o.paint(styles[i], marks[i]) + " " + names[i]
		}
	}
	fmt.Fprintf(o, "%s\n%s\n", title, asciigraph.PlotMany(lines, options...))
}

// finding writes what a check found: one line, with the cure.
func (o *results) finding(f finding) {
	if o.json {
		o.encode(f)
		return
	}
	text := f.Message
	if f.Pool != nil {
		text = label(*f.Pool) + ": " + text
	}
	if f.Cure != nil {
		text += "; " + *f.Cure
	}
	fmt.Fprintf(o, "%s%*s  %-10s  %s\n", o.paint(styleOf(f.Level), f.Level), len(isWarning)-len(f.Level), "", f.Check, text)
}

// What a cell is painted with, on a terminal alone: the parameter of ECMA-48's SGR.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "93"
	blue   = "94"
)

func styleOf(outcome string) string {
	switch outcome {
	case scaled, dryRun, isOK:
		return green
	case failed, invalid, isError:
		return red
	case busy, interrupted, isWarning, "open":
		return yellow
	}
	return faint
}

// cell is one of a table; numbers stand on its right side.
type cell struct {
	text, style string
	right       bool
}

func headings(names ...string) (row []cell) {
	for _, name := range names {
		row = append(row, cell{name, faint, slices.Contains([]string{"QUEUED", "RUNNING", "SIZE", "WANTED", "TOOK"}, name)})
	}
	return row
}

func digits(n *int64) cell {
	if n == nil {
		return cell{"-", faint, true}
	}
	return cell{fmt.Sprint(*n), "", true}
}

// table writes rows in aligned columns.
func (o *results) table(rows [][]cell) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			if c.right {
				line.WriteString(padding)
			}
			line.WriteString(o.paint(c.style, c.text))
			if !c.right {
				line.WriteString(padding)
			}
			line.WriteString("  ")
		}
		fmt.Fprintln(o, strings.TrimRight(line.String(), " "))
	}
}

// writeMetrics writes the metrics of the pools and of the run, which ends with that code, for node_exporter's textfile
// collector: by renaming, so that no half of a file is ever read. Where the pools could not be read, what the file has of
// them stays, less the builds, which are others now.
func writeMetrics(path string, pools []standing, read bool, code int) error {
	var b bytes.Buffer
	family := func(name, help string, samples ...string) {
		if len(samples) > 0 {
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %[1]s gauge\n", name, help)
		}
		for _, sample := range samples {
			fmt.Fprintf(&b, "%s%s\n", name, sample)
		}
	}
	if !read {
		poolMetric := regexp.MustCompile(`^(?:# HELP |# TYPE )?vespene_autoscale_pool_([a-z_]+)`)
		previous, _ := os.ReadFile(path)
		for line := range strings.Lines(string(previous)) {
			if of := poolMetric.FindStringSubmatch(line); of != nil && !strings.HasSuffix(of[1], "_builds") {
				b.WriteString(line)
			}
		}
	}
	samples := map[string][]string{}
	for _, s := range pools {
		for _, m := range metricsOf(s) {
			if m.value != nil {
				sample := fmt.Sprintf("{pool=\"%s\"} %s", labelValue.Replace(s.Pool), strconv.FormatFloat(*m.value, 'f', -1, 64))
				samples[m.name] = append(samples[m.name], sample)
			}
		}
	}
	for _, m := range metricsOf(standing{}) {
		family("vespene_autoscale_pool_"+m.name, m.help, samples[m.name]...)
	}
	family("vespene_autoscale_build_info", "The program that wrote this; always 1.", fmt.Sprintf("{version=\"%s\"} 1", labelValue.Replace(version())))
	family("vespene_autoscale_run_exit_code", "The exit code of the last run over the pools.", fmt.Sprintf(" %d", code))

	if err := replaceFile(path, b.Bytes()); err != nil {
		var named *fs.PathError // of the file that would have been renamed
		var link *os.LinkError
		if errors.As(err, &named) {
			err = named.Err
		} else if errors.As(err, &link) {
			err = link.Err
		}
		return &failure{code: exitState, err: errors.New(withoutAddress(fmt.Sprintf("write the metrics to %s: %v", path, err))),
			hint: "name a file with --metrics-file in a directory that this user, and under systemd its sandbox (ReadWritePaths=), lets it write to"}
	}
	return nil
}

// replaceFile puts a file with that content, for all to read, in the place of the one at path, which may be a link to it.
func replaceFile(path string, content []byte) error {
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		path = target
	} else if _, isThere := os.Lstat(path); isThere == nil { // a link to nowhere
		return err
	}
	if info, err := os.Stat(path); err == nil {
		if err := regular(info); err != nil { // /dev/null, say, which all the machine needs
			return err
		}
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".vespene-autoscale-") // not *.prom, which would be read
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Chmod(0o644), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}

// labelValue writes a label's value as the text format has it.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// metric is one of a pool; a value of nil is not known.
type metric struct {
	name, help string
	value      *float64
}

// metricsOf are the metrics of a pool, always the same in the same order.
func metricsOf(s standing) []metric {
	return []metric{
		{"desired_size", "Workers the pool should have, by its last evaluation.", float(s.LastSize)},
		{"desired_queued_size", "Queued builds within the pool's bounds, by its last evaluation.", float(s.LastQueuedSize)},
		{"queued_builds", "Queued builds as the pool counts them.", float(s.Queued)},
		{"running_builds", "Running builds.", float(s.Running)},
		{"minimum_size", "The least workers the pool may have.", float(s.Minimum)},
		{"maximum_size", "The most workers the pool may have.", float(s.Maximum)},
		{"interval_seconds", "How often the pool is to be evaluated.", seconds(s.interval)},
		{"last_evaluation_timestamp_seconds", "When the last evaluation began.", timestamp(s.LastEvaluation)},
		{"last_success_timestamp_seconds", "When the last evaluation began that scaled the pool.", timestamp(s.LastSuccess)},
		{"last_exit_code", "The exit code of the pool's last command.", float(s.LastExitCode)},
		{"last_duration_seconds", "How long the last evaluation took.", seconds(s.took)},
		{"consecutive_failures", "Evaluations in a row that did not scale the pool.", float(s.Failures)},
	}
}

func float[N int | int64](n *N) *float64 {
	if n == nil {
		return nil
	}
	return ptr(float64(*n))
}

func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	return ptr(d.Seconds())
}

func timestamp(t *time.Time) *float64 {
	if t == nil {
		return nil
	}
	return ptr(float64(t.UnixMilli()) / 1000)
}

// results is standard output. That its reader has gone stops nothing; another error stops nothing either, but is kept.
type results struct {
	w      io.Writer
	json   bool
	width  int  // of the terminal, in columns; 0: it is none
	colour bool // as a terminal may have it, without NO_COLOR
	err    error

	watched <-chan struct{} // nil: nothing need be waited for
}

func newResults(w io.Writer, getenv func(string) string) *results {
	o := &results{w: w}
	if file, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil {
			o.width = cmp.Or(int(size.Col), 80)
			o.colour = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
		}
	}
	return o
}

// paint is the text in that style, where styles are to be seen.
func (o *results) paint(style, text string) string {
	if !o.colour || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (o *results) Write(p []byte) (int, error) {
	if o.watched != nil {
		<-o.watched
	}
	if _, err := o.w.Write(p); err != nil && !errors.Is(err, syscall.EPIPE) && o.err == nil {
		o.err = err
	}
	return len(p), nil
}

func (o *results) write(r record) {
	if o.json {
		o.encode(r)
	} else {
		o.writeText(r)
	}
}

// encode writes a value as one line of JSON.
func (o *results) encode(v any) {
	encoder := json.NewEncoder(o)
	encoder.SetEscapeHTML(false) // commands are full of & and >
	encoder.Encode(v)            // o keeps the error
}

// note writes what is no record, for people only.
func (o *results) note(text string) {
	if !o.json {
		fmt.Fprintln(o, text)
	}
}

// patience is how long a reader of standard error may stall before the run goes on without it.
const patience = 10 * time.Second

// logStream is standard error: whole lines, of which none breaks into another. In the journal each begins with its
// priority. What is written while its reader stalls is lost, since nothing is to wait for who reads a log.
type logStream struct {
	mu      sync.Mutex
	w       io.Writer
	journal bool
	lines   chan []byte // to be written by a goroutine, which can be left behind
	written chan error  // what came of them
	timer   *time.Timer // that runs out when a reader stalls
	stalled bool        // a write goes on for longer than patience
	spare   []byte      // of the write before, to be used again
}

// newLogStream sees whether w is the journal, as systemd says by device and inode in JOURNAL_STREAM.
func newLogStream(w io.Writer, journalStream string) *logStream {
	s := &logStream{w: w}
	if file, ok := w.(*os.File); ok && journalStream != "" {
		if info, err := file.Stat(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				s.journal = journalStream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
			}
		}
	}
	return s
}

// Write writes lines; of slog's, which begin with their level, the journal gets the priority.
func (s *logStream) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal {
		for level, priority := range map[string]string{"ERROR": "<3>", "WARN": "<4>", "INFO": "<6>", "DEBUG": "<7>"} {
			if bytes.HasPrefix(lines, []byte("level="+level+" ")) {
				lines = append([]byte(priority), lines...)
			}
		}
	}
	if s.lines == nil {
		s.lines, s.written, s.timer = make(chan []byte), make(chan error, 1), time.NewTimer(patience)
		go func() {
			for lines := range s.lines {
				_, err := s.w.Write(lines)
				s.written <- err
			}
		}()
	}
	if s.stalled {
		select {
		case <-s.written:
			lines = append([]byte(s.prefix("vespene-autoscale")+"standard error was not read for a while, and lacks what was written then\n"), lines...)
		default:
			return 0, os.ErrDeadlineExceeded
		}
	}
	own := append(s.spare[:0], lines...) // the caller's are the caller's again when this returns
	s.spare, s.stalled = nil, true
	s.lines <- own
	s.timer.Reset(patience)
	select {
	case err := <-s.written:
		s.spare, s.stalled = own, false
		return len(lines), err
	case <-s.timer.C:
		return 0, os.ErrDeadlineExceeded
	}
}

// progress is a bar on standard error for what takes longer than a second. It is our own since the libraries' cost the
// start of the main job more than it costs here.
type progress struct {
	n    atomic.Int64
	stop chan struct{} // nil: there is no terminal
	gone chan struct{}
}

// newProgress is of that many steps; of a total of 0, which is not known, it only counts. There is nothing to be seen
// where standard error is no terminal, in the first second, and after done. Nothing may be written there before done.
func newProgress(stderr io.Writer, what string, total int) *progress {
	p := &progress{}
	file, isFile := stderr.(*os.File)
	if !isFile {
		return p
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return p
	}
	p.stop, p.gone = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.gone)
		columns := cmp.Or(int(size.Col), 80) - 1
		wait := time.Second
		for {
			select {
			case <-p.stop:
				if wait < time.Second { // it was shown
					fmt.Fprintf(file, "\r%*s\r", columns, "")
				}
				return
			case <-time.After(wait):
				wait = time.Second / 5
				fmt.Fprintf(file, "\r%-*.*s", columns, columns, progressText(what, int(p.n.Load()), total))
			}
		}
	}()
	return p
}

// progressText is what a terminal shows of n steps of a total, or of 0 if that is not known.
func progressText(what string, n, total int) string {
	if total <= 0 {
		return fmt.Sprintf("%s %d", what, n)
	}
	const width = 30
	done := min(n, total) * width / total
	return fmt.Sprintf("%s %3d %% [%s%s] %d of %d", what, min(n, total)*100/total, strings.Repeat("#", done), strings.Repeat(" ", width-done), n, total)
}

// add says that so many steps more are done; it may be called from several goroutines.
func (p *progress) add(n int) { p.n.Add(int64(n)) }

func (p *progress) done() {
	if p.stop != nil {
		close(p.stop)
		<-p.gone
	}
}

// prefix is what a line of a pool's command begins with.
func (s *logStream) prefix(pool string) string {
	if s.journal {
		return "<6>" + label(pool) + ": "
	}
	return label(pool) + ": "
}

// logger returns the log of that stream; the journal has the time of each line already.
func (s *logStream) logger(verbose bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if s.journal {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(s, options))
}

// complain says why the run cannot go on, in one sentence, and below it the cure.
func (s *logStream) complain(err error) {
	priority := ""
	if s.journal {
		priority = "<3>"
		if exitCode(err) > 128 { // being stopped is no failure
			priority = "<4>"
		}
	}
	fmt.Fprintf(s, "%svespene-autoscale: %s\n", priority, strings.Join(strings.Fields(err.Error()), " "))
	var f *failure
	if errors.As(err, &f) && f.hint != "" {
		fmt.Fprintf(s, "%shint: %s\n", priority, f.hint)
	}
}

// release is the package's version, which packaging/build sets.
var release string

// version is the package's version or else what the build info says: a module's, and the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if release != "" {
		return release + " " + info.GoVersion
	}
	text := info.Main.Version
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && !strings.Contains(text, setting.Value[:min(12, len(setting.Value))]) {
			text += " " + setting.Value
		}
	}
	return text + " " + info.GoVersion
}
