package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
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

	once     sync.Once         // for what is made of the tasks:
	arrivals []int32           // those that arrive by themselves, by arrival and id
	children map[int32][]int32 // those that follow one
	projects int32             // the highest number
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

// fate is what becomes of a task in a simulation. Its times are in microseconds since the window began.
type fate struct {
	arrival, start int64
	worker         int32 // that took it
	status         int8
	stale          bool // while it waits: as the planner's staleQueued counts it
}

// simulated is what came of a scenario. Its times are in microseconds.
type simulated struct {
	fates                []fate  // of the load's tasks
	waits                []int64 // of those that were started and finished within the window, in order
	unstarted            []int64 // how long those had waited by the end that were still to be taken
	billed, busy         int64   // time that workers were billed, and had builds
	finished, unfinished int64   // builds; with dropped, all
	dropped, orphaned    int64   // orphaned ones are among the dropped
	estimated            int64
	sizePeak             int64 // workers
	changes              int64 // of size
	atRisk               int64 // busy workers above a smaller size
	timeline             []sample
	err                  error // it could not be simulated to its end
}

// sample is the most that there was in a part of the window.
type sample struct{ queued, running, size int64 }

// newLoad makes of a pool's builds, by id, what it had to do from then to then. One that had waited for longer than abort
// when the window began had gone by then, unless it is QUEUED still.
func newLoad(builds []build, from, to time.Time, abort time.Duration) *load {
	l := &load{from: from, to: to}
	begin, end := from.UnixMicro(), to.UnixMicro()
	var timeless, future, unfit, reversed, endless, early, projectless, impatient int64
	var known []int64                  // durations
	byProject := map[int32][]int64{}   // the same of each project
	numbers := map[int64]int32{}       // of projects
	resumed := map[int64]bool{}        // projects of which a build waited when the window began, and was taken in it
	soFar := map[int32]int64{}         // how long tasks have run that run still
	parents := make([]int64, 0, 1<<10) // of each task, the build's id
	ends := make([]int64, 0, 1<<10)    // of each task, where it is known
	for _, b := range builds {
		isQueued, isRunning, ran := b.status == "QUEUED", b.status == "RUNNING" && b.ended == never, b.started != never
		t := task{id: b.id, parent: -1, arrival: b.queued - begin, started: never, duration: never, timeout: b.timeout * int64(time.Minute/time.Microsecond)}
		isOverdue := func(now int64) bool { return isRunning && ran && now-b.started > t.timeout+overdueAfter }
		switch {
		case b.queued == never && isQueued:
			t.arrival, t.timeless, t.untaken = 0, true, true
			timeless++
		case b.queued == never:
			timeless++
			continue
		case b.queued >= end:
			future++
			continue
		case !ran && (b.status == "BLOCKED" || b.status == "UNKNOWN"):
			unfit++
			continue
		case b.queued >= begin || isQueued && !ran:
		case ran && b.started >= begin:
			resumed[b.project] = true
		case isOverdue(begin):
			l.dead = append(l.dead, b.started-begin)
			continue
		case ran && (isRunning || b.ended > begin):
			t.started = b.started - begin
		case !ran && (b.ended > begin || b.status == "ORPHANED" && begin-b.queued <= abort.Microseconds() || b.project != 0 && resumed[b.project]):
		default:
			continue // it was over when the window began
		}
		switch number, seen := numbers[b.project]; {
		case b.project == 0 && isQueued && !ran:
			t.untaken = true
			projectless++
		case seen:
			t.project = number
		default: // those without a project are in a project of their own
			t.project = int32(len(numbers)) + 1
			numbers[cmp.Or(b.project, -b.id)] = t.project
		}
		recordedEnd := int64(never)
		switch {
		case ran && b.ended >= b.started:
			t.duration, recordedEnd = b.ended-b.started, b.ended
			known = append(known, t.duration)
			byProject[t.project] = append(byProject[t.project], t.duration)
		case ran && b.ended != never:
			reversed++
		case ran && !isRunning:
			endless++
		case ran && !isOverdue(end):
			soFar[int32(len(l.tasks))] = end - b.started
		}
		if ran && b.started < b.queued {
			early++
		}
		l.tasks, parents, ends = append(l.tasks, t), append(parents, b.parent), append(ends, recordedEnd)
	}
	var unknowable int64
	if len(known) == 0 {
		all := int64(len(l.tasks))
		l.tasks = slices.DeleteFunc(l.tasks, func(t task) bool { return !t.untaken })
		unknowable = all - int64(len(l.tasks))
		parents, soFar = make([]int64, len(l.tasks)), nil
	}
	medians := map[int32]int64{}
	typical := median(known)
	for i := range l.tasks {
		t := &l.tasks[i]
		if t.duration == never {
			project, seen := medians[t.project]
			if !seen {
				project = typical
				if its := byProject[t.project]; len(its) > 0 {
					project = median(its)
				}
				medians[t.project] = project
			}
			t.duration, t.estimated = max(project, soFar[int32(i)]), true
		}
		parent, there := slices.BinarySearchFunc(l.tasks[:i], parents[i], func(t task, id int64) int { return cmp.Compare(t.id, id) })
		if t.started != never || t.timeless || t.arrival < 0 || !there || ends[parent] == never {
			continue
		}
		if gap := t.arrival + begin - ends[parent]; gap >= 0 {
			t.parent, t.arrival = int32(parent), gap
		} else {
			impatient++
		}
	}
	for _, odd := range []struct {
		n    int64
		what string
	}{
		{timeless, "without a queued_time: left out, or where QUEUED counted and never taken"},
		{future, "queued after the window's end, so that clocks differ or went back: left out"},
		{unfit, "BLOCKED or UNKNOWN that never ran: left out"},
		{reversed, "with an end before the start, so that clocks differ or went back: each takes its project's median"},
		{endless, "with a start, no end, and not RUNNING: each takes its project's median"},
		{early, "started before it was queued, so that clocks differ or went back: not in the recorded waits"},
		{impatient, "queued before its pipeline's parent ended: each arrives by its own time"},
		{unknowable, "that never ran, and none of the pool did that would tell how long they take: left out"},
		{projectless, "QUEUED without a project, on which workers stall: counted, and never taken; delete or abort them in Vespene"},
		{int64(len(l.dead)), "RUNNING since before the window, for longer than the project's timeout: counted, and without a worker; abort them in Vespene"},
	} {
		if odd.n > 0 {
			l.notes = append(l.notes, count(odd.n, "build")+" "+odd.what)
		}
	}
	return l
}

