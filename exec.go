package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// exec.go owns the processes of commands and plugin programs: it starts each in a session of its own, passes its output
// on, and leaves nothing of the session running when it returns. It decides nothing, and knows no pool and no state.

const (
	grace     = 30 * time.Second // between the one SIGINT and SIGKILL: time to save
	killLimit = 10 * time.Second // what SIGKILL has not ended by then hangs in the kernel, or is another user's
	tailSize  = 4 << 10          // how much of the end of the output is kept
	lineLimit = 32 << 10         // a longer line of output is passed on in pieces
	readSize  = 256 << 10        // of output, at most, at a time; as much is the pipe to hold
	writeSize = 64 << 10         // about so much is passed on at a time: a slow reader is to be seen reading

	answerSize = 64 << 10 // bytes of an answer that are kept, and one more if there are any

	// The lock's descriptor in the command: above those that a script may redirect with a single digit, as `exec 3>log`
	// would close the lock.
	lockDescriptor = 30
)

// errTimeout is why a command was ended that took longer than its limit.
var errTimeout = errors.New("ran out of time")

// command is what to run: a program with its arguments, and variables in addition to the caller's environment.
type command struct {
	argv      []string
	input     []byte   // for its standard input; nil: none
	variables []string // NAME=value
	lock      *os.File // inherited, so that what outlives us still holds it
	timeout   time.Duration
	output    io.Writer // gets whole lines, each behind the prefix
	prefix    string
	answers   bool // its standard output is an answer, and not for output
}

// result is how a command ended.
type result struct {
	exitCode   *int // as a shell's $?: 128 + n for one ended by signal n; nil if it did not start
	duration   time.Duration
	tail       string    // the end of its output
	answer     []byte    // its standard output if it answers, with one byte beyond answerSize at most
	ended      error     // why we ended it: errTimeout or the context's cause; nil if it ended by itself
	err        error     // why it did not start
	leftovers  processes // what it left running when it ended by itself, and has been ended since
	unkillable processes // what could not be ended
}

// process is one line of the process table.
type process struct {
	pid, group int
	name       string
}

type processes []process

func (all processes) String() string {
	var names []string
	for _, p := range all {
		names = append(names, fmt.Sprintf("%d (%s)", p.pid, p.name))
	}
	return strings.Join(names, ", ")
}

// start starts the command in a session of its own. The pipes are ours: with those of exec, Wait would wait for whoever
// still holds the other end. There are answers to read only of a command that answers.
func (c command) start() (cmd *exec.Cmd, output, answers *os.File, err error) {
	cmd = exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isSecret), c.variables...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.lock != nil {
		cmd.ExtraFiles = append(make([]*os.File, lockDescriptor-3), c.lock)
	}
	var toOutput, toAnswers, input *os.File
	output, toOutput, err = os.Pipe()
	cmd.Stdout, cmd.Stderr = toOutput, toOutput
	if err == nil && c.answers {
		answers, toAnswers, err = os.Pipe()
		cmd.Stdout = toAnswers
	}
	if err == nil && c.input != nil {
		input, err = inputFile(c.input)
		cmd.Stdin = input
	}
	if err == nil {
		// Without it, or if so many bytes may not be had, reading takes more turns.
		unix.FcntlInt(toOutput.Fd(), unix.F_SETPIPE_SZ, readSize)
		err = cmd.Start()
	}
	for _, theirs := range []*os.File{toOutput, toAnswers, input} {
		theirs.Close()
	}
	return cmd, output, answers, err
}

