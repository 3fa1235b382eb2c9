package sim

import (
	"math"
	"slices"
)

// instance is a machine. Its workers are numbered from its number × PerInstance on.
type instance struct {
	launched int64
	busy     int64 // workers
	left     int64 // workers that have not ended; 0: the instance has ended, too
}

type worker struct {
	job   int32 // that it has or had last
	taken int64 // jobs that it has or had
	idle  int64 // since when; Never: it is booting, busy or has ended
	ended bool
}

// pool is the pool's instances and workers, which have numbers in the order of their launch.
type pool struct {
	limit     int64 // instances that may stay
	period    int64 // between two polls of an idle worker
	instances []instance
	workers   []worker
	alive     []int32 // instances that have not ended
	present   int64   // workers that have not ended
	booting   []event // instances by when they are ready
	running   heap    // workers by when their jobs end
	idle      []event // workers by when they poll in each period
	idleSince []event // with MaxWait, workers by when they became idle, and some that are not idle any more
}

// begin launches what is there from the beginning on: the workers of the jobs that run, and the fixed instances.
func (r *replay) begin() {
	n := (int64(len(r.ongoing)) + r.PerInstance - 1) / r.PerInstance
	if r.Fixed != nil {
		n = max(n, *r.Fixed)
	}
	r.launch(n)
	r.booting = nil
	for w, number := range r.ongoing {
		r.states[number].arrival = r.jobs[number].arrival
		r.work(int32(w), number, r.jobs[number].started)
	}
	for w := len(r.ongoing); w < len(r.workers); w++ {
		r.rest(int32(w))
	}
}

// launch launches n instances, or none if n is below 1.
func (r *replay) launch(n int64) {
	for ; n > 0; n-- {
		number := int32(len(r.instances))
		r.instances = append(r.instances, instance{launched: r.now, left: r.PerInstance})
		r.alive = append(r.alive, number)
		r.booting = append(r.booting, event{r.now + micro(r.Boot), number})
		r.present += r.PerInstance
		for range r.PerInstance {
			r.workers = append(r.workers, worker{idle: Never})
		}
	}
}

// getReady makes the workers idle whose boot ends now.
func (r *replay) getReady() {
	for ; len(r.booting) > 0 && r.booting[0].at <= r.now; r.booting = r.booting[1:] {
		number := r.booting[0].number
		if r.instances[number].left == 0 {
			continue
		}
		for w := range r.PerInstance {
			r.rest(int32(int64(number)*r.PerInstance + w))
		}
	}
}

func (r *replay) rest(number int32) {
	r.workers[number].idle = r.now
	poll := event{r.now % r.period, number}
	place, _ := slices.BinarySearchFunc(r.idle, poll, event.compare)
	r.idle = slices.Insert(r.idle, place, poll)
	if r.MaxWait != nil {
		r.idleSince = append(r.idleSince, event{r.now, number})
	}
}

// stopResting makes a worker not idle, if it is.
func (r *replay) stopResting(number int32) {
	if since := r.workers[number].idle; since != Never {
		r.workers[number].idle = Never
		place, _ := slices.BinarySearchFunc(r.idle, event{since % r.period, number}, event.compare)
		r.idle = slices.Delete(r.idle, place, place+1)
	}
}

// work has a worker start a job at that time.
func (r *replay) work(number, job int32, start int64) {
	state, w := &r.states[job], &r.workers[number]
	state.status, state.start, state.worker = taken, start, number
	w.job, w.taken = job, w.taken+1
	r.instances[int64(number)/r.PerInstance].busy++
	r.running.push(event{start + r.jobs[job].duration, number})
	if r.jobs[job].estimated {
		r.Estimated++
	}
}

// free makes a worker idle whose job has ended, or ends it after its last job.
func (r *replay) free(number int32) {
	r.instances[int64(number)/r.PerInstance].busy--
	if r.MaxBuilds > 0 && r.workers[number].taken >= r.MaxBuilds {
		r.endWorker(number)
	} else {
		r.rest(number)
	}
}

// never is the event that does not come.
var never = event{at: math.MaxInt64}

// nextPoll is when an idle worker polls next, which may be now, and which one; never if there is nothing to take.
func (r *replay) nextPoll() event {
	if r.takeable == 0 || len(r.idle) == 0 {
		return never
	}
	phase := r.now % r.period
	begin := r.now - phase
	i, _ := slices.BinarySearchFunc(r.idle, event{phase, -1}, event.compare)
	if i == len(r.idle) {
		i, begin = 0, begin+r.period
	}
	return event{begin + r.idle[i].at, r.idle[i].number}
}

// poll lets the idle workers whose time it is, by their numbers, drop what waited for too long, and take a job each.
func (r *replay) poll() {
	for next := r.nextPoll(); next.at <= r.now; next = r.nextPoll() {
		r.dropOrphans()
		if r.takeable > 0 {
			r.take(next.number)
		}
	}
}

// nextExpiry is when the worker that has been idle for the longest ends: after MaxWait, at its next poll. At its first
// poll a worker never ends.
func (r *replay) nextExpiry() event {
	for ; len(r.idleSince) > 0; r.idleSince = r.idleSince[1:] {
		if first := r.idleSince[0]; r.workers[first.number].idle == first.at {
			polls := (max(1, micro(*r.MaxWait)) + r.period - 1) / r.period
			return event{first.at + polls*r.period, first.number}
		}
	}
	return never
}

func (r *replay) expireIdle() {
	for next := r.nextExpiry(); next.at <= r.now; next = r.nextExpiry() {
		r.endWorker(next.number)
	}
}

// shrink ends instances without a busy worker, the newest first, while there are too many.
func (r *replay) shrink() {
	for i := len(r.alive) - 1; i >= 0 && int64(len(r.alive)) > r.limit; i-- {
		number := int64(r.alive[i])
		if r.instances[number].busy > 0 {
			continue
		}
		for w := range r.PerInstance {
			r.endWorker(int32(number*r.PerInstance + w))
		}
	}
}

// endWorker ends a worker that is not busy, unless it has ended, and its instance with the last worker.
func (r *replay) endWorker(number int32) {
	w := &r.workers[number]
	if w.ended {
		return
	}
	r.stopResting(number)
	w.ended = true
	ofInstance := int32(int64(number) / r.PerInstance)
	i := &r.instances[ofInstance]
	r.present--
	r.Held += r.now - i.launched
	if i.left--; i.left == 0 {
		r.bill(*i)
		place, _ := slices.BinarySearch(r.alive, ofInstance)
		r.alive = slices.Delete(r.alive, place, place+1)
	}
}

// bill adds an instance that ends now to what was billed, and the workers that it has left to what was held.
func (r *replay) bill(i instance) {
	r.Held += i.left * (r.now - i.launched)
	r.Billed += r.PerInstance * max(r.now-i.launched, micro(r.BillingMinimum))
}

// busyAbove is how many workers are busy on the instances that a size has no room for, those with the fewest of them.
func (r *replay) busyAbove(size int64) (workers int64) {
	var busy []int64
	for _, number := range r.alive {
		busy = append(busy, r.instances[number].busy)
	}
	slices.Sort(busy)
	for _, n := range busy[:max(0, int64(len(busy))-size)] {
		workers += n
	}
	return workers
}
