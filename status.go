package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"vespene-autoscale/internal/term"
)

// status.go shows how pools stand.

// poolStatus is how a pool stands. The JSON names are a contract, as record's are, and have its meanings; what is
// unknown or does not apply is null. last_… is of the newest evaluation.
type poolStatus struct {
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

// newPoolStatus returns the status of a pool that was inspected.
func newPoolStatus(i inspection) poolStatus {
	s := poolStatus{Pool: i.pool.name, now: i.now}
	if i.err != nil {
		s.Error = new(withCure(i.err))
	}
	if !i.exists {
		return s
	}
	s.Enabled, s.Queued, s.Running = &i.pool.enabled, &i.pool.queuedBuilds, &i.pool.running
	s.Settings, s.Warnings = unusual(i.pool.columns), []string{}
	for _, warning := range i.pool.staleWarnings() {
		s.Warnings = append(s.Warnings, warning.String())
	}
	if e := i.summary.newest; e != nil {
		s.LastEvaluation, s.LastSuccess, s.Failures = moment(e.started), moment(i.summary.scaled), i.summary.failures
		s.LastOutcome, s.LastExitCode, s.LastError = optional(e.outcome.outcome), e.exitCode, optional(e.err)
		if i.summary.isWhole {
			s.LastSize, s.LastQueuedSize = &e.size, &e.queuedSize
		}
		if !e.ended.IsZero() {
			s.took = new(e.ended.Sub(e.started))
			s.LastDurationMS = new(s.took.Milliseconds())
		}
	}
	if p := i.plan; p != nil {
		s.Queued, s.Minimum, s.Maximum, s.interval = &p.queued, &p.minimum, &p.maximum, &p.reevaluate
		s.PreviousSize = i.last.previousSize
		if p.planner == stock { // a program would have to be asked
			s.Size, s.QueuedSize = &p.size, &p.queuedSize
		}
		if !i.last.open {
			s.Due, s.NextDue = &i.timing.isDue, moment(i.timing.next)
		}
	}
	return s
}

// defaults are Vespene's for the settings by which a pool is sized, in the order in which they are shown.
var defaults = []struct {
	setting string
	value   any
}{
	{"minimum", int64(0)}, {"maximum", int64(10)}, {"excess", int64(0)}, {"multiplier", 1.0}, {"queued_weight", 1.0},
	{"running_weight", 1.0}, {"build_latest", true}, {"reevaluate_minutes", int64(10)}, {"planner", stock},
	{"executor", shell},
}

// unusual returns the settings that are not Vespene's defaults.
func unusual(row columns) map[string]any {
	settings := map[string]any{}
	for _, d := range defaults {
		value := row.get(d.setting)
		if unnamed := value == nil || value == ""; unnamed && (d.setting == "planner" || d.setting == "executor") {
			continue
		}
		if f, isFloat := value.(float64); isFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
			value = fmt.Sprint(f) // JSON has no such numbers
		}
		if fmt.Sprint(value) != fmt.Sprint(d.value) {
			settings[d.setting] = value
		}
	}
	return settings
}

// last returns the newest evaluation in a few words.
func (s poolStatus) last() (text, style string) {
	if s.LastEvaluation == nil {
		return "never", term.Faint
	}
	when := term.Span(s.now.Sub(*s.LastEvaluation)) + " ago"
	if s.LastEvaluation.Sub(s.now) > dueTolerance {
		when = "in the future" // the clock went back
	}
	if s.LastOutcome == nil {
		return "begun " + when, term.Yellow
	}
	code := ""
	if s.LastExitCode != nil && *s.LastExitCode != 0 {
		code = fmt.Sprintf(" (exit %d)", *s.LastExitCode)
	}
	return fmt.Sprintf("%s%s %s", *s.LastOutcome, code, when), styleOf(*s.LastOutcome)
}

// cells returns the pool's line of the table.
func (s poolStatus) cells() []term.Cell {
	size := s.PreviousSize
	// Hosts that share a pool have no previous size.
	if size == nil && s.LastOutcome != nil && *s.LastOutcome == scaled {
		size = s.LastSize
	}
	enabled, wanted := term.Cell{Text: "yes"}, term.Digits(s.Size)
	if !*s.Enabled {
		enabled = term.Cell{Text: "no", Style: term.Faint}
	}
	if s.Size != nil && size != nil && *s.Size != *size {
		wanted.Style = term.Yellow
	}
	last, style := s.last()
	due := "-"
	if s.Due != nil {
		due = dueIn(*s.Due, s.NextDue, s.now)
	}
	settings := cmp.Or(spelled(s.Settings, inOrder(s.Settings)), "defaults")
	return []term.Cell{{Text: term.Label(s.Pool), Style: term.Bold}, enabled, term.Digits(s.Queued),
		term.Digits(s.Running), term.Digits(size), wanted, {Text: last, Style: style}, {Text: due}, {Text: settings}}
}

// writeStatus writes how pools stand: a line each and, below, what is wrong with them.
func writeStatus(o *term.Output, all []poolStatus) {
	if o.JSON {
		for _, s := range all {
			o.Encode(s)
		}
		return
	}
	if len(all) == 0 {
		o.Note("Vespene has no worker pools yet")
		return
	}
	table := [][]term.Cell{term.Headings("POOL", "ENABLED", ">QUEUED", ">RUNNING", ">SIZE", ">WANTED",
		"LAST EVALUATION", "NEXT DUE", "SETTINGS")}
	var below []string
	for _, s := range all {
		name := term.Label(s.Pool) + ": "
		if s.Enabled != nil {
			table = append(table, s.cells())
		}
		if s.Error != nil {
			below = append(below, o.Paint(term.Red, name+*s.Error))
		}
		if s.LastError != nil && s.LastOutcome != nil {
			below = append(below, fmt.Sprintf("%sthe last evaluation %s: %s; more with vespene-autoscale history", name,
				*s.LastOutcome, *s.LastError))
		}
		for _, warning := range s.Warnings {
			below = append(below, o.Paint(term.Yellow, name+warning))
		}
	}
	if len(table) > 1 {
		o.Table(table)
	}
	for _, line := range below {
		fmt.Fprintln(o, line)
	}
}

// inOrder returns the names of settings in the order of defaults, and then of the alphabet.
func inOrder(settings map[string]any) []string {
	var names []string
	for _, d := range defaults {
		if _, has := settings[d.setting]; has {
			names = append(names, d.setting)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// spelled returns the settings that have these names, on one line.
func spelled(settings map[string]any, names []string) string {
	var all []string
	for _, name := range names {
		if value, has := settings[name]; has {
			all = append(all, name+" "+valueText(value))
		}
	}
	return strings.Join(all, ", ")
}

// valueText returns a setting's value as people read it.
func valueText(value any) string {
	switch value.(type) {
	case nil:
		return "NULL"
	case []any, map[string]any: // of a pool's variables
		if text, err := json.Marshal(value); err == nil {
			return string(text)
		}
	}
	return term.Label(fmt.Sprint(value))
}
