package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// simulate_test.go runs the command simulate; internal/sim has the tests of the model.

// noon is when the simulations of these tests are run, so that windows begin at a known time.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pastBuild is a build as a test has it in Vespene's database: seconds before noon. A negative one is NULL.
type pastBuild struct {
	status                 string
	project                int
	queued, started, ended int
}

// pastDatabase is a database with the pool web, of a worker that looks each second, and those builds, by id.
func pastDatabase(t testing.TB, pool string, builds ...pastBuild) string {
	t.Helper()
	at := func(before int) string {
		if before < 0 {
			return "NULL"
		}
		return "'" + noon.Add(-time.Duration(before)*time.Second).Format(time.DateTime) + "'"
	}
	statements := []string{"INSERT INTO worker_pools (id, name, sleep_seconds, reevaluate_minutes, " +
		"executor_command) VALUES (1, 'web', 1, 1, 'echo {{ size }}')"}
	if pool != "" {
		statements = append(statements, "UPDATE worker_pools SET "+pool)
	}
	for i, b := range builds {
		project := fmt.Sprint(b.project)
		if b.project == 0 {
			project = "NULL"
		}
		statements = append(statements, fmt.Sprintf("INSERT INTO builds (id, status, worker_pool_id, project_id, "+
			"queued_time, start_time, end_time) VALUES (%d, '%s', 1, %s, %s, %s, %s)",
			i+1, b.status, project, at(b.queued), at(b.started), at(b.ended)))
	}
	return sqliteDatabase(t, statements...)
}

// simulateAtNoon runs the command at noon.
func simulateAtNoon(t testing.TB, args ...string) ran {
	t.Helper()
	cmd, stdout, stderr := program(t, append([]string{"simulate"}, args...)...)
	cmd.Env = append(cmd.Env, "TEST_NOW="+noon.Format(time.RFC3339))
	code := exitOf(t, cmd.Run())
	return ran{code, stdout.String(), stderr.String()}
}

// simulationOf runs simulate, which must succeed, and returns what it says of the one pool.
func simulationOf(t testing.TB, address string, args ...string) (s simulation, byName map[string]variant) {
	t.Helper()
	r := simulateAtNoon(t, append([]string{"--output", "json", "--database", address}, args...)...)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	byName = map[string]variant{}
	for _, v := range s.Variants {
		name, _, _ := strings.Cut(v.Name, " ")
		byName[name] = v
	}
	return s, byName
}

// expect checks a figure that was reckoned by hand.
func expect(t testing.TB, what string, is *float64, want float64) {
	t.Helper()
	if is == nil {
		t.Errorf("%s is not known, want %v", what, want)
	} else if math.Abs(*is-want) > 1e-9 {
		t.Errorf("%s is %v, want %v", what, *is, want)
	}
}

// threeAtOnce are builds that were queued half an hour and ten seconds ago, waited for a minute and took two, each.
var threeAtOnce = []pastBuild{{"SUCCESS", 1, 1810, 1750, 1630}, {"SUCCESS", 2, 1810, 1750, 1630},
	{"FAILURE", 3, 1810, 1750, 1630}}

