package term

import (
	"cmp"
	"fmt"
	"time"

	"github.com/guptarohit/asciigraph"
)

// Axis is what stands below a chart.
type Axis struct {
	From, To float64
	Label    func(float64) string
}

// TimeAxis returns the axis of a window of time.
func TimeAxis(from, to time.Time) Axis {
	layout := "15:04"
	if long := to.Sub(from); long > 24*time.Hour {
		layout = "Jan 2 15:04"
	} else if long < 10*time.Minute {
		layout = time.TimeOnly
	}
	label := func(t float64) string { return time.Unix(int64(t), 0).Local().Format(layout) }
	return Axis{float64(from.Unix()), float64(to.Unix()), label}
}

// Columns returns how many values a line of a chart has.
func (o *Output) Columns(x Axis, highest int64) int {
	const scale = 4 // what stands before a line besides the number
	return max(20, cmp.Or(o.Width, 80)-len(fmt.Sprint(highest))-scale-len(x.Label(x.To))/2)
}

// Plot draws lines from 0 to the highest. If there are several, marks tell them apart, which the title explains.
func (o *Output) Plot(title string, names []string, x Axis, highest int64, lines [][]float64) {
	const rows = 10 // at most
	options := []asciigraph.Option{asciigraph.Height(int(min(rows, highest))), asciigraph.LowerBound(0),
		asciigraph.UpperBound(float64(highest)), asciigraph.Precision(0), asciigraph.XAxisRange(x.From, x.To),
		asciigraph.XAxisTickCount(max(2, len(lines[0])/16)), asciigraph.XAxisValueFormatter(x.Label)}
	if len(lines) > 1 {
		styles, marks := []string{Yellow, Blue, Green}, []string{"q", "r", "#"}
		if o.Colour {
			marks = []string{"─", "─", "─"}
			options = append(options, asciigraph.SeriesColors(asciigraph.Yellow, asciigraph.Blue, asciigraph.Green))
		} else {
			options = append(options, asciigraph.SeriesChars(asciigraph.CreateCharSet(marks[0]),
				asciigraph.CreateCharSet(marks[1]), asciigraph.CreateCharSet(marks[2])))
		}
		for i := range lines {
			title += "   " + o.Paint(styles[i], marks[i]) + " " + names[i]
		}
	}
	fmt.Fprintf(o, "%s\n%s\n", title, asciigraph.PlotMany(lines, options...))
}
