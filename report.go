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

	"github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"
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

// simulation is what a simulation of a pool came to.
type simulation struct {
	Pool           string          `json:"pool"`
	From           time.Time       `json:"from"`
	To             time.Time       `json:"to"`
	Builds         int64           `json:"builds"`
	Variants       []variant       `json:"variants"`
	Sweep          []variant       `json:"sweep,omitempty"`
	Recommendation *recommendation `json:"recommendation,omitempty"`
	Warnings       []string        `json:"warnings"`
}

// variant is what one way to run the pool came to; what is not known is null. docs/simulation.md says what the figures are.
type variant struct {
	Name        string         `json:"name"`
	Settings    map[string]any `json:"settings"` // null where they are not known: what was recorded
	WorkerHours *float64       `json:"worker_hours"`
	Finished    int64          `json:"finished"`
	Unfinished  int64          `json:"unfinished"`
	Dropped     int64          `json:"dropped"`
	Estimated   int64          `json:"estimated"`
	WaitMedian  *float64       `json:"wait_median_s"`
	WaitP95     *float64       `json:"wait_p95_s"`
	WaitMax     *float64       `json:"wait_max_s"`
	SizeMean    *float64       `json:"size_mean"`
	SizePeak    *int64         `json:"size_peak"`
	Utilisation *float64       `json:"utilisation"`
	Changes     *int64         `json:"changes"`
	AtRisk      *int64         `json:"at_risk"`
	Unbeaten    *bool          `json:"unbeaten,omitempty"` // of a sweep: nothing waits less and costs no more, or the other way round

	timeline []sample // over the window; nil where it is not shown
	wait     float64  // seconds by which it is compared: the 95 % wait, with builds that wait at the end where there are many
}

// recommendation is the cheapest way to meet a target.
type recommendation struct {
	Target   string         `json:"target"`
	Met      bool           `json:"met"`
	Tried    int64          `json:"tried"`    // combinations of settings
	Failed   int64          `json:"failed"`   // of them cheaper ones, or if it is not met all, that met the target on the first two thirds only
	Settings map[string]any `json:"settings"` // to enter in Vespene, those that differ from today's; where the target is not met, the nearest ones
	Why      string         `json:"why"`
	Today    variant        `json:"today"`    // over the whole window
	Then     variant        `json:"then"`     // the same with the settings
	Searched variant        `json:"searched"` // with the settings over the first two thirds, which the search has seen
	Verified variant        `json:"verified"` // and over the last, which it has not

	Always      *int64   `json:"always"` // where it is not met, the fixed number of instances that would; null if none was found
	AlwaysHours *float64 `json:"always_worker_hours"`
	Unverified  bool     `json:"unverified"` // there was no build in the last third to tell
}

// why says why this is what is recommended, for a worker that looks each sleep.
func (r recommendation) why(t target, sleep time.Duration) (why string) {
	switch {
	case r.Met:
		why = fmt.Sprintf("of %s that were tried, these met the target on the first two thirds of the window for the fewest worker-hours, and on the last third, too", count(r.Tried, "combination"))
		if r.Unverified {
			why = fmt.Sprintf("of %s that were tried, these met the target on the first two thirds of the window for the fewest worker-hours; in the last third there is no build to tell", count(r.Tried, "combination"))
		} else if r.Failed > 0 {
			why = fmt.Sprintf("of %s that were tried, these met the target on the first two thirds of the window and on the last for the fewest worker-hours; of what costs less, %s met it on the first two thirds only",
				count(r.Tried, "combination"), count(r.Failed, "combination"))
		}
	case r.Failed > 0:
		why = fmt.Sprintf("of %s that were tried, %d met the target on the first two thirds of the window, and none on the last: this one came nearest there; a longer --since may tell more", count(r.Tried, "combination"), r.Failed)
	default:
		why = fmt.Sprintf("of %s that were tried, none met the target on the first two thirds of the window", count(r.Tried, "combination"))
	}
	if lost := r.Today.Finished - r.Then.Finished; lost*100 > r.Today.Finished {
		why += fmt.Sprintf("; but %s fewer would have been finished than with today's settings", count(lost, "build"))
	}
	switch {
	case r.Met:
	case r.Always != nil:
		why += fmt.Sprintf("; it takes %d that are always there, and %.0f worker-hours", *r.Always, *r.AlwaysHours)
	case t.most < sleep.Microseconds():
		why += fmt.Sprintf("; no number of workers would meet it, since one that is idle looks every %s (sleep_seconds)", span(sleep))
	default:
		why += "; nor did any fixed number of workers"
	}
	return why
}