// TestSimulation: three builds are queued ten seconds before an evaluation, which asks for three workers: each waits
// ten seconds and, if there is a boot, for that. With a maximum of one, the others wait for two minutes more each.
func TestSimulation(t *testing.T) {
	t.Parallel()
	address := pastDatabase(t, "", threeAtOnce...)
	s, v := simulationOf(t, address, "--since", "1h", "--set", "maximum=1", "--state", newState(t))
	if s.Pool != "web" || s.Builds != 3 || s.To.Sub(s.From) != time.Hour || !s.To.Equal(noon) {
		t.Errorf("it is %+v", s)
	}
	var names []string
	for _, v := range s.Variants {
		names = append(names, v.Name)
		if v.Finished != 3 || v.Unfinished+v.Dropped+v.Estimated != 0 {
			t.Errorf("%s: %+v", v.Name, v)
		}
	}
	if !slices.Equal(names, []string{"recorded", "configured", "set", "fixed 3"}) {
		t.Fatalf("variants %q", names)
	}
	if r := v["recorded"]; r.Settings != nil || r.WorkerHours != nil || r.SizePeak != nil {
		t.Errorf("recorded: %+v", r)
	}
	expect(t, "the recorded wait", v["recorded"].WaitMax, 60)
	expect(t, "the median wait as configured", v["configured"].WaitMedian, 10)
	expect(t, "the longest wait as configured", v["configured"].WaitMax, 10)
	expect(t, "the median wait with one worker", v["set"].WaitMedian, 130)
	expect(t, "the longest wait with one worker", v["set"].WaitMax, 250)
	// They are there for the two minutes of their builds, which end as the pool is evaluated; with one worker, for six.
	expect(t, "the worker-hours as configured", v["configured"].WorkerHours, 0.1)
	expect(t, "the mean size as configured", v["configured"].SizeMean, 0.1)
	expect(t, "the utilisation as configured", v["configured"].Utilisation, 1)
	expect(t, "the worker-hours with one worker", v["set"].WorkerHours, 0.1)
	if c := v["configured"]; *c.SizePeak != 3 || *c.Changes != 2 || *c.AtRisk != 0 {
		t.Errorf("as configured: %+v", c)
	}
	if c := v["set"]; *c.SizePeak != 1 || c.Settings["maximum"] != 1.0 || v["configured"].Settings["maximum"] != 10.0 {
		t.Errorf("set: %+v", c)
	}
	if c := v["fixed"]; *c.WorkerHours != 3 || *c.SizeMean != 3 || *c.Changes != 0 {
		t.Errorf("fixed: %+v", c)
	}
	_, v = simulationOf(t, address, "--since", "1h", "--boot", "90s", "--billing-minimum", "1h")
	expect(t, "the wait with a boot", v["configured"].WaitMedian, 100)
	expect(t, "the worker-hours with a minimum of one hour each", v["configured"].WorkerHours, 3)
	_, v = simulationOf(t, address, "--since", "1h", "--workers-per-instance", "4", "--set", "multiplier=0.25")
	if c := v["set"]; *c.SizePeak != 4 {
		t.Errorf("on one instance of four workers the peak is %d", *c.SizePeak)
	}
	expect(t, "the wait on one instance", v["set"].WaitMax, 10)
	// Ready half a minute after an evaluation, done two minutes later, and replaced half a minute after that, by the
	// next one.
	_, v = simulationOf(t, address, "--since", "1h", "--max-builds", "1", "--set", "maximum=1", "--boot", "30s")
	expect(t, "the longest wait with one build a worker", v["set"].WaitMax, 10+30+2*(120+30+30))
}

// TestFixed: a pool that has always so many workers is not worse than with as many, whatever its waits; and what leaves
// builds waiting for ever is not taken for what waits less.
func TestFixed(t *testing.T) {
	t.Parallel()
	var builds []pastBuild
	for i := range 30 {
		builds = append(builds, pastBuild{"SUCCESS", i + 1, 3500 - 97*i, 3400 - 97*i, 3400 - 97*i - 71 - 13*(i%7)})
	}
	for n := 1; n < 5; n++ {
		same := fmt.Sprintf("minimum = %d, maximum = %[1]d", n)
		s, v := simulationOf(t, pastDatabase(t, same, builds...), "--since", "1h")
		var fixed int
		if _, err := fmt.Sscanf(s.Variants[len(s.Variants)-1].Name, "fixed %d", &fixed); err != nil || fixed > n ||
			*v["fixed"].WaitP95 > *v["configured"].WaitP95 {
			t.Errorf("%s: %q, %v", same, s.Variants[len(s.Variants)-1].Name, err)
		}
	}
	// One build is taken within the window, and a hundred never are: what finishes all has a mark, too.
	builds = []pastBuild{{"SUCCESS", 1, 3590, 3580, 100}}
	for i := range 100 {
		builds = append(builds, pastBuild{"SUCCESS", i + 2, 3500, 3400, 3390})
	}
	s, _ := simulationOf(t, pastDatabase(t, "", builds...), "--since", "1h", "--sweep", "maximum=1:3:1")
	for _, point := range s.Sweep {
		if point.Finished == 101 && point.Name == "maximum=2" && !*point.ParetoOptimal {
			t.Errorf("%s finishes %d, and is beaten by what finishes %d", point.Name, point.Finished,
				s.Sweep[0].Finished)
		}
	}
}