// overdueAfter is how much longer than its project's timeout a live build may run, in microseconds.
const overdueAfter = int64(5 * time.Minute / time.Microsecond)

// median sorts the values; of none it is 0.
func median(values []int64) int64 {
	slices.Sort(values)
	return int64(math.Round(quantile(values, 0.5)))
}

// quantile returns the q-quantile of sorted values, interpolated as PostgreSQL's percentile_cont does; of none it is 0.
func quantile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	below, above := float64(sorted[int(at)]), float64(sorted[int(math.Ceil(at))])
	return below + (above-below)*(at-math.Floor(at))
}

// prepare makes of the tasks what every simulation needs.
func (l *load) prepare() {
	l.children = map[int32][]int32{}
	for i, t := range l.tasks {
		l.projects = max(l.projects, t.project)
		if t.parent >= 0 {
			l.children[t.parent] = append(l.children[t.parent], int32(i))
		} else if t.started == never {
			l.arrivals = append(l.arrivals, int32(i))
		}
	}
	slices.SortStableFunc(l.arrivals, func(a, b int32) int { return cmp.Compare(l.tasks[a].arrival, l.tasks[b].arrival) })
}

// event is when something happens to the one with that number.
type event struct {
	at     int64
	number int32
}

func (e event) compare(other event) int {
	return cmp.Or(cmp.Compare(e.at, other.at), cmp.Compare(e.number, other.number))
}

// heap has the least of its items first.
type heap[T any] struct {
	items   []T
	compare func(a, b T) int
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	i := len(h.items) - 1
	for ; i > 0; i = (i - 1) / 2 {
		above := h.items[(i-1)/2]
		if h.compare(above, item) <= 0 {
			break
		}
		h.items[i] = above
	}
	h.items[i] = item
}

func (h *heap[T]) pop() T {
	first, end := h.items[0], len(h.items)-1
	item := h.items[end]
	h.items = h.items[:end]
	i := 0
	for below := 1; below < end; below = 2*i + 1 {
		if below+1 < end && h.compare(h.items[below+1], h.items[below]) < 0 {
			below++
		}
		if h.compare(item, h.items[below]) <= 0 {
			break
		}
		h.items[i] = h.items[below]
		i = below
	}
	if end > 0 {
		h.items[i] = item
	}
	return first
}

