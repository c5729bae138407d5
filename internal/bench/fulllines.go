package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"loadbalance/internal/netlab"
)

// The downloads of a household or dormitory: many pages and a few files. The sizes
// are those of the simulation that the limits of full lines come from.
const (
	pageBytes   = 50_000
	pages       = 0.8   // of all downloads; the others are Pareto, with
	paretoShape = 1.5   // this exponent
	paretoLeast = 5e6   // from so many bytes on
	paretoMost  = 200e6 // so that one alone does not decide a run
	largeBytes  = 1e6   // a download is large from here on
	halfLoad    = 50e6  // bit/s, of five lines of 20 Mbit/s
	fullRun     = 180 * time.Second
	wantedPart  = 0.85 // of the time that large downloads take without stated rates
	fullRunSeed = 14
)

// paretoMean is the mean of the sizes above, before the largest are cut off.
const paretoMean = paretoLeast * paretoShape / (paretoShape - 1)

// download is one: when it begins, counted from the start, and its bytes.
type download struct {
	at    time.Duration
	bytes int64
	took  time.Duration
}

// downloads are the same for the same seed.
func downloads(seed uint64) []download {
	random := rand.New(rand.NewPCG(seed, 1))
	mean := pages*pageBytes + (1-pages)*paretoMean
	perSecond := halfLoad / 8 / mean
	var all []download
	for at := time.Duration(0); at < fullRun; at += time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)) {
		size := float64(pageBytes)
		if random.Float64() >= pages {
			size = min(paretoLeast/math.Pow(1-random.Float64(), 1/paretoShape), paretoMost)
		}
		all = append(all, download{at: at, bytes: int64(size)})
	}
	return all
}

// loadedLines measures how long large downloads take at half load, with rotation
// alone and with stated rates, in turn.
func (b *bench) loadedLines() error {
	r, err := b.newRig(netlab.Options{Uplinks: 5, Rate: "20mbit"})
	if err != nil {
		return err
	}
	defer r.Close()
	t := newTable(b.out, "run", "rates", "downloads", "large", "mean time of large", "bytes/s while any runs")
	times := map[string][]float64{}
	for run := range 4 {
		rates := []string{"not stated", "stated"}[run%2]
		options := []string{"option track_method 'ping'", fmt.Sprintf("list track_ip '%v'", netlab.Server(1))}
		if rates == "stated" {
			options = append(options, "option download '20mbit'", "option upload '20mbit'")
		}
		all, took, err := r.download(options, downloads(fullRunSeed+uint64(run/2)))
		if err != nil {
			return err
		}
		var large []float64
		var sum int64
		for _, d := range all {
			sum += d.bytes
			if d.bytes >= largeBytes {
				large = append(large, d.took.Seconds())
			}
		}
		mean := 0.0
		for _, seconds := range large {
			mean += seconds / float64(len(large))
		}
		times[rates] = append(times[rates], mean)
		t.row(fmt.Sprint(run+1), rates, fmt.Sprint(len(all)), fmt.Sprint(len(large)), fmt.Sprintf("%.2f s", mean), fmt.Sprintf("%.2f MB/s", float64(sum)/took.Seconds()/1e6))
	}
	without, with := times["not stated"][0]+times["not stated"][1], times["stated"][0]+times["stated"][1]
	t.row("both", "stated, of not stated", "", "", percent(with, without), budget(with <= wantedPart*without, "%.0f %%", 100*wantedPart))
	return t.Flush()
}

// download has downloads done under a configuration, and returns them with the
// time that all of them took together.
func (r *rig) download(options []string, all []download) ([]download, time.Duration, error) {
	if err := r.track(options); err != nil {
		return nil, 0, err
	}
	m, err := r.startMonitor()
	if err != nil {
		return nil, 0, err
	}
	var group sync.WaitGroup
	failures := make(chan error, len(all))
	start := time.Now()
	hosts := r.LANHosts()
	for i := range all {
		time.Sleep(time.Until(start.Add(all[i].at)))
		group.Add(1)
		go func() {
			defer group.Done()
			begun := time.Now()
			if err := r.fetch(hosts[i%len(hosts)], all[i].bytes); err != nil {
				failures <- err
			}
			all[i].took = time.Since(begun)
		}()
	}
	group.Wait()
	took := time.Since(start)
	close(failures)
	return all, took, errors.Join(<-failures, m.end())
}

// fetch downloads so many bytes to a host of the LAN.
func (r *rig) fetch(host netip.Addr, bytes int64) error {
	var conn net.Conn
	err := r.Client.Do(func() (err error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: host.AsSlice()}, Timeout: 30 * time.Second}
		conn, err = dialer.Dial("tcp", netip.AddrPortFrom(netlab.Server(2), netlab.SourcePort).String())
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "?\n%d\n", bytes); err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, conn, bytes) // the first line makes up for the last bytes
	return err
}
