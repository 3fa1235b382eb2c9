package main

import (
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testPool is a pool with Vespene's default settings, enabled, and the given columns in their place.
func testPool(columns map[string]any) pool {
	all := map[string]any{
		"id": int64(1), "name": "web", "variables": "{}", "autoscaling_enabled": true, "build_latest": false,
		"excess": int64(0), "executor": nil, "executor_command": "true", "maximum": int64(10), "minimum": int64(0),
		"multiplier": 1.0, "planner": nil, "queued_weight": 1.0, "reevaluate_minutes": int64(10), "running_weight": 1.0,
		"last_autoscaled": nil,
	}
	maps.Copy(all, columns)
	return pool{id: 1, name: "web", enabled: true, columns: columnsOf(all)}
}

// set changes the value of a column.
func (c columns) set(name string, value any) { c.values[c.places[name]] = value }

// planOf sizes the pool, whose settings must be valid.
func planOf(t testing.TB, p pool) plan {
	t.Helper()
	s, err := p.checked(plugins{})
	if err != nil {
		t.Fatal(err)
	}
	return newPlan(p, s, time.Now())
}

func TestPlan(t *testing.T) {
	type columns = map[string]any
	for _, test := range []struct {
		source                    string // where the row is from
		columns                   columns
		builds, projects, running int64
		raw                       string
		size, queuedSize          int64
		capped                    string
	}{
		{source: "manual: the defaults", builds: 3, projects: 2, running: 2, raw: "5", size: 5, queuedSize: 3},
		{source: "real database: general", columns: columns{"build_latest": true, "maximum": int64(100)},
			builds: 18, projects: 11, running: 6, raw: "17", size: 17, queuedSize: 11},
		{source: "real database: AmazonLinux",
			columns: columns{"multiplier": 1.5, "excess": int64(2), "minimum": int64(1), "maximum": int64(40)},
			builds:  10, projects: 7, running: 4, raw: "23", size: 23, queuedSize: 10},
		{source: "real database: win-2019", columns: columns{"build_latest": true, "queued_weight": 2.0,
			"running_weight": 0.5, "minimum": int64(2), "maximum": int64(8)}, builds: 7, projects: 3, running: 3,
			raw: "7.5", size: 8, queuedSize: 3},
		{source: "real database: Bob's Pool",
			columns: columns{"build_latest": true, "excess": int64(1), "minimum": int64(3)},
			builds:  3, projects: 3, running: 1, raw: "5", size: 5, queuedSize: 3},

		// The rows of "what Vespene's own autoscaler does", measured on the real program; ours follow its manual.
		{source: "its size is over queued builds only", builds: 2, running: 5, raw: "7", size: 7, queuedSize: 2},
		{source: "its queued_size is the formula over queued + running", columns: columns{"multiplier": 2.0,
			"excess": int64(1)},
			builds: 3, running: 1, raw: "9", size: 9, queuedSize: 3},
		{source: "its queued_size is not held", columns: columns{"minimum": int64(4)}, builds: 1, raw: "1", size: 4,
			queuedSize: 4, capped: "minimum"},
		{source: "it never uses queued_weight", columns: columns{"queued_weight": 3.0}, builds: 2, raw: "6", size: 6,
			queuedSize: 2},
		{source: "it never uses running_weight", columns: columns{"running_weight": 0.5}, running: 3,
			raw: "1.5", size: 2},
		{source: "× 1.5 + 2 on 11 is 19", columns: columns{"multiplier": 1.5, "excess": int64(2),
			"maximum": int64(100)},
			builds: 11, raw: "18.5", size: 19, queuedSize: 11},
		{source: "the manual's min(max(b2, maximum), minimum) is meant the right way round: above",
			builds: 50, raw: "50", size: 10, queuedSize: 10, capped: "maximum"},
		{source: "the manual's min(max(b2, maximum), minimum) is meant the right way round: below",
			columns: columns{"minimum": int64(2)}, raw: "0", size: 2, queuedSize: 2, capped: "minimum"},
		{source: "four workers per instance: 0.25 where size counts instances", columns: columns{"multiplier": 0.25},
			builds: 5, running: 4, raw: "2.25", size: 3, queuedSize: 5},

		{source: "binary fractions: 50 × 1.1 is 56 in floating point", columns: columns{"multiplier": 1.1,
			"maximum": int64(100)},
			builds: 50, raw: "55", size: 55, queuedSize: 50},
		{source: "binary fractions: 0.1 × 3", columns: columns{"queued_weight": 0.1, "multiplier": 10.0},
			builds: 3, raw: "3", size: 3, queuedSize: 3},
		{source: "int(+Inf) is the least integer: beyond any", columns: columns{"queued_weight": 1e308,
			"multiplier": 1e308, "maximum": int64(math.MaxInt64)}, builds: math.MaxInt64,
			raw: "9.2233720368547758e+634", size: math.MaxInt64,
			queuedSize: math.MaxInt64, capped: "maximum"},
		{source: "the least weight", columns: columns{"queued_weight": math.SmallestNonzeroFloat64}, builds: 1,
			raw: "5e-324", size: 1, queuedSize: 1},
		{source: "negative excess", columns: columns{"excess": int64(-5)}, builds: 2, raw: "-3", size: 0, queuedSize: 2,
			capped: "minimum"},
		{source: "rounded up to a bound is not held to it", columns: columns{"maximum": int64(3), "multiplier": 0.5},
			builds: 5, raw: "2.5", size: 3, queuedSize: 3},
		{source: "SQLite's whole numbers in a column of no type", columns: columns{"multiplier": int64(2)},
			builds: 2, raw: "4", size: 4, queuedSize: 2},
	} {
		t.Run(test.source, func(t *testing.T) {
			p := testPool(test.columns)
			p.queuedBuilds, p.queuedProjects, p.running = test.builds, test.projects, test.running
			got := planOf(t, p)
			if raw := decimalString(got.raw); raw != test.raw || got.size != test.size ||
				got.queuedSize != test.queuedSize || got.capped != test.capped {
				t.Errorf("raw %s, size %d, queued_size %d, capped %q; want %s, %d, %d, %q",
					raw, got.size, got.queuedSize, got.capped, test.raw, test.size, test.queuedSize, test.capped)
			}
		})
	}
}

func TestInvalidSettings(t *testing.T) {
	for _, test := range []struct {
		column string
		value  any
		want   string
	}{
		{"minimum", int64(20), "minimum 20 is above maximum 10"}, // measured: Vespene's own takes 8 of 20 … 8
		{"multiplier", math.NaN(), "multiplier is NaN"},          // measured: a traceback
		{"multiplier", math.Inf(1), "multiplier is +Inf"},        // measured: a traceback
		{"queued_weight", math.NaN(), "queued_weight is NaN"},
		{"running_weight", math.Inf(-1), "running_weight is -Inf"},
		{"queued_weight", -1.0, "queued_weight is -1, which is not zero or more"},
		{"running_weight", -0.5, "running_weight is -0.5"},
		{"multiplier", -2.0, "multiplier is -2"},
		{"multiplier", int64(-2), "multiplier is -2"},
		{"minimum", int64(-1), "minimum is -1"},
		{"maximum", int64(-1), "minimum 0 is above maximum -1"},
		{"reevaluate_minutes", int64(-5), "reevaluate_minutes is -5"},
		{"reevaluate_minutes", nil, "reevaluate_minutes is NULL, which is not a whole number"},
		{"excess", 1.5, "excess is 1.5, which is not a whole number"},
		{"build_latest", int64(1), "build_latest is 1, which is not true or false"},
		{"multiplier", "2", "multiplier is 2, which is not a number"},
		{"planner", "mlp", `planner "mlp" is not enabled here (enabled: stock)`},
		{"executor", "ssh", `executor "ssh" is not enabled here (enabled: shell)`},
		{"variables", "[1]", "variables is not a JSON object"},
		{"variables", "{", "variables is not a JSON object"},
		{"variables", `{"a": 1} {}`, "variables is not a JSON object: there is more behind its end"},
		{"variables", "1", "variables is not a JSON object"},
		{"variables", "[[]]", "variables is not a JSON object"},
		{"variables", `{"a": NaN}`, "variables is not a JSON object"},
	} {
		_, err := testPool(map[string]any{test.column: test.value}).checked(plugins{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s = %v: error %v, want %q", test.column, test.value, err, test.want)
		}
	}
	for _, empty := range []any{nil, "", " ", "{}", "[]", " [ ]\n"} {
		if s, err := testPool(map[string]any{"variables": empty}).checked(plugins{}); err != nil ||
			len(s.variables) != 0 {
			t.Errorf("variables %q: %v, %v; want none", empty, s.variables, err)
		}
	}
	for _, name := range []any{nil, "", "stock"} {
		if s, err := testPool(map[string]any{"planner": name}).checked(plugins{}); err != nil || s.planner != "stock" {
			t.Errorf("planner %v: %q, %v; want stock", name, s.planner, err)
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		why       string
		ago       time.Duration // of the last evaluation; negative: it lies ahead
		minutes   int64
		due, back bool
	}{
		{"measured: Vespene's own runs on every pass while recent", time.Minute, 5, false, false},
		{"measured: Vespene's own never runs again once older", 6 * time.Minute, 5, true, false},
		{"ten seconds early, for a minutely timer with jitter", 4*time.Minute + 50*time.Second, 5, true, false},
		{"not eleven", 4*time.Minute + 49*time.Second, 5, false, false},
		{"0 means every run", 0, 0, true, false},
		{"a century's interval overflows nothing", 24 * time.Hour, math.MaxInt64, false, false},
		{"the clock went back a little: it waits", -4 * time.Minute, 5, false, false},
		{"the clock went back by more than the interval", -6 * time.Minute, 5, true, true},
		{"the clock went back by years", -10 * 365 * 24 * time.Hour, 5, true, true},
	} {
		planned := planOf(t, testPool(map[string]any{"reevaluate_minutes": test.minutes}))
		got := planned.timing(lastRun{last: now.Add(-test.ago)}, now)
		if got.isDue != test.due || got.clockBack != test.back {
			t.Errorf("%s: due %v, clock back %v; want %v, %v", test.why, got.isDue, got.clockBack, test.due, test.back)
		}
		if got.next.Year() > 9999 {
			t.Errorf("%s: next due in the year %d, which JSON cannot hold", test.why, got.next.Year())
		}
	}
	if got := planOf(t, testPool(nil)).timing(lastRun{}, now); !got.isDue || got.clockBack || !got.next.IsZero() {
		t.Errorf("never evaluated: %v; want due, with no next time", got)
	}
}

func TestDecimalString(t *testing.T) {
	for text, want := range map[string]string{"23": "23", "37/2": "18.5", "-3": "-3", "1/8": "0.125", "0": "0"} {
		d, _ := new(big.Rat).SetString(text)
		if got := decimalString(d); got != want {
			t.Errorf("%s prints as %s, want %s", text, got, want)
		}
	}
}

// FuzzPlan: whatever the settings, the size lies within its bounds, is what exact arithmetic gives, and does not fall
// when one more build is queued.
func FuzzPlan(f *testing.F) {
	f.Fuzz(func(t *testing.T, queued, running int64, queuedWeight, runningWeight, multiplier float64, excess, minimum,
		maximum int64) {
		p := testPool(map[string]any{"queued_weight": queuedWeight, "running_weight": runningWeight,
			"multiplier": multiplier, "excess": excess, "minimum": minimum, "maximum": maximum})
		p.queuedBuilds, p.running = max(queued, 0)/2, max(running, 0)
		s, err := p.checked(plugins{})
		wellFormed := minimum >= 0 && minimum <= maximum
		for _, f := range []float64{queuedWeight, runningWeight, multiplier} {
			wellFormed = wellFormed && f >= 0 && !math.IsInf(f, 1)
		}
		if (err == nil) != wellFormed {
			t.Fatalf("settings well formed: %v, error %v", wellFormed, err)
		}
		if err != nil {
			return
		}
		first := newPlan(p, s, time.Now())
		p.queuedBuilds++
		second := newPlan(p, s, time.Now())
		for _, n := range []int64{first.size, first.queuedSize} {
			if n < minimum || n > maximum {
				t.Fatalf("%d is not within %d … %d", n, minimum, maximum)
			}
		}
		if second.size < first.size || second.queuedSize < first.queuedSize {
			t.Fatalf("one more build, and %d, %d become %d, %d", first.size, first.queuedSize, second.size,
				second.queuedSize)
		}
		exact := func(f float64) *big.Rat {
			r, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'e', -1, 64))
			if !ok {
				t.Fatalf("%v has no decimal form", f)
			}
			return r
		}
		want := new(big.Rat).Mul(big.NewRat(first.queued, 1), exact(queuedWeight))
		want.Add(want, new(big.Rat).Mul(big.NewRat(first.running, 1), exact(runningWeight)))
		want.Mul(want, exact(multiplier)).Add(want, big.NewRat(excess, 1))
		if want.Cmp(first.raw) != 0 {
			t.Fatalf("raw is %s, want %s", first.raw, want)
		}
		if first.capped == "" {
			size := big.NewRat(first.size, 1)
			if size.Cmp(want) < 0 || new(big.Rat).Sub(size, want).Cmp(big.NewRat(1, 1)) >= 0 {
				t.Fatalf("size %d is not %s rounded up", first.size, want)
			}
		}
	})
}

// FuzzVariables: a pool's variables are an error of one line, or what JSON means by them, in values that a template
// knows.
func FuzzVariables(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		variables, err := parseVariables(text)
		var object map[string]any
		var list []any // an empty one counts as an object
		isObject := strings.TrimSpace(text) == "" || json.Unmarshal([]byte(text), &object) == nil ||
			json.Unmarshal([]byte(text), &list) == nil && len(list) == 0
		if isObject != (err == nil) && !strings.ContainsAny(text, "eE") { // a number beyond all floats is none to json
			t.Fatalf("%q is a JSON object: %v, and error %v", text, isObject, err)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "variables is not a JSON object: ") ||
				strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: error %q", text, err)
			}
			return
		}
		if isObject && len(variables) != len(object) {
			t.Fatalf("%q is %v, want %v", text, variables, object)
		}
		var known func(value any)
		known = func(value any) {
			switch v := value.(type) {
			case nil, bool, int64, float64, string:
			case []any:
				for _, element := range v {
					known(element)
				}
			case map[string]any:
				for _, element := range v {
					known(element)
				}
			default:
				t.Fatalf("%q has a %T", text, value)
			}
		}
		known(variables)
	})
}

