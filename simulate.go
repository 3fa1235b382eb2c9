package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"vespene-autoscale/internal/sim"
	"vespene-autoscale/internal/term"
)

// simulate.go owns the command simulate: its options, and what it simulates of each pool. scenario.go has the
// scenarios, search.go runs and compares them, and simulation.go and picture.go show what came of them.

// simulate shows what came of the builds of pools, and what would have come of them with other settings.
func simulate(ctx context.Context, s *scaler, c *cli.Context, out *term.Output) (code int, err error) {
	debug.SetGCPercent(20) // builds are many and small, so that less memory costs no time
	q, err := newQuestion(c)
	if err == nil {
		err = s.openDatabase(c)
	}
	if err == nil {
		err = s.readState(ctx, c)
	}
	var pools map[string]pool
	if err == nil {
		pools, err = s.fresh(ctx)
	}
	if err != nil {
		return 0, err
	}
	names := s.queues(pools)
	if len(names) > 1 && q.svg != "" {
		return 0, usage("name one with --queue", "--svg takes the picture of one pool, and there are %d", len(names))
	}
	if len(names) == 0 {
		out.Note("no worker pool has autoscaling enabled: name one with --queue, or enable it in Vespene")
	}
	for _, name := range names {
		err = s.simulatePool(ctx, q, pools, name, out)
		if ctx.Err() != nil || len(names) == 1 || exitCode(err) == exitDatabase || exitCode(err) == exitState {
			return code, err
		}
		if err != nil {
			s.log.Error(withCure(err), "pool", name)
			code = worse(code, exitCode(err))
		}
	}
	return code, nil
}

// simulatePool simulates the named pool, draws the picture, and writes the results.
func (s *scaler) simulatePool(ctx context.Context, q question, pools map[string]pool, name string,
	out *term.Output) error {
	p, exists := pools[name]
	if !exists {
		return noPool(name)
	}
	result, err := (&runner{scaler: s, question: q, pool: p}).simulate(ctx)
	if err != nil {
		return err
	}
	if q.svg != "" {
		if err := replaceFile(q.svg, picture(result)); err != nil {
			return &failure{code: exitState, err: fmt.Errorf("write the picture: %w", err),
				hint: "name a file in a folder that this user may write to"}
		}
	}
	writeSimulation(out, result)
	return nil
}

// newQuestion reads the options, or says what is wrong with them.
func newQuestion(c *cli.Context) (q question, err error) {
	q = question{since: c.Duration("since"), svg: c.String("svg"), base: sim.Scenario{Boot: c.Duration("boot"),
		MaxBuilds: c.Int64("max-builds"), PerInstance: c.Int64("workers-per-instance"),
		BillingMinimum: c.Duration("billing-minimum")}}
	if c.IsSet("max-wait") {
		q.base.MaxWait = ptr(time.Duration(c.Float64("max-wait") * float64(time.Minute)))
	}
	refuse := func(hint, format string, args ...any) (question, error) {
		return q, usage(hint, "%s", withoutAddress(fmt.Sprintf(format, args...)))
	}
	switch {
	case q.since < time.Minute:
		return refuse(durationHint, "--since is %v, and a simulation takes a minute at least", q.since)
	case q.base.Boot < 0 || q.base.BillingMinimum < 0:
		return refuse(durationHint, "--boot and --billing-minimum cannot be below zero")
	case c.IsSet("max-builds") && q.base.MaxBuilds < 1 || q.base.PerInstance < 1:
		return refuse(wholeHint, "--max-builds and --workers-per-instance cannot be below 1")
	case q.base.MaxWait != nil && !(*q.base.MaxWait >= 0 && c.Float64("max-wait") < longestMinutes):
		return refuse(minutesHint, "--max-wait is not a number of minutes")
	case c.IsSet("svg") && q.svg == "":
		return refuse("name a file", "--svg is empty")
	}
	for _, given := range *c.Generic("set").(*list) {
		name, value, isChange := strings.Cut(given, "=")
		if _, exists := settingNamed(name); !isChange || !exists {
			var names []string
			for _, s := range settable {
				names = append(names, s.name)
			}
			return refuse("write SETTING=VALUE; settings are "+strings.Join(names, ", "),
				"--set %q is no setting of a pool with a value", given)
		}
		q.changes = q.changes.with(change{name, value})
	}
	combinations := 1
	for _, given := range *c.Generic("sweep").(*list) {
		changes, err := parseRange(given)
		if err != nil {
			return refuse("write SETTING=FROM:TO:STEP, such as multiplier=1:3:0.25", "--sweep %q %v", given, err)
		}
		if slices.ContainsFunc(q.ranges, func(other []change) bool { return other[0].setting == changes[0].setting }) {
			return refuse("give each setting one range", "--sweep %s is given twice", changes[0].setting)
		}
		if combinations *= len(changes); combinations > maxCombinations {
			return refuse("take larger steps", "--sweep gives more than %d combinations", maxCombinations)
		}
		q.ranges = append(q.ranges, changes)
	}
	if q.written = c.String("recommend"); c.IsSet("recommend") {
		if q.target = parseTarget(q.written); q.target == nil {
			return refuse("write wait_median, wait_p95 or wait_max, <= and a duration, such as 'wait_p95<=3m'",
				"--recommend %q is no target", q.written)
		}
	}
	return q, nil
}