// execute runs the command once, and returns when no process of its session is left. When the context ends or the
// timeout passes, the session gets one SIGINT, grace to save, and then SIGKILL.
func execute(ctx context.Context, c command) (r result) {
	begun := time.Now()
	defer func() { r.duration = time.Since(begun) }()
	if ctx.Err() != nil {
		return result{ended: context.Cause(ctx)}
	}
	cmd, output, answers, err := c.start()
	defer output.Close()
	defer answers.Close() // of a file that is nil, too
	if err != nil {
		return result{err: err}
	}
	session := cmd.Process.Pid

	var tail []byte
	var reading sync.WaitGroup
	reading.Go(func() { tail = relay(output, c.output, c.prefix) })
	if c.answers {
		reading.Go(func() { r.answer = readAnswer(answers) })
	}
	exited := make(chan struct{})
	go func() {
		// Waited for, but left as a zombie: until cmd.Wait below nobody else can be given the session's number.
		for unix.Waitid(unix.P_PID, session, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		close(exited)
	}()

	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout)
	defer cancel()
	select {
	case <-exited:
	case <-ctx.Done():
	}
	select {
	case <-exited: // by itself, be it at the same moment
		r.leftovers = sessionProcesses(session, true)
	default:
		r.ended = context.Cause(ctx)
	}
	if r.ended != nil || r.leftovers != nil {
		r.unkillable = endSession(session)
	}
	if r.unkillable == nil || r.ended == nil { // the shell, at least, has ended
		cmd.Wait() // its error is the exit status, which ProcessState has
		r.exitCode = new(cmd.ProcessState.ExitCode())
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
			*r.exitCode = 128 + int(status.Signal())
		}
	}
	for _, pipe := range []*os.File{output, answers} {
		pipe.SetReadDeadline(time.Now()) // a daemon with a session of its own may hold it for ever
	}
	reading.Wait()
	r.tail = strings.ToValidUTF8(strings.TrimSpace(string(tail)), "\uFFFD")
	return r
}

// inputFile returns a file in memory with the input, so that nobody waits for it to be read.
func inputFile(input []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "input")
	_, err = file.WriteAt(input, 0) // after which it is read from the start
	return file, err
}

// readAnswer reads an answer to its end or deadline, and keeps a byte beyond answerSize at most.
func readAnswer(pipe *os.File) []byte {
	in := &untilEmpty{pipe: pipe}
	answer, _ := io.ReadAll(io.LimitReader(in, answerSize+1))
	io.Copy(io.Discard, in)
	return answer
}

// problem returns why a command with that time limit did not do its work, or nil if it did. The sentence calls it what.
func (r result) problem(what string, limit time.Duration) error {
	said := ""
	if r.tail != "" {
		said = fmt.Sprintf("; its last line was %q", r.tail[strings.LastIndexByte(r.tail, '\n')+1:])
	}
	switch {
	case r.unkillable != nil:
		return fail(exitFailed, "see what they wait for, and end them",
			"processes of %s cannot be ended, and keep the lock: %s", what, r.unkillable)
	case errors.Is(r.ended, errTimeout):
		return fail(exitFailed, "see why it hangs, or give it more with --timeout", "%s %w after %v and was ended%s",
			what, errTimeout, limit, said)
	case r.ended != nil:
		return r.ended
	case r.err != nil:
		return fail(exitFailed, "see that the program can be executed (a script begins with #!), and that this user "+
			"may have more processes (ulimit -u)", "%s did not start: %w", what, r.err)
	case *r.exitCode != 0:
		return fail(exitFailed, "its output is in the log", "%s ended with exit status %d%s", what, *r.exitCode, said)
	}
	return nil
}

// isSecret tells whether a variable is kept from the command, whose output is logged.
func isSecret(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"VESPENE_AUTOSCALE_DATABASE", "PGPASSWORD", "PGPASSFILE", "PGSSLPASSWORD",
		"JOURNAL_STREAM"}, name)
}

// relay copies lines from reader to output, each behind the prefix, until the end or the reader's deadline, and then
// whatever is in the pipe still. It goes on reading when output fails. It returns the end of what it read.
func relay(reader *os.File, output io.Writer, prefix string) (tail []byte) {
	in := &untilEmpty{pipe: reader}
	buffer := make([]byte, readSize)
	begun := 0 // of a line whose end is still to come: its bytes, at the buffer's start
	var lines []byte
	for {
		n, err := in.Read(buffer[begun:])
		read := buffer[begun+max(0, n-tailSize) : begun+n] // what of it may be the end
		kept := copy(tail, tail[max(0, len(tail)+len(read)-tailSize):])
		tail = append(tail[:kept], read...)
		rest := buffer[:begun+n]
		for lines = lines[:0]; len(rest) > 0; {
			end := bytes.IndexByte(rest[:min(len(rest), lineLimit)], '\n') + 1
			isWhole := end > 0
			if !isWhole && len(rest) < lineLimit && err == nil {
				break
			} else if !isWhole {
				end = min(len(rest), lineLimit)
			}
			lines = append(append(lines, prefix...), rest[:end]...)
			if !isWhole {
				lines = append(lines, '\n')
			}
			rest = rest[end:]
			if len(lines) >= writeSize {
				output.Write(lines)
				lines = lines[:0]
			}
		}
		if len(lines) > 0 {
			output.Write(lines) // a closed standard error stops nothing
		}
		if err != nil {
			return tail
		}
		begun = copy(buffer, rest)
	}
}

