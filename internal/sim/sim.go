// Package sim replays a pool's past builds with other workers, or with another size.
//
//	builds ─→ Workload: jobs ─→ replay: one Scenario, moment by moment ─→ Result
//
// It knows neither pools nor formulas: a Scenario brings the function that decides the size. docs/simulation.md
// describes the model. This file has the vocabulary, workload.go reads builds, replay.go goes through the window with
// queue, evaluations and figures, and workers.go owns instances and workers.
package sim

import (
	"math"
	"slices"
	"time"
)

// Scenario is one way to run the pool.
type Scenario struct {
	Planner        func() Planner // makes one for each replay, since planners remember what they planned
	Interval       time.Duration  // between evaluations; less than a minute counts as a minute
	BuildLatest    bool           // a worker that takes a job drops the project's other queued jobs
	Sleep          time.Duration  // between two polls of an idle worker
	Abort          time.Duration  // jobs queued for longer are dropped
	Boot           time.Duration  // from an instance's launch until its workers are ready
	MaxBuilds      int64          // after which a worker ends; 0: never
	MaxWait        *time.Duration // after which an idle worker ends; nil: never
	PerInstance    int64          // workers
	BillingMinimum time.Duration  // of an instance
	Adds           bool           // each evaluation adds queuedSize instances, and none ends for the size
	Fixed          *int64         // always this many instances, whatever the planner says
}

// Planner decides how many instances there should be and, for pools that only add, how many to add.
type Planner func(at time.Time, d Demand) (size, queuedSize int64)

// Demand is what a planner is told: builds, and projects that have queued builds.
type Demand struct {
	Queued, QueuedProjects int64
	StaleQueued            int64 // of Queued, those that no worker will take
	FreshProjects          int64 // the projects of the others
	Running, StaleRunning  int64 // StaleRunning: of Running, those whose worker has died
}

// Result is what a replay came to. Times are microseconds; waits are sorted.
type Result struct {
	Waits                         []int64 // of the jobs that started and finished within the window
	Unstarted                     []int64 // since the window began, of the jobs that could start and had not by its end
	Compared                      []int64 // since the window began, of the jobs that started in it or were orphaned
	Billed, Held, Busy            int64   // time for which workers were billed, were there, and had jobs
	Finished, Unfinished, Dropped int64   // jobs; together all of them
	Orphaned                      int64   // of Dropped, those queued for too long
	Estimated                     int64   // started jobs whose duration is estimated
	SizePeak                      int64   // workers
	Changes                       int64   // of the size
	AtRisk                        int64   // busy workers above a smaller size
	Timeline                      []Sample
	Err                           error // why the replay did not reach the window's end
}

// Sample is the most that there was in one part of the window.
type Sample struct{ Queued, Running, Size int64 }

// Max returns the larger of each figure.
func (s Sample) Max(other Sample) Sample {
	return Sample{max(s.Queued, other.Queued), max(s.Running, other.Running), max(s.Size, other.Size)}
}

// Target limits a quantile of the waits to Most microseconds.
type Target struct {
	Quantile float64
	Most     int64
}

// Wait returns the wait that the target limits, in microseconds: the quantile of Compared and of those in Unstarted
// that have missed the target already. It is false if there is no wait to judge by.
func (t Target) Wait(r Result) (wait int64, ok bool) {
	missed, _ := slices.BinarySearch(r.Unstarted, t.Most+1)
	waits := r.Compared
	if missed < len(r.Unstarted) {
		waits = slices.Concat(waits, r.Unstarted[missed:])
		slices.Sort(waits)
	}
	return int64(math.Ceil(Quantile(waits, t.Quantile))), len(waits) > 0
}

// AsTarget is the target of a 95 % wait that is no longer than in this result.
func (r Result) AsTarget() Target {
	t := Target{Quantile: 0.95, Most: -1} // so that all that still wait count
	t.Most, _ = t.Wait(r)
	return t
}

// Quantile returns the q-quantile of sorted values, interpolated as PostgreSQL's percentile_cont does; 0 of none.
func Quantile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	below, above := float64(sorted[int(at)]), float64(sorted[int(math.Ceil(at))])
	return below + (above-below)*(at-math.Floor(at))
}
