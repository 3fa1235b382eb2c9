package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/template"
	"time"

	"vespene-autoscale/internal/term"
)

// picture.go draws a simulation as SVG.

// The colours of the picture.
const ink, grey, pale, orange, azure, leaf = "#333333", "#a0a4ab", "#dddddd", "#e07b00", "#2563eb", "#2e9e4f"

// panel is one chart of the picture. Its axes extend from their first to their last axisTick, and y begins at 0.
type panel struct {
	title, xName, yName string
	x, y                []axisTick
	series              []series
}

// axisTick is a place on an axis; its name may be empty.
type axisTick struct {
	at   float64
	name string
}

// series is a line or, where it has a radius, dots.
type series struct {
	name, colour string
	filled       bool // down to the axis
	radius       float64
	points       []dot
}

type dot struct{ x, y float64 }

// picture is the simulation as SVG: for each variant with a timeline a panel with its builds and workers, all to one
// scale, and for a sweep one with the wait that worker-hours buy.
func picture(s simulation) []byte {
	highest := int64(1)
	for _, v := range s.Variants {
		highest = max(highest, v.highest())
	}
	zone, _ := s.To.Local().Zone()
	var panels []panel
	for _, v := range s.Variants {
		if v.timeline == nil {
			continue
		}
		all := []series{{name: "workers", colour: leaf, filled: true}, {name: "running", colour: azure},
			{name: "queued", colour: orange}}
		width := s.To.Sub(s.From).Seconds() / float64(len(v.timeline))
		for i, sample := range v.timeline { // each lasts until the next
			from := float64(s.From.Unix()) + width*float64(i)
			for i, n := range []int64{sample.Size, sample.Running, sample.Queued} {
				all[i].points = append(all[i].points, dot{from, float64(n)}, dot{from + width, float64(n)})
			}
		}
		if v.SizePeak == nil {
			all = all[1:]
		}
		panels = append(panels, panel{term.Label(v.Name), "time (" + zone + ")", "builds, workers",
			timeTicks(s.From, s.To), roundTicks(0, float64(highest), 1), all})
	}
	if len(paretoOptimal(s.Sweep)) > 0 {
		panels = append(panels, tradeOff(s.Sweep))
	}
	const width, top, height = 1000, 50, 230 // of the picture, of its title, of a panel
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" fill="%s">
<rect width="100%%" height="100%%" fill="white"/>
`, width, top+len(panels)*height, ink)
	d.text(20, 30, 19, "start", s.title(term.Label(s.Pool)))
	for i, p := range panels {
		d.panel(p, float64(top+i*height+30))
	}
	d.WriteString("</svg>\n")
	return []byte(d.String())
}

// drawing is SVG in the making.
type drawing struct{ strings.Builder }

func (d *drawing) text(x, y float64, size int, anchor, text string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s">%s</text>`+"\n",
		x, y, size, anchor, template.HTMLEscapeString(text))
}

func (d *drawing) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
}

