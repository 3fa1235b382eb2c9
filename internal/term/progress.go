package term

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Progress is a bar on standard error for work that takes longer than a second. It is our own, since a library's would
// cost the start of the main job more than it costs here.
type Progress struct {
	n    atomic.Int64
	stop chan struct{} // nil: there is no terminal
	gone sync.WaitGroup
}

// NewProgress returns the progress of work with that many steps; with a total of 0, which means unknown, it only
// counts. It shows nothing unless stderr is a terminal, nor in the first second, nor after Done. Nothing else may be
// written there before Done.
func NewProgress(stderr io.Writer, what string, total int) *Progress {
	p := &Progress{}
	columns := terminalWidth(stderr) - 1
	if columns < 0 {
		return p
	}
	p.stop = make(chan struct{})
	p.gone.Go(func() {
		wait := time.Second
		for {
			select {
			case <-p.stop:
				if wait < time.Second { // it was shown
					fmt.Fprintf(stderr, "\r%*s\r", columns, "")
				}
				return
			case <-time.After(wait):
				wait = time.Second / 5
				fmt.Fprintf(stderr, "\r%-*.*s", columns, columns, progressText(what, int(p.n.Load()), total))
			}
		}
	})
	return p
}

func progressText(what string, n, total int) string {
	if total <= 0 {
		return fmt.Sprintf("%s %d", what, n)
	}
	const width = 30
	done := min(n, total)
	bar := strings.Repeat("#", done*width/total)
	return fmt.Sprintf("%s %3d %% [%-*s] %d of %d", what, done*100/total, width, bar, n, total)
}

// Add says that so many more steps are done; several goroutines may call it.
func (p *Progress) Add(n int) { p.n.Add(int64(n)) }

// Done takes the bar away.
func (p *Progress) Done() {
	if p.stop != nil {
		close(p.stop)
		p.gone.Wait()
	}
}
