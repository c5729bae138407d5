package probe

import (
	"os"
	"runtime"
	"testing"

	"loadbalance/internal/family"
)

// descriptors counts the open files of the process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// The use of goroutines and files does not grow with the number of probes, and
// is what it was before when the prober is closed, whatever is still open.
func TestNothingLeaks(t *testing.T) {
	l := newLab(t, 2)
	l.serveAll(1)
	l.inFar(2, func() { l.nft("netdev", "ingress device wan", "drop") })
	if err := l.prober.Close(); err != nil {
		t.Fatal(err)
	}
	goroutines, files := runtime.NumGoroutine(), descriptors(t)

	prober, err := Open(l.answers, l.forget)
	if err != nil {
		t.Fatal(err)
	}
	l.prober = prober
	ask := func(first, rounds uint32) {
		for round := first; round < first+rounds; round++ {
			for _, f := range family.All {
				for i, method := range methods {
					dead := l.probe(2, f, method, round)
					dead.Target = i
					l.send(dead)
					p := l.probe(1, f, method, round)
					p.Target = i
					l.send(p)
					l.expect(p)
				}
			}
		}
	}
	ask(0, maxAttempts)
	someGoroutines, someFiles := runtime.NumGoroutine(), descriptors(t)
	ask(maxAttempts, 50) // 1000 probes
	l.eventually("as many goroutines and files as after the first rounds", func() bool {
		return runtime.NumGoroutine() <= someGoroutines && descriptors(t) <= someFiles
	})

	prober.Forget(l.probe(2, family.IPv4, "tcp", 0).Key)
	if err := prober.Close(); err != nil {
		t.Fatal(err)
	}
	l.eventually("as many goroutines and files as before", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors(t) <= files
	})
}

// Close does not wait for a receiver of answers.
func TestCloseWithoutReceiver(t *testing.T) {
	l := newLab(t, 1)
	l.serveAll(1)
	unread := make(chan Answer)
	prober, err := Open(unread, l.forget)
	if err != nil {
		t.Fatal(err)
	}
	for i, method := range methods {
		p := l.probe(1, family.IPv4, method, 1)
		p.Target = i
		if err := prober.Send(p); err != nil {
			t.Fatal(err)
		}
	}
	<-unread // the others wait now, or will
	if err := prober.Close(); err != nil {
		t.Fatal(err)
	}
}
