//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// randomMoment is from 4 ms to 1 s, as often between 4 and 8 ms as between 500 ms and 1 s.
func randomMoment(random *rand.Rand) time.Duration {
	return time.Duration(4 * math.Pow(2, 8*random.Float64()) * float64(time.Millisecond))
}

// TestManyKills kills the program at random moments of 200 runs, and signals it at as many: the state can be read
// whenever that happens, no command runs without its row or beside another one, and the next run leaves no row open.
func TestManyKills(t *testing.T) {
	for name, signals := range map[string][]syscall.Signal{
		"killed":    {syscall.SIGKILL},
		"signalled": {syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			directory, state := t.TempDir(), newState(t)
			log := filepath.Join(directory, "log")
			database := onePool(t, "cd "+directory+"; trap 'echo SIGINT >> log' INT; echo begun >> log; "+
				"[ -e running ] && echo twice >> log; : > running; sleep 0.05; rm running || rm running")
			random := rand.New(rand.NewPCG(3, 4))
			for range 200 {
				cmd, _, stderr := program(t, "--database", database, "--state", state, "--force")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				signal := signals[random.IntN(len(signals))]
				sent := time.AfterFunc(randomMoment(random), func() { cmd.Process.Signal(signal) })
				code := exitOf(t, cmd.Wait())
				sent.Stop()
				if code != 0 && code != exitBusy && code != -int(signal) && code != 128+int(signal) {
					t.Fatalf("%v: exit %d, %s", signal, code, stderr)
				}
				content, _ := os.ReadFile(log)
				begun := bytes.Count(content, []byte("begun"))
				if begun > 0 && begun > len(evaluations(t, state)) || bytes.Contains(content, []byte("twice")) {
					t.Fatalf("%d commands, %v, log\n%s", begun, evaluations(t, state), content)
				}
				if interrupts := bytes.Count(content, []byte("SIGINT")); interrupts > begun || name == "killed" &&
					interrupts > 0 {
					t.Fatalf("%d commands got %d SIGINT", begun, interrupts)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := vespene(t, "--database", database, "--state", state, "--force")
			for ; r.code == exitBusy && ctx.Err() == nil; r = vespene(t, "--database", database, "--state", state,
				"--force") {
			}
			outcomes := map[string]int{}
			for _, e := range evaluations(t, state) {
				outcomes[e.outcome()]++
			}
			t.Logf("%v", outcomes)
			if r.code != 0 || outcomes[""] > 0 || outcomes[scaled] == 0 || name == "killed" && outcomes[failed] > 0 {
				t.Errorf("exit %d, %v", r.code, outcomes)
			}
		})
	}
}
