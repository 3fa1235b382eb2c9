package sim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// maxWorkers is how many workers a replay starts in all, so that a mistyped maximum does not fill the memory.
const maxWorkers = 1_000_000

// The status of a job.
const (
	unarrived = iota
	waiting
	taken
	finished
	dropped
)

// jobState is what has become of a job. Times are microseconds since the window began.
type jobState struct {
	arrival, start int64
	worker         int32 // that took it
	status         int8
	stale          bool // while it waits: the planner counts it as stale
}

// counts are waiting jobs and their projects.
type counts struct {
	jobs, projects int64
	byProject      []int32
}

func (c *counts) add(project, n int32) {
	before := c.byProject[project]
	c.byProject[project] += n
	c.jobs += int64(n)
	if before == 0 {
		c.projects++
	} else if before+n == 0 {
		c.projects--
	}
}

// replay is one scenario on its way through the window. Times are microseconds since the window began.
type replay struct {
	*Workload
	Scenario
	Result
	states   []jobState // of the jobs
	now, end int64

	// The queue.
	arrived   int     // of the workload's arrivals
	following heap    // jobs whose parents have ended, by arrival
	queue     heap    // jobs to take, by id, and some that were dropped
	takeable  int64   // jobs in it that a worker would take or drop
	queued    counts  // waiting jobs
	fresh     counts  // those of them that are not stale
	ageing    []int32 // jobs by arrival; the first aged ones are stale or no longer wait
	aged      int
	orphaned  int       // of those, how many do not wait any more; the next poll drops the others
	siblings  [][]int32 // with BuildLatest, each project's waiting jobs, and some that no longer wait

	pool

	// Evaluations.
	planner        Planner
	nextEvaluation int64
	previous       *int64 // size
	drawn          int    // parts of the timeline
	drew           Sample // what the last part ended with
}

// Replay runs the scenario until the window or the context ends. The timeline has that many samples.
func (w *Workload) Replay(ctx context.Context, s Scenario, samples int) Result {
	return w.replay(ctx, s, samples).Result
}

// replay goes from moment to moment. At each, things happen in the order that docs/simulation.md gives.
func (w *Workload) replay(ctx context.Context, s Scenario, samples int) *replay {
	r := &replay{Workload: w, Scenario: s, end: micro(w.To.Sub(w.From)), states: make([]jobState, len(w.jobs)),
		pool: pool{limit: math.MaxInt64, period: max(1, micro(s.Sleep))}}
	if samples > 0 {
		r.Timeline = make([]Sample, samples)
	}
	r.queued.byProject, r.fresh.byProject = make([]int32, w.projects+1), make([]int32, w.projects+1)
	r.siblings = make([][]int32, w.projects+1)
	if s.Fixed == nil {
		r.planner = s.Planner()
	}
	r.begin()
	steps := 0
	for r.now = r.nextMoment(); r.now < r.end && r.Err == nil; r.now = r.nextMoment() {
		r.endJobs()
		r.arrive()
		r.evaluate()
		r.getReady()
		r.poll()
		r.expireIdle()
		r.draw()
		if steps++; steps%(1<<14) == 0 && r.Err == nil {
			r.Err = context.Cause(ctx)
		}
	}
	r.now = r.end
	r.endJobs()
	r.draw()
	r.sum()
	return r
}

// nextMoment returns when something happens next, which may be now.
func (r *replay) nextMoment() int64 {
	at := r.nextEvaluation
	if r.arrived < len(r.arrivals) {
		at = min(at, r.jobs[r.arrivals[r.arrived]].arrival)
	}
	for _, events := range [][]event{r.following, r.running, r.booting} {
		if len(events) > 0 {
			at = min(at, events[0].at)
		}
	}
	return max(r.now, min(at, r.nextExpiry().at, r.nextPoll().at))
}

// endJobs ends the jobs that end now and, if there are too many instances, those that it leaves idle.
func (r *replay) endJobs() {
	ended := false
	for ; len(r.running) > 0 && r.running[0].at <= r.now; ended = true {
		number := r.running.pop().number
		job := r.workers[number].job
		r.states[job].status = finished
		for _, child := range r.children[job] {
			r.following.push(event{r.now + r.jobs[child].arrival, child})
		}
		r.free(number)
	}
	if ended {
		r.shrink()
	}
}

// arrive queues the jobs that arrive now.
func (r *replay) arrive() {
	for ; r.arrived < len(r.arrivals) && r.jobs[r.arrivals[r.arrived]].arrival <= r.now; r.arrived++ {
		r.enqueue(r.arrivals[r.arrived], r.jobs[r.arrivals[r.arrived]].arrival)
	}
	for len(r.following) > 0 && r.following[0].at <= r.now {
		r.enqueue(r.following.pop().number, r.now)
	}
}

func (r *replay) enqueue(number int32, arrival int64) {
	j := r.jobs[number]
	r.states[number] = jobState{arrival: arrival, status: waiting, stale: j.untaken}
	r.queued.add(j.project, 1)
	if !j.untaken {
		r.fresh.add(j.project, 1)
		r.takeable++
		r.queue.push(event{0, number})
		r.ageing = append(r.ageing, number)
	}
	if r.BuildLatest && j.project > 0 {
		r.siblings[j.project] = append(r.siblings[j.project], number)
	}
}

// dequeue gives a waiting job another status.
func (r *replay) dequeue(number int32, status int8) {
	j, state := r.jobs[number], &r.states[number]
	r.queued.add(j.project, -1)
	if !state.stale {
		r.fresh.add(j.project, -1)
	}
	if !j.untaken {
		r.takeable--
	}
	state.status, state.stale = status, false
}