// steadyPool is a pool whose variables have that object "autoscaling".
func steadyPool(object string, columns map[string]any) pool {
	p := testPool(columns)
	p.columns.set("variables", `{"autoscaling": `+object+`}`)
	return p
}

// TestSteadinessRefused: an unknown key, a wrong type and an impossible value are errors that name the key.
func TestSteadinessRefused(t *testing.T) {
	for object, want := range map[string]string{
		`3`:    `autoscaling is 3, which is not an object`,
		`null`: `autoscaling is null, which is not an object`,
		`{"scale_down_minute": 3}`: `autoscaling.scale_down_minute means nothing (known: ` +
			`scale_down_minutes, max_step_up, max_step_down, schedule, stale_builds)`,
		`{"scale_down_minutes": "3"}`: `autoscaling.scale_down_minutes is "3", ` +
			`which is not a whole number from 0 to 129600`,
		`{"scale_down_minutes": 1.5}`: `autoscaling.scale_down_minutes is 1.5, ` +
			`which is not a whole number`,
		`{"scale_down_minutes": -1}`: `autoscaling.scale_down_minutes is -1, ` +
			`which is not a whole number`,
		// older evaluations are gone
		`{"scale_down_minutes": 129601}`: `autoscaling.scale_down_minutes is 129601, ` +
			`which is not a whole number`,
		`{"max_step_up": null}`: `autoscaling.max_step_up is null, which is not a whole number`,
		`{"max_step_down": -3}`: `autoscaling.max_step_down is -3, which is not a whole number`,
		`{"max_step_up": 99999999999999999999}`: `autoscaling.max_step_up is "99999999999999999999", ` +
			`which is not a whole number`,
		`{"stale_builds": "count"}`:      `autoscaling.stale_builds is "count", which is not "ignore"`,
		`{"stale_builds": true}`:         `autoscaling.stale_builds is true, which is not "ignore"`,
		`{"schedule": {}}`:               `autoscaling.schedule is {}, which is not a list`,
		`{"schedule": [3]}`:              `autoscaling.schedule[0] is 3, which is not an object`,
		`{"schedule": [{}]}`:             `autoscaling.schedule[0] has no key when`,
		`{"schedule": [{"minimum": 3}]}`: `autoscaling.schedule[0] has no key when`,
		`{"schedule": [{"when": "* * * * *"}, {"when": "* 25 * * *"}]}`: `autoscaling.schedule[1].when is ` +
			`"* 25 * * *", which is not a cron expression of five fields`,
		`{"schedule": [{"when": "* * * *"}]}`: `autoscaling.schedule[0].when is "* * * *", ` +
			`which is not a cron expression`,
		`{"schedule": [{"when": "0 * * * * *"}]}`: `autoscaling.schedule[0].when is "0 * * * * *", ` +
			`which is not a cron expression`,
		`{"schedule": [{"when": "@daily"}]}`: `autoscaling.schedule[0].when is "@daily", ` +
			`which is not a cron expression`,
		`{"schedule": [{"when": 5}]}`: `autoscaling.schedule[0].when is 5, ` +
			`which is not a cron expression`,
		`{"schedule": [{"when": "* * * * *", "timezone": "Berlin"}]}`: `autoscaling.schedule[0].timezone ` +
			`is "Berlin", which is not a time zone such as Europe/Berlin`,
		`{"schedule": [{"when": "* * * * *", "timezone": ""}]}`: `autoscaling.schedule[0].timezone is "", ` +
			`which is not a time zone`,
		`{"schedule": [{"when": "* * * * *", "timezone": "Local"}]}`: `autoscaling.schedule[0].timezone is "Local", ` +
			`which is not a time zone`,
		`{"schedule": [{"when": "* * * * *", "timezone": 2}]}`: `autoscaling.schedule[0].timezone is 2, ` +
			`which is not a time zone`,
		`{"schedule": [{"when": "* * * * *", "minimum": -1}]}`: `autoscaling.schedule[0].minimum is -1, ` +
			`which is not a whole number`,
		`{"schedule": [{"when": "* * * * *", "excess": 0.5}]}`: `autoscaling.schedule[0].excess is 0.5, ` +
			`which is not a whole number`,
		`{"schedule": [{"when": "* * * * *", "multiplier": 2}]}`: `autoscaling.schedule[0].multiplier means nothing ` +
			`(known: when, timezone, minimum, maximum, excess)`,
		// the pool's own
		`{"schedule": [{"when": "* * * * *", "minimum": 11}]}`: `autoscaling.schedule[0]: minimum 11 ` +
			`is above maximum 10`,
	} {
		_, err := steadyPool(object, nil).checked(plugins{})
		if err == nil || !strings.HasPrefix(err.Error(), "variables: "+want) {
			t.Errorf("%s: %v, want %s", object, err, want)
		}
	}
	for _, object := range []string{`{}`, `{"schedule": []}`,
		`{"scale_down_minutes": 0, "max_step_up": 0, "max_step_down": 0}`,
		`{"schedule": [{"when": "*/5 8-17 1,15 jan-mar mon-fri"}, {"when": "0 0 * * 7", "timezone": "UTC", ` +
			`"excess": -3, "minimum": 3, "maximum": 3}]}`} {
		if _, err := steadyPool(object, nil).checked(plugins{}); err != nil {
			t.Errorf("%s: %v", object, err)
		}
	}
}

