package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
)

// report.go owns all that is shown: a pool's record as text or JSON on standard output, and the log on standard error.
// It decides nothing.

// The outcomes of a pool's turn. Only scaled, failed and interrupted are evaluations and get into the state.
const (
	scaled      = "scaled"
	notDue      = "not-due"
	disabled    = "disabled"
	dryRun      = "dry-run"
	busy        = "busy"
	failed      = "failed"
	interrupted = "interrupted"
	invalid     = "invalid"
)

// record is what a run says of one pool. The JSON names are a contract, extended only by adding; what does not apply
// is null.
type record struct {
	Pool         string           `json:"pool"`
	Outcome      string           `json:"outcome"`
	Reason       string           `json:"reason"` // one sentence
	Size         *int64           `json:"size"`
	QueuedSize   *int64           `json:"queued_size"`
	Queued       *int64           `json:"queued"`
	Running      *int64           `json:"running"`
	PreviousSize *int64           `json:"previous_size"` // of the last evaluation that scaled
	Raw          *json.RawMessage `json:"raw"`           // before rounding and bounds, exact
	Minimum      *int64           `json:"minimum"`
	Maximum      *int64           `json:"maximum"`
	Capped       *string          `json:"capped"` // "minimum", "maximum" or ""
	Due          *bool            `json:"due"`
	NextDue      *time.Time       `json:"next_due"`
	Forced       bool             `json:"forced"`
	DryRun       bool             `json:"dry_run"`
	Planner      *string          `json:"planner"`
	Executor     *string          `json:"executor"`
	Command      *string          `json:"command"`
	ExitCode     *int             `json:"exit_code"`
	DurationMS   *int64           `json:"duration_ms"`
	Error        *string          `json:"error"`

	plan *plan     // of a pool with valid settings
	now  time.Time // of the pool's turn, and then its end, for the text
}

// setPlan keeps the plan, and fills in the settings and counts that it is made of.
func (r *record) setPlan(p plan) {
	r.plan = &p
	r.Queued, r.Running = &p.queued, &p.running
	r.Minimum, r.Maximum = &p.minimum, &p.maximum
	r.Planner, r.Executor = &p.planner, &p.executor
}

// setSize fills in the plan's size and how it came about.
func (r *record) setSize() {
	r.Size, r.QueuedSize, r.Capped = &r.plan.size, &r.plan.queuedSize, &r.plan.capped
	raw := json.RawMessage(decimalString(r.plan.raw))
	r.Raw, r.Reason = &raw, strings.Join(terms(*r.plan), "; ")
}

// question is what a plugin program gets on its standard input: what is known of the pool when its turn has come, by the
// names that results and templates have for it.
func (r *record) question(p pool) ([]byte, error) {
	known := map[string]any{
		"pool": r.Pool, "worker_pool": p.columns, "variables": r.plan.variables, "queued": r.Queued, "running": r.Running,
		"previous_size": r.PreviousSize, "minimum": r.Minimum, "maximum": r.Maximum, "planner": r.Planner, "executor": r.Executor,
	}
	if r.Size != nil {
		maps.Copy(known, map[string]any{"size": r.Size, "queued_size": r.QueuedSize, "raw": r.Raw, "capped": r.Capped, "reason": r.Reason})
	}
	return json.Marshal(known)
}

// setDue fills in when the pool is due; a next of zero is left out.
func (r *record) setDue(isDue bool, next time.Time) {
	r.Due, r.NextDue = &isDue, nil
	if !next.IsZero() {
		next = next.UTC().Truncate(time.Millisecond) // as the state keeps it
		r.NextDue = &next
	}
}

// setNotDue makes the record that of a pool last evaluated at last, whose setDue has been called.
func (r *record) setNotDue(last time.Time) {
	r.Outcome = notDue
	r.Reason = fmt.Sprintf("last evaluated at %s, due again at %s", last.UTC().Format(time.RFC3339), r.NextDue.Format(time.RFC3339))
}

// setResult fills in how the command ended; problem is why it did not do its work.
func (r *record) setResult(result result, problem error) {
	took := result.duration.Milliseconds()
	r.ExitCode, r.DurationMS = result.exitCode, &took
	switch exitCode(problem) {
	case exitOK:
		r.Outcome = scaled
	case exitFailed:
		r.Outcome = failed
	default:
		r.Outcome = interrupted
	}
}