// instance is a machine with workers: number × perInstance and those that follow.
type instance struct {
	requested int64
	busy      int64 // workers
	left      int64 // workers that have not ended; 0: nor is there the instance any more
}

type worker struct {
	task  int32 // that it has; -1: none
	taken int64 // tasks that it has or had
	idle  int64 // since when; never: it is not ready, busy, or has ended
}

// crowd is waiting tasks, and their projects.
type crowd struct {
	tasks, projects int64
	of              []int32 // tasks of each project
}

func (c *crowd) add(project int32, n int32) {
	before := c.of[project]
	c.of[project] += n
	c.tasks += int64(n)
	if before == 0 {
		c.projects++
	} else if before+n == 0 {
		c.projects--
	}
}

// replay is a simulation that goes on.
type replay struct {
	*load
	scenario
	simulated
	now, end int64

	arrived       int         // of load.arrivals
	later         heap[event] // tasks whose parents have ended, by arrival
	queue         heap[int32] // takeable tasks, and such as were dropped
	takeable      int64       // tasks that wait and that a worker would take or drop
	queued, fresh crowd       // the tasks that wait, and those of them that are not stale
	ageing        []int32     // tasks by arrival; what comes before aged is stale or does not wait any more
	aged          int
	orphans       []int32   // tasks that the next look drops
	siblings      [][]int32 // of each project, tasks that wait, and such as do not any more

	running   heap[event] // workers by the end of their tasks
	instances []instance
	workers   []worker
	alive     []int32 // instances that have not ended
	booting   []event // instances by when they are ready
	idle      []event // workers by when they look, in each interval of sleep
	patience  []event // workers by since when they were idle, and such as are not any more

	next     int64   // evaluation
	most     int64   // instances that the size leaves room for
	previous *int64  // size
	planned  []plans // those that scale_down_minutes looks back to, each larger than the next
	drawn    int     // parts of the timeline
	last     sample
}

// plans is the size that was planned at that time, before what looks back.
type plans struct{ at, size int64 }

// micro is a duration in microseconds, of which there is one at least.
func micro(d time.Duration) int64 { return max(1, d.Microseconds()) }

// simulate runs the scenario over the load; samples is how many parts its timeline has.
func (l *load) simulate(s scenario, samples int) simulated {
	l.once.Do(l.prepare)
	r := &replay{load: l, scenario: s, end: l.to.Sub(l.from).Microseconds(), most: math.MaxInt64}
	r.fates, r.timeline = make([]fate, len(l.tasks)), make([]sample, samples)
	r.queued.of, r.fresh.of, r.siblings = make([]int32, l.projects+1), make([]int32, l.projects+1), make([][]int32, l.projects+1)
	r.later.compare, r.running.compare, r.queue.compare = event.compare, event.compare, cmp.Compare[int32]
	r.begin()
	for r.now = r.nextMoment(); r.now < r.end && r.err == nil; r.now = r.nextMoment() {
		r.endTasks()
		r.arrive()
		r.evaluate()
		r.getReady()
		r.look()
		r.giveUp()
		r.draw()
	}
	r.now = r.end
	r.endTasks()
	r.draw()
	r.sum()
	return r.simulated
}

// begin starts what runs when the window begins, and what is there always.
func (r *replay) begin() {
	var tasks []int32
	for i, t := range r.tasks {
		if t.started != never {
			tasks = append(tasks, int32(i))
		}
	}
	n := (int64(len(tasks)) + r.perInstance - 1) / r.perInstance
	if r.fixed != nil {
		n = max(n, *r.fixed)
	}
	r.ask(n)
	r.booting = nil
	for w := range r.workers {
		if w >= len(tasks) {
			r.rest(int32(w))
			continue
		}
		t := r.tasks[tasks[w]]
		r.fates[tasks[w]] = fate{arrival: t.arrival, start: t.started, worker: int32(w), status: taken}
		r.work(int32(w), tasks[w])
	}
}

