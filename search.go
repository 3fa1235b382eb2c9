package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"

	"vespene-autoscale/internal/sim"
	"vespene-autoscale/internal/term"
)

// search.go owns the replays, and the search among scenarios: the least fixed size, sweeps and recommendations.

// replayAll replays the scenarios, as many at the same time as there are processors, and returns what of each result is
// to be kept, since results are large. The error is why the context ended.
func replayAll[T any](ctx context.Context, r *runner, all []scenario, samples int,
	keep func(scenario, sim.Result) T) ([]T, error) {
	bar := term.NewProgress(r.stream.File, "simulated", len(all))
	defer bar.Done()
	kept := make([]T, len(all))
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for i, s := range all {
		processors <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			kept[i] = keep(s, r.workload.Replay(ctx, s.Scenario, samples))
			bar.Add(1)
			<-processors
		})
	}
	running.Wait()
	return kept, context.Cause(ctx)
}

func allOf(_ scenario, outcome sim.Result) sim.Result { return outcome }

func (r *runner) replay(ctx context.Context, s scenario) (sim.Result, error) {
	outcomes, err := replayAll(ctx, r, []scenario{s}, 0, allOf)
	return outcomes[0], err
}

// variant is what the scenario's replay came to.
func (r *runner) variant(s scenario, outcome sim.Result) variant {
	window := float64(r.workload.To.Sub(r.workload.From).Microseconds())
	v := variant{Name: s.name, Settings: s.shown, Finished: outcome.Finished, Unfinished: outcome.Unfinished,
		Dropped: outcome.Dropped, Estimated: outcome.Estimated, WorkerHours: ptr(float64(outcome.Billed) / perHour),
		SizeMean: ptr(float64(outcome.Held) / window), SizePeak: &outcome.SizePeak, Changes: &outcome.Changes,
		AtRisk: &outcome.AtRisk, timeline: outcome.Timeline, err: outcome.Err, wait: math.Inf(1)}
	v.setWaits(outcome.Waits)
	if v.WaitP95 != nil {
		v.wait = *v.WaitP95
	}
	if 20*len(outcome.Unstarted) > len(outcome.Waits) { // too many to be left out
		v.wait = max(v.wait, float64(outcome.AsTarget().Most)/perSecond)
	}
	if outcome.Billed > 0 {
		v.Utilisation = ptr(float64(outcome.Busy) / float64(outcome.Billed))
	}
	return v
}

// minFixedSize returns the least fixed number of instances that meets the target, and what comes of it; 0 if even
// sixteen times the peak do not. The quantile of the waits that people are shown may not be above shown, either. It
// bisects, and so relies on more instances not waiting longer.
func (r *runner) minFixedSize(ctx context.Context, s scenario, came sim.Result, t sim.Target, shown float64) (
	least int64, fixed variant, err error) {
	peak := came.SizePeak / s.PerInstance
	most := 16 * (peak + 1)
	low, high := int64(0), most+1 // low is too few; high is enough, or more than are tried
	var best sim.Result
	for n := max(1, peak); high-low > 1; {
		s.Adds, s.Fixed = false, &n
		outcome, err := r.replay(ctx, s)
		if err != nil {
			return 0, fixed, err
		}
		wait, ok := t.Wait(outcome)
		if ok && outcome.Err == nil && wait <= t.Most && sim.Quantile(outcome.Waits, t.Quantile) <= shown {
			least, best, high = n, outcome, n
		} else {
			low = n
		}
		if n = (low + high) / 2; least == 0 {
			n = min(2*low, most)
		}
	}
	s.name, s.shown = fmt.Sprintf("fixed %d", least), maps.Clone(s.shown)
	maps.DeleteFunc(s.shown, func(name string, _ any) bool { return isSteadiness(name) })
	s.shown["minimum"], s.shown["maximum"] = least, least
	return least, r.variant(s, best), nil
}

// maxImpossible is how many reasons people still read.
const maxImpossible = 3