// simulation writes what a simulation came to: a chart, the variants side by side, the sweep and what is recommended.
func (o *results) simulation(s simulation) {
	if o.json {
		s.From, s.To, s.Warnings = *moment(s.From), *moment(s.To), append([]string{}, s.Warnings...)
		o.encode(s)
		return
	}
	fmt.Fprintf(o, "%s\n\n", s.title(o.paint(bold, label(s.Pool))))
	for _, v := range slices.Backward(s.Variants) {
		if v.timeline != nil {
			o.timeline(v, s.From, s.To)
			break
		}
	}
	var names []string
	for _, v := range s.Variants {
		names = append(names, label(v.Name))
	}
	o.table(figures(names, s.Variants))
	if differ := varied(s.Variants); len(differ) > 0 {
		o.note("")
		for _, v := range s.Variants {
			if settings := spelled(v.Settings, differ); settings != "" {
				fmt.Fprintf(o, "%s: %s\n", o.paint(bold, label(v.Name)), settings)
			}
		}
	}
	if len(s.Sweep) > 0 {
		o.sweep(s.Sweep)
	}
	if s.Recommendation != nil {
		o.recommendation(*s.Recommendation)
	}
	if len(s.Warnings) > 0 {
		o.note("")
	}
	for _, warning := range s.Warnings {
		fmt.Fprintln(o, o.paint(yellow, warning))
	}
}

// title says what was simulated, of the pool by that name.
func (s simulation) title(pool string) string {
	const minutes = "2006-01-02 15:04"
	return fmt.Sprintf("%s: %s from %s to %s", pool, count(s.Builds, "build"), s.From.Local().Format(minutes), s.To.Local().Format(minutes))
}

// timeline draws the variant's queued and running builds and, where they are known, its workers.
func (o *results) timeline(v variant, from, to time.Time) {
	highest := int64(1)
	for _, sample := range v.timeline {
		highest = max(highest, sample.queued, sample.running, sample.size)
	}
	x := timeAxis(from, to)
	columns := o.columns(x, highest)
	lines := make([][]float64, 3)
	for column := range columns {
		first := column * len(v.timeline) / columns
		most := v.timeline[first]
		for _, sample := range v.timeline[first:max(first+1, (column+1)*len(v.timeline)/columns)] {
			most = sample.most(most)
		}
		for i, n := range []int64{most.queued, most.running, most.size} {
			lines[i] = append(lines[i], float64(n))
		}
	}
	if v.SizePeak == nil {
		lines = lines[:2]
	}
	o.plot(o.paint(bold, label(v.Name)), []string{"queued", "running", "workers"}, x, highest, lines)
	o.note("")
}

// most is the most of two samples.
func (s sample) most(other sample) sample {
	return sample{max(s.queued, other.queued), max(s.running, other.running), max(s.size, other.size)}
}

// costAndWait is how many rows of figures, with the headings, say what was paid, and what for.
const costAndWait = 8

// figures are a table with the variants side by side, under these names.
func figures(names []string, all []variant) [][]cell {
	number := func(f *float64, format string, unit float64) cell {
		if f == nil {
			return digits(nil)
		}
		return cell{fmt.Sprintf(format, *f*unit), "", true}
	}
	table := [][]cell{{{}}}
	for _, name := range names {
		table[0] = append(table[0], cell{name, bold, true})
	}
	for _, row := range []struct {
		name string
		of   func(variant) cell
	}{
		{"worker-hours", func(v variant) cell { return number(v.WorkerHours, "%.1f", 1) }},
		{"wait, median", func(v variant) cell { return waited(v.WaitMedian) }},
		{"wait, 95 %", func(v variant) cell { return waited(v.WaitP95) }},
		{"wait, longest", func(v variant) cell { return waited(v.WaitMax) }},
		{"builds finished", func(v variant) cell { return digits(&v.Finished) }},
		{"unfinished", func(v variant) cell { return digits(&v.Unfinished) }},
		{"dropped", func(v variant) cell { return digits(&v.Dropped) }},
		{"estimated", func(v variant) cell { return digits(&v.Estimated) }},
		{"workers, mean", func(v variant) cell { return number(v.SizeMean, "%.1f", 1) }},
		{"workers, most", func(v variant) cell { return digits(v.SizePeak) }},
		{"utilisation", func(v variant) cell { return number(v.Utilisation, "%.0f %%", 100) }},
		{"changes of size", func(v variant) cell { return digits(v.Changes) }},
		{"builds at risk", func(v variant) cell { return digits(v.AtRisk) }},
	} {
		cells := []cell{{row.name, faint, false}}
		for _, v := range all {
			cells = append(cells, row.of(v))
		}
		table = append(table, cells)
	}
	return table
}