// nextMoment is when something happens next: now, if it is of now.
func (r *replay) nextMoment() int64 {
	at := r.next
	if r.arrived < len(r.arrivals) {
		at = min(at, r.tasks[r.arrivals[r.arrived]].arrival)
	}
	for _, coming := range [][]event{r.later.items, r.running.items, r.booting} {
		if len(coming) > 0 {
			at = min(at, coming[0].at)
		}
	}
	if first := r.impatient(); first != nil {
		at = min(at, first.at+r.patienceOf())
	}
	if r.takeable > 0 && len(r.idle) > 0 {
		every := micro(r.sleep)
		phase := r.now % every
		look := r.idle[0].at + every // of the next interval
		if i := r.lookers(phase); i < len(r.idle) {
			look = r.idle[i].at
		}
		at = min(at, r.now+look-phase)
	}
	return max(at, r.now)
}

// lookers is where in idle those begin that look at that phase or later.
func (r *replay) lookers(phase int64) int {
	i, _ := slices.BinarySearchFunc(r.idle, event{phase, -1}, event.compare)
	return i
}

// endTasks ends the tasks that end now and, where there are more instances than the size, those that it makes idle.
func (r *replay) endTasks() {
	some := false
	for ; len(r.running.items) > 0 && r.running.items[0].at <= r.now; some = true {
		number := r.running.pop().number
		w := &r.workers[number]
		r.fates[w.task].status = finished
		for _, child := range r.children[w.task] {
			r.later.push(event{r.now + r.tasks[child].arrival, child})
		}
		w.task = -1
		r.instances[int64(number)/r.perInstance].busy--
		if r.maxBuilds > 0 && w.taken >= r.maxBuilds {
			r.endWorker(number)
		} else {
			r.rest(number)
		}
	}
	if some {
		r.shrink()
	}
}

func (r *replay) arrive() {
	for ; r.arrived < len(r.arrivals) && r.tasks[r.arrivals[r.arrived]].arrival <= r.now; r.arrived++ {
		r.enter(r.arrivals[r.arrived], r.tasks[r.arrivals[r.arrived]].arrival)
	}
	for len(r.later.items) > 0 && r.later.items[0].at <= r.now {
		r.enter(r.later.pop().number, r.now)
	}
}

// enter queues a task that arrived then.
func (r *replay) enter(number int32, arrival int64) {
	t := r.tasks[number]
	r.fates[number] = fate{arrival: arrival, status: waiting, stale: t.untaken}
	r.queued.add(t.project, 1)
	if !t.untaken {
		r.fresh.add(t.project, 1)
		r.takeable++
		r.queue.push(number)
		r.ageing = append(r.ageing, number)
	}
	if r.settings.buildLatest && t.project > 0 {
		r.siblings[t.project] = append(r.siblings[t.project], number)
	}
}

// exit takes a task out of the queue, to become that.
func (r *replay) exit(number int32, status int8) {
	t, f := r.tasks[number], &r.fates[number]
	r.queued.add(t.project, -1)
	if !f.stale {
		r.fresh.add(t.project, -1)
	}
	if !t.untaken {
		r.takeable--
	}
	f.status, f.stale = status, false
}

// drop takes a task out of the queue that nobody takes any more, and all that would have followed it.
func (r *replay) drop(number int32) {
	r.exit(number, dropped)
	for following := r.children[number]; len(following) > 0; following = following[1:] {
		r.fates[following[0]].status = dropped
		following = append(slices.Clip(following), r.children[following[0]]...)
	}
}

// age makes stale what has waited for too long.
func (r *replay) age() {
	for ; r.aged < len(r.ageing); r.aged++ {
		number := r.ageing[r.aged]
		f := &r.fates[number]
		if r.now-f.arrival <= r.abort.Microseconds() {
			return
		}
		if f.status == waiting {
			f.stale = true
			r.fresh.add(r.tasks[number].project, -1)
			r.orphans = append(r.orphans, number)
		}
	}
}

// evaluate plans the size when it is time to, and asks for what the pool has below it or ends what it has above.
func (r *replay) evaluate() {
	if r.now < r.next {
		return
	}
	r.next = r.now + max(r.settings.reevaluate, time.Minute).Microseconds()
	size, queuedSize := r.plan()
	n := queuedSize
	if r.adds {
		if n > 0 {
			r.changes++
		}
	} else {
		if r.previous != nil && size != *r.previous {
			r.changes++
			r.atRisk += max(0, r.above(size)-r.above(*r.previous))
		}
		r.previous, r.most = &size, size
		n = size - int64(len(r.alive))
	}
	if int64(len(r.workers)) > mostWorkers-min(n, mostWorkers)*r.perInstance {
		r.err = fmt.Errorf("it would start more than %d workers: lower the maximum", mostWorkers)
		return
	}
	r.ask(n)
	r.shrink()
	r.sizePeak = max(r.sizePeak, int64(len(r.alive))*r.perInstance)
}

