package sim

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// sim_test.go knows what a replay must come to by hand and by queueing theory; stepper_test.go knows it of any small
// case.

const (
	second = int64(time.Second / time.Microsecond)
	minute = 60 * second
)

// simulationStart is when the windows of these tests begin: not on a full hour, for schedules.
var simulationStart = time.Date(2026, 11, 22, 11, 58, 0, 0, time.UTC)

// TestSimulateByHand: ten minutes of a few builds, reckoned by hand, of the engine and of the stepper. Where a row does
// not say when the pool is evaluated, it is at the beginning only.
func TestSimulateByHand(t *testing.T) {
	fixed := func(n int64) func(*Scenario) { return func(s *Scenario) { s.Fixed = &n } }
	for _, test := range []struct {
		name, builds string
		sizing       sizing
		scenario     func(*Scenario)
		want         string
	}{
		{name: "boot", builds: "p1 q0 s0 e30", scenario: func(s *Scenario) { s.Boot = 90 * time.Second },
			// asked for at 0, ready at 90, there to the end
			want: "90@0 | billed 600 busy 30 finished 1 peak 1 waits 90"},

		{name: "an idle worker looks every sleep_seconds since its build's end", builds: "p1 q0 s0 e30, p1 q38 s44 e54",
			scenario: func(s *Scenario) { s.Sleep = 7 * time.Second },
			want:     "0@0 44@0 | billed 600 busy 40 finished 2 peak 1 waits 0 6"}, // looks at 0, 30, 37 and 44

		{name: "the lowest id first, not the first queued",
			builds: "p1 q0 s0 e100, p2 q50 s120 e130, p3 q20 s100 e120", scenario: fixed(1),
			want: "0@0 100@0 110@0 | billed 600 busy 130 finished 3 peak 1 waits 0 50 90"}, // 100 + 10 + 20

		{name: "the first worker first", builds: "p1 q0 s0 e50, p1 q0 s0 e50, p1 q10 s50 e60, p1 q10 s50 e70, p1 " +
			"q65 s70 e80", scenario: fixed(2),
			// Both look at 50; at 70 so do the first, idle since 60, and the second, after its build.
			want: "0@0 0@1 50@0 50@1 70@0 | billed 1200 busy 140 finished 5 peak 2 waits 0 0 5 40 40"},

		{name: "auto_abort_minutes", builds: "p1 q0 s0 e61, p2 q0 s70 e80, p3 q1 s80 e90",
			scenario: func(s *Scenario) { fixed(1)(s); s.Abort = time.Minute },
			// At 61 the second is queued for 61 seconds; the third for 60, which is not longer than a minute.
			want: "0@0 x 61@0 | billed 600 busy 71 finished 2 dropped 1 orphaned 1 peak 1 waits 0 60"},

		{name: "build_latest drops what is queued of the project", sizing: sizing{"build_latest": 1},
			scenario: fixed(1),
			builds:   "p1 q0 s0 e30, p1 q5 s30 e50, p1 q6 ABORTED, p2 q7 s50 e60, p1 q40 s60 e70",
			// At 30 the second is taken and the third dropped; the fifth comes later. 30 + 20 + 10 + 10.
			want: "0@0 30@0 x 50@0 60@0 | billed 600 busy 70 finished 4 dropped 1 peak 1 waits 0 20 25 43"},

		{name: "build_latest plans for projects", sizing: sizing{"build_latest": 1},
			builds: "p1 q0 s0 e30, p1 q0 ABORTED, p2 q0 s0 e40",
			want:   "0@0 x 0@1 | billed 1200 busy 70 finished 2 dropped 1 peak 2 waits 0 0"}, // two of each

		{name: "max-builds, and the next evaluation replaces", sizing: sizing{"reevaluate_minutes": 1},
			builds:   "p1 q0 s0 e30, p1 q10 s30 e60",
			scenario: func(s *Scenario) { fixed(1)(s); s.MaxBuilds, s.Boot = 1, 20*time.Second },
			// The first from 0 to 30; the second asked for at 60, ready at 80, until 110; the third from 120 on: 30 +
			// 50 + 480.
			want: "0@0 80@1 | billed 560 busy 60 finished 2 peak 1 waits 0 70"},

		{name: "max-builds at the moment of an evaluation", sizing: sizing{"reevaluate_minutes": 1},
			builds:   "p1 q0 s0 e60, p1 q10 s60 e70",
			scenario: func(s *Scenario) { fixed(1)(s); s.MaxBuilds = 1 },
			want:     "0@0 60@1 | billed 550 busy 70 finished 2 peak 1 waits 0 50"}, // 0 to 60, 60 to 70, 120 to 600

		{name: "max-wait 0 ends no worker at its first look", sizing: sizing{"minimum": 1}, builds: "p1 q5 s5 e15",
			scenario: func(s *Scenario) { s.MaxWait = ptr(time.Duration(0)) },
			// looks at 0, takes at 10, looks at 20, ends at 30
			want: "10@0 | billed 30 busy 10 finished 1 peak 1 waits 5"},

		{name: "max-wait ends at a look", sizing: sizing{"minimum": 1, "reevaluate_minutes": 5},
			scenario: func(s *Scenario) { s.MaxWait, s.Sleep = ptr(time.Minute), 25*time.Second },
			want:     "| billed 150 peak 1"}, // looks at 0, 25, 50 and 75; another one from 300 to 375

		{name: "scale-in: who is busy goes later, while there are too many",
			sizing: sizing{"running_weight": 0, "reevaluate_minutes": 5},
			builds: "p1 q0 s0 e400, p2 q0 s0 e350, p3 q0 s0 e100, p4 q0 s0 e100, p5 q299 s300 e310",
			// At 300 one is queued: of four the two idle ones go at once, the second at 350 with its build, the first
			// stays. Of four workers three had to go, one of them busy. 600 + 350 + 300 + 300; 400 + 350 + 100 + 100 +
			// 10.
			want: "0@0 0@1 0@2 0@3 400@0 | billed 1550 busy 960 finished 5 peak 4 changes 1 risk 1 waits 0 0 0 0 101"},

		{name: "scale-in: the newest first", sizing: sizing{"minimum": 2, "reevaluate_minutes": 5},
			builds: "p1 q0 s0 e30, p2 q0 s0 e20, p3 q0 s0 e20, p4 q305 s310 e320",
			// the third until 300
			want: "0@0 0@1 0@2 310@0 | billed 1500 busy 80 finished 4 peak 3 changes 1 waits 0 0 0 5"},

		{name: "at risk, step by step, and builds that end with the window",
			builds: "p1 q0 s0 e600, p2 q0 s0 e600, p3 q0 s0 e600, p4 q0 s0 e600",
			sizing: sizing{"max_step_down": 1, "running_weight": 0, "reevaluate_minutes": 3},
			// Sizes of 4, 3, 2 and 1 at 0, 180, 360 and 540, with 0, 1, 2 and 3 above, of which 0, 1 and 2 were so
			// before.
			want: "0@0 0@1 0@2 0@3 | billed 2400 busy 2400 finished 4 peak 4 changes 3 risk 3 waits 0 0 0 0"},

		{name: "queued_size", sizing: sizing{"reevaluate_minutes": 2},
			builds:   "p1 q0 s0 e500, p2 q10 s10 e20, p3 q20 s20 e30",
			scenario: func(s *Scenario) { s.Adds = true },
			// One at 0, two at 120, none after, and none ends: 600 + 480 + 480.
			want: "0@0 120@1 120@2 | billed 1560 busy 520 finished 3 peak 3 changes 2 waits 0 100 110"},

		{name: "two workers on an instance", sizing: sizing{"multiplier": 0.5, "reevaluate_minutes": 5},
			builds: "p1 q0 s0 e400, p2 q0 s0 e100, p3 q0 s0 e100", scenario: func(s *Scenario) { s.PerInstance = 2 },
			// 3 × 0.5 are two instances; at 300 one runs: 0.5 are one. 2 × 600 + 2 × 300.
			want: "0@0 0@1 0@2 | billed 1800 busy 600 finished 3 peak 4 changes 1 waits 0 0 0"},

		{name: "an instance ends with the last of its workers", builds: "p1 q0 s0 e30, p1 q0 s0 e50",
			scenario: func(s *Scenario) { fixed(1)(s); s.PerInstance, s.MaxBuilds = 2, 1 },
			// at 50: 2 × 50, of which the first had ended for 20
			want: "0@0 0@1 | billed 100 unheld 20 busy 80 finished 2 peak 2 waits 0 0"},

		{name: "a worker that has ended is none of the peak",
			sizing:   sizing{"multiplier": 0.5, "reevaluate_minutes": 1},
			builds:   "p1 q0 s0 e30, p1 q0 s0 e600, p1 q40 s60 e70, p1 q40 s60 e70",
			scenario: func(s *Scenario) { s.PerInstance, s.MaxBuilds = 2, 1 },
			// The first worker ends at 30. At 60 1.5 are two instances, with three workers, and at 120 one. 2 × 600 + 2
			// × 10, of which the first had ended for 570.
			want: "0@0 0@1 60@2 60@3 | billed 1220 unheld 570 busy 650 finished 4 peak 3 changes 2 waits 0 0 20 20"},

		{name: "more builds ran at the beginning than are fixed", sizing: sizing{"reevaluate_minutes": 1},
			scenario: fixed(1),
			builds:   "p1 q-9 s-9 e100, p2 q-9 s-9 e50, p3 q0 s50 e60", // the second worker goes with its build
			want:     "-9@0 -9@1 100@0 | billed 650 busy 160 finished 3 peak 2 waits 100"},

		{name: "billing minimum", sizing: sizing{"reevaluate_minutes": 5},
			builds:   "p1 q0 s0 e400, p2 q300 s300 e310, p3 q300 s300 e590",
			scenario: func(s *Scenario) { s.MaxBuilds, s.BillingMinimum = 1, 350*time.Second },
			// 400 of the first; 10 and 290 of the others, which are 350 each, beyond the window's end.
			want: "0@0 300@1 300@2 | billed 1100 unheld 400 busy 700 finished 3 peak 3 changes 1 waits 0 0 0"},

		{name: "what ran and what waited at the beginning",
			builds: "p1 q-50 s-20 e40, p2 q-100 s50 e60, p3 q-90000 ORPHANED",
			// One ran and one waited: two workers. The third waited for longer than a day already. 40 + 10.
			want: "-20@0 0@1 | billed 1200 busy 50 finished 2 peak 2 waits 100"},

		{name: "what waited at the beginning, by what became of it", scenario: fixed(1),
			builds: "p1 q-100 QUEUED, p2 q-100 s50 e60, p2 q-90 ABORTED, p3 q-90 ABORTED, p4 q-90 s-50 e-40",
			// The third was superseded by the second, so it waited as long; the fourth by none in the window. The
			// median is 10.
			want: "0@0 10@0 20@0 | billed 600 busy 30 finished 3 estimated 2 peak 1 waits 100 110 110"},

		{name: "what ran at the beginning and runs still", builds: "p1 q-600 s-500 RUNNING, p1 q0 s0 e30",
			// For 1,100 seconds, its median of 30 notwithstanding, so that it ends with the window.
			want: "-500@0 0@1 | billed 1200 busy 630 finished 2 estimated 1 peak 2 waits 0"},

		{name: "estimated durations", scenario: fixed(1),
			builds: "p1 q0 s0 e10, p1 q0 s10 e30, p1 q0 s30 e90, p1 q0 ABORTED, p2 q0 QUEUED, p3 q0 s90 e120, p3 q0 " +
				"s120 e150, " +
				"p1 q0 s160 e155, p1 q0 s595 RUNNING, p1 q0 s500 RUNNING, p3 q0 s165 e195",
			// The project's median is 20 of 10, 20 and 60; the pool's 30 of 10, 20, 30, 30, 30 and 60, for p2. The last
			// but one has run for 100. So 10, 20, 60, 20, 30, 30, 30, 20, 20, 100 and 30, one after the other.
			want: "0@0 10@0 30@0 90@0 110@0 140@0 170@0 200@0 220@0 240@0 340@0 | billed 600 busy 370 finished 11 " +
				"estimated 5 peak 1 " +
				"waits 0 10 30 90 110 140 170 200 220 240 340"},

		{name: "a pipeline's child", builds: "p1 q0 s5 e35, p1 <1 q45 s50 e70",
			scenario: func(s *Scenario) { s.Boot = time.Minute },
			// ten seconds after its parent's end at 90
			want: "60@0 100@0 | billed 600 busy 50 finished 2 peak 1 waits 0 60"},

		{name: "a child of another pool's build", sizing: sizing{"minimum": 1}, builds: "p1 <99 q20 s20 e30",
			want: "20@0 | billed 600 busy 10 finished 1 peak 1 waits 0"}, // by its own time

		{name: "a child of a build without an end", builds: "p1 q0 s20 FAILURE, p1 <1 q50 s50 e60",
			want: "0@0 50@0 | billed 600 busy 20 finished 2 estimated 1 peak 1 waits 0 0"}, // by its own time

		{name: "children of a dropped build", sizing: sizing{"build_latest": 1}, scenario: fixed(1),
			builds: "p1 q0 s0 e30, p1 q1 s31 e61, p1 q2 s62 e72, p2 <3 q80 s80 e90, p3 <4 q95 s95 e99",
			// the third at 30, and with it two
			want: "0@0 30@0 x x x | billed 600 busy 60 finished 2 dropped 3 peak 1 waits 0 29"},

		{name: "a child of an unfinished build", builds: "p1 q0 s0 e590, p1 <1 q595 s595 e599",
			scenario: func(s *Scenario) { s.Boot = time.Minute },
			want:     "60@0… . | billed 600 busy 540 unfinished 2 peak 1"}, // 60 + 590 is after the end

		// 4,000 seconds are more than an hour and 5 minutes
		{name: "a dead RUNNING build counts", builds: "p1 q-4100 s-4000 RUNNING, p2 q0 s0 e30",
			want: "0@0 | billed 1200 busy 30 finished 1 peak 2 waits 0"},

		{name: "a dead RUNNING build, ignored", sizing: sizing{"ignore_stale": 1},
			builds: "p1 q-4100 s-4000 RUNNING, p2 q0 s0 e30",
			want:   "0@0 | billed 600 busy 30 finished 1 peak 1 waits 0"},

		{name: "overdue is longer than the timeout and five minutes",
			sizing: sizing{"ignore_stale": 1, "reevaluate_minutes": 5},
			// at 300 it is not yet: no change
			builds: "p1 q0 s0 e600 t0", want: "0@0 | billed 600 busy 600 finished 1 peak 1 waits 0"},

		{name: "without a project, without a time", builds: "p0 q0 QUEUED, p1 QUEUED, p2 q0 s0 e30",
			// three are queued, one is taken
			want: "- - 0@0 | billed 1800 busy 30 finished 1 unfinished 2 peak 3 waits 0"},

		{name: "without a project, without a time, ignored", sizing: sizing{"ignore_stale": 1},
			builds: "p0 q0 QUEUED, p1 QUEUED, p2 q0 s0 e30",
			want:   "- - 0@0 | billed 600 busy 30 finished 1 unfinished 2 peak 1 waits 0"},

		{name: "projects that are gone", sizing: sizing{"build_latest": 1}, builds: "p0 q0 s0 e30, p0 q0 s0 e40",
			want: "0@0 0@1 | billed 1200 busy 70 finished 2 peak 2 waits 0 0"}, // one each: neither drops the other

		{name: "scale_down_minutes", sizing: sizing{"scale_down_minutes": 5, "reevaluate_minutes": 2},
			builds: "p1 q0 s0 e30, p2 q0 s0 e30",
			// two at 0, and until 360, the first after 300
			want: "0@0 0@1 | billed 720 busy 60 finished 2 peak 2 changes 1 waits 0 0"},

		{name: "reevaluate_minutes 0 is every minute", sizing: sizing{"reevaluate_minutes": 0},
			builds: "p1 q59 s60 e70, p2 q61 s70 e80",
			// 0 at 0, 1 at 60, 0 from 120 on
			want: "60@0 70@0 | billed 60 busy 20 finished 2 peak 1 changes 2 waits 1 9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := scenarioOf(test.sizing)
			if test.scenario != nil {
				test.scenario(&s)
			}
			w := workloadOf(t, test.builds, s.Abort)
			if got := summed(replayed(t, w, s, 0)); got != test.want {
				t.Errorf("simulated %s\n     want %s", got, test.want)
			}
			if got := summed(stepped(w, s)); got != test.want {
				t.Errorf("stepped %s\n   want %s", got, test.want)
			}
		})
	}
}