// fail makes the error, with its cure, the reason of the record's outcome.
func (r *record) fail(err error) {
	text := err.Error()
	var f *failure
	if errors.As(err, &f) && f.hint != "" {
		text += "; " + f.hint
	}
	r.Reason, r.Error = text, &text
}

// terms explain a plan: each is one step from the counts to the size, named by its first word.
func terms(p plan) []string {
	term := func(name string, n int64, weight *big.Rat) string {
		product := new(big.Rat).Mul(new(big.Rat).SetInt64(n), weight)
		return fmt.Sprintf("%s %d * %s = %s", name, n, decimalString(weight), decimalString(product))
	}
	held := ""
	if p.capped != "" {
		held = ", held to the " + p.capped
	}
	bounds := fmt.Sprintf("bounds %d to %d, so size %d%s", p.minimum, p.maximum, p.size, held)
	if p.answer != nil {
		asked := fmt.Sprintf("planner %s says %d", p.planner, p.answer.size)
		if p.answer.reason != "" {
			asked += fmt.Sprintf(": %s", label(p.answer.reason))
		}
		return []string{asked, bounds}
	}
	queued := term("queued", p.queued, p.queuedWeight)
	if p.buildLatest {
		queued += fmt.Sprintf(" (%s of %s, by build_latest)", count(p.queued, "project"), count(p.builds, "build"))
	}
	excess := fmt.Sprintf("+ %d", p.excess)
	if p.excess < 0 {
		excess = fmt.Sprintf("- %d", -p.excess)
	}
	return []string{
		queued,
		term("running", p.running, p.runningWeight),
		fmt.Sprintf("load %s * %s %s = %s", decimalString(p.base), decimalString(p.multiplier), excess, decimalString(p.raw)),
		bounds,
	}
}

// writeJSON writes the record as one line.
func writeJSON(w io.Writer, r record) {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // commands are full of & and >
	encoder.Encode(r)            // results keeps the error
}

// writeText writes the record as a block for people.
func writeText(w io.Writer, r record) {
	var b strings.Builder
	row := func(what, text string) { fmt.Fprintf(&b, "  %-8s %s\n", what, text) }
	switch {
	case r.Outcome == notDue:
		fmt.Fprintf(&b, "%s: not-due\n", label(r.Pool))
	case r.Size == nil:
		fmt.Fprintf(&b, "%s: %s\n", label(r.Pool), r.Outcome)
		row("reason", r.Reason)
	default:
		was := ""
		if r.PreviousSize != nil {
			was = fmt.Sprintf(", was %d", *r.PreviousSize)
		}
		fmt.Fprintf(&b, "%s: size %d, queued_size %d (%s%s)\n", label(r.Pool), *r.Size, *r.QueuedSize, r.Outcome, was)
		for _, term := range terms(*r.plan) {
			what, text, _ := strings.Cut(term, " ")
			row(what, text)
		}
		if r.Error != nil {
			row("error", *r.Error)
		}
	}
	if r.DryRun && r.Command != nil {
		row("command", strings.ReplaceAll(*r.Command, "\n", "\n           "))
	} else if r.ExitCode != nil {
		row("command", fmt.Sprintf("exit status %d after %v", *r.ExitCode, time.Duration(*r.DurationMS)*time.Millisecond))
	}
	if r.NextDue != nil && r.NextDue.After(r.now) {
		row("due", fmt.Sprintf("at %s, in %v", clockTime(*r.NextDue, r.now), r.NextDue.Sub(r.now).Round(time.Second)))
	} else if r.Due != nil && *r.Due && r.DryRun {
		row("due", "now")
	}
	io.WriteString(w, b.String())
}

