package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vespene-autoscale/internal/term"
)

// saver FILE DURATION [group]: a command that saves before it ends. It writes its process id into FILE, then a line for
// each SIGINT; the first makes it take DURATION to save, write a last line and end. With group it makes itself a
// process group of its own; with a DURATION of never it does not end.
func saver() {
	file, err := os.OpenFile(os.Args[1], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	interrupts := make(chan os.Signal, 9)
	signal.Notify(interrupts, syscall.SIGINT)
	if len(os.Args) > 3 {
		syscall.Setpgid(0, 0)
	}
	fmt.Fprintln(file, os.Getpid())
	saved := make(<-chan time.Time)
	for {
		select {
		case <-interrupts:
			fmt.Fprintln(file, "SIGINT")
			if takes, err := time.ParseDuration(os.Args[2]); err == nil {
				saved = time.After(takes)
			}
		case <-saved:
			fmt.Fprintln(file, "saved")
			return
		}
	}
}

// TestEndings ends commands of every kind, by the time limit and by each signal: every process gets exactly one SIGINT
// and its 30 seconds, nothing of the session is left, and outcome and exit code say how it was.
func TestEndings(t *testing.T) {
	t.Parallel()
	endings := map[string]struct {
		signal  syscall.Signal
		code    int
		outcome string
	}{
		"timeout": {0, exitFailed, failed},
		"SIGTERM": {syscall.SIGTERM, 143, interrupted},
		"SIGINT":  {syscall.SIGINT, 130, interrupted},
		"SIGHUP":  {syscall.SIGHUP, 129, interrupted},
	}
	commands := map[string]struct {
		command string
		savers  int
		saved   bool // before the 30 seconds are over
	}{
		"ignores SIGINT":             {"saver a never & saver b never; wait", 2, false},
		"timeout":                    {"timeout 600 saver a 1s; true", 1, true},
		"timeout in place of sh":     {"exec timeout 600 saver a 1s", 1, true},
		"timeout in sh's group":      {"timeout --foreground 600 saver a 1s; true", 1, true},
		"5 s to save, in background": {"saver a 5s & wait", 1, true},
		"groups of their own":        {"saver a 1s group & saver b 2s group & wait", 2, true},
		"sh has gone at once":        {"(saver a 3s &) ; exec sleep 600", 1, true},
	}
	for ending, how := range endings {
		for name, what := range commands {
			t.Run(ending+"/"+name, func(t *testing.T) {
				t.Parallel()
				directory, state := t.TempDir(), newState(t)
				args := []string{"--database", onePool(t, "cd "+directory+"; "+what.command), "--state", state,
					"--output", "json"}
				if how.signal == 0 {
					args = append(args, "--timeout", "1s")
				}
				cmd, stdout, stderr := program(t, args...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				files := []string{filepath.Join(directory, "a"), filepath.Join(directory, "b")}[:what.savers]
				for _, file := range files {
					waitFor(t, func() bool {
						content, _ := os.ReadFile(file)
						return bytes.Contains(content, []byte("\n"))
					})
				}
				if how.signal != 0 {
					cmd.Process.Signal(how.signal)
					time.Sleep(100 * time.Millisecond)
					cmd.Process.Signal(how.signal) // a second one changes nothing
				}
				begun := time.Now()
				code := exitOf(t, cmd.Wait())
				took := time.Since(begun)
				if code != how.code {
					t.Errorf("exit code %d, want %d\n%s", code, how.code, stderr)
				}
				if limit := 35 * time.Second; took > limit || !what.saved && took < grace-time.Second ||
					what.saved && took > 20*time.Second {
					t.Errorf("took %v", took)
				}
				for _, file := range files {
					content, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					lines := strings.Fields(string(content))
					want := []string{lines[0], "SIGINT"}
					if what.saved {
						want = append(want, "saved")
					}
					if fmt.Sprint(lines) != fmt.Sprint(want) {
						t.Errorf("%s: %v, want %v", filepath.Base(file), lines, want)
					}
					if pid, _ := strconv.Atoi(lines[0]); alive(pid) {
						t.Errorf("process %d is left", pid)
					}
				}
				all := ran{stdout: stdout.String()}.records(t)
				if len(all) != 1 || all[0]["outcome"] != how.outcome || all[0]["error"] == nil {
					t.Errorf("records %v, want one that %s", all, how.outcome)
				}
				if got := evaluations(t, state); len(got) != 1 || got[0].outcome != how.outcome || !got[0].ended {
					t.Errorf("recorded %+v, want one that %s", got, how.outcome)
				}
			})
		}
	}
}

// alive tells whether a process is, which a zombie is not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestFirstThreadEnded: a process whose first thread has ended looks like a zombie, and is none while others go on.
func TestFirstThreadEnded(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("gcc")
	need(t, "gcc", err == nil)
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, "a.c"), []byte(`#include <pthread.h>
		#include <stdio.h>
		#include <unistd.h>
		static void *save(void *unused) { sleep(3); puts("saved"); fflush(stdout); return unused; }
		int main(void) { pthread_t other; pthread_create(&other, NULL, save, NULL); pthread_exit(NULL); }`))
	build := exec.Command("gcc", "-pthread", "-o", "a", "a.c")
	build.Dir = directory
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	r := vespene(t, "--database", onePool(t, "trap '' INT; cd "+directory+"; ./a > out & sleep 1"),
		"--state", newState(t))
	if out := string(contentOf(t, filepath.Join(directory, "out"))); r.code != 0 || out != "saved\n" ||
		!strings.Contains(r.stderr, "were ended") {
		t.Errorf("exit %d, %q, %s", r.code, out, r.stderr)
	}
}

