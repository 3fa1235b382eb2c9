package main

import (
	"time"
)

// simulate.go owns the command simulate: the model of a pool and its workers (docs/simulation.md), and the search among
// settings. The model is pure, and sizes come from plan.go.

// load is what a pool had to do in a window: its builds, the same for every scenario.
type load struct {
	from, to time.Time // the window
	tasks    []task    // by id
	dead     []int64   // when builds began that count as running for good: microseconds since from, below 0
	notes    []string  // what was odd about the builds, for people
}

// task is a build as the model has it. Its times are microseconds since the window began.
type task struct {
	id        int64
	project   int32 // numbered from 1 on; 0: none
	parent    int32 // the task that it follows; -1: none
	arrival   int64 // when it is queued; of one with a parent, how long after the parent's end
	started   int64 // when it was started, of one that ran when the window began; else never
	duration  int64
	timeout   int64 // of its project
	estimated bool  // its duration is
	untaken   bool  // no worker ever takes it: it has no project, or
	timeless  bool  // it has no queued_time: it is queued from the beginning on
}

// scenario is a way to run a pool.
type scenario struct {
	settings       settings
	sleep          time.Duration // between looks of an idle worker
	abort          time.Duration // a build that is queued for longer is not taken
	boot           time.Duration
	maxBuilds      int64          // after which a worker ends; 0: any number
	maxWait        *time.Duration // for which a worker waits in vain before it ends; nil: for ever
	perInstance    int64          // workers on an instance
	billingMinimum time.Duration
	adds           bool   // each evaluation adds queued_size instances
	fixed          *int64 // there are always so many instances, whatever the settings say
}

// What becomes of a task.
const (
	unarrived = iota
	waiting
	taken
	finished
	dropped
)

// fate is what becomes of a task in a simulation. Its start is in microseconds since the window began.
type fate struct {
	status int8
	worker int32 // that took it
	start  int64
}

// simulated is what came of a scenario. Its times are in microseconds.
type simulated struct {
	fates                []fate  // of the load's tasks
	waits                []int64 // of those that were taken and finished within the window, in order
	unstarted            []int64 // how long those that arrived and were neither taken nor dropped had waited by the end
	billed, busy         int64   // times that workers were billed, and had builds
	finished, unfinished int64   // builds; with dropped, all
	dropped, orphaned    int64   // orphaned ones are among the dropped
	estimated            int64
	sizePeak             int64 // workers
	changes              int64 // of size
	atRisk               int64 // busy workers above a smaller size
	timeline             []sample
}

// sample is the most that there was in a part of the window.
type sample struct{ queued, running, size int64 }

// newLoad makes of a pool's builds what it had to do from then to then; a build that waited for longer than abort when
// the window began is not in the backlog.
func newLoad(builds []build, from, to time.Time, abort time.Duration) *load { return nil }

// simulate runs the scenario over the load; samples is how many parts the timeline has.
func (l *load) simulate(s scenario, samples int) simulated { return simulated{} }

// quantile returns the q-quantile of sorted values, interpolated as PostgreSQL's percentile_cont does.
func quantile(sorted []int64, q float64) float64 { return 0 }
