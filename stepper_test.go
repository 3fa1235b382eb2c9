package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// stepper_test.go goes through a window second by second as docs/simulation.md says, slow and plain, and shares nothing with
// simulate.go besides types, nor with how it gets there. Sizes are plan.go's, as they are by contract.

// steppedInstance and steppedWorker are what the stepper has of a pool.
type steppedInstance struct {
	asked, ready, ended int64 // ended is never while it is there
	workers             []*steppedWorker
}

type steppedWorker struct {
	number int32
	task   int   // -1: none
	since  int64 // it is ready, or its last build ended
	builds int64
	vain   bool // it looked at this moment, and found nothing
	ended  bool
}

func (i *steppedInstance) busy() (workers int64) {
	for _, w := range i.workers {
		if w.task >= 0 {
			workers++
		}
	}
	return workers
}

// stepper goes through a window second by second, and at each through all that there is. Its times are microseconds.
type stepper struct {
	*load
	scenario
	simulated
	window    int64
	instances []*steppedInstance // as they were asked for
	arrived   []int64            // when each task did
	size      *int64             // of the last evaluation
	planned   map[int64]int64    // sizes before a look back, by their time
}

// stepped is what simulate should come to.
func stepped(l *load, s scenario) simulated {
	p := stepper{load: l, scenario: s, window: l.to.Sub(l.from).Microseconds(), arrived: make([]int64, len(l.tasks)), planned: map[int64]int64{}}
	p.fates = make([]fate, len(l.tasks))
	p.size = s.fixed // nil unless there is one
	p.begin()
	for now := int64(0); now < p.window; now += second {
		p.endBuilds(now)
		p.endSurplus(now)
		p.arrive(now)
		if interval := max(time.Minute, s.settings.reevaluate).Microseconds(); now%interval == 0 {
			p.evaluate(now)
		}
		for _, w := range p.workers() { // of an instance that is ready now
			if i := p.instances[int64(w.number)/s.perInstance]; i.ready == now {
				w.since = now
			}
		}
		for _, w := range p.workers() {
			p.look(w, now)
		}
		for _, w := range p.workers() {
			if w.vain && s.maxWait != nil && now > w.since && now-w.since >= s.maxWait.Microseconds() {
				p.endWorker(w, now)
			}
		}
		p.held += p.have() * second
	}
	p.endBuilds(p.window)
	p.reckon()
	return p.simulated
}

// there are the instances that have not ended.
func (p *stepper) there() (instances []*steppedInstance) {
	for _, i := range p.instances {
		if i.ended == never {
			instances = append(instances, i)
		}
	}
	return instances
}

// workers are those that have not ended, by their numbers.
func (p *stepper) workers() (workers []*steppedWorker) {
	for _, i := range p.there() {
		for _, w := range i.workers {
			if !w.ended {
				workers = append(workers, w)
			}
		}
	}
	return workers
}

// have is the size as the summed have it: workers that were asked for and have not ended.
func (p *stepper) have() int64 { return int64(len(p.workers())) }

func (p *stepper) ask(now, ready int64) {
	i := &steppedInstance{asked: now, ready: ready, ended: never}
	for place := range p.perInstance {
		i.workers = append(i.workers, &steppedWorker{number: int32(int64(len(p.instances))*p.perInstance + place), task: -1})
	}
	p.instances = append(p.instances, i)
	p.sizePeak = max(p.sizePeak, p.have())
}

// begin has the builds that run at the beginning run.
func (p *stepper) begin() {
	var running []int
	for i, t := range p.tasks {
		if t.started != never {
			running = append(running, i)
		}
	}
	for n, i := range running {
		if int64(n)%p.perInstance == 0 {
			p.ask(0, 0)
		}
		w := p.instances[int64(n)/p.perInstance].workers[int64(n)%p.perInstance]
		w.task = i
		p.fates[i] = fate{status: taken, worker: w.number, start: p.tasks[i].started}
	}
	for p.fixed != nil && int64(len(p.there())) < *p.fixed {
		p.ask(0, 0)
	}
}

func (p *stepper) endBuilds(now int64) {
	for _, w := range p.workers() {
		if w.task < 0 || p.fates[w.task].start+p.tasks[w.task].duration != now {
			continue
		}
		p.fates[w.task].status = finished
		w.task, w.since = -1, now
		if w.builds++; w.builds == p.maxBuilds {
			p.endWorker(w, now)
		}
	}
}

func (p *stepper) endWorker(w *steppedWorker, now int64) {
	w.ended = true
	i := p.instances[int64(w.number)/p.perInstance]
	if !slices.ContainsFunc(i.workers, func(other *steppedWorker) bool { return !other.ended }) {
		i.ended = now
	}
}

// endSurplus ends what is above the size and not busy, the newest first.
func (p *stepper) endSurplus(now int64) {
	for _, i := range slices.Backward(p.there()) {
		if p.size != nil && !p.adds && int64(len(p.there())) > *p.size && i.busy() == 0 {
			i.ended = now
		}
	}
}