// TestSimulationAdds: a command with queued_size adds so many workers at each evaluation, which end by their own rules.
func TestSimulationAdds(t *testing.T) {
	t.Parallel()
	address := pastDatabase(t, "executor_command = 'run {{ queued_size }}'", threeAtOnce...)
	s, v := simulationOf(t, address, "--since", "1h", "--max-builds", "1")
	if c := v["configured"]; *c.SizePeak != 3 || *c.Changes != 1 || math.Abs(*c.WorkerHours-0.1) > 1e-9 {
		t.Errorf("three workers of one build each: %+v, %v worker-hours; %q", c, *c.WorkerHours, s.Warnings)
	}
	s, v = simulationOf(t, address, "--since", "1h", "--max-wait", "5")
	if c := v["configured"]; math.Abs(*c.WorkerHours-3*7.0/60) > 1e-9 ||
		!slices.ContainsFunc(s.Warnings, func(w string) bool {
			return strings.Contains(w,
				"--max-wait 0 simulates that")
		}) {
		t.Errorf("three workers that end after five idle minutes: %v worker-hours; %q", *c.WorkerHours, s.Warnings)
	}
	s, v = simulationOf(t, address, "--since", "1h")
	if c := v["configured"]; math.Abs(*c.WorkerHours-1.5) > 1e-9 ||
		!slices.ContainsFunc(s.Warnings, func(w string) bool {
			return strings.Contains(w,
				"without them they never do here")
		}) {
		t.Errorf("three workers that never end: %v worker-hours; %q", *c.WorkerHours, s.Warnings)
	}
	for command, adds := range map[string]bool{"{{ queued_size }}": true, "{{ size }}": false,
		"x $VESPENE_QUEUED_SIZE": true, "x ${VESPENE_SIZE}": false, "--size {{queued_size}}": true,
		"{{ size }} {{ queued_size }}": false, "{% if queued_size > 1 %}x{% endif %}": true,
		"{{ variables.size }}{{ queued_size }}": true, "true": false} {
		s, _ := simulationOf(t, address, "--since", "1h", "--set", "executor_command="+command)
		if is := slices.ContainsFunc(s.Warnings,
			func(w string) bool { return strings.Contains(w, "only adds") }); is != adds {
			t.Errorf("%s: %q", command, s.Warnings)
		}
	}
}

// TestSimulationSettings: --set takes each setting, and what it is given is what the planner has.
func TestSimulationSettings(t *testing.T) {
	t.Parallel()
	address := pastDatabase(t, `variables = '{"zone": "a", "autoscaling": {"max_step_up": 1}}'`, threeAtOnce...)
	for set, want := range map[string]any{"multiplier=1.5": 1.5, "excess=-1": -1.0, "minimum=2": 2.0, "maximum=7": 7.0,
		"queued_weight=0.5": 0.5, "running_weight=2": 2.0, "reevaluate_minutes=0": 0.0,
		"build_latest=true": true, "sleep_seconds=30": 30.0, "auto_abort_minutes=60": 60.0,
		"scale_down_minutes=30": 30.0, "max_step_up=3": 3.0, "max_step_down=1": 1.0,
		"stale_builds=ignore":                            "ignore",
		`schedule=[{"when": "* * * * *", "minimum": 4}]`: []any{map[string]any{"when": "* * * * *", "minimum": 4.0}},
		"max_step_up=null":                               nil} {
		_, v := simulationOf(t, address, "--since", "1h", "--set", set)
		name, _, _ := strings.Cut(set, "=")
		if is := v["set"].Settings[name]; fmt.Sprint(is) != fmt.Sprint(want) {
			t.Errorf("--set %s: %v", set, v["set"].Settings)
		}
		if v["configured"].Settings["max_step_up"] != 1.0 || v["configured"].Settings["multiplier"] != 1.0 {
			t.Errorf("--set %s changes what is configured: %v", set, v["configured"].Settings)
		}
	}
	_, v := simulationOf(t, address, "--since", "1h", "--set", `schedule=[{"when": "* * * * *", "minimum": 4}]`,
		"--set", "max_step_up=null")
	if *v["set"].SizePeak != 4 || *v["configured"].SizePeak != 2 {
		t.Errorf("by schedule %+v; a step at a time %+v", v["set"], v["configured"])
	}
	_, v = simulationOf(t, address, "--since", "1h", "--set", "minimum=2", "--set", "minimum=5") // the last counts
	if *v["set"].SizePeak != 5 {
		t.Errorf("%+v", v["set"])
	}
}

