package sim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cases_test.go has what the other tests make builds, planners and results of.

// buildsOf returns builds with the ids 1, 2, … from words, separated by commas: p, the project; q, s and e, when the
// build was queued, started and ended, in seconds from the window's beginning; <, the parent; t, the project's timeout
// in minutes (60); and a status other than SUCCESS.
func buildsOf(t *testing.T, text string) (builds []Build) {
	t.Helper()
	for i, words := range strings.Split(text, ",") {
		if text == "" {
			break
		}
		b := Build{ID: int64(i + 1), Queued: Never, Started: Never, Ended: Never, Timeout: 60, Status: "SUCCESS"}
		for _, word := range strings.Fields(words) {
			n, err := strconv.ParseInt(word[1:], 10, 64)
			at := simulationStart.UnixMicro() + n*second
			switch {
			case err != nil:
				b.Status = word
			case word[0] == 'p':
				b.Project = n
			case word[0] == '<':
				b.Parent = n
			case word[0] == 't':
				b.Timeout = n
			case word[0] == 'q':
				b.Queued = at
			case word[0] == 's':
				b.Started = at
			case word[0] == 'e':
				b.Ended = at
			}
		}
		builds = append(builds, b)
	}
	return builds
}

// workloadOf is the workload of such builds in a window of ten minutes.
func workloadOf(t *testing.T, text string, abort time.Duration) *Workload {
	t.Helper()
	builds := buildsOf(t, text)
	to := simulationStart.Add(10 * time.Minute)
	return NewWorkload(len(builds), func(i int) Build { return builds[i] }, simulationStart, to, abort)
}

// sizing is what the planner of these tests goes by, plainly: the formula of docs/simulation.md's pools, with the
// steadier sizes. What is left out is 0, but the weights and the multiplier are 1, and the maximum and
// reevaluate_minutes 10.
type sizing map[string]float64

func (s sizing) get(name string) float64 {
	defaults := sizing{"queued_weight": 1, "running_weight": 1, "multiplier": 1, "maximum": 10,
		"reevaluate_minutes": 10}
	if value, has := s[name]; has {
		return value
	}
	return defaults[name]
}

// planner plans with floats, which are exact here, and goes through all that it planned to look back.
func (s sizing) planner() Planner {
	planned := map[time.Time]float64{}
	var previous *float64
	return func(at time.Time, d Demand) (int64, int64) {
		queued, running := d.Queued, d.Running
		if s.get("build_latest") > 0 {
			queued = d.QueuedProjects
		}
		if s.get("ignore_stale") > 0 {
			queued, running = d.Queued-d.StaleQueued, d.Running-d.StaleRunning
			if s.get("build_latest") > 0 {
				queued = d.FreshProjects
			}
		}
		excess := s.get("excess")
		if minute := at.Minute(); minute >= 5 && minute < 15 {
			excess += s.get("rush")
		}
		clamp := func(n float64) float64 { return min(max(n, s.get("minimum")), s.get("maximum")) }
		base := float64(queued)*s.get("queued_weight") + float64(running)*s.get("running_weight")
		size := clamp(math.Ceil(base*s.get("multiplier") + excess))
		now := size
		for then, larger := range planned {
			if at.Sub(then).Minutes() <= s.get("scale_down_minutes") {
				size = max(size, larger)
			}
		}
		planned[at] = now
		if up := s.get("max_step_up"); up > 0 && previous != nil {
			size = min(size, *previous+up)
		}
		if down := s.get("max_step_down"); down > 0 && previous != nil {
			size = max(size, *previous-down)
		}
		size = clamp(size)
		previous = &size
		return int64(size), int64(clamp(float64(queued)))
	}
}

// scenarioOf is a scenario of that sizing: one worker on an instance, which is ready at once.
func scenarioOf(s sizing) Scenario {
	return Scenario{Planner: s.planner, BuildLatest: s.get("build_latest") > 0, PerInstance: 1,
		Interval: time.Duration(s.get("reevaluate_minutes")) * time.Minute, Sleep: 10 * time.Second,
		Abort: 24 * time.Hour}
}

// outcome is what a replay came to, job by job and in all.
type outcome struct {
	states []jobState
	Result
}

func replayed(t *testing.T, w *Workload, s Scenario, samples int) outcome {
	r := w.replay(t.Context(), s, samples)
	return outcome{r.states, r.Result}
}

func ptr[T any](v T) *T { return &v }

// summed are what came of a simulation, in seconds: each build's start and worker, 30@1, with … where it did not end;
// x, - and . where it was dropped, waited and had not arrived; what there is of the rest; and for how much more workers
// were billed than were there, unheld.
func summed(s outcome) string {
	var text strings.Builder
	for _, f := range s.states {
		switch f.status {
		case unarrived:
			text.WriteString(". ")
		case waiting:
			text.WriteString("- ")
		case taken:
			fmt.Fprintf(&text, "%g@%d… ", inSeconds(f.start), f.worker)
		case finished:
			fmt.Fprintf(&text, "%g@%d ", inSeconds(f.start), f.worker)
		case dropped:
			text.WriteString("x ")
		}
	}
	text.WriteString("|")
	for _, figure := range []struct {
		name  string
		value float64
	}{{"billed", inSeconds(s.Billed)}, {"unheld", inSeconds(s.Billed - s.Held)}, {"busy", inSeconds(s.Busy)},
		{"finished", float64(s.Finished)}, {"unfinished", float64(s.Unfinished)},
		{"dropped", float64(s.Dropped)}, {"orphaned", float64(s.Orphaned)}, {"estimated", float64(s.Estimated)},
		{"peak", float64(s.SizePeak)}, {"changes", float64(s.Changes)}, {"risk", float64(s.AtRisk)}} {
		if figure.value != 0 {
			fmt.Fprintf(&text, " %s %g", figure.name, figure.value)
		}
	}
	if len(s.Waits) > 0 {
		text.WriteString(" waits")
	}
	for _, wait := range s.Waits {
		fmt.Fprintf(&text, " %g", inSeconds(wait))
	}
	return text.String()
}

func inSeconds(microseconds int64) float64 { return float64(microseconds) / float64(second) }
