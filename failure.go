package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// failure.go owns how a run ends: the exit codes, the error that carries one with its cure, and signals as causes.
// Everything else stands on it, and it stands on nothing.

// The exit codes are those of sysexits.h where it has one. A run that signal n ended returns 128 + n.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 64
	exitDatabase = 69
	exitState    = 74
	exitBusy     = 75
	exitInvalid  = 78
)

// exitCodes says what each code means. If pools end with several, the run returns the first one in this table.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitUsage, "wrong usage"},
	{exitState, "the state, a lock or the results cannot be opened, read or written, or a lock is held for longer " +
		"than its evaluation may take"},
	{exitDatabase, "the Vespene database cannot be reached or queried"},
	{exitFailed, "a command failed or ran out of time"},
	{exitInvalid, "a pool does not exist, or its settings, template or plugin are invalid"},
	{exitBusy, "something due was blocked: another run holds the pool's lock"},
	{exitOK, "all done: scaled, not due, disabled, or a dry run"},
}

// failure is an error with its exit code and, for mistakes that people make, the cure.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail returns an error with its exit code and cure.
func fail(code int, hint, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...), hint}
}

// usage returns a usage error with its cure.
func usage(hint, format string, args ...any) error { return fail(exitUsage, hint, format, args...) }

// exitCode returns the code that an error leads to. Errors that are not ours come from parsing the command line.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	} else if signal, is := errors.AsType[signalled](err); is {
		return 128 + int(signal.Signal)
	} else if f, is := errors.AsType[*failure](err); is {
		return f.code
	}
	return exitUsage
}

// hintOf returns the cure that an error carries, or "".
func hintOf(err error) string {
	if f, is := errors.AsType[*failure](err); is {
		return f.hint
	}
	return ""
}

// withCure returns the error as one sentence with its cure.
func withCure(err error) string {
	if hint := hintOf(err); hint != "" {
		return err.Error() + "; " + hint
	}
	return err.Error()
}

// oneLine returns the error without its cure, on one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// withoutAddress returns the text, unless it may have a database's address that was given to another option.
func withoutAddress(text string) string {
	if strings.Contains(text, "://") || strings.Contains(text, "password=") {
		return "a database's address was given to an option that takes none"
	}
	return text
}

// worse returns which of two codes a run ends with: the first one in exitCodes, and a signal's before all.
func worse(a, b int) int {
	for _, c := range slices.Backward(exitCodes) {
		if c.code == a {
			return b
		} else if c.code == b {
			return a
		}
	}
	return a
}

// signalled is the cause of a context that a signal ended.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return "ended by " + unix.SignalName(s.Signal) }

// watchSignals calls end with the first SIGINT, SIGTERM or SIGHUP. Further ones change nothing, since commands are
// being ended already. A closed standard output shows as an error of a write, not as a signal that kills the program.
// Both hold from when the returned channel is closed, a moment later: no result is written and no pool served before.
func watchSignals(end func(cause error)) (watched <-chan struct{}) {
	ready := make(chan struct{})
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		if !signal.Ignored(syscall.SIGHUP) { // as under nohup
			signal.Notify(signals, syscall.SIGHUP)
		}
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not Ignore, which the command would inherit
		close(ready)
		end(signalled{(<-signals).(syscall.Signal)})
	}()
	return ready
}