// TestLeftBehind: what a command that ended by itself leaves running in its session is ended and named; a daemon with a
// session of its own is left alone, and holds neither the run nor the lock.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	directory, state := t.TempDir(), newState(t)
	a, b := filepath.Join(directory, "a"), filepath.Join(directory, "b")
	database := onePool(t, "test ! -e "+b+" || exit 0; saver "+a+" 1s & setsid saver "+b+" never & "+
		"while ! test -s "+a+" || ! test -s "+b+"; do sleep 0.1; done")
	r := vespene(t, "--database", database, "--state", state)
	if r.code != 0 || !strings.Contains(r.stderr, "left processes running, which were ended") ||
		!strings.Contains(r.stderr, "(saver)") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	left, err := os.ReadFile(a)
	if err != nil || !strings.HasSuffix(string(left), "\nSIGINT\nsaved\n") {
		t.Errorf("what was left behind: %q, %v", left, err)
	}
	daemon, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(daemon)))
	if err != nil || !alive(pid) {
		t.Errorf("the daemon: %q, alive %v; want it left alone", daemon, alive(pid))
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if r := vespene(t, "--database", database, "--state", state, "--force"); r.code != 0 {
		t.Errorf("with the daemon alive: exit %d, %s", r.code, r.stderr)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]struct {
		code     int // of the program
		exitCode float64
		outcome  string
		message  string
	}{
		"true":                          {0, 0, scaled, ""},
		"exit 3":                        {1, 3, failed, "the command ended with exit status 3"},
		"exit 75":                       {1, 75, failed, "exit status 75"}, // not passed through
		"kill -9 $$":                    {1, 137, failed, "exit status 137"},
		"no-such-program":               {1, 127, failed, "no-such-program: not found"},
		"echo one; echo two >&2; false": {1, 1, failed, `its last line was "two"`},
		"if":                            {1, 2, failed, "yntax error"},
		"read x || exit 4":              {1, 4, failed, "exit status 4"}, // there is no standard input
		"exec 3</dev/tty":               {1, 2, failed, "exit status 2"}, // and no terminal to wait at
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			state := newState(t)
			r := vespene(t, "--database", onePool(t, command), "--state", state, "--output", "json")
			all := r.records(t)
			if r.code != want.code || len(all) != 1 || all[0]["exit_code"] != want.exitCode ||
				all[0]["outcome"] != want.outcome {
				t.Fatalf("exit %d, %v, %s; want %+v", r.code, all, r.stderr, want)
			}
			if message, _ := all[0]["error"].(string); !strings.Contains(message, want.message) ||
				(message == "") != (want.code == 0) {
				t.Errorf("error %q, want %q", message, want.message)
			}
			if got := evaluations(t, state); len(got) != 1 || got[0].outcome != want.outcome ||
				got[0].exitCode != int64(want.exitCode) {
				t.Errorf("recorded %+v", got)
			}
		})
	}
}

