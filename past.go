package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"time"
)

// past.go has the past as a turn and the views see it, whichever home it has. localPast is this host's state file; with
// --shared, sharedPast lets the database decide when a pool was last evaluated and who may claim the next evaluation,
// and keeps the rest in the state file as well.

// freshFor is how long what was read may decide; after that it is read again.
const freshFor = time.Minute

// clock is this host's; a test has hosts whose clocks differ.
var clock = time.Now

// past is where evaluations are kept.
type past interface {
	// read returns what a pool's past means for its next evaluation, and the time by the clock that decides.
	read(ctx context.Context, p pool) (last lastRun, now time.Time, err error)
	// largest returns the largest size that was planned for a pool since then, or nil.
	largest(ctx context.Context, p pool, since time.Time) (*int64, error)
	// summary returns what status and the metrics show.
	summary(ctx context.Context, p pool) (summary, error)
	// lock takes the right to evaluate a pool. The file is for the command to inherit, so that what outlives this run
	// still holds the lock. The error is errBusy or errRunning if another has it.
	lock(ctx context.Context, p pool) (evaluator, *os.File, error)
}

// evaluator is the right to evaluate a pool. Its contexts do not end with a signal's, since what a signal ended is
// recorded, too.
type evaluator interface {
	// read is past's read, whose answer stays true. It completes the evaluations that a killed run left open.
	read(ctx context.Context) (last lastRun, now time.Time, err error)
	// claim records that an evaluation begins. If it fails, nothing is claimed.
	claim(ctx context.Context, c claim) error
	// complete records how the claimed evaluation ended, and returns when the interval after it begins.
	complete(ctx context.Context, o outcome) (last time.Time, err error)
	// release ends the right, unless processes of the command keep it. It returns the turn's error, or a worse one.
	release(ctx context.Context, keep bool, outcome string, err error) error
}

// localPast is the past in this host's state file.
type localPast struct {
	*state   // nil: there is no file, and nothing may be written
	database string
	log      *slog.Logger
	all      map[int64]lastRun // what was read of all pools at once, by their ids
	readAt   time.Time
}

func (l *localPast) key(p pool) poolKey { return poolKey{l.database, p.id} }

func (l *localPast) read(ctx context.Context, p pool) (lastRun, time.Time, error) {
	now := clock()
	if last, has := l.all[p.id]; has && now.Sub(l.readAt) <= freshFor {
		return last, now, nil
	}
	last, _, err := l.lastRun(ctx, l.key(p))
	return last, now, err
}

func (l *localPast) largest(ctx context.Context, p pool, since time.Time) (*int64, error) {
	return l.state.largest(ctx, l.key(p), since)
}

func (l *localPast) summary(ctx context.Context, p pool) (summary, error) {
	return l.state.summary(ctx, l.key(p))
}

func (l *localPast) lock(ctx context.Context, p pool) (evaluator, *os.File, error) {
	file, err := l.state.lock(context.WithoutCancel(ctx), l.key(p), clock())
	return &localEvaluator{past: l, pool: p, lock: file}, file, err
}

type localEvaluator struct {
	past  *localPast
	pool  pool
	lock  *os.File
	id    int64 // of the claimed row
	began time.Time
}

func (e *localEvaluator) read(ctx context.Context) (lastRun, time.Time, error) {
	last, all, err := e.past.lastRun(ctx, e.past.key(e.pool))
	now := clock()
	for _, open := range all {
		if err != nil || !open.ended.IsZero() {
			continue
		}
		e.past.log.Warn("an earlier run was killed before its evaluation ended; what it did is unknown, so its "+
			"interval begins now", "pool", e.pool.name, "started", open.started)
		last.last = nextInterval(interrupted, open.started, now)
		err = e.past.complete(ctx, open.id, outcome{ended: now, outcome: interrupted, err: "the run was killed"})
	}
	last.open = false
	return last, now, err
}

func (e *localEvaluator) claim(ctx context.Context, c claim) (err error) {
	e.began = c.started
	e.id, err = e.past.claim(ctx, e.past.key(e.pool), c)
	return err
}

func (e *localEvaluator) complete(ctx context.Context, o outcome) (last time.Time, err error) {
	return nextInterval(o.outcome, e.began, o.ended), e.past.complete(ctx, e.id, o)
}

func (e *localEvaluator) release(_ context.Context, keep bool, _ string, err error) error {
	if keep {
		e.lock.Close()
	} else if held := unlock(e.lock); held != nil {
		e.past.log.Warn("the lock could not be freed, and will be when this run ends", "pool", e.pool.name,
			"error", held)
	}
	return err
}

// sharedPast is the past of pools that several hosts serve. Its place will be a table in the database.
type sharedPast struct {
	*localPast
	database database
}

