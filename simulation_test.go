package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vespene-autoscale/internal/sim"

	"vespene-autoscale/internal/term"
)

// weekOf is a small simulation with all that there may be in one.
func weekOf() simulation {
	from := time.Date(2026, 11, 15, 21, 0, 0, 0, time.Local)
	of := func(name string, settings map[string]any, hours, wait float64, paretoOptimal *bool) variant {
		return variant{Name: name, Settings: settings, WorkerHours: &hours, Finished: 40, Unfinished: 2, Dropped: 1,
			Estimated: 3, WaitMedian: ptr(wait / 8), WaitP95: &wait,
			WaitMax: ptr(wait * 50), SizeMean: ptr(hours / 168), SizePeak: ptr(int64(4)), Utilisation: ptr(0.413),
			Changes: ptr(int64(21)), AtRisk: ptr(int64(0)), ParetoOptimal: paretoOptimal}
	}
	recorded := variant{Name: "recorded", Finished: 41, Unfinished: 2, WaitMedian: ptr(12.4),
		timeline: []sim.Sample{{Queued: 2}, {Running: 1}}}
	configured := of("configured", map[string]any{"maximum": int64(10), "multiplier": 1.0, "minimum": int64(0)},
		140.24, 90, nil)
	set := of("set", map[string]any{"maximum": int64(10), "multiplier": 1.5, "minimum": int64(0)}, 190.2, 7, nil)
	configured.timeline, set.timeline = make([]sim.Sample, 7),
		[]sim.Sample{{Queued: 2, Size: 1}, {Running: 1, Size: 3}, {}, {Queued: 4, Size: 4}}
	sweep := []variant{}
	for _, point := range []struct {
		minimum     int64
		hours, wait float64
		best        bool
	}{{2, 200, 4, true}, {0, 140.24, 10, true}, {1, 210, 4, false}, {3, 170, 7.5, true}} {
		sweep = append(sweep, of(fmt.Sprint(point.minimum),
			map[string]any{"minimum": point.minimum, "multiplier": 1.0}, point.hours, point.wait, &point.best))
	}
	return simulation{Pool: "linux", From: from, To: from.AddDate(0, 0, 7), Builds: 43,
		Variants: []variant{recorded, configured, set, of("fixed 7", nil, 1176, 0, nil)}, Sweep: sweep,
		Recommendation: &recommendation{Target: "a 95 % wait of 30s", Met: true,
			Settings: map[string]any{"multiplier": 1.5, "minimum": int64(0)}, Today: configured, Then: set,
			Searched: set, Verified: configured},
		Warnings: []string{"1 build ended before it started"}}
}

func asJSON(w io.Writer, s simulation) {
	o := term.NewOutput(w, os.Getenv)
	o.JSON = true
	writeSimulation(o, s)
}

func textOf(s simulation) string {
	var b strings.Builder
	writeSimulation(term.NewOutput(&b, os.Getenv), s)
	return b.String()
}

