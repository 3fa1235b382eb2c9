package main

import (
	"testing"
	"time"

	"vespene-autoscale/internal/sim"
)

// TestPlannerLooksBack: a replay's planner remembers its sizes as the state does. Each row is a minute, and by hand.
func TestPlannerLooksBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, object string
		queued, want []int64
	}{
		{"nothing", `{}`, []int64{3, 1, 0}, []int64{3, 1, 0}},
		// The three of the first minute count in the third, and no more in the fourth; then it is the two of the
		// second.
		{"scale_down_minutes", `{"scale_down_minutes": 2}`, []int64{3, 2, 0, 0, 0, 1, 0}, []int64{3, 3, 3, 2, 0, 1, 1}},
		{"an equal size begins the time anew", `{"scale_down_minutes": 2}`, []int64{3, 3, 0, 0, 0},
			[]int64{3, 3, 3, 3, 0}},
		{"max_step_up", `{"max_step_up": 2}`, []int64{1, 9, 9, 0, 9}, []int64{1, 3, 5, 0, 2}},
		{"max_step_down", `{"max_step_down": 2}`, []int64{9, 0, 0, 9}, []int64{9, 7, 5, 9}},
		// What was planned counts, not what the step left of it.
		{"both", `{"scale_down_minutes": 1, "max_step_up": 2}`, []int64{1, 9, 0, 0}, []int64{1, 3, 5, 0}},
		{"schedule", `{"schedule": [{"when": "1 * * * *", "minimum": 4}]}`, []int64{0, 0, 0}, []int64{0, 4, 0}},
	} {
		checked, err := testPool(map[string]any{"variables": `{"autoscaling": ` + test.object + `}`}).checked(plugins{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // each planner begins anew
			planner := newPlanner(checked)
			for minute, queued := range test.queued {
				at := noon.Add(time.Duration(minute) * time.Minute)
				if size, _ := planner(at, sim.Demand{Queued: queued}); size != test.want[minute] {
					t.Errorf("%s, minute %d: %d, want %d", test.name, minute, size, test.want[minute])
				}
			}
		}
	}
}

// TestPlannerCounts: each count of a replay is the planner's count of that name.
func TestPlannerCounts(t *testing.T) {
	t.Parallel()
	d := sim.Demand{Queued: 10, QueuedProjects: 4, StaleQueued: 3, FreshProjects: 2, Running: 5, StaleRunning: 1}
	for _, test := range []struct {
		latest bool
		object string
		want   int64
	}{
		{false, `{}`, 15}, {true, `{}`, 9}, {false, `{"stale_builds": "ignore"}`, 11},
		{true, `{"stale_builds": "ignore"}`, 6},
	} {
		checked, err := testPool(map[string]any{"maximum": int64(99), "build_latest": test.latest,
			"variables": `{"autoscaling": ` + test.object + `}`}).checked(plugins{})
		if err != nil {
			t.Fatal(err)
		}
		if size, _ := newPlanner(checked)(noon, d); size != test.want {
			t.Errorf("build_latest %v, %s: %d, want %d", test.latest, test.object, size, test.want)
		}
	}
}