// waited is a wait of so many seconds, to the second up to an hour.
func waited(s *float64) cell {
	if s == nil {
		return digits(nil)
	}
	d := time.Duration(*s * float64(time.Second)).Round(time.Second)
	if *s > 0 && *s < 9.95 {
		return cell{fmt.Sprintf("%.1fs", *s), "", true}
	}
	if d > time.Minute && d < time.Hour && d%time.Minute != 0 {
		return cell{d.String(), "", true}
	}
	return cell{span(d), "", true}
}

// varied are the settings that are not the same in all variants of which they are known.
func varied(all []variant) []string {
	known, values := 0, map[string]map[string]int{}
	for _, v := range all {
		if v.Settings != nil {
			known++
		}
		for name, value := range v.Settings {
			if values[name] == nil {
				values[name] = map[string]int{}
			}
			values[name][valueText(value)]++
		}
	}
	differ := map[string]any{}
	for name, those := range values {
		if n := slices.Collect(maps.Values(those)); len(n) > 1 || n[0] < known {
			differ[name] = nil
		}
	}
	return inOrder(differ)
}

// unbeaten are the points of a sweep that nothing beats, from the cheapest on.
func unbeaten(sweep []variant) (points []variant) {
	for _, v := range byCost(sweep) {
		if v.Unbeaten != nil && *v.Unbeaten && v.WorkerHours != nil && v.WaitP95 != nil {
			points = append(points, v)
		}
	}
	return points
}

// byCost are the variants from the cheapest on, and those with equal costs from the shortest wait on.
func byCost(all []variant) []variant {
	known := func(f *float64) float64 {
		if f == nil {
			return math.Inf(1)
		}
		return *f
	}
	return slices.SortedStableFunc(slices.Values(all), func(a, b variant) int {
		return cmp.Or(cmp.Compare(known(a.WorkerHours), known(b.WorkerHours)), cmp.Compare(known(a.WaitP95), known(b.WaitP95)))
	})
}

// mostPoints is how many lines of a table are still read.
const mostPoints = 40

// sweep writes the points of a sweep, and draws the least wait that worker-hours buy.
func (o *results) sweep(all []variant) {
	best, shown := unbeaten(all), byCost(all)
	text := "nothing beats those with * in both worker-hours and 95 % wait"
	if len(all) > mostPoints {
		text, shown = "only those are shown that nothing beats in both worker-hours and 95 % wait", best
	}
	fmt.Fprintf(o, "\nsweep of %s; %s\n\n", count(int64(len(all)), "point"), text)
	swept := varied(all)
	table := [][]cell{{{}}}
	for _, name := range slices.Concat(swept, []string{"worker-hours", "median", "95 %", "longest", "finished", "unfinished", "dropped"}) {
		table[0] = append(table[0], cell{strings.ToUpper(name), faint, true})
	}
	for _, v := range shown {
		row := []cell{{}}
		for _, name := range swept {
			row = append(row, cell{valueText(v.Settings[name]), "", true})
		}
		for _, of := range figures([]string{""}, []variant{v})[1:costAndWait] {
			row = append(row, of[1])
		}
		if v.Unbeaten != nil && *v.Unbeaten {
			row[0].text = "*"
			for i := range row {
				row[i].style = bold
			}
		}
		table = append(table, row)
	}
	o.table(table)
	if len(best) == 0 || *best[0].WorkerHours == *best[len(best)-1].WorkerHours {
		return // it is no trade-off
	}
	x := axis{*best[0].WorkerHours, *best[len(best)-1].WorkerHours, func(hours float64) string { return fmt.Sprintf("%.1f", hours) }}
	highest := int64(max(1, math.Ceil(*best[0].WaitP95)))
	columns := o.columns(x, highest)
	line := make([]float64, columns)
	for column := range columns {
		for hours := x.to - (x.to-x.from)*float64(columns-1-column)/float64(columns-1); len(best) > 1 && *best[1].WorkerHours <= hours; {
			best = best[1:]
		}
		line[column] = *best[0].WaitP95
	}
	o.note("")
	o.plot("the least 95 % wait, in seconds, that so many worker-hours buy", nil, x, highest, [][]float64{line})
}

