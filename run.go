package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vespene-autoscale/internal/term"
)

// run.go owns one run over the pools, and one pool's turn: read, past, due, size, command, claim, execute, complete.
// A turn is made of plain values; the views make of them what they show.

// scaler is one run over the pools.
type scaler struct {
	database database
	state    *state // nil: there is none; left open, since closing would sync what need not be
	past     past
	plugins  plugins
	force    bool
	dryRun   bool
	shared   bool // several hosts serve the pools
	all      bool // with no names: pools without autoscaling, too
	jobs     int  // pools at the same time
	timeout  time.Duration
	log      *slog.Logger
	stream   *term.Log // for the output of commands

	names     []string    // of the pools to serve; none: all that are enabled
	evaluated atomic.Bool // something was

	mu     sync.Mutex // of what follows
	counts map[string]pool
	read   time.Time // when they were
}

// usePast makes the open state the past of the pools; all is what was read of all pools at once, or nil.
func (s *scaler) usePast(all map[int64]lastRun) {
	local := &localPast{state: s.state, database: s.database.key, log: s.log, all: all, readAt: clock()}
	s.past = local
	if s.shared {
		s.past = &sharedPast{local, s.database}
	}
}

// turn is what came of one pool's turn.
type turn struct {
	pool     pool // of one that does not exist, only the name
	now      time.Time
	plan     *plan        // nil: autoscaling is off, or the settings are invalid
	timing   *timing      // nil: it is unknown
	last     lastRun      // when timing is known
	prepared *preparation // nil: there was no need to
	result   *result      // nil: no command was run
	outcome  string
	err      error // why; nil: nothing went wrong
}

// preparation is what is to be run for a pool.
type preparation struct {
	plan     *plan  // with the size; nil: none was found
	command  string // a line for the shell, or the path of a program; "": there is none
	previous *int64
}

// ended returns the turn with its outcome.
func (t turn) ended(outcome string) turn {
	t.outcome = outcome
	return t
}

// failed returns the turn with an error that kept its command from running, or with the command's.
func (t turn) failed(err error) turn {
	t.err, t.outcome = err, failed
	switch code := exitCode(err); {
	case errors.Is(err, errBusy), errors.Is(err, errRunning):
		t.outcome = busy
	case code > 128:
		t.outcome = interrupted
	case code == exitInvalid:
		t.outcome = invalid
	}
	return t
}

// servePools serves the pools, some at the same time, and shows their turns in the pools' order. The error is that of
// the first read.
func (s *scaler) servePools(ctx context.Context, show func(turn)) (code int, err error) {
	start := time.Now()
	pools, err := s.fresh(ctx)
	if err != nil {
		return 0, err
	}
	s.names = s.queues(pools)
	turns := make([]chan turn, len(s.names)) // each with room for its turn: no pool waits for who reads the results
	for i := range turns {
		turns[i] = make(chan turn, 1)
	}
	var begun atomic.Int64
	for range min(s.jobs, len(s.names)) {
		go func() {
			for i := int(begun.Add(1)) - 1; i < len(s.names); i = int(begun.Add(1)) - 1 {
				turns[i] <- s.servePool(ctx, s.names[i])
			}
		}()
	}
	for _, done := range turns {
		t := <-done
		code = worse(code, exitCode(t.err))
		show(t)
	}
	if s.evaluated.Load() {
		const share = 20 // of the time that the run has taken, this part
		if err := s.state.prune(context.WithoutCancel(ctx), clock(), time.Since(start)/share); err != nil {
			s.log.Error(err.Error())
			code = worse(code, exitState)
		}
	}
	return code, nil
}

