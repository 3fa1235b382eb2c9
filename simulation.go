package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"vespene-autoscale/internal/sim"
	"vespene-autoscale/internal/term"
)

// simulation.go shows what came of a simulation, as text, JSON or a picture. It decides nothing.

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

// variant is what one way to run the pool came to; what is unknown is null. docs/simulation.md explains the figures.
type variant struct {
	Name          string         `json:"name"`
	Settings      map[string]any `json:"settings"` // null for what was recorded
	WorkerHours   *float64       `json:"worker_hours"`
	Finished      int64          `json:"finished"`
	Unfinished    int64          `json:"unfinished"`
	Dropped       int64          `json:"dropped"`
	Estimated     int64          `json:"estimated"`
	WaitMedian    *float64       `json:"wait_median_s"`
	WaitP95       *float64       `json:"wait_p95_s"`
	WaitMax       *float64       `json:"wait_max_s"`
	SizeMean      *float64       `json:"size_mean"`
	SizePeak      *int64         `json:"size_peak"`
	Utilisation   *float64       `json:"utilisation"`
	Changes       *int64         `json:"changes"`
	AtRisk        *int64         `json:"at_risk"`
	ParetoOptimal *bool          `json:"unbeaten,omitempty"` // in a sweep: nothing beats it

	timeline []sim.Sample // nil: none is shown
	wait     float64      // seconds, to compare by: the 95 % wait, of those that wait at the end, too, if they are many
	err      error        // why it could not be simulated
}

// recommendation is the cheapest way to meet a target.
type recommendation struct {
	Target   string         `json:"target"`
	Met      bool           `json:"met"`
	Tried    int64          `json:"tried"`    // combinations of settings
	Failed   int64          `json:"failed"`   // of them, those that met the target on the first two thirds only
	Settings map[string]any `json:"settings"` // that differ from today's; where the target is not met, the nearest ones
	Why      string         `json:"why"`
	Today    variant        `json:"today"`    // over the whole window
	Then     variant        `json:"then"`     // the same with the settings
	Searched variant        `json:"searched"` // with the settings over the first two thirds, which the search has seen
	Verified variant        `json:"verified"` // and over the last, which it has not

	Always      *int64   `json:"always"` // where it is not met, the fixed number of instances that would; null: none
	AlwaysHours *float64 `json:"always_worker_hours"`
	Unverified  bool     `json:"unverified"` // the last third has no builds to judge by
}

// Microseconds.
const (
	perSecond = float64(time.Second / time.Microsecond)
	perHour   = float64(time.Hour / time.Microsecond)
)

// setWaits sets the figures of sorted waits in microseconds.
func (v *variant) setWaits(waits []int64) {
	if len(waits) > 0 {
		at := func(quantile float64) *float64 { return ptr(sim.Quantile(waits, quantile) / perSecond) }
		v.WaitMedian, v.WaitP95, v.WaitMax = at(0.5), at(0.95), at(1)
	}
}

// beats tells whether the variant waits less than the other or costs less, and neither more.
func (v variant) beats(other variant) bool {
	cost, otherCost := *v.WorkerHours, *other.WorkerHours
	return v.wait <= other.wait && cost <= otherCost && (v.wait < other.wait || cost < otherCost)
}

// differences warns where the pool as it is configured does not come to what was recorded. A second more or less of a
// wait is not worth a word.
func differences(recorded, configured variant) (warnings []string) {
	var off []string
	compare := func(name string, was, is *float64, slack float64, text func(float64) string) {
		if was != nil && is != nil && math.Abs(*is-*was) > max(slack, *was*0.2) {
			off = append(off, fmt.Sprintf("%s %s for %s", name, text(*is), text(*was)))
		}
	}
	number := func(f float64) string { return fmt.Sprintf("%.4g", f) }
	count := func(name string, was, is int64) { compare(name, ptr(float64(was)), ptr(float64(is)), 0, number) }
	compare("worker-hours", recorded.WorkerHours, configured.WorkerHours, 0, number)
	compare("median wait", recorded.WaitMedian, configured.WaitMedian, 1, waited)
	compare("95 % wait", recorded.WaitP95, configured.WaitP95, 1, waited)
	compare("longest wait", recorded.WaitMax, configured.WaitMax, 1, waited)
	count("builds finished", recorded.Finished, configured.Finished)
	count("dropped", recorded.Dropped, configured.Dropped)
	count("unfinished", recorded.Unfinished, configured.Unfinished)
	compare("mean size", recorded.SizeMean, configured.SizeMean, 0, number)
	if off == nil {
		return nil
	}
	return []string{"as configured is more than 20 % off what was recorded: " + strings.Join(off, ", ") +
		"; trust the differences between simulated columns more than their values (docs/simulation.md, Limits)"}
}