// TestSteadied: what each key makes of a size. Hand-computed.
func TestSteadied(t *testing.T) {
	for _, test := range []struct {
		name              string
		object            string
		columns           map[string]any
		queued            int64
		previous, largest any // numbers, or nil
		size              int64
		capped            string
		steps             []step
	}{
		{name: "without the object", object: `{}`, queued: 7, previous: 1, largest: 9, size: 7},
		{name: "the largest in the last minutes", object: `{"scale_down_minutes": 30}`, queued: 3, previous: 9,
			largest: 8, size: 8, steps: []step{{"scale_down_minutes", 3, 8}}},
		{name: "of which the plan is one", object: `{"scale_down_minutes": 30}`, queued: 7, previous: 2, largest: 4,
			size: 7, steps: []step{{"scale_down_minutes", 7, 7}}},
		{name: "nothing was planned", object: `{"scale_down_minutes": 30}`, queued: 7, size: 7},
		{name: "one at a time up", object: `{"max_step_up": 1}`, queued: 9, previous: 3, size: 4,
			steps: []step{{"max_step_up", 9, 4}}},
		{name: "up, with nothing to count from", object: `{"max_step_up": 1}`, queued: 9, size: 9},
		{name: "up, but going down", object: `{"max_step_up": 1}`, queued: 2, previous: 9, size: 2,
			steps: []step{{"max_step_up", 2, 2}}},
		{name: "two at a time down", object: `{"max_step_down": 2}`, queued: 0, previous: 9, size: 7,
			steps: []step{{"max_step_down", 0, 7}}},
		{name: "never down", object: `{"max_step_down": 0}`, queued: 0, previous: 9, size: 9,
			steps: []step{{"max_step_down", 0, 9}}},
		{name: "both, and the largest", object: `{"scale_down_minutes": 9, "max_step_up": 3, "max_step_down": 2}`,
			queued: 1, previous: 4, largest: 10, size: 7, steps: []step{{"scale_down_minutes", 1, 10},
				{"max_step_up", 10, 7}, {"max_step_down", 7, 7}}},
		{name: "the bounds hold last, above", object: `{"scale_down_minutes": 9}`, queued: 1, largest: 50, size: 10,
			capped: "maximum", steps: []step{{"scale_down_minutes", 1, 50}, {"maximum", 50, 10}}},
		{name: "the bounds hold last, below", object: `{"max_step_up": 1}`,
			columns: map[string]any{"minimum": int64(5)}, queued: 9, previous: 2, size: 5, capped: "minimum",
			steps: []step{{"max_step_up", 9, 3}, {"minimum", 3, 5}}},
		{name: "a maximum that was lowered", object: `{"max_step_down": 1}`, queued: 3, previous: 40, size: 10,
			capped: "maximum", steps: []step{{"max_step_down", 3, 39}, {"maximum", 39, 10}}},
		{name: "capped by the formula stays", object: `{"max_step_up": 20}`, queued: 90, previous: 2, size: 10,
			capped: "maximum", steps: []step{{"max_step_up", 10, 10}}},
		{name: "no overflow", object: `{"max_step_up": 9223372036854775807}`, queued: 4, previous: math.MaxInt64,
			size: 4, steps: []step{{"max_step_up", 4, 4}}},
	} {
		p := steadyPool(test.object, test.columns)
		p.queuedBuilds = test.queued
		number := func(v any) *int64 {
			if v == nil {
				return nil
			}
			return ptr(reflect.ValueOf(v).Int())
		}
		got := planOf(t, p).stabilized(number(test.previous), number(test.largest))
		if got.size != test.size || got.capped != test.capped || !slices.Equal(got.steps, test.steps) {
			t.Errorf("%s: size %d, capped %q, steps %v", test.name, got.size, got.capped, got.steps)
		}
	}
}