func parseTarget(text string) *sim.Target {
	figure, most, _ := strings.Cut(text, "<=")
	quantiles := map[string]float64{"wait_median": 0.5, "wait_p95": 0.95, "wait_max": 1}
	quantile, isFigure := quantiles[strings.TrimSuffix(strings.TrimSpace(figure), "_s")]
	limit, err := time.ParseDuration(strings.TrimSpace(most))
	if !isFigure || err != nil || limit < 0 {
		return nil
	}
	return &sim.Target{Quantile: quantile, Most: limit.Microseconds()}
}

// timelineSamples is how many parts a timeline has: as many as a picture can show.
const timelineSamples = 600

// simulate replays the pool as it was, as it is configured and as it is set, with a fixed size, and with what is swept
// or searched.
func (r *runner) simulate(ctx context.Context) (result simulation, err error) {
	scenarios, unfit, err := r.scenarios()
	if err != nil {
		return result, err
	}
	first, base := scenarios[0], scenarios[len(scenarios)-1]
	if err = r.read(ctx, first.Abort); err != nil {
		return result, err
	}
	recorded, err := r.recorded(ctx, first.Adds)
	if err != nil {
		return result, err
	}
	outcomes, err := replayAll(ctx, r, scenarios, timelineSamples, allOf)
	if err != nil {
		return result, err
	}
	result = simulation{Pool: r.pool.name, From: r.workload.From, To: r.workload.To, Builds: int64(r.workload.Len()),
		Variants: []variant{recorded}, Warnings: r.notes(first, base, recorded)}
	warn := func(warnings ...string) { result.Warnings = append(result.Warnings, warnings...) }
	for i, outcome := range outcomes {
		if outcome.Err != nil {
			return result, &failure{code: exitInvalid, hint: "lower it in Vespene, or by --set maximum=N",
				err: fmt.Errorf("as %s: %w", scenarios[i].name, outcome.Err)}
		}
		result.Variants = append(result.Variants, r.variant(scenarios[i], outcome))
	}
	today, todays := outcomes[0], result.Variants[1]
	if unfit != nil {
		warn("as configured, the pool cannot be simulated: " + unfit.Error())
	} else {
		warn(differences(recorded, todays)...)
	}
	if len(today.Waits) > 0 {
		n, fixed, err := r.minFixedSize(ctx, first, today, today.AsTarget(), sim.Quantile(today.Waits, 0.95))
		if err != nil {
			return result, err
		}
		if n == 0 {
			warn("no fixed number of workers that was tried waits as little")
		} else {
			result.Variants = append(result.Variants, fixed)
		}
	}
	if r.ranges != nil {
		var impossible []string
		if result.Sweep, impossible, err = r.sweep(ctx); err != nil {
			return result, err
		}
		warn(impossible...)
	}
	if r.target != nil {
		result.Recommendation, err = r.recommend(ctx, base, today, todays)
		if result.Recommendation == nil {
			warn("no recommendation: no build was started in the first two thirds of the window; " +
				"--since DURATION takes a longer one")
		}
	}
	return result, err
}