// TestSimulationRefused: what is wrong is said with its cure and the right exit code, and nothing is simulated.
func TestSimulationRefused(t *testing.T) {
	t.Parallel()
	address := pastDatabase(t, "", threeAtOnce...)
	folder := t.TempDir()
	for _, row := range []struct {
		args string
		code int
		says string
	}{
		{"--set size=3", 64, `--set "size=3" is no setting of a pool with a value; ` +
			`hint: write SETTING=VALUE; settings are multiplier, excess, minimum,`},
		{"--set minimum", 64, `--set "minimum" is no setting`},
		{"--set minimum=x", 78, `minimum is "x", which is not a whole number`},
		{"--set multiplier=x", 78, `multiplier is "x", which is not a number`},
		{"--set multiplier=NaN", 78, "multiplier is NaN, which is not a finite number"},
		{"--set build_latest=maybe", 78, `build_latest is "maybe", which is not true or false`},
		{"--set minimum=11", 78, "minimum 11 is above maximum 10"},
		{"--set sleep_seconds=-1", 78, "sleep_seconds is -1, which is not zero or more"},
		{"--set scale_down_minutes=-1", 78, "autoscaling.scale_down_minutes is -1, which is not a whole number from " +
			"0 to"},
		{"--set stale_builds=keep", 78, `autoscaling.stale_builds is "keep", which is not "ignore"`},
		{"--set schedule=[{}]", 78, "autoscaling.schedule[0] has no key when"},
		{"--set planner=mine", 78, `planner "mine" is not enabled here (enabled: stock)`},
		{"--planner mine=/bin/true --set planner=mine", 78,
			"planner is mine, a program, which a simulation would have to ask at each evaluation"},
		{"--set variables={", 78, "variables is not a JSON object"},
		{"--set maximum=99999999 --set minimum=99999999", 78, "as set: it would start more than 1000000 workers"},
		{"--sweep multiplier=1:3", 64, "has not three numbers; hint: write SETTING=FROM:TO:STEP"},
		{"--sweep multiplier=3:1:1", 64, "does not go up"},
		{"--sweep multiplier=1:3:0", 64, "does not go up"},
		{"--sweep multiplier=1:x:1", 64, `has "x", which is no decimal number`},
		{"--sweep minimum=0:1:0.5", 64, "has 0.5, and minimum is a whole number"},
		{"--sweep planner=1:2:1", 64, "names a setting that is no number"},
		{"--sweep nope=1:2:1", 64, "names no setting of a pool"},
		{"--sweep minimum=0:1:1 --sweep minimum=0:2:1", 64, "--sweep minimum is given twice"},
		{"--sweep minimum=0:999999:1", 64, "has more than 10000 steps"},
		{"--sweep minimum=0:200:1 --sweep excess=0:200:1", 64, "--sweep gives more than 10000 combinations"},
		{"--recommend wait_p95", 64, `--recommend "wait_p95" is no target; ` +
			`hint: write wait_median, wait_p95 or wait_max, <= and a duration, such as 'wait_p95<=3m'`},
		{"--recommend wait_p99<=3m", 64, "is no target"},
		{"--recommend wait_p95<=3", 64, "is no target"},
		{"--since 0s", 64, "--since is 0s, not above zero"},
		{"--since 59s", 64, "--since is 59s, and a simulation takes a minute at least"},
		{"--since x", 64, "write a duration with its unit"},
		{"--boot x", 64, "write a duration with its unit"},
		{"--boot -1s", 64, "--boot and --billing-minimum cannot be below zero"},
		{"--max-builds 0", 64, "--max-builds and --workers-per-instance cannot be below 1"},
		{"--max-builds x", 64, "write a whole number"},
		{"--workers-per-instance 0", 64, "cannot be below 1"},
		{"--max-wait -1", 64, "--max-wait is not a number of minutes"},
		{"--max-wait NaN", 64, "--max-wait is not a number of minutes"},
		{"--queue nope", 78, `there is no worker pool "nope"`},
		{"--svg " + folder, 74, "write the picture"},
		{"--svg " + folder + "/no/such.svg", 74, "write the picture"},
		{"--dry-run", 64, "there is no option --dry-run"},
		{"general", 64, "there is an argument that belongs to no option"},
	} {
		r := simulateAtNoon(t, append([]string{"--database", address, "--since", "1h"}, strings.Fields(row.args)...)...)
		if r.code != row.code || !strings.Contains(strings.ReplaceAll(r.stderr, "\nhint", "; hint"), row.says) ||
			r.stdout != "" {
			t.Errorf("%s: exit %d, %q, and on standard output %q; want exit %d and %q", row.args, r.code, r.stderr,
				r.stdout, row.code, row.says)
		}
	}
}

