package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"
)

// machine is where the figures were seen.
type machine struct {
	Date, CPU, Kernel, Go, Archiverd, Rclone, Versitygw, MinIO string
	Cores                                                      int
}

func (b *bench) machine() (m machine, err error) {
	m = machine{Date: time.Now().UTC().Format(time.DateOnly), Cores: runtime.NumCPU(), Go: runtime.Version()}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
		}
	}
	tools := filepath.Dir(b.rclonePath)
	for _, v := range []struct {
		to      *string
		command []string
	}{
		{&m.Kernel, []string{"uname", "-sr"}},
		{&m.Archiverd, []string{b.archiverdPath, "version"}},
		{&m.Rclone, []string{b.rclonePath, "version"}},
		{&m.Versitygw, []string{"go", "version", "-m", filepath.Join(tools, "versitygw")}},
		{&m.MinIO, []string{"go", "version", "-m", filepath.Join(tools, "minio")}},
	} {
		out, err := exec.Command(v.command[0], v.command[1:]...).Output()
		if err != nil {
			return m, fmt.Errorf("%s: %w", v.command[0], err)
		}
		*v.to = versionIn(string(out))
	}
	return m, nil
}

// versionIn is the first line, or the main module's version that go version -m names.
func versionIn(out string) string {
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[0] == "mod" {
			return fields[2]
		}
	}
	first, _, _ := strings.Cut(out, "\n")
	return first
}

//go:embed performance.md.tmpl
var pageText string

// pages are what is written into docs, by file, from what was measured last.
func (b *bench) pages() (map[string][]byte, error) {
	var all struct {
		Short   *results
		Long    *longResults
		Latency *latencyResults
		Workers *workersResults
	}
	err := errors.Join(b.load("short.json", &all.Short), b.load("long.json", &all.Long), b.load("latency.json", &all.Latency), b.load("workers.json", &all.Workers))
	if err != nil {
		return nil, err
	}
	pages := map[string][]byte{}
	if pages["performance.md"], err = execute("performance.md", pageText, all); err != nil || all.Short == nil {
		return pages, err
	}
	pages["performance/small.svg"], err = picture(all.Short.Against)
	return pages, err
}

func execute(name, text string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{
		"seconds": seconds,
		"millis":  millis,
		"mib":     mib,
		"ratio":   ratio[time.Duration],
		"share":   ratio[int64],
		"verdict": verdict,
		"within":  within,
		"percent": func(share float64) float64 { return 100 * share },
		"sum":     sumOf,
		"counts":  counts,
		"add":     func(a, b int) int { return a + b },
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, data)
	return out.Bytes(), err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
func mib(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// load reads earlier results; it is no error that there are none.
func (b *bench) load(name string, v any) error {
	text, err := os.ReadFile(filepath.Join(b.docs, "performance", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func ratio[T time.Duration | int64](ours, theirs T) float64 {
	return float64(int(100*float64(ours)/float64(theirs)+0.5)) / 100
}

// verdict says whether a ratio keeps to its limit.
func verdict(ratio, limit float64) string {
	if ratio <= limit {
		return fmt.Sprintf("%.2f ≤ %g", ratio, limit)
	}
	return fmt.Sprintf("**%.2f > %g**", ratio, limit)
}

// within is a figure, marked where it is beyond its limit.
func within(figure string, ok bool) string {
	if ok {
		return figure
	}
	return "**" + figure + "**"
}

// sumOf adds up the values whose names begin with a prefix.
func sumOf(of map[string]float64, prefix string) (sum float64) {
	for name, n := range of {
		if strings.HasPrefix(name, prefix) {
			sum += n
		}
	}
	return sum
}

func counts(of map[string]int64) string {
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(of)) {
		if of[op] > 0 && op != "media" {
			parts = append(parts, fmt.Sprintf("%d %s", of[op], op))
		}
	}
	return strings.Join(parts, ", ")
}
