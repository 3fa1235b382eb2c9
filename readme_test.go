package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// times are what differs from run to run.
var times = regexp.MustCompile(`\d+ms|\d\d:\d\d(:\d\d)?|\d{4}-\d\d-\d\d|in [0-9hms]+`)

// TestReadmeTranscripts runs the commands of the README's transcripts, and compares what they print.
func TestReadmeTranscripts(t *testing.T) {
	t.Parallel()
	readme := string(contentOf(t, "README.md"))
	first := strings.Index(readme, "```console")
	if line := strings.Count(readme[:first], "\n") + 2; line > 10 {
		t.Errorf("the first command is in line %d, want it within ten", line)
	}
	if lines := strings.Count(readme, "\n"); lines > 150 {
		t.Errorf("%d lines, want 150 at most", lines)
	}
	directory := t.TempDir()
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		for _, transcript := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, want, _ := strings.Cut(transcript+"\n", "\n")
			commands++
			installed := ""
			if strings.Contains(command, "sudo") { // an hour until now, and not until the commands before were compiled
				installed = fmt.Sprintf("VESPENE_AUTOSCALE_DATABASE=%s VESPENE_AUTOSCALE_STATE=%s ", demo, anHour(t))
			}
			cmd := exec.Command("sh", "-c", strings.NewReplacer("/tmp/vespene-autoscale", directory+"/state",
				"sudo -u vespene-autoscale ", installed).Replace(command))
			var stderr strings.Builder
			cmd.Stderr = &stderr
			got, err := cmd.Output()
			want = strings.TrimSpace(times.ReplaceAllString(want, "TIME"))
			if seen := strings.TrimSpace(times.ReplaceAllString(string(got), "TIME")); err != nil || seen != want {
				t.Errorf("%s: %v %s\nprints\n%s\nthe README has\n%s", command, err, &stderr, seen, want)
			}
			if commands == 1 && !strings.Contains(stderr.String(), "arm: starting 5 workers for arm\n") {
				t.Errorf("%s logs\n%s", command, &stderr)
			}
		}
	}
	if commands != 4 {
		t.Errorf("%d commands were run, want 4", commands)
	}
}

// anHour is a state file with an hour of the demo's pools.
func anHour(t *testing.T) (state string) {
	began := func(pool string, since time.Duration, queued, running, size int64, how string, exitCode int,
		err string) evaluation {
		return evaluation{pool: pool, started: ago(since), queued: queued, running: running, size: size,
			queuedSize: queued, outcome: outcome{ended: ago(since).Add(2317 * time.Millisecond), outcome: how,
				exitCode: &exitCode, err: err}}
	}
	return pastOf(t, demo, "",
		began("linux", 58*time.Minute, 1, 0, 1, scaled, 0, ""), began("linux", 46*time.Minute, 2, 1, 3, scaled, 0, ""),
		began("linux", 34*time.Minute, 3, 3, 6, failed, 1, "the command ended with exit status 1"),
		began("linux", 22*time.Minute, 2, 4, 6, scaled, 0, ""),
		began("linux", 3*time.Minute, 1, 3, 4, scaled, 0, ""), began("arm", 2*time.Minute, 6, 1, 5, scaled, 0, ""),
		began("windows", 8*time.Minute, 2, 2, 3, scaled, 0, ""))
}