// panel draws a panel between its axes from that height on.
func (d *drawing) panel(p panel, top float64) {
	const left, right, high = 75.0, 975.0, 140.0
	bottom, first, last := top+high, p.x[0].at, p.x[len(p.x)-1].at
	x := func(at float64) float64 { return left + (right-left)*(at-first)/(last-first) }
	y := func(n float64) float64 { return bottom - high*n/p.y[len(p.y)-1].at }
	for _, t := range p.x {
		d.line(x(t.at), top, x(t.at), bottom, pale)
		d.text(x(t.at), bottom+15, 12, "middle", t.name)
	}
	for _, t := range p.y {
		d.line(left, y(t.at), right, y(t.at), pale)
		d.text(left-5, y(t.at)+4, 12, "end", t.name)
	}
	d.line(left, bottom, right, bottom, ink)
	d.line(left, top, left, bottom, ink)
	d.text((left+right)/2, bottom+32, 12, "middle", p.xName)
	const upwards = `<text transform="translate(25 %.1f) rotate(-90)" font-size="12" text-anchor="middle">%s</text>`
	fmt.Fprintf(d, upwards+"\n", (top+bottom)/2, p.yName)
	d.text(left, top-9, 15, "start", p.title)
	at := left + 20 + 9*float64(len(p.title)) // the reader's font may be wide
	for _, s := range p.series {
		fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="10" height="10" fill="%s"/>`+"\n", at, top-18, s.colour)
		d.text(at+15, top-9, 12, "start", s.name)
		at += 40 + 7*float64(len(s.name))
		if s.radius > 0 {
			for _, point := range s.points {
				fmt.Fprintf(d, `<circle cx="%.1f" cy="%.1f" r="%g" fill="%s"/>`+"\n",
					x(point.x), y(point.y), s.radius, s.colour)
			}
			continue
		}
		var path strings.Builder
		for _, point := range s.points {
			fmt.Fprintf(&path, "%.1f,%.1f ", x(point.x), y(point.y))
		}
		if s.filled {
			fmt.Fprintf(d, `<polygon points="%.1f,%.1f %s%.1f,%.1f" fill="%s" fill-opacity="0.16"/>`+"\n",
				left, bottom, &path, right, bottom, s.colour)
		}
		fmt.Fprintf(d, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", &path, s.colour)
	}
}

// tradeOff is the panel of a sweep in which something is Pareto-optimal.
func tradeOff(sweep []variant) panel {
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
	points := series{name: "settings", colour: grey, radius: 2.5}
	step := series{name: "the least wait that worker-hours buy", colour: leaf}
	best := series{name: "those that nothing beats", colour: azure, radius: 3.5}
	for _, v := range byCost(sweep) {
		if v.WorkerHours == nil || v.WaitP95 == nil {
			continue
		}
		point := dot{*v.WorkerHours, *v.WaitP95 / per}
		points.points = append(points.points, point)
		if !*v.ParetoOptimal {
			continue
		}
		if n := len(best.points); n > 0 {
			step.points = append(step.points, dot{point.x, best.points[n-1].y})
		}
		step.points, best.points = append(step.points, point), append(best.points, point)
	}
	x := roundTicks(points.points[0].x, points.points[len(points.points)-1].x, 0.1)
	y := roundTicks(0, longest/per, 1)
	return panel{"sweep", "worker-hours", "95 % wait (" + unit + ")", x, y, []series{points, step, best}}
}

// roundTicks are at most six, at round numbers; the first is not above low, and the last not below high.
func roundTicks(low, high, step float64) (ticks []axisTick) {
	for i := 0; (high-low)/step > 5; i++ {
		step *= []float64{2, 2.5, 2}[i%3] // 1, 2, 5, 10
	}
	for n := math.Floor(low / step); len(ticks) < 2 || ticks[len(ticks)-1].at < high; n++ {
		ticks = append(ticks, axisTick{n * step, strconv.FormatFloat(math.Round(n*step*10)/10, 'f', -1, 64)})
	}
	return ticks
}

// timeTicks are at both ends, without a name, and between them at round times of the day or at days.
func timeTicks(from, to time.Time) []axisTick {
	const day = 24 * time.Hour
	steps := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour,
		12 * time.Hour, day, 2 * day, 7 * day, 14 * day, 28 * day}
	for len(steps) > 1 && to.Sub(from)/steps[0] > 14 {
		steps = steps[1:]
	}
	ticks := []axisTick{{at: float64(from.Unix())}}
	year, month, first := from.Local().Date()
	for n := 1; ; n++ {
		// The date keeps to the clock when that changes.
		at := time.Date(year, month, first, 0, 0, n*int(steps[0]/time.Second), 0, time.Local)
		if !at.Before(to) {
			return append(ticks, axisTick{at: float64(to.Unix())})
		}
		layout := "15:04"
		if at.Hour() == 0 && at.Minute() == 0 {
			layout = "Jan 2"
		}
		if at.After(from) {
			ticks = append(ticks, axisTick{float64(at.Unix()), at.Format(layout)})
		}
	}
}