// TestSchedule: the last entry that matches the minute, on the clocks of its zone, also where those are changed.
func TestSchedule(t *testing.T) {
	const office = `{"schedule": [{"when": "* 8-17 * * mon-fri", "timezone": "Europe/Berlin", "minimum": 5, ` +
		`"maximum": 40, "excess": 2},
		{"when": "* 2 * * *", "timezone": "Europe/Berlin", "minimum": 7}, {"when": "0-29 12 24 12 *", ` +
		`"timezone": "America/New_York", "maximum": 1}]}`
	for _, test := range []struct {
		at   string
		size int64 // of 3 queued builds
		why  string
	}{
		{"2026-11-23T06:59:59Z", 3, "before eight on a Monday in Berlin"},
		{"2026-11-23T07:00:00Z", 5, "at eight: 3 + 2, and 5 is the minimum"},
		{"2026-11-23T16:59:59Z", 5, "until six"},
		{"2026-11-23T17:00:00Z", 3, "at six"},
		{"2026-11-22T10:00:00Z", 3, "on a Sunday"},
		{"2026-07-06T06:00:00Z", 5, "at eight in summer"},
		{"2026-07-06T05:59:59Z", 3, "before it"},
		{"2026-03-29T00:59:59Z", 3, "01:59, and the next minute is 03:00"},
		{"2026-03-29T01:00:00Z", 3, "03:00: there is no two on that day"},
		{"2026-10-25T00:00:00Z", 7, "02:00, the first time"},
		{"2026-10-25T00:59:59Z", 7, "02:59, the first time"},
		{"2026-10-25T01:00:00Z", 7, "02:00 again"},
		{"2026-10-25T01:59:59Z", 7, "02:59 again"},
		{"2026-10-25T02:00:00Z", 3, "03:00"},
		{"2026-12-24T17:15:00Z", 1, "the last entry, at 12:15 in New York"},
		{"2026-12-24T16:45:00Z", 5, "at 11:45 there, the first still, on a Thursday"},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		p := steadyPool(office, nil)
		p.queuedBuilds = 3
		s, err := p.checked(plugins{})
		if err != nil {
			t.Fatal(err)
		}
		if got := newPlan(p, s, at); got.size != test.size || len(got.steps) > 1 ||
			len(got.steps) == 1 && got.steps[0].Before != 3 {
			t.Errorf("%s (%s): size %d by %v, want %d", test.at, test.why, got.size, got.steps, test.size)
		}
	}
}

