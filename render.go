package main

import (
	"fmt"

	"vespene-autoscale/internal/shelltemplate"
)

// render.go owns what a template is told of a pool.

// environmentOf has the variable of a command's environment that holds the same as a name in its template.
var environmentOf = map[string]string{"worker_pool.name": "VESPENE_POOL", "worker.name": "VESPENE_POOL",
	"previous_size": "VESPENE_PREVIOUS_SIZE"}

// render makes the command line of a pool's template. The error is a sentence about executor_command.
func render(p pool, planned plan, previousSize *int64) (line string, err error) {
	values := told(facts(p, planned, previousSize), toTemplate)
	command, err := shelltemplate.Render(planned.command, values, environmentOf)
	if err != nil {
		return "", fmt.Errorf("executor_command: %w", err)
	}
	return command.Line, nil
}