// TestEnvironment: what a command finds, and what it does not.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "environment")
	database := onePool(t, "env > "+file+"; ls -l /proc/$$/fd > "+file+".fd; cat /proc/$$/stat > "+file+".stat")
	cmd, _, stderr := program(t, "--state", newState(t))
	cmd.Env = append(cmd.Env, "VESPENE_AUTOSCALE_DATABASE="+database, "PGPASSWORD=sEcret", "PGPASSFILE=/sEcret",
		"JOURNAL_STREAM=1:2",
		"PGHOST=db", "VESPENE_AUTOSCALE_STATE=unused", "KEPT=yes")
	if err := cmd.Run(); err != nil {
		t.Fatal(err, stderr)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"VESPENE_POOL=web", "VESPENE_SIZE=2", "VESPENE_QUEUED_SIZE=2", "VESPENE_QUEUED=2",
		"VESPENE_RUNNING=0",
		"VESPENE_PREVIOUS_SIZE=", "PGHOST=db", "KEPT=yes"} {
		if !strings.Contains("\n"+string(content), "\n"+line+"\n") {
			t.Errorf("%s is not in the environment:\n%s", line, content)
		}
	}
	for _, name := range []string{"VESPENE_AUTOSCALE_DATABASE", "PGPASSWORD", "PGPASSFILE", "JOURNAL_STREAM",
		"sEcret"} {
		if strings.Contains(string(content), name) {
			t.Errorf("%s is in the environment:\n%s", name, content)
		}
	}
	descriptors, err := os.ReadFile(file + ".fd")
	if err != nil || !strings.Contains(string(descriptors), " 0 -> /dev/null") ||
		strings.Contains(string(descriptors), "state.db") ||
		!strings.Contains(string(descriptors), ".lock") {
		t.Errorf("%v: descriptors\n%s", err, descriptors)
	}
	// pid (sh) state ppid pgrp session tty …
	if fields := strings.Fields(string(contentOf(t, file+".stat"))); fields[4] != fields[0] || fields[5] != fields[0] ||
		fields[6] != "0" {
		t.Errorf("process %s has group %s, session %s, terminal %s; want its own, and none", fields[0], fields[4],
			fields[5], fields[6])
	}
}

// TestOutput: lines go to standard error as they come, each behind the pool's name.
func TestOutput(t *testing.T) {
	t.Parallel()
	state := newState(t)
	r := vespene(t, "--database", onePool(t, `printf 'one\ntwo' ; echo; echo err >&2; printf 'no newline'`),
		"--state", state)
	if want := "\nweb: one\nweb: two\nweb: err\nweb: no newline\n"; r.code != 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("exit %d, %q; want %q in it", r.code, r.stderr, want)
	}
	if strings.Contains(r.stdout, "one") {
		t.Errorf("output on standard output: %q", r.stdout)
	}
	if got := evaluations(t, state); len(got) != 1 || got[0].output != "one\ntwo\nerr\nno newline" {
		t.Errorf("recorded %+v", got)
	}

	reader, writer := io.Pipe()
	lines := make(chan string, 9)
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := reader.Read(buffer)
			if err != nil {
				return
			}
			lines <- string(buffer[:n])
		}
	}()
	go execute(t.Context(), command{argv: []string{"/bin/sh", "-c", "echo now; sleep 5"}, timeout: time.Minute,
		output: writer, prefix: "p: "})
	select {
	case line := <-lines:
		if line != "p: now\n" {
			t.Errorf("the first line is %q", line)
		}
	case <-time.After(4 * time.Second):
		t.Error("the first line comes with the end of the command only")
	}
}

// TestConstantMemory: much output, one line without end, or no text at all, none of it takes memory.
func TestConstantMemory(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{
		"1 GB":             "yes 'a line of output of some length, as commands print them' | head -c 1000000000",
		"a line of 100 MB": "head -c 100000000 /dev/zero | tr '\\0' x",
		"binary":           "head -c 100000000 /dev/urandom",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := newState(t)
			cmd, _, _ := program(t, "--database", onePool(t, command), "--state", state)
			cmd.Stderr = nil // /dev/null
			read := peakMemory(t, cmd)
			if code := exitOf(t, cmd.Run()); code != 0 {
				t.Fatalf("exit %d", code)
			}
			peak := read()
			t.Logf("peak %d MiB", peak)
			if peak >= 64 && !raceDetector {
				t.Errorf("peak memory %d MiB, want less than 64", peak)
			}
			if got := evaluations(t, state); len(got) != 1 || got[0].outcome != scaled ||
				len(got[0].output) > 3*tailSize {
				t.Errorf("recorded %.200v", got)
			}
		})
	}
}

// TestClosedOutput: that nobody reads what is printed stops neither the command nor the record of its outcome.
func TestClosedOutput(t *testing.T) {
	t.Parallel()
	for name, redirection := range map[string]string{"standard output": "| head -1", "both": "2>&1 | head -1",
		"none at all": ">&- 2>&-"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, done := newState(t), filepath.Join(t.TempDir(), "done")
			database := onePool(t,
				"i=0; while [ $i -lt 20 ]; do echo $i; sleep 0.05; i=$((i+1)); done; echo done > "+done)
			line := fmt.Sprintf("{ vespene-autoscale --database %s --state %s; echo $? > %s.code; } %s", database,
				state, done, redirection)
			if output, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			waitFor(t, func() bool { code, _ := os.ReadFile(done + ".code"); return string(code) == "0\n" })
			if got := evaluations(t, state); got[0].outcome != scaled || got[0].exitCode != 0 {
				t.Errorf("recorded %+v", got)
			}
			if _, err := os.Stat(done); err != nil {
				t.Error("the command was not run to its end")
			}
		})
	}
}