// TestStaleBuilds: ignored builds count nowhere; that they are ignored is a step.
func TestStaleBuilds(t *testing.T) {
	p := steadyPool(`{"stale_builds": "ignore"}`, nil)
	p.queuedBuilds, p.queuedProjects, p.running = 8, 5, 4
	p.staleQueued, p.freshProjects, p.overdue.count = 3, 2, 1
	if got := planOf(t, p); got.queued != 5 || got.running != 3 || got.size != 8 || got.queuedSize != 5 ||
		!slices.Equal(got.steps, []step{{"stale_builds", 10, 8}}) {
		t.Errorf("queued %d, running %d, size %d, steps %v", got.queued, got.running, got.size, got.steps)
	}
	p.columns.set("build_latest", true)
	if got := planOf(t, p); got.queued != 2 || got.size != 5 || got.builds != 5 {
		t.Errorf("build_latest: queued %d of %d, size %d", got.queued, got.builds, got.size)
	}
	p.columns.set("variables", "{}")
	if got := planOf(t, p); got.queued != 5 || got.running != 4 || got.steps != nil {
		t.Errorf("by default: queued %d, running %d, %v", got.queued, got.running, got.steps)
	}
}

// FuzzSteadied: whatever looks back and however, the size is within the pool's bounds, and the steps are a chain to it.
func FuzzSteadied(f *testing.F) {
	f.Add(int64(3), int64(9), int64(8), int64(30), int64(1), int64(2), int64(1), int64(10))
	f.Add(int64(0), int64(-1), int64(-1), int64(0), int64(-1), int64(-1), int64(0), int64(math.MaxInt64))
	f.Add(int64(7), int64(math.MaxInt64), int64(3), int64(1), int64(math.MaxInt64), int64(math.MaxInt64),
		int64(2), int64(5))
	f.Fuzz(func(t *testing.T, queued, previous, largest, minutes, up, down, minimum, maximum int64) {
		natural := func(n int64) *int64 {
			if n < 0 {
				return nil
			}
			return &n
		}
		p := testPool(map[string]any{"minimum": minimum, "maximum": maximum})
		p.queuedBuilds = max(0, queued)
		s, err := p.checked(plugins{})
		if err != nil {
			return
		}
		s.steady = steadiness{scaleDown: time.Duration(minutes), stepUp: natural(up), stepDown: natural(down)}
		first := newPlan(p, s, time.Now())
		got := first.stabilized(natural(previous), natural(largest))
		if got.size < minimum || got.size > maximum || got.planned != first.size {
			t.Errorf("size %d outside %d … %d, planned %d of %d", got.size, minimum, maximum, got.planned, first.size)
		}
		at := first.size
		for _, s := range got.steps {
			if s.Before != at {
				t.Errorf("%v do not follow upon each other", got.steps)
			}
			at = s.After
		}
		if at != got.size {
			t.Errorf("%v do not lead to %d", got.steps, got.size)
		}
	})
}
