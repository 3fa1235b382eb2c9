package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"

	"vespene-autoscale/internal/term"
)

// report.go shows what came of a simulation, as text, JSON and SVG.

// What follows is internal/term by the names that the simulation has for it, until that has a view of its own.

const (
	bold   = term.Bold
	faint  = term.Faint
	yellow = term.Yellow
)

var (
	count = term.Count
	label = term.Label
	span  = term.Span
)

type results struct{ *term.Output }

type cell struct {
	text, style string
	right       bool
}

func digits(n *int64) cell {
	c := term.Digits(n)
	return cell{c.Text, c.Style, c.Right}
}

type axis struct {
	from, to float64
	label    func(float64) string
}

func timeAxis(from, to time.Time) axis {
	x := term.TimeAxis(from, to)
	return axis{x.From, x.To, x.Label}
}

func (o *results) paint(style, text string) string { return o.Paint(style, text) }
func (o *results) encode(v any)                    { o.Encode(v) }
func (o *results) note(text string)                { o.Note(text) }
func (o *results) columns(x axis, highest int64) int {
	return o.Columns(term.Axis{From: x.from, To: x.to, Label: x.label}, highest)
}
func (o *results) plot(title string, names []string, x axis, highest int64, lines [][]float64) {
	o.Plot(title, names, term.Axis{From: x.from, To: x.to, Label: x.label}, highest, lines)
}

func (o *results) table(rows [][]cell) {
	all := make([][]term.Cell, len(rows))
	for i, row := range rows {
		for _, c := range row {
			all[i] = append(all[i], term.Cell{Text: c.text, Style: c.style, Right: c.right})
		}
	}
	o.Table(all)
}

type progress struct{ *term.Progress }

func newProgress(stderr io.Writer, what string, total int) progress {
	return progress{term.NewProgress(stderr, what, total)}
}

func (p progress) add(n int) { p.Add(n) }
func (p progress) done()     { p.Done() }

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
	if o.JSON {
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