// TestSimulationOddBuilds: builds that make no sense are counted and said, and the others are simulated.
func TestSimulationOddBuilds(t *testing.T) {
	t.Parallel()
	s, v := simulationOf(t, pastDatabase(t, "", append(slices.Clone(threeAtOnce),
		pastBuild{"SUCCESS", 1, -1, 1000, 900},    // without a queued_time
		pastBuild{"QUEUED", 1, -1, -1, -1},        // the same, waiting
		pastBuild{"SUCCESS", 1, 1000, 900, 950},   // its end is before its start
		pastBuild{"SUCCESS", 1, 1000, 1100, 1050}, // its start is before it was queued
		pastBuild{"SUCCESS", 1, 1000, 900, -1},    // it ended at no time
		pastBuild{"UNKNOWN", 1, 1000, -1, -1},     // never ran
		pastBuild{"QUEUED", 0, 500, -1, -1},       // without a project
	)...), "--since", "1h")
	for _, want := range []string{
		"2 builds without a queued_time: left out, or where QUEUED counted and never taken",
		"1 build with an end before the start, so that clocks differ or went back",
		"1 build started before being queued, so that clocks differ or went back",
		"1 build with a start and no end that does not run any more",
		"1 build BLOCKED or UNKNOWN that never ran: left out",
		"1 build QUEUED without a project, on which workers stall",
	} {
		if !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("no warning %q in %q", want, s.Warnings)
		}
	}
	if c := v["configured"]; s.Builds != 8 || c.Finished != 6 || c.Unfinished != 2 || c.Estimated != 2 {
		t.Errorf("%d builds, %+v", s.Builds, c)
	}
	if r := v["recorded"]; r.Finished != 6 || r.Unfinished != 2 {
		t.Errorf("recorded: %+v", r)
	}

	later := pastDatabase(t, "", threeAtOnce...)
	file := strings.TrimPrefix(later, "sqlite:")
	writeFile(t, file, bytes.ReplaceAll(contentOf(t, file), []byte(noon.Format(time.DateOnly)),
		[]byte(noon.AddDate(1, 0, 0).Format(time.DateOnly))))
	s, v = simulationOf(t, later, "--since", "1h")
	if !slices.ContainsFunc(s.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "3 builds queued after the window's end, so that clocks differ or went back: "+
			"left out")
	}) || s.Builds != 0 {
		t.Errorf("builds of next year: %d, %q", s.Builds, s.Warnings)
	}
	if c := v["configured"]; c.WaitP95 != nil || *c.WorkerHours != 0 || c.Utilisation != nil {
		t.Errorf("of no builds: %+v", c)
	}
	s, _ = simulationOf(t, pastDatabase(t, "", pastBuild{"ABORTED", 1, 1000, -1, -1}), "--since", "1h")
	if !slices.ContainsFunc(s.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "1 build of unknown duration, and none of the pool ended")
	}) {
		t.Errorf("a build that nobody knows: %q", s.Warnings)
	}
	s, v = simulationOf(t, pastDatabase(t, ""), "--since", "1h", "--set", "minimum=2")
	if !slices.Contains(s.Warnings, "no builds in the window: --since DURATION takes a longer one") ||
		*v["set"].WorkerHours != 2 {
		t.Errorf("without builds: %q, %+v", s.Warnings, v)
	}
}

