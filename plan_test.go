package main

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testPool is a pool with Vespene's default settings, enabled, and the given columns in their place.
func testPool(columns map[string]any) pool {
	p := pool{id: 1, name: "web", enabled: true, columns: map[string]any{
		"id": int64(1), "name": "web", "variables": "{}", "autoscaling_enabled": true, "build_latest": false,
		"excess": int64(0), "executor": nil, "executor_command": "true", "maximum": int64(10), "minimum": int64(0),
		"multiplier": 1.0, "planner": nil, "queued_weight": 1.0, "reevaluate_minutes": int64(10), "running_weight": 1.0,
		"last_autoscaled": nil,
	}}
	for name, value := range columns {
		p.columns[name] = value
	}
	return p
}

// planOf sizes the pool, whose settings must be valid.
func planOf(t testing.TB, p pool) plan {
	t.Helper()
	s, err := p.checked(plugins{})
	if err != nil {
		t.Fatal(err)
	}
	return newPlan(p, s)
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
		{source: "real database: win-2019", columns: columns{"build_latest": true, "queued_weight": 2.0, "running_weight": 0.5,
			"minimum": int64(2), "maximum": int64(8)}, builds: 7, projects: 3, running: 3, raw: "7.5", size: 8, queuedSize: 3},
		{source: "real database: Bob's Pool",
			columns: columns{"build_latest": true, "excess": int64(1), "minimum": int64(3)},
			builds:  3, projects: 3, running: 1, raw: "5", size: 5, queuedSize: 3},

		// The rows of "what Vespene's own autoscaler does", measured on the real program; ours follow its manual.
		{source: "its size is over queued builds only", builds: 2, running: 5, raw: "7", size: 7, queuedSize: 2},
		{source: "its queued_size is the formula over queued + running", columns: columns{"multiplier": 2.0, "excess": int64(1)},
			builds: 3, running: 1, raw: "9", size: 9, queuedSize: 3},
		{source: "its queued_size is not held", columns: columns{"minimum": int64(4)}, builds: 1, raw: "1", size: 4, queuedSize: 4,
			capped: "minimum"},
		{source: "it never uses queued_weight", columns: columns{"queued_weight": 3.0}, builds: 2, raw: "6", size: 6, queuedSize: 2},
		{source: "it never uses running_weight", columns: columns{"running_weight": 0.5}, running: 3, raw: "1.5", size: 2},
		{source: "× 1.5 + 2 on 11 is 19", columns: columns{"multiplier": 1.5, "excess": int64(2), "maximum": int64(100)},
			builds: 11, raw: "18.5", size: 19, queuedSize: 11},
		{source: "the manual's min(max(b2, maximum), minimum) is meant the right way round: above", builds: 50, raw: "50",
			size: 10, queuedSize: 10, capped: "maximum"},
		{source: "the manual's min(max(b2, maximum), minimum) is meant the right way round: below",
			columns: columns{"minimum": int64(2)}, raw: "0", size: 2, queuedSize: 2, capped: "minimum"},
		{source: "four workers per instance: 0.25 where size counts instances", columns: columns{"multiplier": 0.25},
			builds: 5, running: 4, raw: "2.25", size: 3, queuedSize: 5},

		{source: "binary fractions: 50 × 1.1 is 56 in floating point", columns: columns{"multiplier": 1.1, "maximum": int64(100)},
			builds: 50, raw: "55", size: 55, queuedSize: 50},
		{source: "binary fractions: 0.1 × 3", columns: columns{"queued_weight": 0.1, "multiplier": 10.0}, builds: 3, raw: "3",
			size: 3, queuedSize: 3},
		{source: "int(+Inf) is the least integer: beyond any", columns: columns{"queued_weight": 1e308, "multiplier": 1e308,
			"maximum": int64(math.MaxInt64)}, builds: math.MaxInt64, raw: "9.2233720368547758e+634", size: math.MaxInt64,
			queuedSize: math.MaxInt64, capped: "maximum"},
		{source: "the least weight", columns: columns{"queued_weight": math.SmallestNonzeroFloat64}, builds: 1,
			raw: "5e-324", size: 1, queuedSize: 1},
		{source: "negative excess", columns: columns{"excess": int64(-5)}, builds: 2, raw: "-3", size: 0, queuedSize: 2,
			capped: "minimum"},
		{source: "rounded up to a bound is not held to it", columns: columns{"maximum": int64(3), "multiplier": 0.5},
			builds: 5, raw: "2.5", size: 3, queuedSize: 3},
		{source: "SQLite's whole numbers in a column of no type", columns: columns{"multiplier": int64(2)}, builds: 2, raw: "4",
			size: 4, queuedSize: 2},
	} {
		t.Run(test.source, func(t *testing.T) {
			p := testPool(test.columns)
			p.queuedBuilds, p.queuedProjects, p.running = test.builds, test.projects, test.running
			got := planOf(t, p)
			if raw := decimalString(got.raw); raw != test.raw || got.size != test.size || got.queuedSize != test.queuedSize ||
				got.capped != test.capped {
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
	} {
		_, err := testPool(map[string]any{test.column: test.value}).checked(plugins{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s = %v: error %v, want %q", test.column, test.value, err, test.want)
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
		s, err := testPool(map[string]any{"reevaluate_minutes": test.minutes}).checked(plugins{})
		if err != nil {
			t.Fatal(err)
		}
		isDue, back := due(now.Add(-test.ago), s.reevaluate, now)
		if isDue != test.due || back != test.back {
			t.Errorf("%s: due %v, clock back %v; want %v, %v", test.why, isDue, back, test.due, test.back)
		}
	}
	if isDue, back := due(time.Time{}, time.Hour, now); !isDue || back {
		t.Errorf("never evaluated: due %v, clock back %v; want true, false", isDue, back)
	}
	if next := nextDue(now, longestMinutes*time.Minute); next.Year() > 9999 {
		t.Errorf("next due in the year %d, which JSON cannot hold", next.Year())
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
	f.Fuzz(func(t *testing.T, queued, running int64, queuedWeight, runningWeight, multiplier float64, excess, minimum, maximum int64) {
		p := testPool(map[string]any{"queued_weight": queuedWeight, "running_weight": runningWeight, "multiplier": multiplier,
			"excess": excess, "minimum": minimum, "maximum": maximum})
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
		first := newPlan(p, s)
		p.queuedBuilds++
		second := newPlan(p, s)
		for _, n := range []int64{first.size, first.queuedSize} {
			if n < minimum || n > maximum {
				t.Fatalf("%d is not within %d … %d", n, minimum, maximum)
			}
		}
		if second.size < first.size || second.queuedSize < first.queuedSize {
			t.Fatalf("one more build, and %d, %d become %d, %d", first.size, first.queuedSize, second.size, second.queuedSize)
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

// FuzzVariables: a pool's variables are an error of one line, or what JSON means by them, in values that a template knows.
func FuzzVariables(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		variables, err := parseVariables(text)
		var object map[string]any
		isObject := strings.TrimSpace(text) == "" || json.Unmarshal([]byte(text), &object) == nil
		if isObject != (err == nil) && !strings.ContainsAny(text, "eE") { // a number beyond all floats is none to json
			t.Fatalf("%q is a JSON object: %v, and error %v", text, isObject, err)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "variables is not a JSON object: ") || strings.Contains(err.Error(), "\n") {
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