// sweep is what comes of all combinations of the settings that are swept. impossible says why some cannot be simulated.
func (r *runner) sweep(ctx context.Context) (all []variant, impossible []string, err error) {
	var scenarios []scenario
	for _, changes := range r.changes.combinations(r.ranges) {
		swept := changes[len(changes)-len(r.ranges):]
		s, err := r.scenario(swept.String(), changes)
		if err != nil {
			impossible = append(impossible, fmt.Sprintf("not simulated: %s: %v", swept, err))
			continue
		}
		maps.DeleteFunc(s.shown, func(name string, _ any) bool { return !swept.has(name) })
		scenarios = append(scenarios, s)
	}
	if all, err = replayAll(ctx, r, scenarios, 0, r.variant); err != nil {
		return nil, nil, err
	}
	all = slices.DeleteFunc(all, func(v variant) bool {
		if v.err != nil {
			impossible = append(impossible, fmt.Sprintf("not simulated: %s: %v", v.Name, v.err))
		}
		return v.err != nil
	})
	slices.Sort(impossible)
	for i := range all {
		all[i].ParetoOptimal = ptr(!slices.ContainsFunc(all, func(other variant) bool { return other.beats(all[i]) }))
	}
	if more := len(impossible) - maxImpossible; more > 0 {
		impossible = append(impossible[:maxImpossible], fmt.Sprintf("and %d more of the sweep not simulated", more))
	}
	return all, impossible, nil
}

// candidate is a scenario that might be recommended, and what it came to over the first two thirds of the window.
type candidate struct {
	scenario
	searched variant
	cost     int64   // microseconds of workers
	wait     int64   // that the target limits; math.MaxInt64 if there is none to judge by
	mean     float64 // wait
}

func (r *runner) candidate(s scenario, outcome sim.Result) candidate {
	c := candidate{scenario: s, searched: r.variant(s, outcome), cost: outcome.Billed, wait: math.MaxInt64}
	if wait, isKnown := r.target.Wait(outcome); isKnown && outcome.Err == nil {
		c.wait = wait
		for _, wait := range outcome.Compared {
			c.mean += float64(wait) / float64(len(outcome.Compared))
		}
	}
	return c
}

// compare orders candidates: first those that meet the target, by their cost, and then the others, by their wait.
func (r *runner) compare(a, b candidate) int {
	cost, wait := cmp.Compare(a.cost, b.cost), cmp.Compare(a.wait, b.wait)
	fewer := cmp.Compare(len(a.changes), len(b.changes))
	if max(a.wait, b.wait) <= r.target.Most {
		return cmp.Or(cost, wait, fewer)
	}
	return cmp.Or(wait, cmp.Compare(a.mean, b.mean), cost, fewer)
}

// try adds the possible ones among the points to the candidates, unless they were tried before, and sorts all.
func (r *runner) try(ctx context.Context, candidates []candidate, points []point) ([]candidate, error) {
	tried := map[string]bool{}
	for _, c := range candidates {
		tried[fmt.Sprint(c.shown)] = true
	}
	var scenarios []scenario
	for _, at := range points {
		s, err := r.scenario("then", at)
		if key := fmt.Sprint(s.shown); err == nil && !tried[key] {
			tried[key] = true
			scenarios = append(scenarios, s)
		}
	}
	more, err := replayAll(ctx, r, scenarios, 0, r.candidate)
	candidates = append(candidates, more...)
	slices.SortStableFunc(candidates, r.compare)
	return candidates, err
}

// search tries settings until none near the best ones are better, and returns them from the best on. peak is how many
// instances the pool has use for.
func (r *runner) search(ctx context.Context, peak int64) (candidates []candidate, err error) {
	if r.ranges != nil {
		return r.try(ctx, nil, r.changes.combinations(r.ranges))
	}
	nearby := searchRanges(peak)
	candidates, err = r.try(ctx, nil, append([]point{r.changes}, r.changes.combinations(nearby[:3])...))
	for improved := true; improved && err == nil; {
		best := candidates[0]
		var points []point
		for _, changes := range nearby {
			points = append(points, best.changes.combinations([][]change{changes})...)
		}
		candidates, err = r.try(ctx, candidates, points)
		improved = r.compare(candidates[0], best) < 0
	}
	return candidates, err
}