// TestSimulationText: what people read of a simulation, piped: the last timeline, the variants side by side, the sweep
// by its cost, and the settings to enter.
func TestSimulationText(t *testing.T) {
	t.Parallel()
	want := `linux: 43 builds from 2026-11-15 21:00 to 2026-11-22 21:00

set   q queued   r running   # workers
  4┤                                                   #################
  3┤                 ##################                #
  2┼qqqqqqqqqqqqqqqqq#                #                #
  1┼##################rrrrrrrrrrrrrrrr#                #
  0┼rrrrrrrrrrrrrrrrrrqqqqqqqqqqqqqqqq##################rrrrrrrrrrrrrrrr
   └┬──────────────────────┬─────────────────────┬──────────────────────┬
Nov 15 21:00         Nov 18 05:00          Nov 20 13:00           Nov 22 21:00

                 recorded  configured    set  fixed 7
worker-hours            -       140.2  190.2   1176.0
wait, median          12s         11s   0.9s       0s
wait, 95 %              -       1m30s   7.0s       0s
wait, longest           -       1h15m  5m50s       0s
builds finished        41          40     40       40
unfinished              2           2      2        2
dropped                 0           1      1        1
estimated               0           3      3        3
workers, mean           -         0.8    1.1      7.0
workers, most           -           4      4        4
utilisation             -        41 %   41 %     41 %
changes of size         -          21     21       21
builds at risk          -           0      0        0

configured: multiplier 1
set: multiplier 1.5

sweep of 4 points; nothing beats those with * in both worker-hours and 95 % wait

   MINIMUM  WORKER-HOURS  MEDIAN  95 %  LONGEST  FINISHED  UNFINISHED  DROPPED
*        0         140.2    1.2s   10s    8m20s        40           2        1
*        3         170.0    0.9s  7.5s    6m15s        40           2        1
*        2         200.0    0.5s  4.0s    3m20s        40           2        1
         1         210.0    0.5s  4.0s    3m20s        40           2        1

the least 95 % wait, in seconds, that so many worker-hours buy
 10 ┼───────────────────────────────────╮
  9 ┤                                   │
  8 ┤                                   ╰──────────────────────────────────╮
  7 ┤                                                                      │
  6 ┤                                                                      │
  5 ┤                                                                      │
  4 ┤                                                                      ╰
  3 ┤
  2 ┤
  1 ┤
  0 ┤
    └┬───────────────────────┬──────────────────────┬───────────────────────┬
   140.2                   160.2                  180.1                   200.0

to meet the target a 95 % wait of 30s, enter in Vespene:

  minimum     0    (now 0)
  multiplier  1.5  (now 1)

                 today   then  first two thirds  last third
worker-hours     140.2  190.2             190.2       140.2
wait, median       11s   0.9s              0.9s         11s
wait, 95 %       1m30s   7.0s              7.0s       1m30s
wait, longest    1h15m  5m50s             5m50s       1h15m
builds finished     40     40                40          40
unfinished           2      2                 2           2
dropped              1      1                 1           1

1 build ended before it started
`
	text := textOf(weekOf())
	if text != want {
		t.Errorf("prints\n%s", text)
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "\x1b") || utf8.RuneCountInString(line) > 81 {
			t.Errorf("%q is no plain text of 80 columns", line)
		}
	}
	s := weekOf()
	s.Variants, s.Sweep, s.Recommendation, s.Warnings = s.Variants[:2], nil, nil, nil
	s.Variants[1].timeline = nil
	if text := textOf(s); !strings.Contains(text, "\nrecorded   q queued   r running\n") ||
		!strings.HasSuffix(text, "\nbuilds at risk          -           0\n") {
		t.Errorf("of the recorded variant, with nothing to compare:\n%s", text)
	}
	var b strings.Builder
	o := term.NewOutput(&b, os.Getenv)
	o.Colour = true
	writeSimulation(o, weekOf())
	for _, want := range []string{"\x1b[93m1 build ended before it started\x1b[0m", "\x1b[1m*\x1b[0m",
		"\x1b[1m140.2\x1b[0m", "\x1b[32m─\x1b[0m workers"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in %q", want, b.String())
		}
	}
}

func TestWaited(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0s", 0.4: "0.4s", 9.94: "9.9s", 9.96: "10s", 59.6: "1m",
		60: "1m", 90: "1m30s", 600: "10m", 3599.7: "1h", 3720: "1h2m", 400000: "5d"} {
		if got := waited(seconds); got != want {
			t.Errorf("%v is %q, want %q", seconds, got, want)
		}
	}
}

// TestSimulationSweep: of many points only those are shown that nothing beats.
func TestSimulationSweep(t *testing.T) {
	t.Parallel()
	s := weekOf()
	for i := range int64(40) {
		s.Sweep = append(s.Sweep, variant{Settings: map[string]any{"minimum": 100 + i}, ParetoOptimal: ptr(false)})
	}
	_, text, _ := strings.Cut(textOf(s), "\nsweep of 44 points; only those are shown that nothing beats")
	if strings.Count(text, "\n*  ") != 3 || strings.Contains(text, " 100 ") {
		t.Errorf("prints\n%s", text)
	}
	s.Sweep = []variant{{ParetoOptimal: ptr(true)}} // nothing was finished
	if text := textOf(s); !strings.Contains(text, "\n*             -       -") ||
		strings.Contains(text, "worker-hours buy") {
		t.Errorf("prints\n%s", text)
	}
}