func (s *sharedPast) read(_ context.Context, p pool) (lastRun, time.Time, error) {
	last, _ := p.columns.get("last_autoscaled").(time.Time)
	return lastRun{last: last}, clock().Add(p.clock), nil
}

// summary is the state file's, if the newest evaluation was this host's, and in any case what the database has of it.
func (s *sharedPast) summary(ctx context.Context, p pool) (summary, error) {
	result, err := s.localPast.summary(ctx, p)
	if err != nil {
		return result, err
	}
	last, _ := p.columns.get("last_autoscaled").(time.Time)
	var newest evaluation
	var took time.Duration
	isOurs := false
	if result.newest != nil {
		newest, took = *result.newest, result.newest.ended.Sub(result.newest.started)
		// last_autoscaled is when it began or, if it failed, when it ended.
		sinceStart := last.Sub(newest.started.Add(p.clock))
		isOurs = sinceStart.Abs() < dueTolerance || !newest.ended.IsZero() && (sinceStart-took).Abs() < dueTolerance
	}
	if !isOurs {
		newest, result.isWhole, result.failures = evaluation{}, false, nil
	}
	if newest.started = last; !newest.ended.IsZero() {
		newest.ended = last.Add(took)
	}
	newest.outcome.outcome, newest.exitCode = "", nil
	if status, ended := p.columns.get("autoscaling_status").(int64); ended {
		newest.outcome.outcome, newest.exitCode = failed, new(int(status))
		if status == 0 {
			newest.outcome.outcome, result.scaled, result.failures = scaled, last, new(int64(0))
		}
	}
	result.newest = &newest
	return result, nil
}

func (s *sharedPast) lock(ctx context.Context, p pool) (evaluator, *os.File, error) {
	local, file, err := s.localPast.lock(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	lock, err := s.database.lockShared(ctx, p.id)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, local.release(ctx, false, "", err)
	}
	go func() {
		if <-lock.ended; lock.lost != nil {
			s.log.Error("the lock that hosts share was lost, so that another may run the command, too", "pool", p.name,
				"error", lock.lost)
		}
	}()
	return &sharedEvaluator{evaluator: local, past: s, pool: p, shared: lock}, file, nil
}

type sharedEvaluator struct {
	evaluator // the state file's
	past      *sharedPast
	pool      pool
	shared    *sharedLock
	began     time.Time // when the claimed evaluation did
	claimed   time.Time // and when it did by the database's clock
}

func (e *sharedEvaluator) read(ctx context.Context) (last lastRun, now time.Time, err error) {
	_, _, err = e.evaluator.read(ctx)
	return lastRun{last: e.shared.last}, time.Now().Add(e.shared.ahead), err
}

// claim checks that the lock still holds, since asking a planner takes time, and so does the claim itself.
func (e *sharedEvaluator) claim(ctx context.Context, c claim) (err error) {
	e.began = clock()
	c.started = e.began
	if err = e.shared.exec(ctx, "SELECT 1"); err == nil {
		e.claimed, err = e.past.database.claimShared(ctx, e.pool.id, c.follows)
	}
	if err != nil {
		return err
	}
	if err = e.shared.exec(ctx, "SELECT 1"); err == nil {
		c.deadline = c.deadline.Add(clock().Sub(e.began)) // what has passed is not the command's time
		err = e.evaluator.claim(ctx, c)
	}
	if err == nil {
		return nil
	}
	undone := e.past.database.unclaimShared(ctx, e.pool.id, e.claimed, c.follows, e.shared.status)
	if undone != nil {
		e.past.log.Error("the claim in PostgreSQL could not be taken back, and the pool waits an interval",
			"pool", e.pool.name, "error", undone)
	}
	return err
}

func (e *sharedEvaluator) complete(ctx context.Context, o outcome) (last time.Time, err error) {
	_, stateErr := e.evaluator.complete(ctx, o)
	status := exitFailed
	if o.exitCode != nil && (o.outcome == scaled) == (*o.exitCode == 0) {
		status = *o.exitCode
	}
	last = nextInterval(o.outcome, e.claimed, e.claimed.Add(o.ended.Sub(e.began)))
	last, err = e.past.database.completeShared(ctx, e.pool.id, e.claimed, status, last)
	return last, cmp.Or(stateErr, err)
}

func (e *sharedEvaluator) release(ctx context.Context, keep bool, outcome string, err error) error {
	lost := e.shared.release(ctx)
	err = e.evaluator.release(ctx, keep, outcome, err)
	if lost == nil {
		return err
	}
	ended := outcome
	if err != nil {
		ended += ": " + err.Error()
	}
	return fail(worse(exitCode(err), exitDatabase), "see that the network to PostgreSQL lasts as long as the command",
		"the lock that hosts share was lost, so that another may have run the command, too: %w; this one had ended: %s",
		lost, ended)
}