// why says why this is recommended, for workers that look for builds so often.
func (r recommendation) why(t sim.Target, sleep time.Duration) string {
	const these = "these met the target on the first two thirds of the window "
	why := "of " + term.Count(r.Tried, "combination") + " that were tried, "
	switch {
	case r.Met && r.Unverified:
		why += these + "for the fewest worker-hours; in the last third there is no build to tell"
	case r.Met && r.Failed > 0:
		why += these + "and on the last for the fewest worker-hours; of what costs less, " +
			term.Count(r.Failed, "combination") + " met it on the first two thirds only"
	case r.Met:
		why += these + "for the fewest worker-hours, and on the last third, too"
	case r.Failed > 0:
		why += fmt.Sprintf("%d met the target on the first two thirds of the window, and none on the last: "+
			"this one came nearest there; a longer --since may tell more", r.Failed)
	default:
		why += "none met the target on the first two thirds of the window"
	}
	if lost := r.Today.Finished - r.Then.Finished; lost*100 > r.Today.Finished {
		why += "; but " + term.Count(lost, "build") + " fewer would have been finished than with today's settings"
	}
	switch {
	case r.Met:
	case r.Always != nil:
		why += fmt.Sprintf("; it takes %d that are always there, and %.0f worker-hours", *r.Always, *r.AlwaysHours)
	case t.Most < sleep.Microseconds():
		why += "; no number of workers would meet it, since one that is idle looks every " + term.Span(sleep) +
			" (sleep_seconds)"
	default:
		why += "; nor did any fixed number of workers"
	}
	return why
}

// writeSimulation writes a chart, the variants side by side, the sweep, and what is recommended.
func writeSimulation(o *term.Output, s simulation) {
	if o.JSON {
		s.From, s.To, s.Warnings = *moment(s.From), *moment(s.To), append([]string{}, s.Warnings...)
		o.Encode(s)
		return
	}
	fmt.Fprintf(o, "%s\n\n", s.title(o.Paint(term.Bold, term.Label(s.Pool))))
	for _, v := range slices.Backward(s.Variants) {
		if v.timeline != nil {
			writeTimeline(o, v, s.From, s.To)
			break
		}
	}
	o.Table(figures(s.Variants))
	if differ := varied(s.Variants); len(differ) > 0 {
		o.Note("")
		for _, v := range s.Variants {
			if settings := spelled(v.Settings, differ); settings != "" {
				fmt.Fprintf(o, "%s: %s\n", o.Paint(term.Bold, term.Label(v.Name)), settings)
			}
		}
	}
	if len(s.Sweep) > 0 {
		writeSweep(o, s.Sweep)
	}
	if s.Recommendation != nil {
		writeRecommendation(o, *s.Recommendation)
	}
	if len(s.Warnings) > 0 {
		o.Note("")
	}
	for _, warning := range s.Warnings {
		o.Note(o.Paint(term.Yellow, warning))
	}
}

// title says what was simulated, of the pool by that name.
func (s simulation) title(pool string) string {
	const minutes = "2006-01-02 15:04"
	from, to := s.From.Local().Format(minutes), s.To.Local().Format(minutes)
	return fmt.Sprintf("%s: %s from %s to %s", pool, term.Count(s.Builds, "build"), from, to)
}

// writeTimeline draws the variant's queued and running builds and, where they are known, its workers.
func writeTimeline(o *term.Output, v variant, from, to time.Time) {
	x, highest := term.TimeAxis(from, to), v.highest()
	lines, columns := make([][]float64, 3), o.Columns(x, highest)
	for column := range columns {
		first := column * len(v.timeline) / columns
		peak := peakOf(v.timeline[first:max(first+1, (column+1)*len(v.timeline)/columns)])
		for i, n := range []int64{peak.Queued, peak.Running, peak.Size} {
			lines[i] = append(lines[i], float64(n))
		}
	}
	if v.SizePeak == nil {
		lines = lines[:2]
	}
	o.Plot(o.Paint(term.Bold, term.Label(v.Name)), []string{"queued", "running", "workers"}, x, highest, lines)
	o.Note("")
}

func peakOf(samples []sim.Sample) (peak sim.Sample) {
	for _, sample := range samples {
		peak = peak.Max(sample)
	}
	return peak
}

