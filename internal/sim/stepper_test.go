package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// stepper_test.go goes through a window second by second as docs/simulation.md says, slow and plain. It shares nothing
// with the replay besides types and the planner, nor with how that gets there.

// steppedInstance and steppedWorker are what the stepper has of a pool.
type steppedInstance struct {
	asked, ready, ended int64 // ended is Never while it is there
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
	*Workload
	Scenario
	outcome
	planner   Planner
	window    int64
	instances []*steppedInstance // as they were asked for
	arrived   []int64            // when each task did
	size      *int64             // of the last evaluation
}

// stepped is what a replay should come to.
func stepped(w *Workload, s Scenario) outcome {
	p := stepper{Workload: w, Scenario: s, window: w.To.Sub(w.From).Microseconds(), arrived: make([]int64, len(w.jobs))}
	p.states = make([]jobState, len(w.jobs))
	p.size = s.Fixed // nil unless there is one
	if s.Fixed == nil {
		p.planner = s.Planner()
	}
	p.begin()
	for now := int64(0); now < p.window; now += second {
		p.endBuilds(now)
		p.endSurplus(now)
		p.arrive(now)
		if interval := max(time.Minute, s.Interval).Microseconds(); now%interval == 0 {
			p.evaluate(now)
		}
		for _, w := range p.workers() { // of an instance that is ready now
			if i := p.instances[int64(w.number)/s.PerInstance]; i.ready == now {
				w.since = now
			}
		}
		for _, w := range p.workers() {
			p.look(w, now)
		}
		for _, w := range p.workers() {
			if w.vain && s.MaxWait != nil && now > w.since && now-w.since >= s.MaxWait.Microseconds() {
				p.endWorker(w, now)
			}
		}
		p.Held += p.have() * second
	}
	p.endBuilds(p.window)
	p.reckon()
	return p.outcome
}