// recommendation writes settings as they are to be entered in Vespene, and what they come to beside today's.
func (o *results) recommendation(r recommendation) {
	settings := inOrder(r.Settings)
	switch {
	case !r.Met && len(settings) == 0:
		fmt.Fprintf(o, "\n%s\n", o.paint(yellow, "nothing that was tried meets the target "+r.Target+"; today's settings come nearest"))
	case !r.Met:
		fmt.Fprintf(o, "\n%s\n", o.paint(yellow, "nothing that was tried meets the target "+r.Target+"; the nearest:"))
	case len(settings) == 0:
		fmt.Fprintf(o, "\ntoday's settings meet the target %s, and nothing that was tried meets it for less\n", r.Target)
	default:
		fmt.Fprintf(o, "\nto meet the target %s, enter in Vespene:\n", r.Target)
	}
	var table [][]cell
	for _, name := range settings {
		now := ""
		if value, known := r.Today.Settings[name]; known {
			now = "(now " + valueText(value) + ")"
		}
		then := "taken away"
		if value := r.Settings[name]; value != nil {
			then = valueText(value)
		}
		table = append(table, []cell{{"  " + name, "", false}, {then, bold, false}, {now, faint, false}})
	}
	if len(table) > 0 {
		o.note("")
		o.table(table)
		if object := autoscalingOf(r.Then.Settings); slices.ContainsFunc(settings, isSteady) {
			fmt.Fprintf(o, "  in the pool's variables: %s\n", o.paint(bold, object))
		}
	}
	if r.Why != "" {
		fmt.Fprintf(o, "\n%s\n", r.Why)
	}
	o.note("")
	o.table(figures([]string{"today", "then", "first two thirds", "last third"}, []variant{r.Today, r.Then, r.Searched, r.Verified})[:costAndWait])
}

// autoscalingOf is the object "autoscaling" that a pool's variables have with those settings.
func autoscalingOf(settings map[string]any) string {
	steady := maps.Clone(settings)
	maps.DeleteFunc(steady, func(name string, _ any) bool { return !isSteady(name) })
	if len(steady) == 0 {
		return `no "autoscaling"`
	}
	return `"autoscaling": ` + valueText(steady)
}

// The colours of the picture.
var (
	ink    = drawing.Color{R: 0x33, G: 0x33, B: 0x33, A: 0xff}
	grey   = drawing.Color{R: 0xa0, G: 0xa4, B: 0xab, A: 0xff}
	pale   = drawing.Color{R: 0xdd, G: 0xdd, B: 0xdd, A: 0xff}
	orange = drawing.Color{R: 0xe0, G: 0x7b, B: 0x00, A: 0xff}
	azure  = drawing.Color{R: 0x25, G: 0x63, B: 0xeb, A: 0xff}
	leaf   = drawing.Color{R: 0x2e, G: 0x9e, B: 0x4f, A: 0xff}
)