func (p *stepper) arrive(now int64) {
	for i, t := range p.tasks {
		at := t.arrival
		if t.timeless {
			at = 0
		}
		if t.parent >= 0 {
			if p.fates[t.parent].status != finished {
				continue
			}
			at += p.fates[t.parent].start + p.tasks[t.parent].duration
		}
		if p.fates[i].status == unarrived && at <= now {
			p.fates[i].status, p.arrived[i] = waiting, at
		}
	}
}

// stale tells of a waiting task whether Vespene would not take it.
func (p *stepper) stale(i int, now int64) bool {
	return p.tasks[i].untaken || p.tasks[i].timeless || now-p.arrived[i] > p.abort.Microseconds()
}

func (p *stepper) evaluate(now int64) {
	before := p.there()
	if p.fixed != nil {
		for n := int64(len(before)); n < *p.fixed; n++ {
			p.ask(now, now+p.boot.Microseconds())
		}
		return
	}
	var counts pool
	projects, fresh := map[int32]bool{}, map[int32]bool{}
	for i, f := range p.fates {
		t := p.tasks[i]
		switch f.status {
		case waiting:
			counts.queuedBuilds++
			projects[t.project] = true
			if p.stale(i, now) {
				counts.staleQueued++
			} else {
				fresh[t.project] = true
			}
		case taken:
			counts.running++
			if now-f.start > t.timeout+5*minute {
				counts.overdue.count++
			}
		}
	}
	counts.queuedProjects, counts.freshProjects = int64(len(projects)), int64(len(fresh))
	counts.running += int64(len(p.dead))
	counts.overdue.count += int64(len(p.dead))

	var largest *int64
	for at, size := range p.planned {
		if now-at <= p.settings.steady.scaleDown.Microseconds() && (largest == nil || size > *largest) {
			largest = &size
		}
	}
	plan := newPlan(counts, p.settings, p.from.Add(time.Duration(now)*time.Microsecond)).stabilized(p.size, largest)
	previous := p.size
	p.planned[now], p.size = plan.planned, &plan.size

	if p.adds {
		for range plan.queuedSize {
			p.ask(now, now+p.boot.Microseconds())
		}
		if plan.queuedSize > 0 {
			p.changes++
		}
		return
	}
	if previous != nil && plan.size != *previous {
		p.changes++
	}
	if previous != nil && plan.size < *previous {
		above := func(size int64) (busy int64) {
			fewest := slices.SortedFunc(slices.Values(before), func(a, b *steppedInstance) int { return int(a.busy() - b.busy()) })
			for _, i := range fewest[:max(0, int64(len(fewest))-size)] {
				busy += i.busy()
			}
			return busy
		}
		p.atRisk += above(plan.size) - above(*previous)
	}
	p.endSurplus(now)
	for int64(len(p.there())) < plan.size {
		p.ask(now, now+p.boot.Microseconds())
	}
}

// look has a worker look for a build, if it is its time.
func (p *stepper) look(w *steppedWorker, now int64) {
	w.vain = false
	if p.instances[int64(w.number)/p.perInstance].ready > now || w.task >= 0 || p.sleep > 0 && (now-w.since)%p.sleep.Microseconds() != 0 {
		return
	}
	for i := range p.tasks {
		if p.fates[i].status == waiting && !p.tasks[i].untaken && !p.tasks[i].timeless && p.stale(i, now) {
			p.orphaned++
			p.drop(i)
		}
	}
	for i, t := range p.tasks {
		if p.fates[i].status != waiting || t.untaken || t.timeless {
			continue
		}
		w.task, p.fates[i] = i, fate{status: taken, worker: w.number, start: now}
		for other := range p.tasks {
			if p.settings.buildLatest && p.fates[other].status == waiting && p.tasks[other].project == t.project {
				p.drop(other)
			}
		}
		return
	}
	w.vain = true
}

// drop drops a task, and what would have followed it.
func (p *stepper) drop(i int) {
	p.fates[i].status = dropped
	for child, t := range p.tasks {
		if int(t.parent) == i {
			p.drop(child)
		}
	}
}

// reckon adds up what there is at the window's end.
func (p *stepper) reckon() {
	for i, f := range p.fates {
		t := p.tasks[i]
		switch f.status {
		case finished:
			p.finished++
			if t.started == never {
				p.waits = append(p.waits, f.start-p.arrived[i])
			}
		case dropped:
			p.dropped++
		default:
			p.unfinished++
		}
		if f.status == waiting && !t.untaken {
			p.unstarted = append(p.unstarted, p.window-max(0, p.arrived[i]))
		}
		if f.status == taken || f.status == finished {
			p.busy += min(p.window, f.start+t.duration) - max(0, f.start)
			if t.estimated {
				p.estimated++
			}
		}
	}
	slices.Sort(p.waits)
	slices.Sort(p.unstarted)
	for _, i := range p.instances {
		end := i.ended
		if end == never {
			end = p.window
		}
		p.billed += p.perInstance * max(end-i.asked, p.billingMinimum.Microseconds())
	}
}