// drop drops a waiting job and all that would have followed it.
func (r *replay) drop(number int32) {
	r.dequeue(number, dropped)
	for following := r.children[number]; len(following) > 0; following = following[1:] {
		r.states[following[0]].status = dropped
		following = append(slices.Clip(following), r.children[following[0]]...)
	}
}

// age marks as stale what has waited for too long.
func (r *replay) age() {
	for ; r.aged < len(r.ageing); r.aged++ {
		number := r.ageing[r.aged]
		state := &r.states[number]
		if r.now-state.arrival <= micro(r.Abort) {
			return
		}
		if state.status == waiting {
			state.stale = true
			r.fresh.add(r.jobs[number].project, -1)
		}
	}
}

// dropOrphans drops what has waited for too long, as a worker does that polls.
func (r *replay) dropOrphans() {
	r.age()
	for ; r.orphaned < r.aged; r.orphaned++ {
		number := r.ageing[r.orphaned]
		if state := r.states[number]; state.status == waiting {
			r.Compared = append(r.Compared, r.now-max(0, state.arrival))
			r.drop(number)
			r.Orphaned++
		}
	}
}

// take gives a worker the lowest waiting job, which there must be.
func (r *replay) take(worker int32) {
	number := r.queue.pop().number
	for r.states[number].status != waiting {
		number = r.queue.pop().number
	}
	r.stopResting(worker)
	r.dequeue(number, taken)
	r.work(worker, number, r.now)
	if project := r.jobs[number].project; r.BuildLatest {
		for _, other := range r.siblings[project] {
			if r.states[other].status == waiting {
				r.drop(other)
			}
		}
		r.siblings[project] = r.siblings[project][:0]
	}
}

// evaluate plans the size when it is time, and launches what the pool lacks or ends what it has too much.
func (r *replay) evaluate() {
	if r.now < r.nextEvaluation {
		return
	}
	r.nextEvaluation = r.now + micro(max(r.Interval, time.Minute))
	size, n := r.plan()
	if !r.Adds {
		if r.previous != nil && size != *r.previous {
			r.Changes++
			r.AtRisk += max(0, r.busyAbove(size)-r.busyAbove(*r.previous))
		}
		r.previous, r.limit = &size, size
		n = size - int64(len(r.alive))
	} else if n > 0 {
		r.Changes++
	}
	if n > (maxWorkers-int64(len(r.workers)))/r.PerInstance {
		r.Err = fmt.Errorf("it would start more than %d workers: lower the maximum", maxWorkers)
		return
	}
	r.launch(n)
	r.shrink()
	r.SizePeak = max(r.SizePeak, r.present)
}

// plan returns the instances to have and to add.
func (r *replay) plan() (size, queuedSize int64) {
	if r.Fixed != nil {
		return *r.Fixed, 0
	}
	r.age()
	d := Demand{Queued: r.queued.jobs, QueuedProjects: r.queued.projects, StaleQueued: r.queued.jobs - r.fresh.jobs,
		FreshProjects: r.fresh.projects, Running: r.runningBuilds(), StaleRunning: int64(len(r.dead))}
	for _, end := range r.running {
		if number := r.workers[end.number].job; isStale(r.now-r.states[number].start, r.jobs[number].timeout) {
			d.StaleRunning++
		}
	}
	return r.planner(r.From.Add(time.Duration(r.now)*time.Microsecond), d)
}

func (r *replay) runningBuilds() int64 { return int64(len(r.running) + len(r.dead)) }

// draw puts what there is now into the timeline. The parts since the last moment are as that left them.
func (r *replay) draw() {
	if len(r.Timeline) == 0 {
		return
	}
	part := min(int(r.now*int64(len(r.Timeline))/r.end), len(r.Timeline)-1)
	for ; r.drawn <= part; r.drawn++ {
		if r.drawn < part || r.now*int64(len(r.Timeline))%r.end > 0 { // or else the part begins now
			r.Timeline[r.drawn] = r.drew
		}
	}
	r.drew = Sample{r.queued.jobs, r.runningBuilds(), r.present}
	r.Timeline[part] = r.Timeline[part].Max(r.drew)
}

// sum adds up the figures at the window's end.
func (r *replay) sum() {
	r.Waits, r.Compared = make([]int64, 0, len(r.states)), slices.Grow(r.Compared, len(r.states))
	for _, number := range r.alive {
		r.bill(r.instances[number])
	}
	for i, state := range r.states {
		j := r.jobs[i]
		r.count(state.status)
		if state.status == waiting && !j.untaken {
			r.Unstarted = append(r.Unstarted, r.end-max(0, state.arrival))
		}
		if state.status != taken && state.status != finished {
			continue
		}
		r.Busy += min(state.start+j.duration, r.end) - max(state.start, 0)
		if j.started != Never {
			continue
		}
		r.Compared = append(r.Compared, state.start-max(0, state.arrival))
		if state.status == finished {
			r.Waits = append(r.Waits, state.start-state.arrival)
		}
	}
	slices.Sort(r.Waits)
	slices.Sort(r.Unstarted)
	slices.Sort(r.Compared)
}

// count counts a job by its status at the window's end.
func (r *Result) count(status int8) {
	switch status {
	case finished:
		r.Finished++
	case dropped:
		r.Dropped++
	default:
		r.Unfinished++
	}
}
