package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// samples are those of a metrics file: by metric and pool.
func samples(t testing.TB, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(strings.NewReader(string(content))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "#") {
			end := strings.LastIndex(line, " ")
			all[line[:end]] = strings.TrimSpace(line[end+1:])
		}
	}
	return all
}

// TestMetrics: what a run writes for node_exporter, also when pools fail; promlint finds nothing in it.
func TestMetrics(t *testing.T) {
	t.Parallel()
	address := sqliteDatabase(t, `INSERT INTO worker_pools (id, name, minimum, maximum, executor_command) `+
		`VALUES (1, 'web', 1, 8, 'true'), (2, 'fails', 0, 10, 'exit 5'), (3, 'Bob''s "\ Pool', 5, 3, 'true')`,
		"INSERT INTO builds (id, status, worker_pool_id, project_id) VALUES (1, 'QUEUED', 1, 1), (2, 'QUEUED', 1, 2), "+
			"(3, 'RUNNING', 1, 1)",
		"INSERT INTO worker_pools (id, name, autoscaling_enabled) VALUES (4, 'off', FALSE)")
	directory, state := t.TempDir(), newState(t)
	file := filepath.Join(directory, "vespene.prom")
	args := []string{"--database", address, "--state", state, "--metrics-file", file}
	begun := time.Now()
	for range 2 {
		cmd := exec.Command("sh", "-c", `umask 0077 && exec vespene-autoscale "$@" --force`, "sh")
		cmd.Args = append(cmd.Args, args...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		if code := exitOf(t, cmd.Run()); code != exitFailed {
			t.Fatalf("exit %d", code)
		}
	}
	got := samples(t, file)
	for name, want := range map[string]string{
		`desired_size{pool="web"}`:                     "3",
		`desired_queued_size{pool="web"}`:              "2",
		`queued_builds{pool="web"}`:                    "2",
		`running_builds{pool="web"}`:                   "1",
		`minimum_size{pool="web"}`:                     "1",
		`maximum_size{pool="web"}`:                     "8",
		`interval_seconds{pool="web"}`:                 "300",
		`last_exit_code{pool="web"}`:                   "0",
		`consecutive_failures{pool="web"}`:             "0",
		`last_exit_code{pool="fails"}`:                 "5",
		`consecutive_failures{pool="fails"}`:           "2",
		`last_success_timestamp_seconds{pool="fails"}`: "",
		`queued_builds{pool="Bob's \"\\ Pool"}`:        "0",
		`desired_size{pool="Bob's \"\\ Pool"}`:         "",
		`queued_builds{pool="off"}`:                    "",
	} {
		if value := got["vespene_autoscale_pool_"+name]; value != want {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	if got["vespene_autoscale_run_exit_code"] != "1" ||
		got[`vespene_autoscale_build_info{version="`+version()+`"}`] != "1" {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"last_evaluation", "last_success"} {
		var at float64
		fmt.Sscan(got["vespene_autoscale_pool_"+name+`_timestamp_seconds{pool="web"}`], &at)
		if off := time.Duration((at - float64(begun.UnixMilli())/1000) * float64(time.Second)); off < 0 ||
			off > time.Minute {
			t.Errorf("%s is %v off", name, off)
		}
	}
	info, err := os.Stat(file)
	if names, _ := os.ReadDir(directory); err != nil || info.Mode().Perm() != 0o644 || len(names) != 1 {
		t.Errorf("mode %v, and %v are there, %v", info.Mode(), names, err)
	}

	// A dry run and a status write none; a run over nothing does.
	os.Remove(file)
	for _, more := range [][]string{{"--dry-run"}, {"status"}} {
		vespene(t, append(args, more...)...)
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v wrote metrics", more)
		}
	}
	if r := vespene(t, append(args, "--queue", "web")...); r.code != 0 ||
		samples(t, file)[`vespene_autoscale_pool_desired_size{pool="web"}`] != "3" {
		t.Errorf("a run with nothing due: exit %d, %v", r.code, samples(t, file))
	}
}

// TestMetricsWithoutDatabase: a run that cannot read the pools leaves what is known of them, but not their builds.
func TestMetricsWithoutDatabase(t *testing.T) {
	t.Parallel()
	file, state := filepath.Join(t.TempDir(), "vespene.prom"), newState(t)
	if r := vespene(t, "--database", demo, "--state", state, "--metrics-file", file); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	before := samples(t, file)
	nightly := filepath.Join(t.TempDir(), "nightly.prom") // a pool may be called as a metric is
	for _, address := range []string{sqliteDatabase(t, "INSERT INTO worker_pools (id, name, executor_command) "+
		"VALUES (1, 'nightly_builds', 'true')"), "sqlite:gone"} {
		vespene(t, "--database", address, "--state", state, "--metrics-file", nightly)
		if after := samples(t, nightly); after[`vespene_autoscale_pool_desired_size{pool="nightly_builds"}`] != "0" {
			t.Errorf("with %s: %v", address, after)
		}
	}
	for code, args := range map[int][]string{exitDatabase: {"--database", "sqlite:gone"},
		exitUsage: {"--database", "nonsense:"}, exitState: {"--database", demo, "--state", "/dev/null/x"}} {
		r := vespene(t, append([]string{"--state", state, "--metrics-file", file}, args...)...)
		after := samples(t, file)
		const success = `vespene_autoscale_pool_last_success_timestamp_seconds{pool="linux"}`
		if r.code != code || after["vespene_autoscale_run_exit_code"] != fmt.Sprint(code) || after[success] == "" ||
			after[success] != before[success] {
			t.Errorf("%v: exit %d, %v", args, r.code, after)
		}
		if _, kept := after[`vespene_autoscale_pool_queued_builds{pool="linux"}`]; kept || len(after) != len(before)-6 {
			t.Errorf("%v: %d samples, before %d", args, len(after), len(before))
		}
	}
	vespene(t, "--database", demo, "--state", state, "--metrics-file", file)
	if again := samples(t, file); len(again) != len(before) || again["vespene_autoscale_run_exit_code"] != "0" {
		t.Errorf("afterwards: %v", again)
	}
}

// TestMetricsUnwritable: metrics that cannot be written are exit 74, but the pools are served.
func TestMetricsUnwritable(t *testing.T) {
	t.Parallel()
	served := filepath.Join(t.TempDir(), "served")
	address := onePool(t, "touch "+served)
	fifo := filepath.Join(t.TempDir(), "fifo") // as /dev/null would be, in whose place there must never be a file
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, why := range map[string]string{"/proc/vespene.prom": "no such file or directory", fifo: "no regular file",
		t.TempDir(): "is a directory"} {
		os.Remove(served)
		r := vespene(t, "--database", address, "--state", newState(t), "--metrics-file", file)
		if _, err := os.Stat(served); r.code != exitState || err != nil ||
			!strings.Contains(r.stderr, "write the metrics to "+file+": ") ||
			!strings.Contains(r.stderr, why) || !strings.Contains(r.stderr, "ReadWritePaths=") {
			t.Errorf("%s: exit %d, %v: %s", file, r.code, err, r.stderr)
		}
	}
	if info, err := os.Lstat(fifo); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the named pipe is %v now, %v", info, err)
	}
	link, target := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "target")
	writeFile(t, target, nil)
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if r := vespene(t, "--database", address, "--state", newState(t), "--metrics-file", link); r.code != 0 ||
		samples(t, target)["vespene_autoscale_run_exit_code"] != "0" {
		t.Errorf("by a link: exit %d, %s", r.code, r.stderr)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v now, %v", info, err)
	}
}

