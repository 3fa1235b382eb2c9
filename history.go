package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"vespene-autoscale/internal/term"
)

// history.go shows past evaluations: as a list, and as charts of builds and sizes.

// mostCharts is how many charts are still looked at.
const mostCharts = 10

// pastEvaluation is an evaluation as history's JSON has it, by record's names; ended and what follows it are null while
// it goes on, and if its run was killed.
type pastEvaluation struct {
	Database   string     `json:"database"` // its address without user, password and options
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

func newPastEvaluation(e evaluation) pastEvaluation {
	p := pastEvaluation{e.database, e.pool, moment(e.started), e.forced, e.queued, e.running, e.size, e.queuedSize,
		moment(e.ended), optional(e.outcome.outcome), e.exitCode, nil, optional(e.err), nil}
	if !e.ended.IsZero() {
		p.DurationMS, p.Output = new(e.ended.Sub(e.started).Milliseconds()), &e.output
	}
	return p
}

// writeHistory writes evaluations of a window of time until now, and above them a chart of each pool.
func writeHistory(o *term.Output, all []evaluation, window time.Duration, now time.Time) {
	if o.JSON {
		for _, e := range all {
			o.Encode(newPastEvaluation(e))
		}
		return
	}
	if len(all) == 0 {
		o.Note(fmt.Sprintf("no evaluation in the last %s; --since DURATION shows older ones, of up to 90 days",
			term.Span(window)))
		return
	}
	byPool := map[[2]string][]evaluation{} // pools of two servers may have one name
	databases := map[string]bool{}
	table := [][]term.Cell{term.Headings("STARTED", "POOL", ">QUEUED", ">RUNNING", ">SIZE", "OUTCOME", ">TOOK", "WHY")}
	for _, e := range all {
		key := [2]string{e.pool, e.database}
		byPool[key], databases[e.database] = append(byPool[key], e), true
		table = append(table, evaluationCells(e))
	}
	keys := slices.SortedFunc(maps.Keys(byPool), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	if len(keys) > mostCharts {
		o.Note(fmt.Sprintf("no charts of %d pools: --queue NAME shows that of one\n", len(keys)))
		keys = nil
	}
	for _, key := range keys {
		title := o.Paint(term.Bold, term.Label(key[0]))
		if len(databases) > 1 {
			title += " of " + key[1]
		}
		writeChart(o, title, byPool[key], now)
	}
	o.Table(table)
}

func evaluationCells(e evaluation) []term.Cell {
	how, style := e.outcome.outcome, styleOf(e.outcome.outcome)
	if how == "" {
		how, style = "open", term.Yellow
	}
	took, why := "-", strings.Join(strings.Fields(e.err), " ")
	if !e.ended.IsZero() {
		took = e.ended.Sub(e.started).Round(time.Millisecond).String()
	}
	if e.forced {
		why = strings.TrimPrefix(why+", forced", ", ")
	}
	return []term.Cell{{Text: e.started.Local().Format(time.DateTime)}, {Text: term.Label(e.pool), Style: term.Bold},
		term.Digits(&e.queued), term.Digits(&e.running), term.Digits(&e.size), {Text: how, Style: style},
		{Text: took, Right: true}, {Text: why}}
}

// writeChart draws queued and running builds and the size of one pool over time. Between evaluations each is as it was.
func writeChart(o *term.Output, title string, all []evaluation, now time.Time) {
	if all[0].started.After(now) {
		return // the clock went back, and nothing is before now
	}
	since := now.Add(-time.Minute)
	highest := int64(1)
	for _, e := range all {
		if e.started.Before(since) {
			since = e.started // what was before is unknown
		}
		highest = max(highest, e.queued, e.running, e.size)
	}
	x := term.TimeAxis(since, now)
	columns := o.Columns(x, highest)
	lines := make([][]float64, 3)
	current := []float64{math.NaN(), math.NaN(), math.NaN()}
	for column, rest := 0, all; column < columns; column++ {
		part := float64(columns-1-column) / float64(columns-1)
		at := now.Add(-time.Duration(float64(now.Sub(since)) * part))
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
	o.Plot(title, []string{"queued", "running", "size"}, x, highest, lines)
	o.Note("")
}
