// Package term writes for people: tables, charts and colours on standard output, times and counts as one says them, and
// on standard error the log and progress. It knows nothing of pools.
package term

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Span returns a length of time as people say it, in two units at most: 12s, 3m, 2h5m, 4d.
func Span(d time.Duration) string {
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

// Count returns a number of things: "1 build", "3 builds".
func Count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Label returns a name on one line, quoted if a terminal would not print it as it is.
func Label(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