// picture is the simulation as SVG: for each variant with a timeline a panel with its builds and workers, all to one
// scale, and of a sweep one with the wait that worker-hours buy.
func picture(s simulation) ([]byte, error) {
	highest := int64(1)
	for _, v := range s.Variants {
		for _, sample := range v.timeline {
			highest = max(highest, sample.queued, sample.running, sample.size)
		}
	}
	var panels []chartdraw.Chart
	zone, _ := s.To.Local().Zone()
	for _, v := range s.Variants {
		if v.timeline == nil {
			continue
		}
		var at []float64
		lines := make([][]float64, 3)
		for i, sample := range v.timeline { // each lasts until the next
			for _, edge := range []int{i, i + 1} {
				at = append(at, float64(s.From.Unix())+s.To.Sub(s.From).Seconds()*float64(edge)/float64(len(v.timeline)))
				for line, n := range []int64{sample.size, sample.running, sample.queued} {
					lines[line] = append(lines[line], float64(n))
				}
			}
		}
		panel := chartdraw.Chart{Title: label(v.Name)}
		panel.XAxis.Name, panel.XAxis.Ticks = "time ("+zone+")", timeTicks(s.From, s.To)
		panel.YAxisSecondary.Name, panel.YAxisSecondary.Ticks = "builds, workers", roundTicks(0, float64(highest), 1)
		for i, line := range []chartdraw.ContinuousSeries{
			{Name: "workers", Style: chartdraw.Style{StrokeColor: leaf, StrokeWidth: 1.5, FillColor: leaf.WithAlpha(40)}},
			{Name: "running", Style: chartdraw.Style{StrokeColor: azure, StrokeWidth: 1.5}},
			{Name: "queued", Style: chartdraw.Style{StrokeColor: orange, StrokeWidth: 1.5}},
		} {
			if i > 0 || v.SizePeak != nil {
				line.XValues, line.YValues = at, lines[i]
				panel.Series = append(panel.Series, line)
			}
		}
		panels = append(panels, panel)
	}
	if len(unbeaten(s.Sweep)) > 0 {
		panels = append(panels, tradeOff(s.Sweep))
	}

	const width, top, height = 1000, 50, 230 // of the picture, of its title, of a panel
	total := top + len(panels)*height
	r := chartdraw.SVG(width, total)
	chartdraw.Draw.Box(r, chartdraw.Box{Right: width, Bottom: total}, chartdraw.Style{FillColor: drawing.ColorWhite})
	font := chartdraw.FontStyle{Font: chartdraw.GetDefaultFont(), FontSize: 9, FontColor: ink}
	title := chartdraw.FontStyle{Font: font.Font, FontSize: 14, FontColor: ink}
	chartdraw.Draw.Text(r, s.title(label(s.Pool)), 20, 30, chartdraw.Style{FontStyle: title})
	for i, panel := range panels {
		panel.Width, panel.Height = width, total
		panel.Background.FillColor = drawing.ColorWhite.WithAlpha(0)
		panel.Background.Padding = chartdraw.Box{Left: 40, Right: 20, Top: top + i*height + 30, Bottom: total - top - (i+1)*height + 10, IsSet: true}
		panel.YAxis.Style.Hidden, panel.YAxis.Range = true, &chartdraw.ContinuousRange{Max: 1}
		axis, lines := chartdraw.Style{FontStyle: font, StrokeColor: ink}, chartdraw.Style{StrokeColor: pale, StrokeWidth: 1}
		panel.XAxis.Style, panel.XAxis.NameStyle, panel.XAxis.GridMajorStyle, panel.XAxis.GridMinorStyle = axis, axis, lines, lines
		y := &panel.YAxisSecondary // the first is on the right
		y.Style, y.GridMajorStyle, y.GridMinorStyle = axis, lines, lines
		for i := range panel.Series {
			series := panel.Series[i].(chartdraw.ContinuousSeries)
			series.YAxis = chartdraw.YAxisSecondary
			panel.Series[i] = series
		}
		name, unit := panel.Title, y.Name
		panel.Title, y.Name = "", "" // which it writes elsewhere, and close to the numbers
		panel.Elements = []chartdraw.Renderable{func(r chartdraw.Renderer, box chartdraw.Box, _ chartdraw.Style) {
			upwards := chartdraw.Style{FontStyle: font, TextRotationDegrees: 270}
			chartdraw.Draw.Text(r, unit, 25, (box.Top+box.Bottom+chartdraw.Draw.MeasureText(r, unit, axis).Width())/2, upwards)
			at := box.Left
			write := func(text string, size float64) {
				style := chartdraw.Style{FontStyle: chartdraw.FontStyle{Font: font.Font, FontSize: size, FontColor: ink}}
				chartdraw.Draw.Text(r, text, at, box.Top-8, style)
				at += chartdraw.Draw.MeasureText(r, text, style).Width()*6/5 + 20 // the reader's font may be wider
			}
			write(name, 11)
			for _, series := range panel.Series {
				style := series.GetStyle()
				chartdraw.Draw.Box(r, chartdraw.Box{Left: at, Right: at + 10, Top: box.Top - 17, Bottom: box.Top - 7}, chartdraw.Style{FillColor: style.GetStrokeColor(style.DotColor)})
				at += 15
				write(series.GetName(), font.FontSize)
			}
		}}
		if err := panel.Render(func(int, int) chartdraw.Renderer { return r }, io.Discard); err != nil {
			return nil, fmt.Errorf("draw %s: %w", name, err)
		}
	}
	var b bytes.Buffer
	err := r.Save(&b)
	return b.Bytes(), err
}