// mostWorkers is how many a simulation starts at most, all in all.
const mostWorkers = 10_000_000

// plan is what the planner says now: instances to have, or to add.
func (r *replay) plan() (size, queuedSize int64) {
	if r.fixed != nil {
		return *r.fixed, 0
	}
	r.age()
	p := pool{queuedBuilds: r.queued.tasks, queuedProjects: r.queued.projects, running: int64(len(r.running.items) + len(r.dead)),
		staleQueued: r.queued.tasks - r.fresh.tasks, freshProjects: r.fresh.projects}
	p.overdue.count = int64(len(r.dead))
	for _, end := range r.running.items {
		task := r.workers[end.number].task
		if r.now-r.fates[task].start > r.tasks[task].timeout+overdueAfter {
			p.overdue.count++
		}
	}
	planned := newPlan(p, r.settings, r.from.Add(time.Duration(r.now)*time.Microsecond))
	for len(r.planned) > 0 && r.planned[0].at < r.now-r.settings.steady.scaleDown.Microseconds() {
		r.planned = r.planned[1:]
	}
	var largest *int64
	if len(r.planned) > 0 {
		largest = &r.planned[0].size
	}
	steadied := planned.steadied(r.previous, largest)
	for len(r.planned) > 0 && r.planned[len(r.planned)-1].size <= steadied.planned {
		r.planned = r.planned[:len(r.planned)-1]
	}
	r.planned = append(r.planned, plans{r.now, steadied.planned})
	return steadied.size, steadied.queuedSize
}

// above is how many workers are busy on the instances that a size has no room for, those with the fewest of them.
func (r *replay) above(size int64) (workers int64) {
	excess := int64(len(r.alive)) - size
	if excess <= 0 {
		return 0
	}
	busy := make([]int64, len(r.alive))
	for i, number := range r.alive {
		busy[i] = r.instances[number].busy
	}
	slices.Sort(busy)
	for _, n := range busy[:excess] {
		workers += n
	}
	return workers
}

// ask asks for n more instances, where n is above 0.
func (r *replay) ask(n int64) {
	for ; n > 0; n-- {
		number := int32(len(r.instances))
		r.instances = append(r.instances, instance{requested: r.now, left: r.perInstance})
		r.alive = append(r.alive, number)
		r.booting = append(r.booting, event{r.now + r.boot.Microseconds(), number})
		for range r.perInstance {
			r.workers = append(r.workers, worker{task: -1, idle: never})
		}
	}
}

// shrink ends instances without a busy worker, the newest first, while there are more than the size.
func (r *replay) shrink() {
	for i := len(r.alive) - 1; i >= 0 && int64(len(r.alive)) > r.most; i-- {
		if its := r.instances[r.alive[i]]; its.busy == 0 {
			first := int64(r.alive[i]) * r.perInstance
			for w := first; w < first+r.perInstance; w++ {
				r.stopIdling(int32(w))
			}
			r.endInstance(i)
		}
	}
}

// endInstance ends the instance at that place of those that are alive.
func (r *replay) endInstance(place int) {
	its := &r.instances[r.alive[place]]
	its.left = 0
	r.bill(*its)
	r.alive = slices.Delete(r.alive, place, place+1)
}

func (r *replay) bill(its instance) {
	r.billed += r.perInstance * max(r.now-its.requested, r.billingMinimum.Microseconds())
}

// endWorker ends a worker that is not busy, and with the last its instance.
func (r *replay) endWorker(number int32) {
	r.stopIdling(number)
	its := int32(int64(number) / r.perInstance)
	if r.instances[its].left--; r.instances[its].left == 0 {
		place, _ := slices.BinarySearch(r.alive, its)
		r.endInstance(place)
	}
}

// getReady lets the workers of instances look for work whose boot has ended.
func (r *replay) getReady() {
	for ; len(r.booting) > 0 && r.booting[0].at <= r.now; r.booting = r.booting[1:] {
		number := r.booting[0].number
		if r.instances[number].left == 0 {
			continue
		}
		for w := range r.perInstance {
			r.rest(int32(int64(number)*r.perInstance + w))
		}
	}
}