// highest is the highest value in the variant's timeline, or 1.
func (v variant) highest() int64 {
	peak := peakOf(v.timeline)
	return max(1, peak.Queued, peak.Running, peak.Size)
}

// costAndWait is how many rows of figures, with the headings, tell the cost and what it buys.
const costAndWait = 8

// figures is a table of the variants side by side.
func figures(all []variant) [][]term.Cell {
	number := func(f *float64, text func(float64) string) term.Cell {
		if f == nil {
			return term.Digits(nil)
		}
		return term.Cell{Text: text(*f), Right: true}
	}
	percent := func(f float64) string { return fmt.Sprintf("%.0f %%", f*100) }
	table := [][]term.Cell{{{}}}
	for _, v := range all {
		table[0] = append(table[0], term.Cell{Text: term.Label(v.Name), Style: term.Bold, Right: true})
	}
	for _, row := range []struct {
		name string
		of   func(variant) term.Cell
	}{
		{"worker-hours", func(v variant) term.Cell { return number(v.WorkerHours, tenths) }},
		{"wait, median", func(v variant) term.Cell { return number(v.WaitMedian, waited) }},
		{"wait, 95 %", func(v variant) term.Cell { return number(v.WaitP95, waited) }},
		{"wait, longest", func(v variant) term.Cell { return number(v.WaitMax, waited) }},
		{"builds finished", func(v variant) term.Cell { return term.Digits(&v.Finished) }},
		{"unfinished", func(v variant) term.Cell { return term.Digits(&v.Unfinished) }},
		{"dropped", func(v variant) term.Cell { return term.Digits(&v.Dropped) }},
		{"estimated", func(v variant) term.Cell { return term.Digits(&v.Estimated) }},
		{"workers, mean", func(v variant) term.Cell { return number(v.SizeMean, tenths) }},
		{"workers, most", func(v variant) term.Cell { return term.Digits(v.SizePeak) }},
		{"utilisation", func(v variant) term.Cell { return number(v.Utilisation, percent) }},
		{"changes of size", func(v variant) term.Cell { return term.Digits(v.Changes) }},
		{"builds at risk", func(v variant) term.Cell { return term.Digits(v.AtRisk) }},
	} {
		cells := []term.Cell{{Text: row.name, Style: term.Faint}}
		for _, v := range all {
			cells = append(cells, row.of(v))
		}
		table = append(table, cells)
	}
	return table
}

func tenths(f float64) string { return fmt.Sprintf("%.1f", f) }

// waited is a wait of so many seconds, to the second up to an hour.
func waited(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	switch {
	case seconds > 0 && seconds < 9.95:
		return fmt.Sprintf("%.1fs", seconds)
	case d > time.Minute && d < time.Hour && d%time.Minute != 0:
		return d.String()
	}
	return term.Span(d)
}

// varied are the settings that differ among the variants that have settings.
func varied(all []variant) []string {
	differ := map[string]any{}
	var first map[string]any
	for _, v := range all {
		if v.Settings != nil && first == nil {
			first = v.Settings
		} else if v.Settings != nil {
			maps.Copy(differ, differing(first, v.Settings))
		}
	}
	return inOrder(differ)
}

// differing are the settings of b that differ from those of a, nil where b has no such setting.
func differing(a, b map[string]any) map[string]any {
	differ := map[string]any{}
	for _, settings := range []map[string]any{a, b} {
		for name := range settings {
			if valueText(a[name]) != valueText(b[name]) {
				differ[name] = b[name]
			}
		}
	}
	return differ
}

// paretoOptimal are the variants of a sweep that none beats, from the cheapest on.
func paretoOptimal(sweep []variant) []variant {
	return slices.DeleteFunc(byCost(sweep), func(v variant) bool {
		return v.ParetoOptimal == nil || !*v.ParetoOptimal || v.WorkerHours == nil || v.WaitP95 == nil
	})
}

// byCost are the variants from the cheapest on, and those with equal costs from the shortest wait on.
func byCost(all []variant) []variant {
	none := math.Inf(1)
	return slices.SortedStableFunc(slices.Values(all), func(a, b variant) int {
		return cmp.Or(cmp.Compare(*cmp.Or(a.WorkerHours, &none), *cmp.Or(b.WorkerHours, &none)),
			cmp.Compare(*cmp.Or(a.WaitP95, &none), *cmp.Or(b.WaitP95, &none)))
	})
}

// maxPoints is how many lines of a table people still read.
const maxPoints = 40