// TestDiedInTheWindow: a build that ran when the window began, and for too long when it ended, had not ended before it
// began.
func TestDiedInTheWindow(t *testing.T) {
	s := scenarioOf(nil)
	w := workloadOf(t, "p1 q-3600 s-3500 RUNNING, p1 q0 s0 e30", s.Abort)
	if len(w.jobs) != 2 || w.jobs[0].started+w.jobs[0].duration < 0 {
		t.Error("it had ended before the window began")
	} else if got := replayed(t, w, s, 0); got.Busy < 30*second {
		t.Errorf("workers were busy for %g seconds", inSeconds(got.Busy))
	}
}

// TestTimeline: a build that waits for 250 seconds and runs for 100, in three parts of 200.
func TestTimeline(t *testing.T) {
	s := scenarioOf(nil)
	s.Boot = 250 * time.Second
	w := workloadOf(t, "p1 q0 s0 e100", s.Abort)
	if got, want := replayed(t, w, s, 3).Timeline, []Sample{{1, 0, 1}, {1, 1, 1}, {0, 0, 1}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// arrivals are n builds with exponential times between them and exponential durations, in whole units of that many
// microseconds, of one project and none of which is ever dropped, and a window in which they all end.
func arrivals(random *rand.Rand, n int, between, duration time.Duration, unit int64) *Workload {
	w := &Workload{From: simulationStart}
	var now, work int64
	for i := range n {
		now += int64(random.ExpFloat64()*float64(between.Microseconds())) / unit * unit
		takes := max(1, int64(random.ExpFloat64()*float64(duration.Microseconds()))/unit) * unit
		w.jobs = append(w.jobs, job{id: int64(i + 1), project: 1, parent: -1, arrival: now, started: Never,
			duration: takes, timeout: 60 * minute})
		work += takes
	}
	w.To = w.From.Add(time.Duration(now+work+second) * time.Microsecond)
	w.index()
	return w
}

// steadyWorkers is a scenario of that many workers, which look whenever a build comes.
func steadyWorkers(workers int64) Scenario {
	s := scenarioOf(sizing{"reevaluate_minutes": 100000})
	s.Sleep, s.Abort, s.Fixed = 0, 10000*time.Hour, &workers
	return s
}

// kieferWolfowitz returns how long each build waits for one of that many workers: from the sorted vector of the work
// that they have left, of which a build takes the least upon itself.
func kieferWolfowitz(w *Workload, workers int64) (waits []int64) {
	left := make([]int64, workers)
	var last int64
	for _, build := range w.jobs {
		for i := range left {
			left[i] = max(0, left[i]-(build.arrival-last))
		}
		last = build.arrival
		waits = append(waits, left[0])
		left[0] += build.duration
		slices.Sort(left)
	}
	return waits
}

// TestKieferWolfowitz: workers that are always there make builds wait, one by one, as the recursion of Kiefer and
// Wolfowitz has it; by the stepper, too, which counts in seconds.
func TestKieferWolfowitz(t *testing.T) {
	for _, workers := range []int64{1, 2, 3, 7, 20} {
		for seed := range uint64(3) {
			check := func(name string, w *Workload, run func(*Workload, Scenario) outcome) {
				t.Helper()
				got, want := run(w, steadyWorkers(workers)), kieferWolfowitz(w, workers)
				for i, f := range got.states {
					if wait := f.start - w.jobs[i].arrival; f.status != finished || wait != want[i] {
						t.Fatalf("%s, %d workers, seed %d: build %d waited %d µs, want %d", name, workers, seed, i,
							wait, want[i])
					}
				}
				if slices.Sort(want); !slices.Equal(got.Waits, want) {
					t.Errorf("%s, %d workers, seed %d: the waits are others than those of the builds", name, workers,
						seed)
				}
			}
			random := rand.New(rand.NewPCG(seed, uint64(workers)))
			between := 100 * time.Second / time.Duration(workers)
			check("simulated", arrivals(random, 5000, between, 90*time.Second, 1),
				func(w *Workload, s Scenario) outcome { return replayed(t, w, s, 0) })
			check("stepped", arrivals(random, 100, between, 90*time.Second, second), stepped)
		}
	}
}

// TestErlangC: the mean wait of M/M/4 is Erlang's, within three standard errors of the means of 20 seeds.
func TestErlangC(t *testing.T) {
	const (
		workers       = 4
		seeds         = 20
		builds, first = 20000, 2000 // those before first are not counted, since they came to idle workers
		service       = 60 * time.Second
	)
	for _, load := range []float64{0.5, 0.7, 0.85} {
		var means []float64
		for seed := range uint64(seeds) {
			between := time.Duration(float64(service) / (load * workers))
			w := arrivals(rand.New(rand.NewPCG(seed, math.Float64bits(load))), builds, between, service, 1)
			var sum int64
			for i, f := range replayed(t, w, steadyWorkers(workers), 0).states {
				if i >= first {
					sum += f.start - w.jobs[i].arrival
				}
			}
			means = append(means, inSeconds(sum)/(builds-first))
		}
		// Erlang B by its recursion, C of it, and the mean wait of C.
		offered, blocked := load*workers, 1.0
		for n := 1.0; n <= workers; n++ {
			blocked = offered * blocked / (n + offered*blocked)
		}
		want := blocked / (1 - load*(1-blocked)) * service.Seconds() / (workers * (1 - load))

		var mean, variance float64
		for _, m := range means {
			mean += m / seeds
		}
		for _, m := range means {
			variance += (m - mean) * (m - mean) / (seeds - 1)
		}
		if standardError := math.Sqrt(variance / seeds); math.Abs(mean-want) > 3*standardError ||
			standardError > want/10 {
			t.Errorf("load %g: a mean wait of %.3f s ± %.3f, want %.3f", load, mean, standardError, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		sorted []int64
		q      float64
		want   float64 // by hand: between the values around q × (n − 1), as percentile_cont has it
	}{
		{[]int64{7}, 0.95, 7},
		{[]int64{1, 2}, 0.5, 1.5},
		{[]int64{10, 20, 30}, 0.5, 20},
		{[]int64{10, 20, 30}, 0.25, 15},
		{[]int64{10, 20, 30, 50}, 0.95, 47}, // 2.85: 30 + 0.85 × 20
		{[]int64{-10, 20, 30, 50}, 0, -10},
		{[]int64{10, 20, 30, 50}, 1, 50},
		{[]int64{5, 5, 5, 5, 1005}, 0.9, 605}, // 3.6: 5 + 0.6 × 1000
	} {
		if got := Quantile(test.sorted, test.q); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("the %g-quantile of %v is %g, want %g", test.q, test.sorted, got, test.want)
		}
	}
}

// FuzzSimulate: whatever the case, nothing is lost and nothing comes of nothing.
func FuzzSimulate(f *testing.F) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 6))
		bytes := make([]byte, 600)
		for i := range bytes {
			bytes[i] = byte(random.Uint32())
		}
		f.Add(bytes)
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		draw := func(n int) int64 { // of two bytes, or 0 when there are no more
			if len(bytes) < 2 {
				return 0
			}
			number := int64(bytes[0])<<8 + int64(bytes[1])
			bytes = bytes[2:]
			return number % int64(n)
		}
		w, s, text := smallCase(draw)
		if draw(4) == 0 {
			s.Sleep = 0
		}
		if len(w.jobs) > 0 {
			w.jobs[draw(len(w.jobs))].duration += draw(1000) // a fraction of a second
			if b := &w.jobs[draw(len(w.jobs))]; b.started == Never {
				b.duration = 0
			}
		}
		r := replayed(t, w, s, 10)
		window := w.To.Sub(w.From).Microseconds()

		var counts [5]int64
		var running int64         // at the beginning
		var waits []int64         // of those that were started since, and finished
		free := map[int32]int64{} // when a worker's last build ended
		byStart := make([]int, len(w.jobs))
		for i, b := range w.jobs {
			counts[r.states[i].status]++
			byStart[i] = i
			if b.started != Never {
				running++
			}
		}
		initial := (running + s.PerInstance - 1) / s.PerInstance
		if s.Fixed != nil {
			initial = max(initial, *s.Fixed)
		}
		slices.SortStableFunc(byStart, func(a, b int) int {
			return cmp.Or(cmp.Compare(r.states[a].start, r.states[b].start),
				cmp.Compare(w.jobs[a].duration, w.jobs[b].duration))
		})
		for _, i := range byStart {
			b, f := w.jobs[i], r.states[i]
			if f.status != taken && f.status != finished {
				continue
			}
			arrival := b.arrival
			if b.parent >= 0 {
				if r.states[b.parent].status != finished {
					t.Errorf("%d started before its parent's end", i)
				}
				arrival += r.states[b.parent].start + w.jobs[b.parent].duration
			}
			if b.untaken || f.start < arrival || b.started == Never && f.start < 0 {
				t.Errorf("%d started at %g", i, inSeconds(f.start))
			}
			if last, had := free[f.worker]; had && f.start < last {
				t.Errorf("%d started at %g on worker %d, which was busy until %g", i, inSeconds(f.start), f.worker,
					inSeconds(last))
			}
			free[f.worker] = f.start + b.duration
			if int64(f.worker) >= initial*s.PerInstance && f.start < s.Boot.Microseconds() {
				t.Errorf("%d started at %g on worker %d, which could not be ready", i, inSeconds(f.start), f.worker)
			}
			if (f.start+b.duration <= window) != (f.status == finished) {
				t.Errorf("%d of %g to %g has status %d", i, inSeconds(f.start), inSeconds(f.start+b.duration), f.status)
			}
			if f.status == finished && b.started == Never {
				waits = append(waits, f.start-arrival)
			}
		}
		slices.Sort(waits)
		if r.Finished != counts[finished] || r.Dropped != counts[dropped] ||
			r.Finished+r.Unfinished+r.Dropped != int64(len(w.jobs)) ||
			r.Orphaned > r.Dropped || !slices.Equal(r.Waits, waits) || r.Busy > r.Billed || len(r.Timeline) != 10 {
			t.Errorf("the summed do not fit each other: %d builds waited", len(r.Waits))
		}
		if t.Failed() {
			t.Logf("%s %s", text, summed(r))
		}
	})
}