// clockTime is a time as people here read it, with the date where that is not today's.
func clockTime(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// misled are the warnings about builds that mislead a pool's counts, each with its cure.
func misled(p pool) []string {
	var warnings []string
	for _, kind := range []struct {
		misleading
		what string
	}{
		{p.overdue, "RUNNING for longer than their project's timeout and 5 minutes more: their workers are gone; stop them in Vespene"},
		{p.expired, "QUEUED for longer than auto_abort_minutes or without a queued_time: no worker takes them; stop them in Vespene"},
		{p.projectless, "QUEUED without a project: every worker that meets one stops working; delete them in Vespene"},
	} {
		if kind.count > 0 {
			oldest := ""
			if kind.oldest > 0 {
				oldest = fmt.Sprintf(" (the oldest for %v)", kind.oldest.Round(time.Second))
			}
			warnings = append(warnings, fmt.Sprintf("counted, but misleading: %s%s %s", count(kind.count, "build"), oldest, kind.what))
		}
	}
	return warnings
}

func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// label is a pool's name on one line.
func label(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// results is standard output. That its reader has gone stops nothing; another error stops nothing either, but is kept.
type results struct {
	w    io.Writer
	json bool
	err  error
}

func (o *results) Write(p []byte) (int, error) {
	if _, err := o.w.Write(p); err != nil && !errors.Is(err, syscall.EPIPE) && o.err == nil {
		o.err = err
	}
	return len(p), nil
}

func (o *results) write(r record) {
	if o.json {
		writeJSON(o, r)
	} else {
		writeText(o, r)
	}
}

// note writes what is no record, for people only.
func (o *results) note(text string) {
	if !o.json {
		fmt.Fprintln(o, text)
	}
}

// patience is how long a reader of standard error may stall before the run goes on without it.
const patience = 10 * time.Second

// logStream is standard error: whole lines, of which none breaks into another. In the journal each begins with its
// priority. What is written while its reader stalls is lost, since nothing is to wait for who reads a log.
type logStream struct {
	mu      sync.Mutex
	w       io.Writer
	journal bool
	stalled chan error // has the result of a write that goes on for longer than patience; nil if none does
}

// newLogStream sees whether w is the journal, as systemd says by device and inode in JOURNAL_STREAM.
func newLogStream(w io.Writer, journalStream string) *logStream {
	s := &logStream{w: w}
	if file, ok := w.(*os.File); ok && journalStream != "" {
		if info, err := file.Stat(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				s.journal = journalStream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
			}
		}
	}
	return s
}

// Write writes lines; of slog's, which begin with their level, the journal gets the priority.
func (s *logStream) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal {
		for level, priority := range map[string]string{"ERROR": "<3>", "WARN": "<4>", "INFO": "<6>", "DEBUG": "<7>"} {
			if bytes.HasPrefix(lines, []byte("level="+level+" ")) {
				lines = append([]byte(priority), lines...)
			}
		}
	}
	if s.stalled != nil {
		select {
		case <-s.stalled:
			lines = append([]byte(s.prefix("vespene-autoscale")+"standard error was not read for a while, and lacks what was written then\n"), lines...)
		default:
			return 0, os.ErrDeadlineExceeded
		}
	}
	s.stalled = make(chan error, 1)
	go func(lines []byte, result chan<- error) {
		_, err := s.w.Write(lines)
		result <- err
	}(bytes.Clone(lines), s.stalled)
	select {
	case err := <-s.stalled:
		s.stalled = nil
		return len(lines), err
	case <-time.After(patience):
		return 0, os.ErrDeadlineExceeded
	}
}

// prefix is what a line of a pool's command begins with.
func (s *logStream) prefix(pool string) string {
	if s.journal {
		return "<6>" + label(pool) + ": "
	}
	return label(pool) + ": "
}

// logger returns the log of that stream; the journal has the time of each line already.
func (s *logStream) logger(verbose bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if s.journal {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(s, options))
}

// complain says why the run cannot go on, in one sentence, and below it the cure.
func (s *logStream) complain(err error) {
	priority := ""
	if s.journal {
		priority = "<3>"
		if exitCode(err) > 128 { // being stopped is no failure
			priority = "<4>"
		}
	}
	fmt.Fprintf(s, "%svespene-autoscale: %s\n", priority, strings.Join(strings.Fields(err.Error()), " "))
	var f *failure
	if errors.As(err, &f) && f.hint != "" {
		fmt.Fprintf(s, "%shint: %s\n", priority, f.hint)
	}
}

// version is what the build info says: a module's version, and the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && !strings.Contains(text, setting.Value[:min(12, len(setting.Value))]) {
			text += " " + setting.Value
		}
	}
	return text + " " + info.GoVersion
}