// tradeOff is the panel of a sweep, in which something is unbeaten.
func tradeOff(sweep []variant) chartdraw.Chart {
	points := chartdraw.ContinuousSeries{Name: "settings", Style: chartdraw.Style{StrokeWidth: chartdraw.Disabled, DotWidth: 2.5, DotColor: grey}}
	best := chartdraw.ContinuousSeries{Name: "those that nothing beats", Style: chartdraw.Style{StrokeWidth: chartdraw.Disabled, DotWidth: 3.5, DotColor: azure}}
	step := chartdraw.ContinuousSeries{Name: "the least wait that worker-hours buy", Style: chartdraw.Style{StrokeWidth: 1.5, StrokeColor: leaf}}
	longest := 0.0
	for _, v := range sweep {
		if v.WaitP95 != nil {
			longest = max(longest, *v.WaitP95)
		}
	}
	unit, per := "seconds", 1.0
	if longest > 5*3600 {
		unit, per = "hours", 3600
	} else if longest > 5*60 {
		unit, per = "minutes", 60
	}
	for _, v := range byCost(sweep) {
		if v.WorkerHours != nil && v.WaitP95 != nil {
			points.XValues, points.YValues = append(points.XValues, *v.WorkerHours), append(points.YValues, *v.WaitP95/per)
		}
	}
	for _, v := range unbeaten(sweep) {
		if n := len(best.YValues); n > 0 {
			step.XValues, step.YValues = append(step.XValues, *v.WorkerHours), append(step.YValues, best.YValues[n-1])
		}
		best.XValues, best.YValues = append(best.XValues, *v.WorkerHours), append(best.YValues, *v.WaitP95/per)
		step.XValues, step.YValues = append(step.XValues, *v.WorkerHours), append(step.YValues, *v.WaitP95/per)
	}
	panel := chartdraw.Chart{Title: "sweep", Series: []chartdraw.Series{points, step, best}}
	panel.XAxis.Name, panel.XAxis.Ticks = "worker-hours", roundTicks(points.XValues[0], points.XValues[len(points.XValues)-1], 0.1)
	panel.YAxisSecondary.Name, panel.YAxisSecondary.Ticks = "95 % wait ("+unit+")", roundTicks(0, longest/per, 1)
	return panel
}

// roundTicks are six at most between round numbers of which the first is not above low, and the last not below high.
func roundTicks(low, high, step float64) (ticks []chartdraw.Tick) {
	for i := 0; (high-low)/step > 5; i++ {
		step *= []float64{2, 2.5, 2}[i%3] // 1, 2, 5, 10
	}
	for n := math.Floor(low / step); len(ticks) < 2 || ticks[len(ticks)-1].Value < high; n++ {
		ticks = append(ticks, chartdraw.Tick{Value: n * step, Label: strconv.FormatFloat(math.Round(n*step*10)/10, 'f', -1, 64)})
	}
	return ticks
}

// timeTicks are at the ends, unnamed, and between them at round times, the days by name.
func timeTicks(from, to time.Time) []chartdraw.Tick {
	const day = 24 * time.Hour
	steps := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 7 * day, 14 * day, 28 * day}
	for len(steps) > 1 && to.Sub(from)/steps[0] > 14 {
		steps = steps[1:]
	}
	ticks := []chartdraw.Tick{{Value: float64(from.Unix())}}
	year, month, first := from.Local().Date()
	for n := 1; ; n++ {
		at := time.Date(year, month, first, 0, 0, n*int(steps[0]/time.Second), 0, time.Local) // which keeps to the clock when it changes
		if !at.Before(to) {
			return append(ticks, chartdraw.Tick{Value: float64(to.Unix())})
		}
		clock := "15:04"
		if at.Hour() == 0 && at.Minute() == 0 {
			clock = "Jan 2"
		}
		if at.After(from) {
			ticks = append(ticks, chartdraw.Tick{Value: float64(at.Unix()), Label: at.Format(clock)})
		}
	}
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