// there are the instances that have not ended.
func (p *stepper) there() (instances []*steppedInstance) {
	for _, i := range p.instances {
		if i.ended == Never {
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
	i := &steppedInstance{asked: now, ready: ready, ended: Never}
	for place := range p.PerInstance {
		i.workers = append(i.workers, &steppedWorker{number: int32(int64(len(p.instances))*p.PerInstance + place),
			task: -1})
	}
	p.instances = append(p.instances, i)
	p.SizePeak = max(p.SizePeak, p.have())
}

// begin has the builds that run at the beginning run.
func (p *stepper) begin() {
	var running []int
	for i, t := range p.jobs {
		if t.started != Never {
			running = append(running, i)
		}
	}
	for n, i := range running {
		if int64(n)%p.PerInstance == 0 {
			p.ask(0, 0)
		}
		w := p.instances[int64(n)/p.PerInstance].workers[int64(n)%p.PerInstance]
		w.task = i
		p.states[i] = jobState{status: taken, worker: w.number, start: p.jobs[i].started}
	}
	for p.Fixed != nil && int64(len(p.there())) < *p.Fixed {
		p.ask(0, 0)
	}
}

func (p *stepper) endBuilds(now int64) {
	for _, w := range p.workers() {
		if w.task < 0 || p.states[w.task].start+p.jobs[w.task].duration != now {
			continue
		}
		p.states[w.task].status = finished
		w.task, w.since = -1, now
		if w.builds++; w.builds == p.MaxBuilds {
			p.endWorker(w, now)
		}
	}
}

func (p *stepper) endWorker(w *steppedWorker, now int64) {
	w.ended = true
	i := p.instances[int64(w.number)/p.PerInstance]
	if !slices.ContainsFunc(i.workers, func(other *steppedWorker) bool { return !other.ended }) {
		i.ended = now
	}
}

// endSurplus ends what is above the size and not busy, the newest first.
func (p *stepper) endSurplus(now int64) {
	for _, i := range slices.Backward(p.there()) {
		if p.size != nil && !p.Adds && int64(len(p.there())) > *p.size && i.busy() == 0 {
			i.ended = now
		}
	}
}

func (p *stepper) arrive(now int64) {
	for i, t := range p.jobs {
		at := t.arrival
		if t.timeless {
			at = 0
		}
		if t.parent >= 0 {
			if p.states[t.parent].status != finished {
				continue
			}
			at += p.states[t.parent].start + p.jobs[t.parent].duration
		}
		if p.states[i].status == unarrived && at <= now {
			p.states[i].status, p.arrived[i] = waiting, at
		}
	}
}

// stale tells of a waiting task whether Vespene would not take it.
func (p *stepper) stale(i int, now int64) bool {
	return p.jobs[i].untaken || p.jobs[i].timeless || now-p.arrived[i] > p.Abort.Microseconds()
}

func (p *stepper) evaluate(now int64) {
	before := p.there()
	if p.Fixed != nil {
		for n := int64(len(before)); n < *p.Fixed; n++ {
			p.ask(now, now+p.Boot.Microseconds())
		}
		return
	}
	d := Demand{Running: int64(len(p.dead)), StaleRunning: int64(len(p.dead))}
	projects, fresh := map[int32]bool{}, map[int32]bool{}
	for i, f := range p.states {
		t := p.jobs[i]
		switch f.status {
		case waiting:
			d.Queued++
			projects[t.project] = true
			if p.stale(i, now) {
				d.StaleQueued++
			} else {
				fresh[t.project] = true
			}
		case taken:
			d.Running++
			if now-f.start > t.timeout+5*minute {
				d.StaleRunning++
			}
		}
	}
	d.QueuedProjects, d.FreshProjects = int64(len(projects)), int64(len(fresh))
	size, queuedSize := p.planner(p.From.Add(time.Duration(now)*time.Microsecond), d)
	previous := p.size
	p.size = &size

	if p.Adds {
		for range queuedSize {
			p.ask(now, now+p.Boot.Microseconds())
		}
		if queuedSize > 0 {
			p.Changes++
		}
		return
	}
	if previous != nil && size != *previous {
		p.Changes++
	}
	if previous != nil && size < *previous {
		above := func(size int64) (busy int64) {
			fewest := slices.SortedFunc(slices.Values(before),
				func(a, b *steppedInstance) int { return int(a.busy() - b.busy()) })
			for _, i := range fewest[:max(0, int64(len(fewest))-size)] {
				busy += i.busy()
			}
			return busy
		}
		p.AtRisk += above(size) - above(*previous)
	}
	p.endSurplus(now)
	for int64(len(p.there())) < size {
		p.ask(now, now+p.Boot.Microseconds())
	}
}

// look has a worker look for a build, if it is its time.
func (p *stepper) look(w *steppedWorker, now int64) {
	w.vain = false
	if p.instances[int64(w.number)/p.PerInstance].ready > now || w.task >= 0 || p.Sleep > 0 &&
		(now-w.since)%p.Sleep.Microseconds() != 0 {
		return
	}
	for i := range p.jobs {
		if p.states[i].status == waiting && !p.jobs[i].untaken && !p.jobs[i].timeless && p.stale(i, now) {
			p.Orphaned++
			p.drop(i)
		}
	}
	for i, t := range p.jobs {
		if p.states[i].status != waiting || t.untaken || t.timeless {
			continue
		}
		w.task, p.states[i] = i, jobState{status: taken, worker: w.number, start: now}
		for other := range p.jobs {
			if p.BuildLatest && p.states[other].status == waiting && p.jobs[other].project == t.project {
				p.drop(other)
			}
		}
		return
	}
	w.vain = true
}

// drop drops a task, and what would have followed it.
func (p *stepper) drop(i int) {
	p.states[i].status = dropped
	for child, t := range p.jobs {
		if int(t.parent) == i {
			p.drop(child)
		}
	}
}

// reckon adds up what there is at the window's end.
func (p *stepper) reckon() {
	for i, f := range p.states {
		t := p.jobs[i]
		switch f.status {
		case finished:
			p.Finished++
			if t.started == Never {
				p.Waits = append(p.Waits, f.start-p.arrived[i])
			}
		case dropped:
			p.Dropped++
		default:
			p.Unfinished++
		}
		if f.status == waiting && !t.untaken {
			p.Unstarted = append(p.Unstarted, p.window-max(0, p.arrived[i]))
		}
		if f.status == taken || f.status == finished {
			p.Busy += min(p.window, f.start+t.duration) - max(0, f.start)
			if t.estimated {
				p.Estimated++
			}
		}
	}
	slices.Sort(p.Waits)
	slices.Sort(p.Unstarted)
	for _, i := range p.instances {
		end := i.ended
		if end == Never {
			end = p.window
		}
		p.Billed += p.PerInstance * max(end-i.asked, p.BillingMinimum.Microseconds())
	}
}

// smallCase is a random load and Scenario, in whole seconds. draw returns a number from 0 to n-1.
func smallCase(draw func(n int) int64) (*Workload, Scenario, string) {
	window := 600 + draw(1201)
	w := &Workload{From: simulationStart, To: simulationStart.Add(time.Duration(window) * time.Second)}
	for i := range int(draw(26)) {
		b := job{id: int64(i + 1), project: int32(1 + draw(4)), parent: -1, started: Never,
			arrival:  draw(int(window)) * second,
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
		w.jobs = append(w.jobs, b)
	}
	for range draw(5) - 2 {
		w.dead = append(w.dead, -(7200+draw(3600))*second)
	}

	weights := []float64{0, 0.5, 1, 1, 2}
	minimum := float64(draw(3))
	sizes := sizing{"build_latest": float64(draw(2)), "queued_weight": weights[draw(5)],
		"running_weight": weights[draw(5)],
		"multiplier":     weights[1+draw(4)], "excess": float64(draw(4) - 1), "minimum": minimum, "maximum": minimum +
			float64(draw(7)),
		"reevaluate_minutes": float64(draw(6))}
	for _, key := range []string{"scale_down_minutes", "max_step_up", "max_step_down"} {
		if draw(4) == 0 {
			sizes[key] = float64(1 + draw(5))
		}
	}
	if draw(4) == 0 {
		sizes["ignore_stale"] = 1
	}
	if draw(8) == 0 {
		sizes["rush"] = 2
	}

	s := scenarioOf(sizes)
	s.Sleep, s.Abort = time.Duration(1+draw(30))*time.Second, time.Duration(1+draw(20))*time.Minute
	s.Boot = time.Duration(max(0, draw(250)-49)) * time.Second
	s.MaxBuilds, s.PerInstance = max(0, draw(6)-2), 1+max(0, draw(5)-2)
	s.BillingMinimum = time.Duration(max(0, draw(1200)-600)) * time.Second
	wait := time.Duration(draw(3)) * time.Minute
	waits := "for ever"
	if draw(2) == 0 {
		s.MaxWait, waits = &wait, wait.String()
	}
	mode := "declares"
	switch draw(6) {
	case 0:
		s.Fixed, mode = ptr(draw(5)), "fixed"
		mode = fmt.Sprintf("fixed %d", *s.Fixed)
	case 1:
		s.Adds, mode = true, "adds"
	}

	var text strings.Builder
	fmt.Fprintf(&text, "%d s, sleep %v, abort %v, boot %v, max-builds %d, max-wait %s, %d an instance, billing "+
		"minimum %v, %s, %d dead, %v\n", window, s.Sleep,
		s.Abort, s.Boot, s.MaxBuilds, waits, s.PerInstance, s.BillingMinimum, mode, len(w.dead), sizes)
	for i, b := range w.jobs {
		fmt.Fprintf(&text, "  %d: project %d, at %g, takes %g, timeout %g", i, b.project, inSeconds(b.arrival),
			inSeconds(b.duration), inSeconds(b.timeout))
		if b.parent >= 0 {
			fmt.Fprintf(&text, ", after %d", b.parent)
		}
		if b.started != Never {
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
	w.index()
	return w, s, text.String()
}

// TestStepper: small random cases come to the very same as by the stepper.
func TestStepper(t *testing.T) {
	different := 0
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 5))
		w, s, text := smallCase(func(n int) int64 { return int64(random.IntN(n)) })
		got, want := replayed(t, w, s, 0), stepped(w, s)
		slices.Sort(got.Unstarted)
		if summed(got) == summed(want) && slices.Equal(got.Unstarted, want.Unstarted) {
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
