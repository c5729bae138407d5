package probe

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// BenchmarkProbe is the cost of a probe and its answer, in time of the process
// (ns/op is that of one probe after the other) and allocations.
func BenchmarkProbe(b *testing.B) {
	for _, method := range []string{"ping", "arp"} {
		for _, f := range family.All {
			b.Run(method+" "+f.String(), func(b *testing.B) { benchmark(b, method, f) })
		}
	}
}

func benchmark(b *testing.B, method string, f family.Family) {
	l := newLab(b, 1)
	p := l.probe(1, f, method, 0)
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	lost := time.After(time.Minute) // once: it is not to be measured
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		p.Round++
		if err := l.prober.Send(p); err != nil {
			b.Fatal(err)
		}
		select {
		case <-l.answers:
		case <-lost:
			b.Fatal("an answer was lost")
		}
	}
	b.StopTimer()
	unix.Getrusage(unix.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
}
