package term

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// idleTimeout is how long a reader of standard error may stall before the run goes on without it.
const idleTimeout = 10 * time.Second

// Log is standard error: whole lines, none of which breaks into another. In the journal each begins with its priority.
// What is written while the reader stalls is lost, since nothing waits for who reads a log.
type Log struct {
	File    io.Writer // standard error itself, for progress
	mu      sync.Mutex
	journal bool
	lines   chan []byte // to be written by a goroutine, which can be left behind
	written chan error  // what came of them
	timer   *time.Timer // fires when a reader stalls
	stalled bool        // a write takes longer than idleTimeout
	spare   []byte      // of the write before, to be used again
}

// NewLog returns the log on w. It is the journal if systemd says so by device and inode in JOURNAL_STREAM.
func NewLog(w io.Writer, journalStream string) *Log {
	l := &Log{File: w}
	if file, ok := w.(*os.File); ok && journalStream != "" {
		if info, err := file.Stat(); err == nil {
			stat := info.Sys().(*syscall.Stat_t)
			l.journal = journalStream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
		}
	}
	return l
}

// Write writes whole lines.
func (l *Log) Write(lines []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines, l.written, l.timer = make(chan []byte), make(chan error, 1), time.NewTimer(idleTimeout)
		go func() {
			for lines := range l.lines {
				_, err := l.File.Write(lines)
				l.written <- err
			}
		}()
	}
	own := l.spare[:0] // the caller's are the caller's again when this returns
	if l.stalled {
		select {
		case <-l.written:
			own = append(own, l.Prefix("vespene-autoscale")+
				"standard error was not read for a while, and lacks what was written then\n"...)
		default:
			return 0, os.ErrDeadlineExceeded
		}
	}
	own = append(own, lines...)
	l.spare, l.stalled = nil, true
	l.lines <- own
	l.timer.Reset(idleTimeout)
	select {
	case err := <-l.written:
		l.spare, l.stalled = own, false
		return len(lines), err
	case <-l.timer.C:
		return 0, os.ErrDeadlineExceeded
	}
}

// priority returns what a line of that level begins with: in the journal its priority, elsewhere nothing.
func (l *Log) priority(level slog.Level) string {
	switch {
	case !l.journal:
		return ""
	case level >= slog.LevelError:
		return "<3>"
	case level >= slog.LevelWarn:
		return "<4>"
	case level >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// Prefix returns what a line of output that belongs to that name begins with.
func (l *Log) Prefix(name string) string { return l.priority(slog.LevelInfo) + Label(name) + ": " }

// Say writes sentences of the program's own at that level, a line each.
func (l *Log) Say(level slog.Level, sentences ...string) {
	var lines []byte
	for _, sentence := range sentences {
		lines = fmt.Appendf(lines, "%s%s\n", l.priority(level), sentence)
	}
	l.Write(lines)
}

// Logger returns a logger that writes to l; the journal has the time of each line already.
func (l *Log) Logger(verbose bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if l.journal {
		options.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(handler{slog.NewTextHandler(l, options), l, options})
}

// handler puts the priority before each line of a text handler. Only loggers made by With go without it, and there are
// none.
type handler struct {
	slog.Handler
	log     *Log
	options *slog.HandlerOptions
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	line := bytes.NewBufferString(h.log.priority(r.Level))
	if err := slog.NewTextHandler(line, h.options).Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.log.Write(line.Bytes())
	return err
}