// smallCase is a random load and scenario, in whole seconds. draw returns a number from 0 to n-1.
func smallCase(t testing.TB, draw func(n int) int64) (*load, scenario, string) {
	window := 600 + draw(1201)
	l := &load{from: simulationStart, to: simulationStart.Add(time.Duration(window) * time.Second)}
	for i := range int(draw(26)) {
		b := task{id: int64(i + 1), project: int32(1 + draw(4)), parent: -1, started: never, arrival: draw(int(window)) * second,
			duration: (1 + draw(300)) * second, timeout: draw(6) * minute, estimated: draw(3) == 0}
		switch draw(12) {
		case 0:
			b.project, b.untaken = 0, true
		case 1:
			b.arrival, b.untaken, b.timeless = 0, true, true
		case 2, 3:
			b.arrival = -draw(300) * second
		case 4, 5:
			b.started = -(1 + draw(200)) * second
			b.arrival, b.duration = b.started-draw(100)*second, b.duration-b.started
		case 6, 7, 8:
			if i > 0 {
				b.parent, b.arrival = int32(draw(i)), draw(60)*second
			}
		}
		l.tasks = append(l.tasks, b)
	}
	for range draw(5) - 2 {
		l.dead = append(l.dead, -(7200+draw(3600))*second)
	}

	weights := []float64{0, 0.5, 1, 1, 2}
	minimum := draw(3)
	columns := map[string]any{"build_latest": draw(2) == 0, "queued_weight": weights[draw(5)], "running_weight": weights[draw(5)],
		"multiplier": weights[1+draw(4)], "excess": draw(4) - 1, "minimum": minimum, "maximum": minimum + draw(7), "reevaluate_minutes": draw(6)}
	object := map[string]any{}
	for _, key := range []string{scaleDownMinutes, maxStepUp, maxStepDown} {
		if draw(4) == 0 {
			object[key] = 1 + draw(5)
		}
	}
	if draw(4) == 0 {
		object[staleBuilds] = "ignore"
	}
	if draw(8) == 0 {
		object[scheduleKey] = []any{map[string]any{"when": "5-14 12 * * *", "excess": 2}}
	}
	variables, err := json.Marshal(map[string]any{"autoscaling": object})
	if err != nil {
		t.Fatal(err)
	}
	columns["variables"] = string(variables)

	s := scenarioOf(t, columns)
	s.sleep, s.abort = time.Duration(1+draw(30))*time.Second, time.Duration(1+draw(20))*time.Minute
	s.boot = time.Duration(max(0, draw(250)-49)) * time.Second
	s.maxBuilds, s.perInstance = max(0, draw(6)-2), 1+max(0, draw(5)-2)
	s.billingMinimum = time.Duration(max(0, draw(1200)-600)) * time.Second
	wait := time.Duration(draw(3)) * time.Minute
	waits := "for ever"
	if draw(2) == 0 {
		s.maxWait, waits = &wait, wait.String()
	}
	mode := "declares"
	switch draw(6) {
	case 0:
		s.fixed, mode = ptr(draw(5)), "fixed"
		mode = fmt.Sprintf("fixed %d", *s.fixed)
	case 1:
		s.adds, mode = true, "adds"
	}

	var text strings.Builder
	fmt.Fprintf(&text, "%d s, sleep %v, abort %v, boot %v, max-builds %d, max-wait %s, %d an instance, billing minimum %v, %s, %d dead, %v\n", window, s.sleep,
		s.abort, s.boot, s.maxBuilds, waits, s.perInstance, s.billingMinimum, mode, len(l.dead), columns)
	for i, b := range l.tasks {
		fmt.Fprintf(&text, "  %d: project %d, at %g, takes %g, timeout %g", i, b.project, inSeconds(b.arrival), inSeconds(b.duration), inSeconds(b.timeout))
		if b.parent >= 0 {
			fmt.Fprintf(&text, ", after %d", b.parent)
		}
		if b.started != never {
			fmt.Fprintf(&text, ", started at %g", inSeconds(b.started))
		}
		if b.untaken {
			text.WriteString(", untaken")
		}
		if b.timeless {
			text.WriteString(", timeless")
		}
		if b.estimated {
			text.WriteString(", estimated")
		}
		text.WriteString("\n")
	}
	return l, s, text.String()
}

// TestStepper: small random cases come to the very same as by the stepper.
func TestStepper(t *testing.T) {
	different := 0
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 5))
		l, s, text := smallCase(t, func(n int) int64 { return int64(random.IntN(n)) })
		got, want := l.simulate(t.Context(), s, 0), stepped(l, s)
		slices.Sort(got.unstarted)
		if summed(got) == summed(want) && slices.Equal(got.unstarted, want.unstarted) {
			continue
		}
		if different++; different <= 3 {
			t.Errorf("seed %d: %s simulated %s\n   stepped %s", seed, text, summed(got), summed(want))
		}
	}
	if different > 0 {
		t.Errorf("%d of 1000 cases are different", different)
	}
}
