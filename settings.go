package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for schedules, on hosts without time zones

	"github.com/adhocore/gronx"
)

// settings.go owns the check of a pool's columns: it makes settings of them, or an error that names the setting and its
// value. It is as pure as plan.go.

// plugins are the programs that are enabled besides stock and shell, by the name under which a pool selects them.
type plugins struct{ planners, executors map[string]string }

// checked returns the pool's settings, or an error that names the setting and its value. It may name enabled plugins.
func (p pool) checked(enabled plugins) (settings, error) {
	r := &columnReader{columns: p.columns}
	s := settings{
		buildLatest:   typed[bool](r, "build_latest", "true or false"),
		queuedWeight:  r.decimal("queued_weight"),
		runningWeight: r.decimal("running_weight"),
		multiplier:    r.decimal("multiplier"),
		excess:        r.integer("excess"),
		minimum:       r.natural("minimum"),
		maximum:       r.integer("maximum"),
		reevaluate:    time.Duration(min(r.natural("reevaluate_minutes"), longestMinutes)) * time.Minute,
		planner:       r.text("planner", stock),
		executor:      r.text("executor", shell),
		command:       r.text("executor_command", ""),
	}
	variables, err := parseVariables(p.columns.get("variables"))
	s.variables = variables
	err = cmp.Or(r.err, err, s.possible(), selectable("planner", s.planner, stock, enabled.planners),
		selectable("executor", s.executor, shell, enabled.executors))
	if err != nil {
		return settings{}, err
	}
	if object, steady := s.variables["autoscaling"]; steady {
		if s.steady, err = s.steadiness(object); err != nil {
			return settings{}, fmt.Errorf("variables: %w", err)
		}
	}
	return s, nil
}

// possible returns an error if no size is within the bounds.
func (s settings) possible() error {
	if s.minimum > s.maximum {
		return fmt.Errorf("minimum %d is above maximum %d", s.minimum, s.maximum)
	}
	return nil
}

// selectable returns an error if a pool may not select the planner or executor of that name.
func selectable(what, name, builtIn string, programs map[string]string) error {
	if name == builtIn || programs[name] != "" {
		return nil
	}
	names := append([]string{builtIn}, slices.Sorted(maps.Keys(programs))...)
	return fmt.Errorf("%s %q is not enabled here (enabled: %s)", what, name, strings.Join(names, ", "))
}

// columnReader reads typed columns and keeps the first error.
type columnReader struct {
	columns columns
	err     error
}

// fail says that the value of column is not what it should be.
func (r *columnReader) fail(column, shouldBe string) {
	value := r.columns.get(column)
	if value == nil {
		value = "NULL"
	}
	if r.err == nil {
		r.err = fmt.Errorf("%s is %v, which is not %s", column, value, shouldBe)
	}
}

func typed[T any](r *columnReader, column, shouldBe string) T {
	v, ok := r.columns.get(column).(T)
	if !ok {
		r.fail(column, shouldBe)
	}
	return v
}

func (r *columnReader) integer(column string) int64 { return typed[int64](r, column, "a whole number") }

func (r *columnReader) natural(column string) int64 {
	v := r.integer(column)
	if v < 0 {
		r.fail(column, "zero or more")
	}
	return v
}

// one is what most weights and multipliers are. Settings are only read.
var one = big.NewRat(1, 1)

// decimal reads a floating-point setting of zero or more as its shortest decimal form, which is what its owner typed:
// 1.1 is 11/10, not the binary fraction next to it.
func (r *columnReader) decimal(column string) *big.Rat {
	d, finite := new(big.Rat), true
	switch v := r.columns.get(column).(type) {
	case float64:
		// Most are 1 or a few quarters, whose shortest form is their value; to look for it takes ten times as long.
		if v == 1 {
			return one
		} else if quarters := v * 4; quarters > 0 && quarters < 1<<32 && quarters == math.Trunc(quarters) {
			return d.SetFrac64(int64(quarters), 4)
		}
		d, finite = d.SetString(strconv.FormatFloat(v, 'g', -1, 64))
	case int64: // in SQLite, where a column has no type of its own
		d.SetInt64(v)
	default:
		r.fail(column, "a number")
		return d
	}
	if !finite {
		r.fail(column, "a finite number")
	} else if d.Sign() < 0 {
		r.fail(column, "zero or more")
	}
	return d
}

// text reads a text setting; empty and NULL mean byDefault.
func (r *columnReader) text(column, byDefault string) string {
	if r.columns.get(column) == nil {
		return byDefault
	}
	return cmp.Or(typed[string](r, column, "text"), byDefault)
}

