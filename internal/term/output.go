package term

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Styles for Paint and Cell: parameters of ECMA-48's SGR. They show on a terminal only.
const (
	Bold   = "1"
	Faint  = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "93"
	Blue   = "94"
)

// Output is standard output. A reader that has gone stops nothing; nor does another error, but Err keeps it.
type Output struct {
	w       io.Writer
	JSON    bool            // results are JSON, one object a line
	Width   int             // of the terminal, in columns; 0: it is none
	Colour  bool            // the terminal shows colours, and NO_COLOR is not set
	Watched <-chan struct{} // nothing is written before it is closed; nil: at once
	Err     error           // the first error of a write
}

// NewOutput returns the output to w, which may be a terminal.
func NewOutput(w io.Writer, getenv func(string) string) *Output {
	width := terminalWidth(w)
	return &Output{w: w, Width: width, Colour: width > 0 && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// terminalWidth returns the columns of the terminal that w is, or 0.
func terminalWidth(w io.Writer) int {
	file, isFile := w.(*os.File)
	if !isFile {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return cmp.Or(int(size.Col), 80)
}

func (o *Output) Write(p []byte) (int, error) {
	if o.Watched != nil {
		<-o.Watched
	}
	if _, err := o.w.Write(p); err != nil && !errors.Is(err, syscall.EPIPE) && o.Err == nil {
		o.Err = err
	}
	return len(p), nil
}

// Encode writes a value as one line of JSON.
func (o *Output) Encode(v any) {
	encoder := json.NewEncoder(o)
	encoder.SetEscapeHTML(false) // commands are full of & and >
	encoder.Encode(v)            // o keeps the error
}

// Note writes a line for people, which is no result.
func (o *Output) Note(text string) {
	if !o.JSON {
		fmt.Fprintln(o, text)
	}
}

// Paint returns the text in that style if styles show.
func (o *Output) Paint(style, text string) string {
	if !o.Colour || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// Cell is one cell of a table.
type Cell struct {
	Text, Style string
	Right       bool // aligned, as numbers are
}

// Headings returns a table's first row. Names with a leading > are aligned right.
func Headings(names ...string) (row []Cell) {
	for _, name := range names {
		text, right := strings.CutPrefix(name, ">")
		row = append(row, Cell{text, Faint, right})
	}
	return row
}

// Digits returns a cell with a number, or with "-" for nil.
func Digits(n *int64) Cell {
	if n == nil {
		return Cell{"-", Faint, true}
	}
	return Cell{fmt.Sprint(*n), "", true}
}

// Table writes rows in aligned columns.
func (o *Output) Table(rows [][]Cell) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text))
			if c.Right {
				line.WriteString(padding + o.Paint(c.Style, c.Text) + "  ")
			} else {
				line.WriteString(o.Paint(c.Style, c.Text) + padding + "  ")
			}
		}
		fmt.Fprintln(o, strings.TrimRight(line.String(), " "))
	}
}