// writeSweep writes the variants of a sweep, and draws the least wait that worker-hours buy.
func writeSweep(o *term.Output, all []variant) {
	best, shown := paretoOptimal(all), byCost(all)
	text := "nothing beats those with * in both worker-hours and 95 % wait"
	if len(all) > maxPoints {
		text, shown = "only those are shown that nothing beats in both worker-hours and 95 % wait", best
	}
	fmt.Fprintf(o, "\nsweep of %s; %s\n\n", term.Count(int64(len(all)), "point"), text)
	swept := varied(all)
	table := [][]term.Cell{{{}}}
	figureNames := []string{"worker-hours", "median", "95 %", "longest", "finished", "unfinished", "dropped"}
	for _, name := range slices.Concat(swept, figureNames) {
		table[0] = append(table[0], term.Cell{Text: strings.ToUpper(name), Style: term.Faint, Right: true})
	}
	for _, v := range shown {
		row := []term.Cell{{}}
		for _, name := range swept {
			row = append(row, term.Cell{Text: valueText(v.Settings[name]), Right: true})
		}
		for _, figure := range figures([]variant{v})[1:costAndWait] {
			row = append(row, figure[1])
		}
		if v.ParetoOptimal != nil && *v.ParetoOptimal {
			row[0].Text = "*"
			for i := range row {
				row[i].Style = term.Bold
			}
		}
		table = append(table, row)
	}
	o.Table(table)
	if len(best) == 0 || *best[0].WorkerHours == *best[len(best)-1].WorkerHours {
		return // there is no trade-off
	}
	x := term.Axis{From: *best[0].WorkerHours, To: *best[len(best)-1].WorkerHours, Label: tenths}
	highest := int64(max(1, math.Ceil(*best[0].WaitP95)))
	line := make([]float64, o.Columns(x, highest))
	for column := range line {
		hours := x.To - (x.To-x.From)*float64(len(line)-1-column)/float64(len(line)-1)
		for len(best) > 1 && *best[1].WorkerHours <= hours {
			best = best[1:]
		}
		line[column] = *best[0].WaitP95
	}
	o.Note("")
	o.Plot("the least 95 % wait, in seconds, that so many worker-hours buy", nil, x, highest, [][]float64{line})
}

// writeRecommendation writes settings as one enters them in Vespene, and what they come to beside today's.
func writeRecommendation(o *term.Output, r recommendation) {
	settings := inOrder(r.Settings)
	missed := "nothing that was tried meets the target " + r.Target
	o.Note("")
	switch {
	case !r.Met && len(settings) == 0:
		o.Note(o.Paint(term.Yellow, missed+"; today's settings come nearest"))
	case !r.Met:
		o.Note(o.Paint(term.Yellow, missed+"; the nearest:"))
	case len(settings) == 0:
		o.Note("today's settings meet the target " + r.Target + ", and nothing that was tried meets it for less")
	default:
		o.Note("to meet the target " + r.Target + ", enter in Vespene:")
	}
	var table [][]term.Cell
	for _, name := range settings {
		row := []term.Cell{{Text: "  " + name}, {Text: "taken away", Style: term.Bold}, {Style: term.Faint}}
		if value := r.Settings[name]; value != nil {
			row[1].Text = valueText(value)
		}
		if value, has := r.Today.Settings[name]; has {
			row[2].Text = "(now " + valueText(value) + ")"
		}
		table = append(table, row)
	}
	if len(table) > 0 {
		o.Note("")
		o.Table(table)
		if slices.ContainsFunc(settings, isSteadiness) {
			fmt.Fprintf(o, "  in the pool's variables: %s\n", o.Paint(term.Bold, autoscalingOf(r.Then.Settings)))
		}
	}
	if r.Why != "" {
		fmt.Fprintf(o, "\n%s\n", r.Why)
	}
	o.Note("")
	columns := []variant{r.Today, r.Then, r.Searched, r.Verified}
	for i, name := range []string{"today", "then", "first two thirds", "last third"} {
		columns[i].Name = name
	}
	o.Table(figures(columns)[:costAndWait])
}

// autoscalingOf is the object "autoscaling" with those of the settings that belong in it.
func autoscalingOf(settings map[string]any) string {
	object := maps.Clone(settings)
	maps.DeleteFunc(object, func(name string, _ any) bool { return !isSteadiness(name) })
	if len(object) == 0 {
		return `no "autoscaling"`
	}
	return `"autoscaling": ` + valueText(object)
}