// TestStalledLog: a reader of the log that stands still keeps neither the limit nor a signal from ending the command,
// nor its outcome from being recorded; and what it missed is said when it reads on.
func TestStalledLog(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"timeout": 0, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := newState(t)
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			cmd, _, _ := program(t, "--database", onePool(t, "yes"), "--state", state, "--timeout", "2s")
			cmd.Stderr = writer
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			writer.Close()
			begun := time.Now()
			if signal != 0 {
				time.Sleep(time.Second)
				cmd.Process.Signal(signal)
			}
			code, want, outcome := exitOf(t, cmd.Wait()), 143, interrupted
			if signal == 0 {
				want, outcome = exitFailed, failed
			}
			if code != want || time.Since(begun) > 20*time.Second {
				t.Errorf("exit %d after %v, want %d", code, time.Since(begun), want)
			}
			if got := evaluations(t, state); len(got) != 1 || got[0].outcome != outcome {
				t.Errorf("recorded %+v", got)
			}
		})
	}
	reader, writer := io.Pipe()
	stream := term.NewLog(writer, "")
	for i := range 3 { // the first waits, the others do not
		if _, err := fmt.Fprintf(stream, "line %d\n", i); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("line %d: %v", i, err)
		}
	}
	go func() {
		for err := error(os.ErrDeadlineExceeded); err != nil; time.Sleep(time.Millisecond) {
			_, err = io.WriteString(stream, "line 3\n")
		}
		writer.Close()
	}()
	got, err := io.ReadAll(reader)
	want := "line 0\nvespene-autoscale: standard error was not read for a while, and lacks what was written then\n" +
		"line 3\n"
	if string(got) != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

// TestFullOutput: results that cannot be written for another cause are an error.
func TestFullOutput(t *testing.T) {
	t.Parallel()
	cmd, _, stderr := program(t, "--database", onePool(t, "true"), "--state", newState(t))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd.Stdout = full
	if code := exitOf(t, cmd.Run()); code != exitState ||
		!strings.Contains(stderr.String(), "write the results: write /dev/stdout: no space left on device") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// TestRelay: lines stay whole, long ones come in pieces, and the end is kept.
func TestRelay(t *testing.T) {
	for name, test := range map[string]struct{ in, out, tail string }{
		"empty":      {"", "", ""},
		"lines":      {"a\n\nb\n", "p: a\np: \np: b\n", "a\n\nb\n"},
		"no newline": {"a", "p: a\n", "a"},
		"a long line": {strings.Repeat("x", lineLimit+1), "p: " + strings.Repeat("x", lineLimit) + "\np: x\n",
			strings.Repeat("x", tailSize)},
		"many": {strings.Repeat("ab\n", 100000), strings.Repeat("p: ab\n", 100000),
			strings.Repeat("ab\n", 100000)[300000-tailSize:]},
	} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var once sync.WaitGroup
		once.Go(func() {
			io.WriteString(writer, test.in)
			writer.Close()
		})
		var out bytes.Buffer
		tail := relay(reader, &out, "p: ")
		once.Wait()
		reader.Close()
		if out.String() != test.out || string(tail) != test.tail {
			t.Errorf("%s: %d bytes out and %d kept, want %d and %d", name, out.Len(), len(tail), len(test.out),
				len(test.tail))
		}
	}
}

// TestForksAsItEnds: a process that forks and ends while the table is looked at does not hide its child: the session is
// not empty before the child has gone, too.
func TestForksAsItEnds(t *testing.T) {
	t.Parallel()
	need(t, "perl", exec.Command("perl", "-e", "1").Run() == nil)
	leader := `use POSIX; $SIG{INT} = sub { if (fork() == 0) { $SIG{INT} = "IGNORE"; sleep 1 } POSIX::_exit(0) }; ` +
		`$| = 1; print "."; sleep 9 while 1`
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 6 {
				command := exec.Command("perl", "-e", leader)
				command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				ready, err := command.StdoutPipe()
				if err != nil || command.Start() != nil {
					t.Error("perl does not start", err)
					return
				}
				io.ReadFull(ready, make([]byte, 1))
				session, begun := command.Process.Pid, time.Now()
				command.Process.Signal(os.Interrupt)
				for sessionProcesses(session, false) != nil {
				}
				if after := time.Since(begun); after < 500*time.Millisecond {
					t.Errorf("the session was called empty after %v", after)
				}
				command.Wait()
			}
		})
	}
	all.Wait()
}
