package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lock.go owns the lock of each pool, which the kernel keeps on a small file beside the state file.

// heldTooLong is how far past its evaluation's limit a lock is held before its holder is taken to hang.
const heldTooLong = time.Minute

// lock takes the pool's lock, which the kernel frees when the last process that has the file open ends or one of them
// unlocks it. It does not wait: if another holds it, the error is errBusy or errRunning. The file is for the
// command to inherit.
func (s *state) lock(ctx context.Context, key poolKey, now time.Time) (*os.File, error) {
	path := s.lockPath(key)
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, stateFailure(path, err)
		}
		// Two locks: the record lock is the run's alone, and ends with it; the other is inherited, and is what counts.
		held := errRunning
		if err = unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err == nil {
			held = errBusy
			err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err == nil {
			opened, openedErr := file.Stat()
			named, namedErr := os.Stat(path)
			if err = errors.Join(openedErr, namedErr); err == nil && os.SameFile(opened, named) {
				return file, nil
			}
		}
		file.Close()
		switch {
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EACCES):
			return nil, s.blocked(ctx, key, now, held)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, stateFailure(path, err)
		}
		// The file was removed or replaced between opening and locking it: the name has another lock now.
	}
}

// blocked returns the error for a pool whose lock another holds; held is errBusy or errRunning.
func (s *state) blocked(ctx context.Context, key poolKey, now time.Time, held error) error {
	_, all, err := s.lastRun(ctx, key) // one may have begun since the caller looked
	if err != nil {
		return err
	}
	holders := cmp.Or(s.holders(key), "a process that this user may not see, or that has just ended")
	if len(all) > 0 {
		newest := all[len(all)-1]
		hangs := held != errRunning || newest.ended.IsZero() // else it has just begun, and has no evaluation yet
		if hangs && now.Sub(newest.deadline) > heldTooLong {
			hint := "see what these processes wait for, and end them (sudo fuser -v " + s.lockPath(key) + ")"
			return fail(exitState, hint,
				"this pool's lock is held since %s, though its command was to end by %s (%w): %s",
				newest.started.Format(time.DateTime), newest.deadline.Format(time.DateTime), held, holders)
		}
	}
	who := "another run"
	if held != errRunning {
		who = "a command that outlived its run"
	}
	return fail(exitBusy, "nothing was run; the next run tries again", "%s holds this pool's lock (%w): %s", who, held,
		holders)
}

// unlock frees a lock for everybody, even if a daemon that the command left behind still has the file open.
func unlock(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}

func (s *state) lockPath(key poolKey) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", key.database, key.id))
	return filepath.Join(filepath.Dir(s.path), fmt.Sprintf("%x.lock", hash[:12]))
}

// holders names the processes that have the pool's lock open, as far as this user may see them: "123 (terraform)".
func (s *state) holders(key poolKey) string {
	lock, err := os.Stat(s.lockPath(key))
	if err != nil {
		return ""
	}
	var holders []string
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, descriptor := range descriptors {
		file, err := os.Stat(descriptor)
		if err != nil || !os.SameFile(file, lock) {
			continue
		}
		pid := strings.Split(descriptor, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		holders = append(holders, fmt.Sprintf("%s (%s)", pid, strings.TrimSpace(string(name))))
	}
	return strings.Join(slices.Compact(holders), ", ") // a process may have it open more than once
}