// searchRanges are the values that a search tries; it combines those of the first three settings.
func searchRanges(peak int64) (ranges [][]change) {
	for _, list := range [][]any{
		{"multiplier", 0.5, 0.75, 1, 1.25, 1.5, 2},
		{"minimum", 0, 1, 2, peak / 8, peak / 4, peak / 2, peak},
		{"maximum", peak / 2, peak * 3 / 4, peak, peak * 2},
		{"excess", 0, 1, 2, peak / 8},
		{"queued_weight", 0.25, 0.5, 1, 2},
		{"running_weight", 0, 0.5, 1, 1.25},
		{"reevaluate_minutes", 1, 2, 5, 10, 15},
		{scaleDownMinutes, 0, 10, 30, 60},
		{maxStepUp, "null", 2, 5, 10},
		{maxStepDown, "null", 1, 2, 5},
	} {
		var changes []change
		for _, value := range list[1:] {
			changes = append(changes, change{fmt.Sprint(list[0]), fmt.Sprint(value)})
		}
		ranges = append(ranges, changes)
	}
	return ranges
}

// recommend looks for the settings with the fewest worker-hours that meet the target over the first two thirds of the
// window and, unseen by the search, over its last third. configured and today are what came of the pool as it is, and
// the search begins with base. It returns nil if there are no builds to judge by.
func (r *runner) recommend(ctx context.Context, base scenario, configured sim.Result, today variant) (
	*recommendation, error) {
	w := r.workload
	middle := w.From.Add(w.To.Sub(w.From) * 2 / 3)
	first, last := *r, *r
	first.workload, last.workload = r.window(w.From, middle, base.Abort), r.window(middle, w.To, base.Abort)
	r.builds, first.builds, last.builds = nil, nil, nil
	// How many it takes that are always there also tells how far to look.
	enough, always, err := r.minFixedSize(ctx, base, configured, *r.target, math.Inf(1))
	if err != nil {
		return nil, err
	}
	candidates, err := first.search(ctx, max(1, enough, configured.SizePeak/r.base.PerInstance))
	switch {
	case err != nil:
		return nil, err
	case len(candidates) == 0:
		return nil, &failure{code: exitInvalid, hint: "sweep others",
			err: errors.New("none of the settings that --sweep names is possible")}
	case candidates[0].wait == math.MaxInt64:
		return nil, nil
	}
	result := &recommendation{Target: r.written, Tried: int64(len(candidates)), Today: today}
	result.Today.timeline = nil
	chosen, err := last.verify(ctx, candidates, result)
	if err != nil {
		return nil, err
	}
	if !result.Met && enough > 0 {
		result.Always, result.AlwaysHours = &enough, always.WorkerHours
	}
	result.Settings = differing(today.Settings, chosen.shown)
	then, err := r.replay(ctx, chosen.scenario)
	result.Searched, result.Then = chosen.searched, r.variant(chosen.scenario, then)
	result.Why = result.why(*r.target, chosen.Sleep)
	return result, err
}

// verify replays the candidates that met the target, from the cheapest on, until one meets it again: now over the last
// third of the window. Where none does, it chooses the one that came nearest; where none met it at all, the first.
func (r *runner) verify(ctx context.Context, candidates []candidate, result *recommendation) (
	chosen candidate, err error) {
	nearest := int64(math.MaxInt64)
	for i, c := range candidates {
		hopes := c.wait <= r.target.Most
		if !hopes && i > 0 {
			break
		}
		outcome, err := r.replay(ctx, c.scenario)
		if err != nil {
			return chosen, err
		}
		wait, isKnown := r.target.Wait(outcome)
		if wait < nearest {
			chosen, nearest, result.Verified = c, wait, r.variant(c.scenario, outcome)
		}
		if hopes && wait <= r.target.Most {
			result.Met, result.Unverified = true, !isKnown
			break
		} else if hopes {
			result.Failed++
		}
	}
	return chosen, nil
}