// TestSimulationRecommendation: what cannot be met is said so, and why; so is that nothing need change.
func TestSimulationRecommendation(t *testing.T) {
	t.Parallel()
	s := weekOf()
	s.Recommendation.Met, s.Recommendation.Why = false, "a build takes 2m to boot a worker"
	if text := textOf(s); !strings.Contains(text,
		"\nnothing that was tried meets the target a 95 % wait of 30s; the nearest:\n\n  minimum     0    (now 0)\n "+
			" multiplier  1.5  (now 1)\n\na build takes 2m to boot a worker\n\n") {
		t.Errorf("prints\n%s", text)
	}
	s.Recommendation.Settings = map[string]any{"scale_down_minutes": int64(30), "max_step_up": nil}
	s.Recommendation.Today.Settings = map[string]any{"max_step_up": int64(2)}
	s.Recommendation.Then.Settings = map[string]any{"minimum": int64(1), "scale_down_minutes": int64(30),
		"stale_builds": "ignore"}
	if text := textOf(s); !strings.Contains(text,
		"\n  max_step_up         taken away  (now 2)\n  scale_down_minutes  30\n"+
			`  in the pool's variables: "autoscaling": {"scale_down_minutes":30,"stale_builds":"ignore"}`+"\n\n") {
		t.Errorf("prints\n%s", text)
	}
	s.Recommendation.Met, s.Recommendation.Settings = true, nil
	if text := textOf(s); !strings.Contains(text,
		"\ntoday's settings meet the target a 95 % wait of 30s, and nothing that was tried meets it for less\n") {
		t.Errorf("prints\n%s", text)
	}
}

// TestSimulationJSON: one line, with null for what is not known, and without what was not asked for.
func TestSimulationJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	asJSON(&b, weekOf())
	var s map[string]any
	if err := json.Unmarshal([]byte(b.String()), &s); err != nil || strings.Count(b.String(), "\n") != 1 {
		t.Fatalf("%v: %s", err, b.String())
	}
	all := s["variants"].([]any)
	recorded, set := all[0].(map[string]any), all[2].(map[string]any)
	if names := slices.Sorted(maps.Keys(set)); strings.Join(names,
		" ") != "at_risk changes dropped estimated finished name settings size_mean size_peak unfinished "+
		"utilisation wait_max_s wait_median_s wait_p95_s worker_hours" {
		t.Errorf("a variant has %v", names)
	}
	for name, want := range map[string]any{"worker_hours": nil, "settings": nil, "size_peak": nil, "wait_p95_s": nil,
		"wait_median_s": 12.4, "finished": 41.0, "dropped": 0.0} {
		if got, has := recorded[name]; !has || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	recommended := s["recommendation"].(map[string]any)
	if point := s["sweep"].([]any)[0].(map[string]any); point["unbeaten"] != true || recommended["met"] != true ||
		recommended["settings"].(map[string]any)["multiplier"] != 1.5 ||
		s["builds"] != 43.0 || !strings.HasSuffix(s["from"].(string), "Z") {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	asJSON(&b, simulation{From: weekOf().From, To: weekOf().To, Variants: []variant{}})
	if !strings.HasSuffix(b.String(), `"builds":0,"variants":[],"warnings":[]}`+"\n") {
		t.Errorf("%s", b.String())
	}
}

// TestPicture: the picture is XML whatever the pool is called, says what is to be seen in which unit, and is always the
// same.
func TestPicture(t *testing.T) {
	t.Parallel()
	s := weekOf()
	s.Pool = `<a&"b'>`
	s.Sweep[1].WaitP95 = ptr(900.0)
	content := picture(s)
	texts := map[string]int{}
	for decoder, inside := xml.NewDecoder(bytes.NewReader(content)), ""; ; {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, content)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inside = token.Name.Local
		case xml.CharData:
			if inside == "text" {
				texts[string(token)]++
			}
		}
	}
	zone, _ := s.To.Zone()
	for want, times := range map[string]int{`<a&"b'>: 43 builds from 2026-11-15 21:00 to 2026-11-22 21:00`: 1,
		"recorded": 1, "configured": 1, "set": 1, "fixed 7": 0, "sweep": 1,
		"queued": 3, "running": 3, "workers": 2, "builds, workers": 3, "time (" + zone + ")": 3, "Nov 16": 3,
		"12:00": 21, "worker-hours": 1, "95 % wait (minutes)": 1, "those that nothing beats": 1} {
		if texts[want] != times {
			t.Errorf("%q is there %d times, want %d, in %v", want, texts[want], times, texts)
		}
	}
	if again := picture(s); !bytes.Equal(again, content) {
		t.Error("another picture of the same")
	}
	for what, s := range map[string]simulation{"nothing": {From: s.From, To: s.To},
		"one sample":     {From: s.From, To: s.To, Variants: []variant{{timeline: make([]sim.Sample, 1)}}},
		"one point":      {From: s.From, To: s.To, Sweep: s.Sweep[:1]},
		"unknown points": {From: s.From, To: s.To, Sweep: []variant{{ParetoOptimal: ptr(true)}}}} {
		if content := string(picture(s)); strings.Contains(content, "NaN") || strings.Contains(content, "Inf") {
			t.Errorf("%s: %s", what, content)
		}
	}
}