// tableRows are the rows of the tables below a heading of the README, cell by cell.
func tableRows(t *testing.T, heading string) [][]string {
	t.Helper()
	_, section, ok := strings.Cut(string(contentOf(t, "README.md")), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("no section %s", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows[1:]
}

func TestReadmeExitCodes(t *testing.T) {
	var got, want []string
	for _, row := range tableRows(t, "Exit codes") {
		got = append(got, row[0]+" "+row[1])
	}
	for _, c := range exitCodes {
		want = append(want, strconv.Itoa(c.code)+" "+c.meaning)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the README has\n%s\nthe program\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadmeOptions(t *testing.T) {
	var documented, defined []string
	for _, row := range tableRows(t, "Options") {
		documented = append(documented, regexp.MustCompile(`--?[a-z-]+|VESPENE_[A-Z_]+`).FindAllString(row[0]+" "+
			row[1], -1)...)
	}
	app := newApp(nil, func(job) cli.ActionFunc { return nil })
	for _, flag := range append(app.Flags, cli.HelpFlag) {
		for _, name := range flag.Names() {
			defined = append(defined, strings.Repeat("-", min(2, len(name)))+name)
		}
		if inEnvironment, ok := flag.(interface{ GetEnvVars() []string }); ok {
			defined = append(defined, inEnvironment.GetEnvVars()...)
		}
	}
	// which are split by us
	defined = append(defined, "VESPENE_AUTOSCALE_QUEUE", "VESPENE_AUTOSCALE_PLANNER", "VESPENE_AUTOSCALE_EXECUTOR")
	slices.Sort(documented)
	slices.Sort(defined)
	if !slices.Equal(documented, defined) {
		t.Errorf("the README has %v\nthe program %v", documented, defined)
	}
}

// TestGateRunsReadmesTests: .ci/run runs the test command that the README gives.
func TestGateRunsReadmesTests(t *testing.T) {
	command := "go test ./..."
	if !strings.Contains(string(contentOf(t, "README.md")), "`sudo apt-get install -y postgresql && "+command+"`") {
		t.Error("the README does not give the tests' command")
	}
	if !strings.Contains(string(contentOf(t, ".ci/run")), "\n"+command+"\n") {
		t.Errorf(".ci/run does not run %s", command)
	}
}

// TestUnits: systemd takes the units as they are, and finds the service little exposed.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	need(t, "systemd-analyze", err == nil)
	directory := t.TempDir()
	program := filepath.Join(directory, "vespene-autoscale")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, name := range []string{"vespene-autoscale.service", "vespene-autoscale.timer"} {
		unit := string(contentOf(t, name)) // as it is, but for a program that this machine has
		files = append(files, filepath.Join(directory, name))
		writeFile(t, files[len(files)-1], []byte(strings.Replace(unit, "/usr/bin/vespene-autoscale", program, 1)))
	}
	if output, err := exec.Command(analyze, append([]string{"verify"}, files...)...).CombinedOutput(); err != nil ||
		len(output) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, output)
	}
	output, err := exec.Command(analyze, "security", "--offline=true", files[0]).CombinedOutput()
	level := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(output)
	if err != nil || level == nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, output)
	}
	if exposure, err := strconv.ParseFloat(string(level[1]), 64); err != nil || exposure > 3 {
		t.Errorf("exposure level %s, want 3 at most", level[1])
	}
	for _, line := range []string{"Type=oneshot", "User=vespene-autoscale", "StateDirectory=vespene-autoscale",
		"StandardOutput=null", "StandardError=journal", "LoadCredential=database:" + credentialFile, "KillMode=mixed",
		"TimeoutStartSec=infinity",
		"SuccessExitStatus=75 130 143", "OOMPolicy=continue", "SystemCallErrorNumber=EPERM",
		"WorkingDirectory=/var/lib/vespene-autoscale", "Environment=HOME=/var/lib/vespene-autoscale"} {
		if !strings.Contains(string(contentOf(t, "vespene-autoscale.service")), "\n"+line+"\n") {
			t.Errorf("the service has no line %s", line)
		}
	}
	var stop int
	if _, err := fmt.Sscanf(regexp.MustCompile(`TimeoutStopSec=\d+`).FindString(
		string(contentOf(t, "vespene-autoscale.service"))),
		"TimeoutStopSec=%d", &stop); err != nil || stop <= int((grace+killLimit).Seconds()) {
		t.Errorf("TimeoutStopSec is %d, want more than it takes to end a command: %v", stop, grace+killLimit)
	}
}

// TestManualCommands: the commands that the manual gives as working render for a pool, and are a shell's syntax.
func TestManualCommands(t *testing.T) {
	manual := string(contentOf(t, "docs/autoscaling.md"))
	_, section, _ := strings.Cut(manual, "\n## Commands that work\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 4 {
		t.Errorf("%d commands, want 4", len(blocks))
	}
	for _, block := range blocks {
		p := testPool(map[string]any{"executor_command": block[1],
			"variables": `{"plan": "ci-linux", "group": "ci-linux", "deployment": "ci-linux"}`})
		line, err := render(p, planOf(t, p), nil)
		if err != nil {
			t.Errorf("%s: %v", block[1], err)
		}
		if output, err := exec.Command("sh", "-n", "-c", line).CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", line, err, output)
		}
	}
}
