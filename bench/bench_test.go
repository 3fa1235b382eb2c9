package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestBench: everything is measured, and docs/performance.md has the table that is printed, figures aside.
func TestBench(t *testing.T) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if _, err := exec.LookPath("initdb"); err != nil && len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("PostgreSQL's server is missing")
		}
		t.Skip("PostgreSQL's server is missing")
	}
	t.Chdir("..")
	var out bytes.Buffer
	if err := measure(context.Background(), small, &out); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	printed, written := table(t, out.String()), table(t, string(document))
	if fmt.Sprint(printed) != fmt.Sprint(written) {
		t.Errorf("docs/performance.md has\n%s\nbut bench/run prints\n%s", strings.Join(written, "\n"),
			strings.Join(printed, "\n"))
	}
	if len(printed) < 20 || !strings.Contains(out.String(), "mean nothing") {
		t.Errorf("printed:\n%s", &out)
	}
}

// table is what the rows of the table in a text are about: the work, with what it is compared, and the goal. Each has
// figures that are possible; only a difference may be nothing, or less.
func table(t *testing.T, text string) (rows []string) {
	t.Helper()
	figure := regexp.MustCompile(`-?[0-9.]+ (ms|MiB|×)`)
	_, text, isThere := strings.Cut(text, "| work | ours |")
	text, _, _ = strings.Cut(text, "\n\n")
	if !isThere {
		t.Fatal("there is no table")
	}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[2:] {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "¦"), "|")
		if len(cells) != 8 || !figure.MatchString(cells[2]) {
			t.Errorf("not a row: %s", line)
			continue
		}
		ratio := regexp.MustCompile(` [0-9.]+ ×`).FindString(cells[4])
		for _, text := range append(figure.FindAllString(cells[2]+cells[3], -1), ratio) {
			if number, _, _ := strings.Cut(strings.TrimSpace(text), " "); number != "" {
				if value, err := strconv.ParseFloat(number, 64); err != nil || value <= 0 {
					t.Errorf("%s cannot be: %s", text, line)
				}
			}
		}
		rows = append(rows, strings.Join([]string{cells[1], figure.ReplaceAllString(cells[3], "…"), cells[5]}, "|"))
	}
	return rows
}
