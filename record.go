package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"vespene-autoscale/internal/term"
)

// record.go shows a pool's turn: the record, made once of what came of it, and a block for people.

// record is what a run says of one pool. The JSON names are a contract, extended only by adding; what does not apply is
// null.
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
	StaleQueued  *int64           `json:"stale_queued"`
	StaleRunning *int64           `json:"stale_running"`
	Steps        []step           `json:"steps"` // that the pool's steadiness took to the size
}

// newRecord returns the record of a turn in a run with these options.
func newRecord(t turn, forced, dryRun bool) record {
	r := record{Pool: t.pool.name, Outcome: t.outcome, Reason: reason(t), Forced: forced, DryRun: dryRun}
	if p := t.plan; p != nil {
		r.Queued, r.Running, r.Minimum, r.Maximum = &p.queued, &p.running, &p.minimum, &p.maximum
		r.Planner, r.Executor = &p.planner, &p.executor
		r.StaleQueued, r.StaleRunning = &t.pool.staleQueued, &t.pool.overdue.count
	}
	if t.timing != nil {
		r.Due, r.NextDue = &t.timing.isDue, moment(t.timing.next)
	}
	if t.prepared != nil {
		r.PreviousSize, r.Command = t.prepared.previous, optional(t.prepared.command)
	}
	if p := sizedPlan(t); p != nil {
		raw := json.RawMessage(decimalString(p.raw))
		r.Size, r.QueuedSize, r.Capped, r.Raw = &p.size, &p.queuedSize, &p.capped, &raw
		r.Steps = append([]step{}, p.steps...) // none is an empty list
	}
	if t.result != nil {
		r.ExitCode, r.DurationMS = t.result.exitCode, new(t.result.duration.Milliseconds())
	}
	if t.err != nil {
		r.Error = &r.Reason
	}
	return r
}

// sizedPlan returns the plan of a turn that came to a size, or nil.
func sizedPlan(t turn) *plan {
	if t.prepared == nil {
		return nil
	}
	return t.prepared.plan
}

// reason says in one sentence why the turn has its outcome.
func reason(t turn) string {
	switch p := sizedPlan(t); {
	case t.err != nil:
		return withCure(t.err)
	case t.outcome == disabled:
		return "autoscaling is not enabled for this pool in Vespene"
	case t.outcome == notDue:
		return fmt.Sprintf("last evaluated at %s, due again at %s", t.last.last.UTC().Format(time.RFC3339),
			moment(t.timing.next).Format(time.RFC3339))
	case p != nil:
		return p.why()
	}
	return ""
}

// writeTurn writes the record of a turn: as JSON, or as a block for people.
func writeTurn(o *term.Output, t turn, forced, dryRun bool) {
	r := newRecord(t, forced, dryRun)
	if o.JSON {
		o.Encode(r)
		return
	}
	var b strings.Builder
	row := func(what, text string) { fmt.Fprintf(&b, "  %-8s %s\n", what, text) }
	name, outcome := o.Paint(term.Bold, term.Label(r.Pool)), o.Paint(styleOf(r.Outcome), r.Outcome)
	if p := sizedPlan(t); p == nil {
		fmt.Fprintf(&b, "%s: %s\n", name, outcome)
		if r.Outcome != notDue {
			row("reason", r.Reason)
		}
	} else {
		was := ""
		if r.PreviousSize != nil {
			was = fmt.Sprintf(", was %d", *r.PreviousSize)
		}
		size := o.Paint(term.Bold, fmt.Sprintf("size %d", p.size))
		fmt.Fprintf(&b, "%s: %s, queued_size %d (%s%s)\n", name, size, p.queuedSize, outcome, was)
		for _, c := range p.clauses() {
			row(c.subject, c.text)
		}
		if r.Error != nil {
			row("error", o.Paint(term.Red, *r.Error))
		}
	}
	if dryRun && r.Command != nil {
		row("command", strings.ReplaceAll(*r.Command, "\n", "\n           "))
	} else if r.ExitCode != nil {
		took := time.Duration(max(*r.DurationMS, 1)) * time.Millisecond
		row("command", fmt.Sprintf("exit status %d after %v", *r.ExitCode, took))
	}
	isDue := dryRun && r.Due != nil && *r.Due // what was run is due again next
	if isDue || r.NextDue != nil && r.NextDue.After(t.now) {
		row("due", dueIn(isDue, r.NextDue, t.now))
	}
	io.WriteString(o, b.String())
}

// dueIn says when a pool is due: "now", "in 3m", or "-" for unknown.
func dueIn(isDue bool, next *time.Time, now time.Time) string {
	switch {
	case isDue:
		return "now"
	case next != nil:
		return "in " + term.Span(next.Sub(now))
	}
	return "-"
}

// styleOf returns the style of an outcome.
func styleOf(outcome string) string {
	switch outcome {
	case scaled, dryRun:
		return term.Green
	case failed, invalid:
		return term.Red
	case busy, interrupted:
		return term.Yellow
	}
	return term.Faint
}

// ptr returns a pointer to a value.
func ptr[T any](v T) *T { return &v }

// optional returns a pointer to a value, or nil for zero.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// moment returns a time as results have it, or nil for zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Truncate(time.Millisecond)) // as the state keeps it
}