// TestSimulationRecorded: what the state has of the sizes is what was recorded. What the simulation makes of the pool
// as it is configured is warned of where it is another.
func TestSimulationRecorded(t *testing.T) {
	t.Parallel()
	address := pastDatabase(t, "", threeAtOnce...)
	var past []evaluation
	for _, e := range []struct {
		minutes time.Duration
		size    int64
		outcome string
	}{{90, 9, scaled}, {70, 1, scaled}, {45, 4, scaled}, {40, 40, failed}, {15, 1, scaled}} {
		its := ended(0, e.size, e.outcome, 0, "")
		its.started = noon.Add(-e.minutes * time.Minute)
		past = append(past, its)
	}
	state := pastOf(t, address, "web", past...)
	s, v := simulationOf(t, address, "--since", "1h", "--state", state)
	r := v["recorded"]
	if r.WorkerHours == nil {
		t.Fatalf("nothing is known of the sizes: %+v", s)
	}
	// 15 minutes of 1, 30 of 4 and 15 of 1, at whose beginning 2 builds ran: one more than the size. Six minutes of
	// builds.
	if math.Abs(*r.WorkerHours-2.5) > 1e-9 || math.Abs(*r.SizeMean-2.5) > 1e-9 || *r.SizePeak != 4 ||
		*r.Changes != 2 || *r.AtRisk != 1 || math.Abs(*r.Utilisation-0.1/2.5) > 1e-9 {
		t.Errorf("recorded: %v worker-hours, mean %v, peak %d, %d changes, %d at risk, %v used", *r.WorkerHours,
			*r.SizeMean, *r.SizePeak, *r.Changes, *r.AtRisk, *r.Utilisation)
	}
	if !slices.ContainsFunc(s.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "as configured is more than 20 % off what was recorded: worker-hours 0.1 for "+
			"2.5, median wait 10s for 1m, 95 % wait 10s for 1m, longest wait 10s for 1m, mean size 0.1 for 2.5; trust")
	}) {
		t.Errorf("not told that it is off: %q", s.Warnings)
	}
	s, v = simulationOf(t, address, "--since", "2h", "--state", state)
	if v["recorded"].WorkerHours != nil || !slices.ContainsFunc(s.Warnings,
		func(w string) bool { return strings.HasPrefix(w, "what was recorded in sizes is not known") }) {
		t.Errorf("of a window that began before the first evaluation: %+v", s)
	}
}

// TestSimulationReadsOnly: no state is made, and none is written.
func TestSimulationReadsOnly(t *testing.T) {
	t.Parallel()
	address, none := pastDatabase(t, "", threeAtOnce...), newState(t)
	simulationOf(t, address, "--state", none)
	if _, err := os.Stat(filepath.Dir(none)); err == nil {
		t.Error("it made a state file's folder")
	}
	state := pastOf(t, address, "web", ended(90*time.Minute, 9, scaled, 0, ""))
	before := contentOf(t, state)
	simulationOf(t, address, "--state", state)
	if !bytes.Equal(contentOf(t, state), before) {
		t.Error("it wrote to the state file")
	}
}