// TestMetricsAreWhole: who reads while they are written has all of the old or all of the new; a signalled run writes
// them, too.
func TestMetricsAreWhole(t *testing.T) {
	t.Parallel()
	file, state := filepath.Join(t.TempDir(), "vespene.prom"), newState(t)
	began := filepath.Join(t.TempDir(), "began")
	address := onePool(t, "touch "+began+"; sleep 30")
	cmd, _, _ := program(t, "--database", address, "--state", state, "--metrics-file", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(began); return err == nil })
	cmd.Process.Signal(syscall.SIGTERM)
	if code := exitOf(t, cmd.Wait()); code != 128+int(syscall.SIGTERM) ||
		samples(t, file)["vespene_autoscale_run_exit_code"] != "143" {
		t.Errorf("exit %d, %v", code, samples(t, file))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			vespene(t, "--database", demo, "--state", state, "--metrics-file", file)
		}
	}()
	for reads := 0; ; reads++ {
		select {
		case <-done:
			if reads < 100 {
				t.Errorf("it was read %d times only", reads)
			}
			return
		default:
			if content := string(contentOf(t, file)); !strings.HasPrefix(content, "# HELP ") ||
				!regexp.MustCompile(`\nvespene_autoscale_run_exit_code \d+\n$`).MatchString(content) {
				t.Fatalf("half a file: %q", content)
			}
		}
	}
}