// scenarios returns the pool as it is configured and, with --set, as it is set. If the first is impossible, unfit says
// why; it is an error if there is nothing else, or a recommendation would have to compare with it.
func (r *runner) scenarios() (all []scenario, unfit, err error) {
	configured, unfit := r.scenario("configured", nil)
	if unfit == nil {
		all = append(all, configured)
	} else if len(r.changes) == 0 || r.target != nil {
		return nil, nil, unfit
	}
	if len(r.changes) > 0 {
		set, err := r.scenario("set", r.changes)
		return append(all, set), unfit, err
	}
	return all, unfit, nil
}

// notes say what is odd about the builds, what a simulation of the base takes for granted, and what is missing of the
// record, compared with the first scenario.
func (r *runner) notes(first, base scenario, recorded variant) []string {
	notes := slices.Clone(r.workload.Notes)
	if uses(base.command, "size") && uses(base.command, "queued_size") {
		notes = append(notes, "the pool's command has both size and queued_size: simulated as one that goes by size; "+
			"--set executor_command='{{ queued_size }}' simulates one that adds")
	}
	if base.Adds && base.MaxBuilds == 0 && base.MaxWait == nil {
		notes = append(notes, "the pool's command only adds workers (queued_size), which end by --max-builds or "+
			"--max-wait: without them they never do here")
	}
	if base.MaxWait != nil && *base.MaxWait >= time.Second {
		notes = append(notes, "Vespene's own worker takes its --max-wait-minutes=N for N/60 seconds, so that it ends "+
			"at its first look after the one that found nothing: --max-wait 0 simulates that")
	}
	switch {
	case r.workload.Len() == 0 && len(r.workload.Notes) == 0:
		return append(notes, "no builds in the window: --since DURATION takes a longer one")
	case r.shared:
		return append(notes, "what was recorded in sizes is not known: of hosts that share pools, each knows its own "+
			"evaluations only")
	case recorded.WorkerHours == nil && !first.Adds:
		return append(notes, "what was recorded in sizes is not known: this state file has no evaluation that scaled "+
			"the pool from before the window")
	}
	return notes
}

// read reads the workload of the window that ends now.
func (r *runner) read(ctx context.Context, abort time.Duration) (err error) {
	to, read := clock(), 0
	bar := term.NewProgress(r.stream.File, "builds read", 0)
	r.builds, err = r.database.readBuilds(ctx, r.pool.id, to.Add(-r.since), abort, func(n int) {
		bar.Add(n - read)
		read = n
	})
	bar.Done()
	r.workload = r.window(to.Add(-r.since), to, abort)
	if r.target == nil {
		r.builds = nil // a million is 70 MB
	}
	return err
}

// recorded is what was, as far as the builds and the state tell.
func (r *runner) recorded(ctx context.Context, adds bool) (variant, error) {
	w, was := r.workload, r.workload.Recorded
	v := variant{Name: "recorded", Finished: was.Finished, Unfinished: was.Unfinished, Dropped: was.Dropped}
	v.setWaits(was.Waits)
	if r.state == nil || adds || r.shared { // its sizes are no totals, or those of one host of several
		return v, nil
	}
	all, err := r.state.history(ctx, r.database.key, []string{r.pool.name}, time.Time{}, false)
	if err != nil {
		return v, err
	}
	var inForce []evaluation // the last one before the window, as if it came with the window, and those in the window
	for _, e := range all {
		if e.outcome.outcome != scaled || e.started.After(w.To) {
			continue
		}
		if !e.started.After(w.From) {
			e.started, inForce = w.From, nil
		}
		inForce = append(inForce, e)
	}
	if len(inForce) == 0 || inForce[0].started.After(w.From) {
		return v, nil
	}
	var changes, atRisk, peak int64
	var total time.Duration
	for i, e := range inForce {
		workers, until := e.size*r.base.PerInstance, w.To
		if i+1 < len(inForce) {
			until = inForce[i+1].started
		}
		total += until.Sub(e.started) * time.Duration(workers)
		peak = max(peak, workers)
		if i > 0 && e.size != inForce[i-1].size {
			changes++
			before := inForce[i-1].size * r.base.PerInstance
			atRisk += max(0, max(0, e.running-workers)-max(0, e.running-before))
		}
	}
	v.WorkerHours, v.SizeMean = ptr(total.Hours()), ptr(total.Hours()/w.To.Sub(w.From).Hours())
	v.SizePeak, v.Changes, v.AtRisk = &peak, &changes, &atRisk
	if total > 0 {
		v.Utilisation = ptr(float64(was.Busy) / float64(total.Microseconds()))
	}
	return v, nil
}
