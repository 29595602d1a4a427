package integration_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoWorkers runs what make demo-workers runs. The demonstration ends with an error
// unless every recording is in the bucket, once and exact.
func TestDemoWorkers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	demo := filepath.Join(filepath.Dir(binary), "demo")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", demo, "./demo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.CommandContext(ctx, demo, "-archiverd", binary, "-workers")
	tmp := filepath.Join(filepath.Dir(binary), "tmp") // PostgreSQL's user can reach it
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	c.Env = append(c.Environ(), "TMPDIR="+tmp)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, says := range []string{"worker 2 is killed", "s after the kill", "Yes: all 72 of them"} {
		if !strings.Contains(string(out), says) {
			t.Errorf("the demonstration does not say %q:\n%s", says, out)
		}
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