// untilEmpty reads a pipe until its end or its deadline, and after the deadline what it holds, without waiting and
// without end, should somebody go on writing.
type untilEmpty struct {
	pipe *os.File
	late int // bytes read after the deadline
}

func (u *untilEmpty) Read(buffer []byte) (n int, err error) {
	if n, err = u.pipe.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	const pipeCapacity = 1 << 20 // at most, by /proc/sys/fs/pipe-max-size
	raw, err := u.pipe.SyscallConn()
	if err != nil || u.late >= pipeCapacity {
		return 0, io.EOF
	}
	err = raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buffer) })
	if err != nil || n <= 0 {
		return 0, io.EOF // empty, or nobody holds the other end
	}
	u.late += n
	return n, nil
}

// endSession interrupts the session once, waits grace for it to be empty, and kills what is left. It returns the
// processes that even that did not end.
func endSession(session int) (unkillable processes) {
	interrupt(session)
	begun := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		left, waited := sessionProcesses(session, false), time.Since(begun)
		if left == nil || waited > grace+killLimit {
			return left
		}
		if waited > grace {
			for _, p := range left {
				syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		time.Sleep(pause)
	}
}

// interrupt sends one SIGINT to each whom a terminal's would reach: to the command's group, and of every other group in
// the session to its leader, who made it to control its jobs, or to all where the leader has gone. timeout gets none:
// it would pass one on twice, to its command and to the group of both; they get theirs from us, and it ends with them.
func interrupt(session int) {
	const passesOn = "timeout"
	all := sessionProcesses(session, false)
	leader, oneByOne := map[int]string{}, false
	for _, p := range all {
		if p.pid == p.group {
			leader[p.group] = p.name
		}
		oneByOne = oneByOne || p.group == session && p.name == passesOn
	}
	if !oneByOne {
		syscall.Kill(-session, syscall.SIGINT)
	}
	for _, p := range all {
		reached := oneByOne
		if p.group != session {
			reached = p.pid == p.group || leader[p.group] == "" || leader[p.group] == passesOn
		}
		if reached && p.name != passesOn {
			syscall.Kill(p.pid, syscall.SIGINT)
		}
	}
}

// sessionProcesses returns the processes of the session that are alive: a zombie is not, unless threads of it go on.
// Before it says that there are none it looks again, since one that forks and ends while it looks is missed with its
// child; but for when the leader had ended before, and no other process of the session was seen to end.
func sessionProcesses(session int, leaderEnded bool) processes {
	found, ended := listProcesses(session)
	if found == nil && (ended || !leaderEnded) {
		found, _ = listProcesses(session)
	}
	return found
}

// listProcesses looks once; ended says that a process other than the leader ended meanwhile or is a zombie.
func listProcesses(session int) (found processes, ended bool) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, false
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		sid, err := unix.Getsid(pid)
		ended = ended || err == unix.ESRCH
		if err == nil && sid != session { // which costs a tenth of reading the file
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			ended = true
			continue
		}
		// pid (name) state ppid pgrp session …, where the name may hold anything
		open, shut := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[shut+1:]))
		if open < 0 || len(fields) < 4 || fields[3] != strconv.Itoa(session) || fields[0] == "X" {
			continue
		}
		if threads, _ := os.ReadDir("/proc/" + name + "/task"); fields[0] == "Z" && len(threads) < 2 {
			ended = ended || pid != session
			continue
		}
		group, _ := strconv.Atoi(fields[2])
		found = append(found, process{pid, group, string(stat[open+1 : shut])})
	}
	return found, ended
}
