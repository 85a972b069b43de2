package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// connected tells what came of the first phase.
func (l *Load) connected() map[string]interface{} {
	return map[string]interface{}{
		"phase": "connected", "open": l.open, "refused": l.faults.Refused, "connect_s": l.connectTook.Seconds(),
		"handshake": l.handshakes.sparse(), "samples": l.faults.Samples,
	}
}

// measured tells what came of `phase`, and what it cost this process.
func (l *Load) measured(phase func()) map[string]interface{} {
	l.lag = Histogram{}
	cpu, waited, begin := used(), waitedFor(), l.now()
	phase()
	wall := float64(l.last-begin) / 1e9
	if l.seconds == 0 {
		wall = l.connectTook.Seconds()
	}
	return map[string]interface{}{
		"phase": "measured", "wall_s": wall, "sent": l.sent, "replies": l.replies, "chunks": l.chunksSeen,
		"chunks_in_time": l.inTime, "faults": l.faults, "open": l.open, "connect_s": l.connectTook.Seconds(),
		"handshake": l.handshakes.sparse(), "first": l.first.sparse(), "between": l.between.sparse(),
		"whole": l.whole.sparse(), "lag": l.lag.sparse(),
		"whole_sum_s": float64(l.wholeSum) / 1e9, "cpu_s": used() - cpu, "waited_s": waitedFor() - waited, "busy_wall_s": float64(l.now()-begin) / 1e9,
	}
}

// used is the processor time of this process, in seconds.
func used() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return (time.Duration(usage.Utime.Nano()) + time.Duration(usage.Stime.Nano())).Seconds()
}

// waitedFor is how long the loop's thread was ready to run and had no processor, in seconds (proc(5), schedstat).
func waitedFor() float64 {
	text, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	nanoseconds, _ := strconv.ParseInt(fields[1], 10, 64)
	return float64(nanoseconds) / 1e9
}
