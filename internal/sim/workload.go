package sim

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// Never is the time of what has none.
const Never = math.MinInt64

// Build is a build as Vespene recorded it. Times are microseconds since 1970 or Never.
type Build struct {
	ID, Project, Parent    int64 // 0: no project, or no parent; the parent is the build whose end started this one
	Queued, Started, Ended int64
	Timeout                int64 // of the project, in minutes
	Status                 string
}

func (b Build) ran() bool       { return b.Started != Never }
func (b Build) isQueued() bool  { return b.Status == "QUEUED" }
func (b Build) isRunning() bool { return b.Status == "RUNNING" && b.Ended == Never }
func (b Build) timeout() int64  { return micro(time.Duration(b.Timeout) * time.Minute) }

// isStaleAt tells whether the build, RUNNING by then for longer than it may, has lost its worker.
func (b Build) isStaleAt(now int64) bool {
	return b.isRunning() && b.ran() && isStale(now-b.Started, b.timeout())
}

// isStale tells whether a build that has run for so long must have lost its worker, which ends builds at their timeout.
func isStale(running, timeout int64) bool {
	return running > timeout+micro(5*time.Minute)
}

func micro(d time.Duration) int64 { return d.Microseconds() }

// Workload is what the pool had to do in a window. It is the same for every scenario, and is only read by replays.
type Workload struct {
	From, To time.Time
	Recorded Result   // what the builds say came of them; nothing about workers
	Notes    []string // what was odd about the builds, for people

	jobs     []job   // by id
	dead     []int64 // when builds began that count as running for good: microseconds since From, below 0
	ongoing  []int32 // jobs that ran when the window began
	arrivals []int32 // jobs that neither follow another nor ran when the window began, by arrival and id
	children map[int32][]int32
	projects int32 // the highest number
}

// job is a build as the model has it. Times are microseconds since the window began.
type job struct {
	id        int64
	project   int32 // numbered from 1 on; 0: none
	parent    int32 // the job that it follows; -1: none
	arrival   int64 // when it is queued; with a parent, how long after the parent's end
	started   int64 // Never, unless it ran when the window began
	duration  int64
	timeout   int64 // of its project
	estimated bool  // its duration is
	untaken   bool  // no worker ever takes it, since it has no project or is timeless
	timeless  bool  // it has no queued time, so it is queued from the beginning on

	// What is recorded of it, which only reading needs.
	status   int8  // by the window's end: finished, dropped, or waiting for anything else
	parentID int64 // 0: none
	ended    int64 // Never where that is not recorded
	soFar    int64 // how long it has run for sure
}

// Len returns the number of jobs.
func (w *Workload) Len() int { return len(w.jobs) }

// NewWorkload returns what a pool with these n builds, by id, had to do in the window. What had waited for longer than
// abort when the window began was gone by then, unless it is QUEUED still.
func NewWorkload(n int, build func(i int) Build, from, to time.Time, abort time.Duration) *Workload {
	r := reader{Workload: &Workload{From: from, To: to}, begin: from.UnixMicro(), end: to.UnixMicro(),
		abort: micro(abort), durations: map[int32][]int64{}, numbers: map[int64]int32{}, resumed: map[int64]bool{},
		odd: map[string]int64{}}
	jobs := 0
	for i := range n {
		if b := build(i); b.Queued < r.end && (b.Queued >= r.begin || b.Ended >= r.begin) {
			jobs++
		}
	}
	r.jobs = make([]job, 0, jobs) // growing would take twice the memory
	for i := range n {
		r.read(build(i))
	}
	r.estimate()
	r.findParents()
	for _, odd := range oddities {
		if n := r.odd[odd]; n == 1 {
			r.Notes = append(r.Notes, "1 build "+odd)
		} else if n > 1 {
			r.Notes = append(r.Notes, fmt.Sprintf("%d builds %s", n, odd))
		}
	}
	slices.Sort(r.Recorded.Waits)
	r.index()
	return r.Workload
}

// index finds what every replay needs to know of the jobs.
func (w *Workload) index() {
	w.children = map[int32][]int32{}
	for i, j := range w.jobs {
		w.projects = max(w.projects, j.project)
		if j.parent >= 0 {
			w.children[j.parent] = append(w.children[j.parent], int32(i))
		} else if j.started == Never {
			w.arrivals = append(w.arrivals, int32(i))
		} else {
			w.ongoing = append(w.ongoing, int32(i))
		}
	}
	slices.SortStableFunc(w.arrivals, func(a, b int32) int { return cmp.Compare(w.jobs[a].arrival, w.jobs[b].arrival) })
}

// reader makes a workload of builds.
type reader struct {
	*Workload
	begin, end int64 // of the window, in microseconds since 1970
	abort      int64
	durations  map[int32][]int64 // of each project's builds, where they are recorded
	numbers    map[int64]int32   // of the projects
	resumed    map[int64]bool    // projects of which a build waited when the window began, and was taken in it
	odd        map[string]int64  // builds, by what is odd about them
}

// What can be odd about builds, as Notes say it.
const (
	timeless   = "without a queued_time: left out, or where QUEUED counted and never taken"
	future     = "queued after the window's end, so that clocks differ or went back: left out"
	unfit      = "BLOCKED or UNKNOWN that never ran: left out"
	reversed   = "with an end before the start, so that clocks differ or went back: " + atMedian
	endless    = "with a start and no end that does not run any more: " + atMedian
	early      = "started before being queued, so that clocks differ or went back: not in the recorded waits"
	impatient  = "queued before the end of the build that started them in a pipeline: taken to arrive by their own time"
	unknowable = "of unknown duration, and none of the pool ended that would tell how long they take: left out"
	unowned    = "QUEUED without a project, on which workers stall: counted, and never taken; to be deleted or " +
		"aborted in Vespene"
	dead = "RUNNING since before the window, for longer than the project's timeout: counted, and without a " +
		"worker; to be aborted in Vespene"

	atMedian = "taken to last as long as the median of the project"
)