// TestSimulationOfSeveral: without --queue all pools with autoscaling are simulated; what is wrong with one leaves the
// others.
func TestSimulationOfSeveral(t *testing.T) {
	t.Parallel()
	address := sqliteDatabase(t, "INSERT INTO worker_pools (id, name, minimum, maximum, autoscaling_enabled) VALUES "+
		"(1, 'b', 0, 1, true), (2, 'a', 0, 1, true), (3, 'wrong', 2, 1, true), (4, 'off', 1, 1, false)")
	r := simulateAtNoon(t, "--output", "json", "--database", address)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.code != exitInvalid || len(lines) != 2 || !strings.HasPrefix(lines[0], `{"pool":"a"`) ||
		!strings.HasPrefix(lines[1], `{"pool":"b"`) || !strings.Contains(r.stderr, "minimum 2 is above maximum 1") {
		t.Errorf("exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if r := simulateAtNoon(t, "--database", address, "--svg",
		filepath.Join(t.TempDir(), "x.svg")); r.code != exitUsage ||
		!strings.Contains(r.stderr, "--svg takes the picture of one pool, and there are 3") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	// What cannot be simulated as it is configured can be with other settings, and a pool without autoscaling as if it
	// had it.
	s, v := simulationOf(t, address, "--queue", "wrong", "--set", "maximum=2")
	if _, is := v["configured"]; is || v["set"].WorkerHours == nil ||
		!slices.Contains(s.Warnings, "as configured, the pool cannot be simulated: minimum 2 is above maximum 1") {
		t.Errorf("%+v", s)
	}
	if _, v = simulationOf(t, address, "--queue", "off", "--since", "1h"); *v["configured"].WorkerHours != 1 {
		t.Errorf("%+v", v)
	}
	if r := simulateAtNoon(t, "--database", sqliteDatabase(t)); r.code != 0 ||
		!strings.Contains(r.stdout, "no worker pool has autoscaling enabled") {
		t.Errorf("exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestSimulationInterrupted: a signal ends a search at once.
func TestSimulationInterrupted(t *testing.T) {
	t.Parallel()
	var builds []pastBuild
	for i := range 20_000 {
		builds = append(builds, pastBuild{"SUCCESS", i%50 + 1, 600_000 - i*30, 600_000 - i*30 - 10,
			600_000 - i*30 - 200})
	}
	cmd, stdout, stderr := program(t, "simulate", "--since", "200000h", "--database",
		pastDatabase(t, "maximum = 100", builds...), "--sweep", "multiplier=1:10:0.001")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	since := time.Now()
	cmd.Process.Signal(syscall.SIGINT)
	if code := exitOf(t, cmd.Wait()); code != 130 || time.Since(since) > 2*time.Second || stdout.Len() != 0 {
		t.Errorf("exit %d after %v: %s%s", code, time.Since(since), stdout, stderr)
	}
}

// TestRecommendation: of the values of a sweep, the one with the fewest worker-hours that meets the target on both
// parts of the window; where only the first part allows it, it is not recommended; where none does, the nearest is
// said, and why.
func TestRecommendation(t *testing.T) {
	t.Parallel()
	// In the first two hours of three, a build each ten minutes; in the third, four at a time.
	var builds []pastBuild
	for before := 10_700; before > 300; before -= 600 {
		n := 1
		if before < 3600 {
			n = 4
		}
		for range n {
			builds = append(builds, pastBuild{"SUCCESS", len(builds) + 1, before, before - 1, before - 101})
		}
	}
	address := pastDatabase(t, "reevaluate_minutes = 10", builds...)
	recommended := func(args ...string) *recommendation {
		t.Helper()
		s, _ := simulationOf(t, address, append([]string{"--since", "3h", "--boot", "90s"}, args...)...)
		if s.Recommendation == nil {
			t.Fatalf("no recommendation: %+v", s)
		}
		return s.Recommendation
	}
	// One worker that is always there serves the first two hours, four the third.
	r := recommended("--recommend", "wait_max<=5s", "--sweep", "minimum=0:6:1")
	if !r.Met || r.Settings["minimum"] != 4.0 || len(r.Settings) != 1 || *r.Verified.WaitMax > 5 ||
		*r.Searched.WaitMax > 5 || *r.Then.WaitMax > 5 || *r.Today.WaitMax <= 5 ||
		!strings.Contains(r.Why, "of what costs less, 3 combinations met it") {
		t.Errorf("%+v", r)
	}
	if *r.Then.SizePeak != 4 || math.Abs(*r.Then.WorkerHours-12) > 0.5 {
		t.Errorf("it comes to %v worker-hours, with a peak of %d", *r.Then.WorkerHours, *r.Then.SizePeak)
	}
	if r = recommended("--recommend", "wait_max<=5s", "--sweep", "minimum=0:3:1"); r.Met ||
		!strings.Contains(r.Why, "of 4 combinations that were tried, 3 met the target on the first two thirds of "+
			"the window, and none on the last") || !strings.Contains(r.Why, "it takes 4 that are always there") {
		t.Errorf("%+v", r)
	}
	if r = recommended("--recommend", "wait_max<=5s", "--sweep", "minimum=0:0:1", "--sweep", "excess=0:0:1"); r.Met ||
		!strings.Contains(r.Why, "of 1 combination that were tried, none met the target") {
		t.Errorf("%+v", r)
	}
	// Without a sweep the search is its own.
	if r = recommended("--recommend", "wait_p95<=5s"); !r.Met || *r.Verified.WaitP95 > 5 || *r.Searched.WaitP95 > 5 ||
		len(r.Settings) == 0 {
		t.Errorf("%+v", r)
	} else if *r.Then.WorkerHours > 12.5 {
		t.Errorf("it costs %v worker-hours, and minimum=4 would 12", *r.Then.WorkerHours)
	}
	// A maximum that is too low is raised.
	s, _ := simulationOf(t, pastDatabase(t, "reevaluate_minutes = 10, maximum = 1", builds...), "--since", "3h",
		"--recommend", "wait_p95<=90s")
	if r := s.Recommendation; !r.Met || r.Settings["maximum"] == nil {
		t.Errorf("%+v", r)
	}
	// Builds that are dropped for their age have waited in vain.
	s, _ = simulationOf(t, pastDatabase(t, "reevaluate_minutes = 10, auto_abort_minutes = 5", builds...), "--since",
		"3h", "--recommend", "wait_p95<=1m", "--sweep", "maximum=0:6:1")
	if r := s.Recommendation; r.Then.Dropped > 0 && r.Met {
		t.Errorf("%d builds are dropped: %+v", r.Then.Dropped, r)
	}
	if s, _ = simulationOf(t, pastDatabase(t, ""), "--recommend", "wait_p95<=1m"); s.Recommendation != nil ||
		!slices.ContainsFunc(s.Warnings, func(w string) bool {
			return strings.HasPrefix(w,
				"no recommendation: no build was started")
		}) {
		t.Errorf("without builds: %+v", s)
	}
	// What meets the target already is kept, or made cheaper.
	if r = recommended("--recommend", "wait_max<=1h"); !r.Met || *r.Then.WorkerHours > *r.Today.WorkerHours {
		t.Errorf("%+v", r)
	}
}

// TestSweep: the points of a sweep are those that --set gives one by one, and nothing beats those that are marked.
func TestSweep(t *testing.T) {
	t.Parallel()
	address := pastDatabase(t, "", threeAtOnce...)
	s, _ := simulationOf(t, address, "--since", "1h", "--sweep", "maximum=1:4:1", "--sweep", "minimum=0:2:2")
	byName := map[string]variant{}
	for _, v := range s.Sweep {
		byName[v.Name] = v
	}
	if names := slices.Sorted(maps.Keys(byName)); !slices.Equal(names,
		[]string{"maximum=1 minimum=0", "maximum=2 minimum=0", "maximum=2 minimum=2", "maximum=3 minimum=0",
			"maximum=3 minimum=2", "maximum=4 minimum=0", "maximum=4 minimum=2"}) {
		t.Fatalf("points %q", names)
	}
	if !slices.ContainsFunc(s.Warnings, func(w string) bool {
		return w == "not simulated: maximum=1 minimum=2: minimum 2 is above maximum 1"
	}) {
		t.Errorf("what is impossible is not said: %q", s.Warnings)
	}
	for name, point := range byName {
		set := strings.Fields(name)
		_, v := simulationOf(t, address, "--since", "1h", "--set", set[0], "--set", set[1])
		expect(t, name+"'s wait", point.WaitP95, *v["set"].WaitP95)
		expect(t, name+"'s worker-hours", point.WorkerHours, *v["set"].WorkerHours)
		beaten := false
		for _, other := range byName {
			beaten = beaten || *other.WaitP95 <= *point.WaitP95 && *other.WorkerHours <= *point.WorkerHours &&
				(*other.WaitP95 < *point.WaitP95 || *other.WorkerHours < *point.WorkerHours)
		}
		if *point.ParetoOptimal == beaten {
			t.Errorf("%s is marked %v", name, *point.ParetoOptimal)
		}
	}
}
