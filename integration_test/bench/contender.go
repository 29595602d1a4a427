package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage is what one process cost.
type usage struct {
	Wall, CPU time.Duration
	Others    time.Duration // CPU that all other processes of the machine spent meanwhile
	Peak      int64         // bytes of anonymous memory, the most that was resident at any look
}

// looks is how often a process's memory is read.
const looks = 5 * time.Millisecond

// measure runs a command to its end. It fails with the command's own words.
func measure(c *exec.Cmd) (u usage, output string, err error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	began, busy := time.Now(), machineBusy()
	if err := c.Start(); err != nil {
		return u, "", err
	}
	ctx, stop := context.WithCancel(context.Background())
	peak := make(chan int64)
	go func() { peak <- watch(ctx, c.Process.Pid) }()
	err = c.Wait()
	u.Wall = time.Since(began)
	stop()
	u.Peak = <-peak
	u.CPU = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	u.Others = max(0, machineBusy()-busy-u.CPU)
	if err != nil {
		return u, out.String(), fmt.Errorf("%s: %w\n%s", c.Path, err, tail(out.String()))
	}
	return u, out.String(), nil
}

// machineBusy is the CPU time that all processes have spent since the machine began; 0 if
// the kernel does not say.
func machineBusy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	var user, nice, system, idle, waiting, irq, softirq int64 // in hundredths of a second
	_, err = fmt.Sscanf(first, "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &waiting, &irq, &softirq)
	if err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+softirq) * 10 * time.Millisecond
}

// watch looks at a process's anonymous memory until told to stop.
func watch(ctx context.Context, pid int) (peak int64) {
	t := time.NewTicker(looks)
	defer t.Stop()
	for {
		peak = max(peak, anonymous(pid))
		select {
		case <-t.C:
		case <-ctx.Done():
			return peak
		}
	}
}

// anonymous is a process's anonymous resident memory in bytes; 0 once it has gone.
func anonymous(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// spent is the CPU time that a process has spent; 0 once it has gone.
func spent(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), ") ") // the program's name
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64) // in hundredths of a second
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// medians are those of each figure for itself.
func medians(all []usage) usage {
	return usage{
		median(all, func(u usage) time.Duration { return u.Wall }),
		median(all, func(u usage) time.Duration { return u.CPU }),
		median(all, func(u usage) time.Duration { return u.Others }),
		median(all, func(u usage) int64 { return u.Peak }),
	}
}

func median[T cmp.Ordered](all []usage, of func(usage) T) T {
	var values []T
	for _, u := range all {
		values = append(values, of(u))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