// parseVariables parses the column variables, a JSON object; empty, NULL and an empty list are an empty one.
func parseVariables(column any) (map[string]any, error) {
	text, _ := column.(string)
	variables := map[string]any{}
	if text = strings.TrimSpace(text); text == "" || text == "{}" {
		return variables, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&variables); err != nil {
		var list []any
		if json.Unmarshal([]byte(text), &list) == nil && len(list) == 0 { // as PHP and others write an empty object
			return map[string]any{}, nil
		}
		return nil, fmt.Errorf("variables is not a JSON object: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("variables is not a JSON object: there is more behind its end")
	}
	for name, value := range variables {
		variables[name] = number(value)
	}
	return variables, nil
}

// number turns the numbers in a parsed JSON value into int64 or float64; an integer beyond those keeps its digits, as
// a string.
func number(value any) any {
	switch v := value.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = number(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = number(v[name])
		}
	}
	return value
}

// key is one that a JSON object may have, and how its value is read; the name in an error is the whole path to it.
type key struct {
	name string
	read func(name string, value any) error
}

// readObject reads a JSON object that has some of the keys and no other. An error names the key after the object.
func readObject(name string, value any, keys ...key) error {
	object, isObject := value.(map[string]any)
	if !isObject {
		return isNot(name, value, "an object")
	}
	for _, given := range slices.Sorted(maps.Keys(object)) {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == given })
		if i < 0 {
			var names []string
			for _, k := range keys {
				names = append(names, k.name)
			}
			return fmt.Errorf("%s.%s means nothing (known: %s)", name, given, strings.Join(names, ", "))
		}
		if err := keys[i].read(name+"."+given, object[given]); err != nil {
			return err
		}
	}
	return nil
}

// steadiness reads the object "autoscaling" of a pool with these settings. An error names the key.
func (s settings) steadiness(object any) (to steadiness, err error) {
	const longest = int64(keepFor / time.Minute) // older evaluations are not remembered
	err = readObject("autoscaling", object,
		key{scaleDownMinutes, whole(longest, func(n int64) { to.scaleDown = time.Duration(n) * time.Minute })},
		key{maxStepUp, whole(math.MaxInt64, func(n int64) { to.stepUp = &n })},
		key{maxStepDown, whole(math.MaxInt64, func(n int64) { to.stepDown = &n })},
		key{scheduleKey, func(name string, value any) error {
			list, isList := value.([]any)
			if !isList {
				return isNot(name, value, "a list")
			}
			for i, value := range list {
				entry, err := s.scheduled(fmt.Sprintf("%s[%d]", name, i), value)
				if err != nil {
					return err
				}
				to.schedule = append(to.schedule, entry)
			}
			return nil
		}},
		key{staleBuilds, valid(`"ignore"`, func(value any) bool {
			to.ignoreStale = value == "ignore"
			return to.ignoreStale
		})})
	return to, err
}

// scheduled reads an entry of the schedule of a pool with these settings.
func (s settings) scheduled(name string, object any) (entry scheduled, err error) {
	entry.zone = time.UTC
	err = readObject(name, object,
		// Five fields, since the parser takes seconds, years and names for expressions, too.
		key{"when", valid("a cron expression of five fields: minute, hour, day of the month, month, day of the week",
			func(value any) bool {
				entry.when, _ = value.(string)
				parser := gronx.New()
				return len(strings.Fields(entry.when)) == 5 && parser.IsValid(entry.when)
			})},
		key{"timezone", valid("a time zone such as Europe/Berlin", func(value any) bool {
			zone, _ := value.(string)
			entry.zone, err = time.LoadLocation(zone)
			return err == nil && zone != "" && zone != "Local"
		})},
		key{"minimum", whole(math.MaxInt64, func(n int64) { entry.minimum = &n })},
		key{"maximum", whole(math.MaxInt64, func(n int64) { entry.maximum = &n })},
		key{"excess", valid("a whole number", func(value any) bool {
			excess, isWhole := value.(int64)
			entry.excess = &excess
			return isWhole
		})})
	if err != nil {
		return entry, err
	}
	if entry.when == "" {
		return entry, fmt.Errorf("%s has no key when, a cron expression", name)
	}
	if err := entry.replaces(s).possible(); err != nil {
		return entry, fmt.Errorf("%s: %w", name, err)
	}
	return entry, nil
}

// whole reads a whole number from 0 to most.
func whole(most int64, set func(int64)) func(name string, value any) error {
	return valid(fmt.Sprintf("a whole number from 0 to %d", most), func(value any) bool {
		n, isWhole := value.(int64)
		set(n)
		return isWhole && n >= 0 && n <= most
	})
}

// valid reads a value with a function that tells whether it is what it should be.
func valid(shouldBe string, read func(value any) bool) func(name string, value any) error {
	return func(name string, value any) error {
		if !read(value) {
			return isNot(name, value, shouldBe)
		}
		return nil
	}
}

// isNot says that what a key has is not what it should be.
func isNot(name string, value any, shouldBe string) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is %.80s, which is not %s", name, text, shouldBe)
}
