package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// plugin.go owns planner and executor programs: how they are found, what they are asked, and what an answer means.

const (
	plannerLimit = 30 * time.Second
	reasonLimit  = 1000 // characters of a planner's reason: as many as are read with ease
)

// findProgram returns the path of a plugin program, given by its path or by a name on the PATH.
func findProgram(name, program string) (path string, err error) {
	if path, err = exec.LookPath(program); err != nil {
		if e, is := errors.AsType[*exec.Error](err); is {
			err = e.Err
		}
		return "", fail(exitInvalid, "give the path of a program that this user may execute",
			"%s (%s) cannot be run: %w", name, program, err)
	}
	return path, nil
}

// askPlanner runs the planner program of that name with the question on its standard input, and returns its answer.
// What it prints on standard error goes to output, each line behind the prefix.
func askPlanner(ctx context.Context, name, program string, all []fact, output io.Writer, prefix string) (
	a answer, err error) {
	path, err := findProgram("planner "+name, program)
	if err != nil {
		return a, err
	}
	question, err := json.Marshal(told(all, toPlanner))
	if err == nil {
		r := execute(ctx, command{argv: []string{path}, input: question, timeout: plannerLimit, output: output,
			prefix: prefix, answers: true})
		if err = r.problem("it", plannerLimit); exitCode(err) > 128 { // a signal ended us
			return a, err
		} else if err == nil {
			a, err = parseAnswer(r.answer)
		}
	}
	if err != nil {
		err = fail(exitInvalid, "correct the program; --dry-run asks it again", "planner %s (%s): %w", name, program,
			err)
	}
	return a, err
}

// parseAnswer parses what a planner program printed: one JSON object with the integers size and queued_size, of zero or
// more and 64 bits at most, and perhaps a text as reason. Anything else is an error, since it may mean anything.
func parseAnswer(printed []byte) (a answer, err error) {
	if len(printed) > answerSize {
		return answer{}, fmt.Errorf("it answered with more than %d bytes", answerSize)
	}
	values, err := uniqueKeys(printed)
	if err != nil {
		return answer{}, err
	}
	for i, name := range []string{"size", "queued_size"} {
		size, value := []*int64{&a.size, &a.queuedSize}[i], values[name]
		if value == nil {
			return answer{}, fmt.Errorf("it answered without %s", name)
		}
		if *size, err = strconv.ParseInt(string(value), 10, 64); err != nil || *size < 0 {
			return answer{}, fmt.Errorf("it answered with a %s of %.40q, which is not a whole number from 0 to %d",
				name, value, math.MaxInt64)
		}
		delete(values, name)
	}
	if value := values["reason"]; value != nil {
		if value[0] != '"' || json.Unmarshal(value, &a.reason) != nil ||
			utf8.RuneCountInString(a.reason) > reasonLimit {
			return answer{}, fmt.Errorf("it answered with a reason that is not a text of %d characters at most",
				reasonLimit)
		}
		a.reason = strings.Join(strings.Fields(a.reason), " ")
		delete(values, "reason")
	}
	for name := range values {
		return answer{}, fmt.Errorf("it answered with %.40q, which means nothing (known: size, queued_size, reason)",
			name)
	}
	return a, nil
}

// uniqueKeys returns the values of a JSON object, which is all of the text and has no key twice.
func uniqueKeys(text []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if open, err := decoder.Token(); err == io.EOF {
		return nil, errors.New("it answered nothing")
	} else if err != nil || open != json.Delim('{') {
		return nil, errors.New("it answered something else than one JSON object")
	}
	values := map[string]json.RawMessage{}
	for decoder.More() {
		key, err := decoder.Token()
		var value json.RawMessage
		if err == nil {
			err = decoder.Decode(&value)
		}
		if err != nil {
			return nil, fmt.Errorf("it answered what is no JSON: %w", err)
		}
		name, _ := key.(string)
		if values[name] != nil {
			return nil, fmt.Errorf("it answered with %s twice", name)
		}
		values[name] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("it answered what is no JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("it answered with more than one JSON object")
	}
	return values, nil
}