// queues returns the names of the pools to serve, each once: those that are asked for, or all that were read, by name.
func (s *scaler) queues(pools map[string]pool) []string {
	if len(s.names) == 0 {
		return slices.Sorted(maps.Keys(pools))
	}
	var once []string
	for _, name := range s.names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// fresh returns the pools with counts that are fresh: those that were read, unless too long ago.
func (s *scaler) fresh(ctx context.Context) (map[string]pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock()
	if now.Sub(s.read) <= freshFor {
		return s.counts, nil
	}
	pools, err := s.database.readPools(ctx, s.names, s.all, now)
	s.log.Debug("read the pools", "database", s.database.key, "pools", len(pools), "took", clock().Sub(now),
		"error", err)
	if err == nil {
		s.counts, s.read = pools, now
	}
	return pools, err
}

// servePool gives the named pool its turn, and logs what went wrong.
func (s *scaler) servePool(ctx context.Context, name string) turn {
	t := turn{pool: pool{name: name}}
	pools, err := s.fresh(ctx)
	p, exists := pools[name]
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if err == nil && !exists {
		err = noPool(name)
	}
	if err != nil {
		t = t.failed(err)
	} else {
		t = s.evaluatePool(ctx, p)
	}
	if t.err != nil {
		level := slog.LevelError
		if t.outcome == interrupted || exitCode(t.err) == exitBusy {
			level = slog.LevelWarn
		}
		s.log.Log(ctx, level, withCure(t.err), "pool", name, "outcome", t.outcome)
	}
	return t
}

func noPool(name string) error {
	return fail(exitInvalid, "write its name as Vespene shows it; upper and lower case matter",
		"there is no worker pool %q", name)
}

// settings returns the pool's settings, checked; the error has its cure.
func (s *scaler) settings(p pool) (settings, error) {
	checked, err := p.checked(s.plugins)
	if key := checked.steady.needsHistory(); err == nil && s.shared && key != "" {
		err = fmt.Errorf("variables: autoscaling.%s looks back to evaluations, of which each of several hosts "+
			"(--shared) knows its own only", key)
	}
	if err != nil {
		err = &failure{exitInvalid, err, "correct the pool's settings in Vespene"}
	}
	return checked, err
}

// look reads what a turn begins with: the settings, the past, and when the pool is due. If the turn ends there, it has
// an outcome.
func (s *scaler) look(ctx context.Context, p pool) turn {
	t := turn{pool: p, now: clock()}
	if !p.enabled {
		return t.ended(disabled)
	}
	checked, err := s.settings(p)
	if err != nil {
		return t.failed(err)
	}
	last, now, err := s.past.read(context.WithoutCancel(ctx), p)
	planned := newPlan(p, checked, now)
	t.now, t.plan = now, &planned
	if err != nil {
		return t.failed(err)
	}
	t.last, t.timing = last, planned.timing(last, now)
	return t
}

// evaluatePool gives one pool its turn.
func (s *scaler) evaluatePool(ctx context.Context, p pool) turn {
	t := s.look(ctx, p)
	if t.outcome != "" {
		return t
	}
	if s.dryRun {
		if t = s.prepare(ctx, t); t.err != nil {
			return t
		}
		return t.ended(dryRun)
	}
	if !t.timing.isDue && !s.force && !t.last.open { // whether an open one is over, only who has the lock can tell
		return t.ended(notDue)
	}
	right, file, err := s.past.lock(ctx, p)
	if settled := t.plan.timing(t.last.settled(), t.now); errors.Is(err, errRunning) && !s.force && !settled.isDue {
		t.timing = settled
		return t.ended(notDue) // that run was forced: nothing that is due is blocked
	}
	if err != nil {
		return t.failed(err)
	}
	t = s.evaluate(ctx, t, right, file)
	keep := t.result != nil && t.result.unkillable != nil
	t.err = right.release(ctx, keep, t.outcome, t.err)
	return t
}

// evaluate is the turn of a pool that seemed due, whose lock is held: due still? – size – claim – command – outcome.
func (s *scaler) evaluate(ctx context.Context, t turn, right evaluator, lock *os.File) turn {
	lasting := context.WithoutCancel(ctx) // what a signal ended is recorded, too
	last, now, err := right.read(lasting)
	if err != nil {
		return t.failed(err)
	}
	readAt := clock()
	t.now, t.last, t.timing = now, last, t.plan.timing(last, now)
	if !t.timing.isDue && !s.force {
		return t.ended(notDue)
	}
	if t = s.prepare(ctx, t); t.err != nil {
		return t
	}
	if ctx.Err() != nil { // nothing has been run: no interval begins
		return t.failed(context.Cause(ctx))
	}
	sized := *t.prepared.plan
	toRun, err := s.command(t.pool, *t.prepared)
	if err == nil {
		toRun.lock = lock
		err = right.claim(lasting, claim{pool: t.pool.name, started: now, deadline: clock().Add(s.timeout),
			follows: last.last, forced: s.force, plan: sized})
	}
	if err != nil {
		return t.failed(err)
	}
	s.evaluated.Store(true)
	s.log.Info("run the command", "pool", t.pool.name, "size", sized.size, "queued_size", sized.queuedSize,
		"why", sized.why())
	result := execute(ctx, toRun)
	ended := clock()
	t.now, t.result = now.Add(ended.Sub(readAt)), &result
	return s.complete(lasting, t, right, ended)
}

// complete records how the command of a turn ended, and returns the turn.
func (s *scaler) complete(ctx context.Context, t turn, right evaluator, ended time.Time) turn {
	r, p := *t.result, *t.prepared.plan
	if r.leftovers != nil {
		s.log.Warn("the command left processes running, which were ended", "pool", t.pool.name,
			"processes", r.leftovers)
	}
	t.outcome = scaled
	done := outcome{ended: ended, exitCode: r.exitCode, output: r.tail}
	if err := r.problem("the command", s.timeout); err != nil {
		t, done.err = t.failed(err), err.Error()
	}
	done.outcome = t.outcome
	began, unwritten := right.complete(ctx, done)
	t.timing = &timing{isDue: t.timing.isDue, next: p.timing(lastRun{last: began}, t.now).next}
	if unwritten != nil {
		t.timing.next = time.Time{}
		if exitCode(unwritten) == exitState {
			t.outcome = failed
		}
		t.err = fmt.Errorf("%w; the command had ended: %s", unwritten, strings.TrimSpace(done.outcome+" "+done.err))
	}
	if t.err == nil {
		s.log.Info(scaled, "pool", t.pool.name, "size", p.size, "took", r.duration.Round(time.Millisecond))
	}
	return t
}

// prepare sizes the pool of a turn, by its planner program if it has one, and makes what is to be run. If that fails,
// the turn has how far it came.
func (s *scaler) prepare(ctx context.Context, t turn) turn {
	p, planned, previous := t.pool, *t.plan, t.last.previousSize
	t.prepared = &preparation{previous: previous}
	if name := planned.planner; name != stock {
		a, err := askPlanner(ctx, name, s.plugins.planners[name], facts(p, planned, previous), s.stream,
			s.stream.Prefix(p.name))
		if err != nil && ctx.Err() != nil { // the signal that ends the run reached the program, too
			return t.failed(err).ended(interrupted)
		} else if err != nil {
			return t.failed(err)
		}
		planned = planned.answered(a)
	}
	sized, err := s.stabilized(ctx, t, planned)
	if err != nil {
		return t.failed(err)
	}
	t.prepared.plan = &sized
	if sized.timing(t.last.settled(), t.now).clockBack {
		s.log.Warn("the last evaluation lies in the future, so the clock went back: due now", "pool", p.name,
			"last", t.last.last)
	}
	for _, warning := range p.staleWarnings() {
		s.log.Warn(warning.String(), "pool", p.name)
	}
	if name := sized.executor; name != shell {
		t.prepared.command, err = findProgram("executor "+name, s.plugins.executors[name])
	} else if t.prepared.command, err = render(p, sized, previous); err != nil {
		err = &failure{exitInvalid, err,
			"correct the pool's executor_command in Vespene; --dry-run shows what it makes"}
	}
	if err != nil {
		return t.failed(err)
	}
	return t
}

// stabilized returns the plan with a size as steady as the pool of the turn wants it, by what its past was.
func (s *scaler) stabilized(ctx context.Context, t turn, planned plan) (plan, error) {
	var largest *int64
	var err error
	if window := planned.steady.scaleDown; window > 0 {
		largest, err = s.past.largest(context.WithoutCancel(ctx), t.pool, t.now.Add(-window))
	}
	return planned.stabilized(t.last.previousSize, largest), err
}

// command returns what is to be run for a pool that is prepared.
func (s *scaler) command(p pool, prepared preparation) (c command, err error) {
	all := facts(p, *prepared.plan, prepared.previous)
	c = command{argv: []string{"/bin/sh", "-c", prepared.command}, variables: environment(all), timeout: s.timeout,
		output: s.stream, prefix: s.stream.Prefix(p.name)}
	if name := prepared.plan.executor; name != shell {
		c.argv = []string{prepared.command}
		if c.input, err = json.Marshal(told(all, toExecutor)); err != nil {
			err = fail(exitInvalid, "correct the pool's settings in Vespene", "executor %s: %w", name, err)
		}
	}
	return c, err
}

// inspection is how a pool stands: what status and the metrics show. Of the turn's plan, the size is the formula's.
type inspection struct {
	turn
	exists  bool
	summary summary
}

// inspect looks at the named pool as a turn does, up to its size. No planner program is asked. With an error, the turn
// has no plan.
func (s *scaler) inspect(ctx context.Context, name string, pools map[string]pool) (i inspection) {
	p, exists := pools[name]
	now := clock()
	if s.shared {
		now = now.Add(p.clock)
	}
	i.pool, i.exists = p, exists
	if !exists {
		i.pool.name, i.err = name, noPool(name)
	} else if i.summary, i.err = s.past.summary(ctx, p); i.err == nil {
		i.turn = s.look(ctx, p)
	}
	if i.err == nil && i.plan != nil {
		sized, err := s.stabilized(ctx, i.turn, *i.plan)
		i.plan, i.err = &sized, err
	}
	if i.err != nil {
		i.plan = nil
	}
	i.now = now
	return i
}
