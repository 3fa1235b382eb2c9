package main

import (
	"fmt"

	"vespene-autoscale/internal/shelltemplate"
)

// environmentOf says which variable of a command's environment has the same as a name in its template.
var environmentOf = map[string]string{"worker_pool.name": "VESPENE_POOL", "worker.name": "VESPENE_POOL", "previous_size": "VESPENE_PREVIOUS_SIZE"}

// render makes the command line of a pool's template. The error is a sentence about executor_command.
func render(p pool, planned plan, previousSize *int64) (line string, err error) {
	columns := p.columns.all()
	values := map[string]any{
		"worker_pool": columns, "worker": columns, "variables": planned.variables, "previous_size": nil,
		"size": planned.size, "queued_size": planned.queuedSize, "queued": planned.queued, "running": planned.running,
	}
	if previousSize != nil {
		values["previous_size"] = *previousSize
	}
	command, err := shelltemplate.Render(planned.command, values, environmentOf)
	if err != nil {
		return "", fmt.Errorf("executor_command: %w", err)
	}
	return command.Line, nil
}