// TestDashboard: the dashboard and the alert rules of docs/monitoring.md speak of metrics that there are.
func TestDashboard(t *testing.T) {
	var dashboard map[string]any
	text := contentOf(t, "docs/grafana-dashboard.json")
	if err := json.Unmarshal(text, &dashboard); err != nil || dashboard["title"] == "" {
		t.Errorf("%v", err)
	}
	known := map[string]bool{"vespene_autoscale_build_info": true, "vespene_autoscale_run_exit_code": true}
	for _, m := range metricsOf(poolStatus{}) {
		known["vespene_autoscale_pool_"+m.name] = true
	}
	manual := string(contentOf(t, "docs/monitoring.md"))
	named := regexp.MustCompile(`vespene_autoscale_(pool|run|build)_[a-z_]+`).FindAllString(manual+string(text), -1)
	if len(named) < 20 {
		t.Errorf("%d metrics are named", len(named))
	}
	for _, name := range named {
		if !known[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
	for name := range known {
		if !strings.Contains(manual, name) {
			t.Errorf("docs/monitoring.md does not have %s", name)
		}
	}
}

// TestAlerts: Prometheus takes the rules of docs/monitoring.md, and they fire when they should, and not before.
func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	need(t, "promtool", err == nil)
	rules := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(contentOf(t, "docs/monitoring.md"))
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, "rules.yml"), rules[1])
	var series, expected strings.Builder
	for name, values := range map[string]string{
		`vespene_autoscale_pool_last_success_timestamp_seconds{pool="web"}`: "0x90",
		`vespene_autoscale_pool_interval_seconds{pool="web"}`:               "300x90",
		`vespene_autoscale_pool_desired_size{pool="web"}`:                   "4x10 10x80",
		`vespene_autoscale_pool_maximum_size{pool="web"}`:                   "10x90",
		`vespene_autoscale_pool_consecutive_failures{pool="web"}`:           "0 1 2x7 3x80",
		`vespene_autoscale_run_exit_code`:                                   "0x10 75x20 69x60",
		`node_textfile_mtime_seconds{file="/d/vespene-autoscale.prom"}`:     "1800x90",
	} {
		fmt.Fprintf(&series, "      - series: '%s'\n        values: '%s'\n", name, values)
	}
	for _, alert := range []struct {
		name, labels, summary string
		before, from          int // minutes
	}{
		{"VespeneAutoscaleNoSuccess", "pool: web",
			"web was not scaled for three intervals: vespene-autoscale status", 15, 16},
		{"VespeneAutoscaleAtMaximum", "pool: web",
			"web has been at its maximum for 30 minutes: builds wait, or are stuck", 40, 42},
		{"VespeneAutoscaleFailing", "pool: web",
			"web's command failed 3 times in a row: vespene-autoscale history", 8, 11},
		{"VespeneAutoscaleRunFails", "",
			"vespene-autoscale ends with 69: journalctl -u vespene-autoscale -p err", 46, 48},
		{"VespeneAutoscaleSilent", "file: /d/vespene-autoscale.prom",
			"vespene-autoscale has not run for 10 minutes: systemctl list-timers vespene-autoscale.timer", 40, 41},
	} {
		fmt.Fprintf(&expected, "      - {eval_time: %dm, alertname: %s, exp_alerts: []}\n", alert.before, alert.name)
		fmt.Fprintf(&expected, "      - {eval_time: %dm, alertname: %s, exp_alerts: [{exp_labels: {%s}, "+
			"exp_annotations: {summary: %q}}]}\n", alert.from, alert.name, alert.labels, alert.summary)
	}
	test := "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n" +
		series.String() + "    alert_rule_test:\n" + expected.String()
	writeFile(t, filepath.Join(directory, "test.yml"), []byte(test))
	if output, err := exec.Command(promtool, "test", "rules",
		filepath.Join(directory, "test.yml")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestNodeExporter: a real node_exporter passes on what a run wrote.
func TestNodeExporter(t *testing.T) {
	t.Parallel()
	exporter, err := exec.LookPath("prometheus-node-exporter")
	need(t, "prometheus-node-exporter", err == nil)
	directory := t.TempDir()
	if r := vespene(t, "--database", demo, "--state", newState(t),
		"--metrics-file", filepath.Join(directory, "vespene.prom")); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	cmd := exec.Command(exporter, "--collector.disable-defaults", "--collector.textfile",
		"--collector.textfile.directory="+directory, "--web.listen-address="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var page string
	waitFor(t, func() bool {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		page = string(content)
		return err == nil
	})
	for _, want := range []string{"\nnode_textfile_scrape_error 0\n",
		"\nvespene_autoscale_pool_desired_size{pool=\"arm\"} 5\n", "\nvespene_autoscale_run_exit_code 0\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}
