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
	var err error
	if s.variables, err = parseVariables(p.columns.get("variables")); r.err == nil {
		r.err = err
	}
	switch {
	case r.err != nil:
		return settings{}, r.err
	case s.minimum > s.maximum:
		return settings{}, aboveMaximum(s.minimum, s.maximum)
	case s.planner != stock && enabled.planners[s.planner] == "":
		return settings{}, notEnabled("planner", s.planner, stock, enabled.planners)
	case s.executor != shell && enabled.executors[s.executor] == "":
		return settings{}, notEnabled("executor", s.executor, shell, enabled.executors)
	}
	if object, steady := s.variables["autoscaling"]; steady {
		if s.steady, err = parseSteadiness(object, s); err != nil {
			return settings{}, fmt.Errorf("variables: %w", err)
		}
	}
	return s, nil
}

func aboveMaximum(minimum, maximum int64) error {
	return fmt.Errorf("minimum %d is above maximum %d", minimum, maximum)
}

func notEnabled(what, name, builtIn string, programs map[string]string) error {
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

// key is one that a JSON object may have, and how its value is read.
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

// parseSteadiness reads the object "autoscaling" of a pool with those settings. An error names the key.
func parseSteadiness(value any, base settings) (s steadiness, err error) {
	err = readObject("autoscaling", value,
		key{scaleDownMinutes, func(name string, value any) error {
			minutes, err := whole(name, value, int64(keepFor/time.Minute)) // no longer than evaluations are remembered
			s.scaleDown = time.Duration(minutes) * time.Minute
			return err
		}},
		key{maxStepUp, wholeInto(&s.stepUp)},
		key{maxStepDown, wholeInto(&s.stepDown)},
		key{scheduleKey, func(name string, value any) (err error) {
			s.schedule, err = parseSchedule(name, value, base)
			return err
		}},
		key{staleBuilds, func(name string, value any) error {
			if s.ignoreStale = value == "ignore"; !s.ignoreStale {
				return isNot(name, value, `"ignore"`)
			}
			return nil
		}})
	if err != nil {
		return steadiness{}, err
	}
	return s, nil
}

// parseSchedule reads the list of a pool with those settings.
func parseSchedule(name string, value any, base settings) (all []scheduled, err error) {
	list, isList := value.([]any)
	if !isList {
		return nil, isNot(name, value, "a list")
	}
	for i, value := range list {
		name := fmt.Sprintf("%s[%d]", name, i)
		s := scheduled{zone: time.UTC}
		err := readObject(name, value,
			key{"when", func(name string, value any) error {
				s.when, _ = value.(string)
				// Five fields, since the parser takes seconds, years and names for expressions, too.
				if parser := gronx.New(); len(strings.Fields(s.when)) != 5 || !parser.IsValid(s.when) {
					return isNot(name, value, "a cron expression of five fields: "+
						"minute, hour, day of the month, month, day of the week")
				}
				return nil
			}},
			key{"timezone", func(name string, value any) (err error) {
				zone, _ := value.(string)
				if s.zone, err = time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
					return isNot(name, value, "a time zone such as Europe/Berlin")
				}
				return nil
			}},
			key{"minimum", wholeInto(&s.minimum)},
			key{"maximum", wholeInto(&s.maximum)},
			key{"excess", func(name string, value any) error {
				excess, isWhole := value.(int64)
				if s.excess = &excess; !isWhole {
					return isNot(name, value, "a whole number")
				}
				return nil
			}})
		if err != nil {
			return nil, err
		}
		if s.when == "" {
			return nil, fmt.Errorf("%s has no key when, a cron expression", name)
		}
		if then := s.replaces(base); then.minimum > then.maximum {
			return nil, fmt.Errorf("%s: %w", name, aboveMaximum(then.minimum, then.maximum))
		}
		all = append(all, s)
	}
	return all, nil
}

// whole reads a whole number from 0 to most.
func whole(name string, value any, most int64) (int64, error) {
	if n, isWhole := value.(int64); isWhole && n >= 0 && n <= most {
		return n, nil
	}
	return 0, isNot(name, value, fmt.Sprintf("a whole number from 0 to %d", most))
}

func wholeInto(into **int64) func(name string, value any) error {
	return func(name string, value any) error {
		n, err := whole(name, value, math.MaxInt64)
		*into = &n
		return err
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