var oddities = []string{timeless, future, unfit, reversed, endless, early, impatient, unknowable, unowned, dead}

// read makes a job of a build, if it belongs to the window.
func (r *reader) read(b Build) {
	j := job{id: b.ID, parent: -1, parentID: b.Parent, arrival: b.Queued - r.begin, started: Never, duration: Never,
		ended: Never, status: waiting, timeout: b.timeout()}
	if !r.belongs(b, &j) {
		return
	}
	if b.Project == 0 && b.isQueued() && !b.ran() {
		j.untaken = true
		r.odd[unowned]++
	} else {
		project := cmp.Or(b.Project, -b.ID) // without one, a build that ran has one of its own
		if r.numbers[project] == 0 {
			r.numbers[project] = int32(len(r.numbers)) + 1
		}
		j.project = r.numbers[project]
	}
	r.record(b, &j)
	r.jobs = append(r.jobs, j)
}

// belongs tells whether a build was still to be done when the window began, or came in it. It sets what the job has of
// that: when it started, if it ran at the beginning, and whether it is timeless.
func (r *reader) belongs(b Build, j *job) bool {
	const clockSkew = int64(time.Minute / time.Microsecond) // not worth a word
	switch {
	case b.Queued == Never:
		r.odd[timeless]++
		j.arrival, j.timeless, j.untaken = 0, true, true
		return b.isQueued()
	case b.Queued >= r.end:
		if b.Queued > r.end+clockSkew {
			r.odd[future]++
		}
		return false
	case !b.ran() && (b.Status == "BLOCKED" || b.Status == "UNKNOWN"):
		r.odd[unfit]++
		return false
	case b.Queued >= r.begin || b.isQueued() && !b.ran():
		return true
	case b.ran() && b.Started >= r.begin:
		r.resumed[b.Project] = true
		return true
	case b.isStaleAt(r.begin):
		r.odd[dead]++
		r.dead = append(r.dead, b.Started-r.begin)
		return false
	case b.ran():
		j.started = b.Started - r.begin
		return b.isRunning() || b.Ended > r.begin
	}
	// It waited at the beginning if it was given up later, or could not have been given up yet.
	isYoung := b.Status == "ORPHANED" && r.begin-b.Queued <= r.abort
	return b.Ended > r.begin || isYoung || b.Project != 0 && r.resumed[b.Project]
}

// record sets what is recorded of a job's build: what came of it and, if it has an end, how long it took.
func (r *reader) record(b Build, j *job) {
	busy := func(until int64) { r.Recorded.Busy += max(0, min(until, r.end)-max(b.Started, r.begin)) }
	switch {
	case !b.ran():
		if !b.isQueued() {
			j.status = dropped
		}
	case b.Ended >= b.Started:
		j.duration, j.ended = b.Ended-b.Started, b.Ended
		r.durations[j.project] = append(r.durations[j.project], j.duration)
		busy(b.Ended)
		if b.Ended <= r.end {
			j.status = finished
			if b.Started >= r.begin && b.Started >= b.Queued {
				r.Recorded.Waits = append(r.Recorded.Waits, b.Started-b.Queued)
			}
		}
	case b.Ended != Never:
		j.status = finished
		r.odd[reversed]++
	case !b.isRunning():
		j.status = finished // at a time that nobody knows
		r.odd[endless]++
	case b.isStaleAt(r.end): // its worker died in the window
		j.soFar = max(0, r.begin-b.Started)
	default:
		j.soFar = r.end - b.Started
		busy(r.end)
	}
	if b.ran() && b.Started < b.Queued {
		r.odd[early]++
	}
}

// estimate counts what became of the builds, and gives jobs without a duration their project's median or, where the
// project has none, that of all builds. Where no build tells how long any take, jobs that would have to start are left
// out.
func (r *reader) estimate() {
	if len(r.durations) == 0 {
		all := len(r.jobs)
		r.jobs = slices.DeleteFunc(r.jobs, func(j job) bool { return !j.untaken && j.soFar == 0 })
		r.odd[unknowable] += int64(all - len(r.jobs))
	}
	median := func(durations []int64) int64 {
		slices.Sort(durations)
		return int64(math.Round(Quantile(durations, 0.5)))
	}
	ofAll := sync.OnceValue(func() int64 { return median(slices.Concat(slices.Collect(maps.Values(r.durations))...)) })
	medians := map[int32]int64{}
	for i := range r.jobs {
		j := &r.jobs[i]
		r.Recorded.count(j.status)
		if j.duration != Never {
			continue
		}
		if _, found := medians[j.project]; !found && len(r.durations[j.project]) > 0 {
			medians[j.project] = median(r.durations[j.project])
		} else if !found {
			medians[j.project] = ofAll()
		}
		j.duration, j.estimated = max(medians[j.project], j.soFar), true
	}
}

// findParents finds the jobs that others started. They arrive so long after their parent's end.
func (r *reader) findParents() {
	byID := func(j job, id int64) int { return cmp.Compare(j.id, id) }
	for i := range r.jobs {
		j := &r.jobs[i]
		if j.parentID == 0 || j.started != Never || j.timeless || j.arrival < 0 {
			continue
		}
		parent, found := slices.BinarySearchFunc(r.jobs[:i], j.parentID, byID)
		if !found || r.jobs[parent].ended == Never {
			continue
		}
		if gap := j.arrival + r.begin - r.jobs[parent].ended; gap >= 0 {
			j.parent, j.arrival = int32(parent), gap
		} else {
			r.odd[impatient]++
		}
	}
}
