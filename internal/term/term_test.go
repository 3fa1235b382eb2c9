package term

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"vespene-autoscale/e2e/testkit"
)

// TestMain lets no process outlive the tests, one of which runs itself on a terminal.
func TestMain(m *testing.M) {
	testkit.Supervise()
	os.Exit(m.Run())
}

func TestSpan(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0s"}, {0, "0s"}, {400 * time.Millisecond, "0s"}, {59 * time.Second, "59s"},
		{59600 * time.Millisecond, "1m"}, {89 * time.Second, "1m"},
		{4*time.Minute + 59*time.Second, "5m"}, {59*time.Minute + 31*time.Second, "1h"}, {125 * time.Minute, "2h5m"},
		{47*time.Hour + 59*time.Minute, "47h59m"}, {48 * time.Hour, "2d"}, {100 * time.Hour, "4d"},
	} {
		if got := Span(test.d); got != test.want {
			t.Errorf("%v is %q, want %q", test.d, got, test.want)
		}
	}
}

// TestProgress: a bar is on a terminal alone, after a second, and nothing of it stays.
func TestProgress(t *testing.T) {
	t.Parallel()
	if length := os.Getenv("TEST_PROGRESS"); length != "" { // as the test runs itself
		d, _ := time.ParseDuration(length)
		for what, total := range map[string]int{"reading": 0, "trying": 400} {
			bar := NewProgress(os.Stderr, what, total)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 50 {
						bar.Add(1)
						time.Sleep(d / 50)
					}
				})
			}
			all.Wait()
			bar.Done()
		}
		fmt.Fprint(os.Stderr, "done")
		return
	}
	_, err := exec.LookPath("script")
	testkit.Need(t, "script", err == nil)
	run := func(length, command string) string {
		cmd := exec.Command("script", "-qec", command, "/dev/null")
		cmd.Env = append(os.Environ(), "TEST_PROGRESS="+length)
		output, err := cmd.CombinedOutput()
		before, _, done := strings.Cut(string(output), "done")
		if err != nil || !done {
			t.Errorf("%s: %v %s", command, err, output)
		}
		return before
	}
	itself := os.Args[0] + " -test.run '^TestProgress$'"
	shown := run("1500ms", "stty cols 60; "+itself)
	for _, want := range []string{`reading 1\d\d `, `trying  \d+ % \[#+ +\] 1\d\d of 400 `} {
		if !regexp.MustCompile(want).MatchString(shown) {
			t.Errorf("no %s in %q", want, shown)
		}
	}
	frames := strings.Split(shown, "\r")
	if last := frames[len(frames)-1]; last != "" || strings.TrimSpace(frames[len(frames)-2]) != "" ||
		strings.Contains(shown, "\n") {
		t.Errorf("it shows %q", shown)
	}
	for _, frame := range frames {
		if utf8.RuneCountInString(frame) > 60 {
			t.Errorf("%q is wider than the terminal", frame)
		}
	}
	if shown := run("500ms", itself); shown != "" {
		t.Errorf("in less than a second it shows %q", shown)
	}
	if shown := run("1200ms", itself+" 2>&1 | cat"); shown != "" {
		t.Errorf("in a pipe it shows %q", shown)
	}
}
