package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// metrics.go writes the metrics of a run and its pools, for Prometheus.

// writeMetrics writes the metrics of the pools and of the run, which ends with that code, for node_exporter's textfile
// collector: by renaming, so that no half of a file is ever read. If the pools could not be read, what the file has
// of them stays, except for the builds, which are others by now.
func writeMetrics(path, version string, pools []poolStatus, read bool, code int) error {
	var b bytes.Buffer
	family := func(name, help string, samples ...string) {
		if len(samples) > 0 {
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %[1]s gauge\n", name, help)
		}
		for _, sample := range samples {
			fmt.Fprintf(&b, "%s%s\n", name, sample)
		}
	}
	if !read {
		poolMetric := regexp.MustCompile(`^(?:# HELP |# TYPE )?vespene_autoscale_pool_([a-z_]+)`)
		previous, _ := os.ReadFile(path)
		for line := range strings.Lines(string(previous)) {
			if of := poolMetric.FindStringSubmatch(line); of != nil && !strings.HasSuffix(of[1], "_builds") {
				b.WriteString(line)
			}
		}
	}
	samples := map[string][]string{}
	for _, s := range pools {
		for _, m := range metricsOf(s) {
			if m.value != nil {
				sample := fmt.Sprintf("{pool=\"%s\"} %s", labelValue.Replace(s.Pool),
					strconv.FormatFloat(*m.value, 'f', -1, 64))
				samples[m.name] = append(samples[m.name], sample)
			}
		}
	}
	for _, m := range metricsOf(poolStatus{}) {
		family("vespene_autoscale_pool_"+m.name, m.help, samples[m.name]...)
	}
	family("vespene_autoscale_build_info", "The program that wrote this; always 1.",
		fmt.Sprintf("{version=\"%s\"} 1", labelValue.Replace(version)))
	family("vespene_autoscale_run_exit_code", "The exit code of the last run over the pools.", fmt.Sprintf(" %d", code))

	if err := replaceFile(path, b.Bytes()); err != nil {
		if named, is := errors.AsType[*fs.PathError](err); is { // of the file that would have been renamed
			err = named.Err
		} else if link, is := errors.AsType[*os.LinkError](err); is {
			err = link.Err
		}
		text := withoutAddress(fmt.Sprintf("write the metrics to %s: %v", path, err))
		return &failure{code: exitState, err: errors.New(text),
			hint: "name a file with --metrics-file in a directory that this user, and under systemd its sandbox " +
				"(ReadWritePaths=), lets it write to"}
	}
	return nil
}

// replaceFile puts a file with that content, for all to read, in the place of the one at path or that path links to.
func replaceFile(path string, content []byte) error {
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		path = target
	} else if _, isThere := os.Lstat(path); isThere == nil { // a link to nowhere
		return err
	}
	if err := regular(path); err != nil { // /dev/null, say, which all the machine needs
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".vespene-autoscale-") // not *.prom, which would be read
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Chmod(0o644), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}

// labelValue writes a label's value as the text format has it.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// metric is one of a pool; a value of nil is unknown.
type metric struct {
	name, help string
	value      *float64
}

// metricsOf are the metrics of a pool, always the same in the same order.
func metricsOf(s poolStatus) []metric {
	return []metric{
		{"desired_size", "Workers the pool should have, by its last evaluation.", float(s.LastSize)},
		{"desired_queued_size", "Queued builds within the pool's bounds, by its last evaluation.",
			float(s.LastQueuedSize)},
		{"queued_builds", "Queued builds as the pool counts them.", float(s.Queued)},
		{"running_builds", "Running builds.", float(s.Running)},
		{"minimum_size", "The least workers the pool may have.", float(s.Minimum)},
		{"maximum_size", "The most workers the pool may have.", float(s.Maximum)},
		{"interval_seconds", "How often the pool is to be evaluated.", seconds(s.interval)},
		{"last_evaluation_timestamp_seconds", "When the last evaluation began.", timestamp(s.LastEvaluation)},
		{"last_success_timestamp_seconds", "When the last evaluation began that scaled the pool.",
			timestamp(s.LastSuccess)},
		{"last_exit_code", "The exit code of the pool's last command.", float(s.LastExitCode)},
		{"last_duration_seconds", "How long the last evaluation took.", seconds(s.took)},
		{"consecutive_failures", "Evaluations in a row that did not scale the pool.", float(s.Failures)},
	}
}

// figure returns the value of a metric, or nil for nil.
func figure[T any](value *T, of func(T) float64) *float64 {
	if value == nil {
		return nil
	}
	return new(of(*value))
}

func float[N int | int64](n *N) *float64 { return figure(n, func(n N) float64 { return float64(n) }) }

func seconds(d *time.Duration) *float64 { return figure(d, time.Duration.Seconds) }

func timestamp(t *time.Time) *float64 {
	return figure(t, func(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 })
}