// rest makes a worker idle.
func (r *replay) rest(number int32) {
	r.workers[number].idle = r.now
	look := event{r.now % micro(r.sleep), number}
	place, _ := slices.BinarySearchFunc(r.idle, look, event.compare)
	r.idle = slices.Insert(r.idle, place, look)
	if r.maxWait != nil {
		r.patience = append(r.patience, event{r.now, number})
	}
}

func (r *replay) stopIdling(number int32) {
	if since := r.workers[number].idle; since != never {
		r.workers[number].idle = never
		place, _ := slices.BinarySearchFunc(r.idle, event{since % micro(r.sleep), number}, event.compare)
		r.idle = slices.Delete(r.idle, place, place+1)
	}
}

// look has the idle workers that look now drop what is too old, and take a task each.
func (r *replay) look() {
	phase := r.now % micro(r.sleep)
	for r.takeable > 0 {
		i := r.lookers(phase)
		if i == len(r.idle) || r.idle[i].at != phase {
			return
		}
		r.age()
		for _, number := range r.orphans {
			if r.fates[number].status == waiting {
				r.drop(number)
				r.orphaned++
			}
		}
		r.orphans = r.orphans[:0]
		if r.takeable == 0 {
			return
		}
		task := r.queue.pop()
		for r.fates[task].status != waiting {
			task = r.queue.pop()
		}
		number := r.idle[i].number
		r.stopIdling(number)
		r.exit(task, taken)
		r.fates[task].start, r.fates[task].worker = r.now, number
		r.work(number, task)
		if project := r.tasks[task].project; r.settings.buildLatest {
			for _, other := range r.siblings[project] {
				if r.fates[other].status == waiting {
					r.drop(other)
				}
			}
			r.siblings[project] = r.siblings[project][:0]
		}
	}
}

// work has a worker begin a task, whose fate says when.
func (r *replay) work(number, task int32) {
	w := &r.workers[number]
	w.task, w.taken = task, w.taken+1
	r.instances[int64(number)/r.perInstance].busy++
	r.running.push(event{r.fates[task].start + r.tasks[task].duration, number})
	if r.tasks[task].estimated {
		r.estimated++
	}
}

// patienceOf is how long an idle worker waits: until a look.
func (r *replay) patienceOf() int64 {
	every := micro(r.sleep)
	return (micro(*r.maxWait) + every - 1) / every * every
}

// impatient is the worker that has been idle for the longest, and since when; nil if there is none, or patience has no end.
func (r *replay) impatient() *event {
	for ; len(r.patience) > 0; r.patience = r.patience[1:] {
		if first := &r.patience[0]; r.workers[first.number].idle == first.at {
			return first
		}
	}
	return nil
}

// giveUp ends the workers that have waited for too long.
func (r *replay) giveUp() {
	for first := r.impatient(); first != nil && first.at+r.patienceOf() <= r.now; first = r.impatient() {
		r.endWorker(first.number)
	}
}

// draw draws how it is now into the timeline, whose parts before it are as it was.
func (r *replay) draw() {
	if len(r.timeline) == 0 {
		return
	}
	part := min(int(r.now*int64(len(r.timeline))/r.end), len(r.timeline)-1)
	for ; r.drawn <= part; r.drawn++ {
		r.timeline[r.drawn] = r.last
	}
	is := sample{r.queued.tasks, int64(len(r.running.items) + len(r.dead)), int64(len(r.alive)) * r.perInstance}
	most := &r.timeline[part]
	*most = sample{max(most.queued, is.queued), max(most.running, is.running), max(most.size, is.size)}
	r.last = is
}

// sum reckons up what has come of all.
func (r *replay) sum() {
	for _, number := range r.alive {
		r.bill(r.instances[number])
	}
	for i, f := range r.fates {
		t := r.tasks[i]
		end := f.start + t.duration
		switch f.status {
		case finished:
			r.finished++
			if t.started == never {
				r.waits = append(r.waits, f.start-f.arrival)
			}
		case dropped:
			r.dropped++
		default:
			r.unfinished++
		}
		if f.status == taken || f.status == finished {
			r.simulated.busy += min(end, r.end) - max(f.start, 0)
		}
		if f.status == waiting && !t.untaken {
			r.unstarted = append(r.unstarted, r.end-f.arrival)
		}
	}
	slices.Sort(r.waits)
	slices.Sort(r.unstarted)
}
