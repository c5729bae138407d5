package netlab

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bulk describes parallel TCP transfers between LAN hosts and the World.
type Bulk struct {
	Connections int  // default 1
	Upload      bool // instead of a download
	// WarmUp, default 1 s, passes before the measurement: slow start, and the
	// burst that the shaping lets through.
	WarmUp   time.Duration
	Duration time.Duration // of the measurement, default 5 s
	// Server's port is ignored; default Server(1).
	Server netip.Addr
	// From, Sources, Device and Mark are as in Traffic.
	From    *Namespace
	Sources []netip.Addr
	Device  string
	Mark    uint32
	// Progress, if not nil, is called several times a second, warm-up
	// included, with the rates of the moment as in Throughput.ByUplink.
	Progress func(mbit []float64)
}

// Throughput is the result of a Bulk: TCP payload in Mbit/s.
type Throughput struct {
	Mbit     float64
	ByUplink []float64 // index 0: over no uplink
	// Connections counts the connections by uplink.
	Connections []int
}

// Throughput runs a Bulk. It fails if any connection cannot be opened.
func (l *Lab) Throughput(b Bulk) (Throughput, error) {
	if b.WarmUp == 0 {
		b.WarmUp = time.Second
	}
	if b.Duration == 0 {
		b.Duration = 5 * time.Second
	}
	if !b.Server.IsValid() {
		b.Server = Server(1)
	}
	port := uint16(SourcePort)
	if b.Upload {
		port = SinkPort
	}
	count := max(b.Connections, 1)
	flows, tally := l.Open(Traffic{
		Server: netip.AddrPortFrom(b.Server, port), From: b.From, Sources: b.Sources, Device: b.Device, Mark: b.Mark,
		Count: count, Parallel: count,
	})
	if tally.Failed > 0 {
		flows.Close()
		return Throughput{}, fmt.Errorf("%d of %d connections: %w", tally.Failed, count, tally.Err)
	}
	stop := l.transfer(flows, b.Upload)
	l.measure(flows, b, b.WarmUp)
	result := Throughput{ByUplink: l.measure(flows, b, b.Duration), Connections: tally.ByUplink}
	stop()
	for _, mbit := range result.ByUplink {
		result.Mbit += mbit
	}
	return result, nil
}

// progressInterval is how often progress is reported: often enough to look
// alive, and so that a 20 Mbit/s line carries hundreds of packets in between.
const progressInterval = 200 * time.Millisecond

// measure waits and returns the rate of each uplink in that time, in Mbit/s.
func (l *Lab) measure(flows Flows, b Bulk, duration time.Duration) []float64 {
	first := l.sample(flows, b.Upload)
	end := first.taken.Add(duration)
	for last := first; b.Progress != nil && time.Until(end) > progressInterval; {
		time.Sleep(progressInterval)
		now := l.sample(flows, b.Upload)
		b.Progress(now.since(last))
		last = now
	}
	time.Sleep(time.Until(end))
	return l.sample(flows, b.Upload).since(first)
}

// sample is what all flows have transferred up to a moment, by uplink.
type sample struct {
	bytes []int64
	taken time.Time
}

func (l *Lab) sample(flows Flows, upload bool) sample {
	return sample{l.transferred(flows, upload), time.Now()}
}

// since returns the rates from an earlier sample to this one, in Mbit/s.
func (s sample) since(earlier sample) []float64 {
	rates := make([]float64, len(s.bytes))
	for i := range rates {
		rates[i] = float64(s.bytes[i]-earlier.bytes[i]) * 8 / 1e6 / s.taken.Sub(earlier.taken).Seconds()
	}
	return rates
}

// transfer moves data over all flows until stop is called, which closes them.
func (l *Lab) transfer(flows Flows, upload bool) (stop func()) {
	var wait sync.WaitGroup
	for _, f := range flows {
		wait.Add(1)
		go func() {
			defer wait.Done()
			f.transfer(upload)
		}()
	}
	return func() {
		flows.Close()
		wait.Wait()
	}
}

func (f *Flow) transfer(upload bool) {
	buffer := make([]byte, bulkBuffer)
	if f.file.SetDeadline(time.Time{}) != nil {
		return // closed already
	}
	move := f.file.Read
	if upload {
		move = f.file.Write
	} else if _, err := f.file.Write([]byte("go\n")); err != nil {
		return
	}
	for {
		n, err := move(buffer)
		f.moved.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// transferred is the number of bytes that arrived, by uplink: here for a
// download, at the World for an upload.
func (l *Lab) transferred(flows Flows, upload bool) []int64 {
	sums := make([]int64, l.Uplinks()+1)
	if upload {
		for i := range sums {
			sums[i] = l.servers.sunk[i].Load()
		}
		return sums
	}
	for _, f := range flows {
		sums[f.Uplink] += f.moved.Load()
	}
	return sums
}

// Packets describes a flood of small UDP packets from LAN hosts to the World.
type Packets struct {
	Flows    int           // default 1
	Size     int           // payload in bytes, default 18: the smallest Ethernet frame
	Duration time.Duration // default 3 s
	Server   netip.Addr    // default Server(1)
}

// PacketRate floods from one thread and returns the packets per second that
// were sent and that reached the World, which drops them at once.
func (l *Lab) PacketRate(p Packets) (sent, received float64, err error) {
	if p.Size == 0 {
		p.Size = 18
	}
	if p.Duration == 0 {
		p.Duration = 3 * time.Second
	}
	if !p.Server.IsValid() {
		p.Server = Server(1)
	}
	t := l.complete(Traffic{Network: "udp", Server: netip.AddrPortFrom(p.Server, DiscardPort)})
	before, err := l.discarded(p.Server)
	if err != nil {
		return 0, 0, err
	}
	var count int
	var elapsed time.Duration
	err = l.Client.Do(func() error {
		var files []*os.File
		defer func() {
			for _, file := range files {
				file.Close()
			}
		}()
		for j := range max(p.Flows, 1) {
			file, err := l.open(t, t.source(j))
			if err != nil {
				return err
			}
			files = append(files, file)
		}
		start := time.Now()
		count, err = flood(files, make([]byte, p.Size), start.Add(p.Duration))
		elapsed = time.Since(start)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	after, err := l.discarded(p.Server)
	return float64(count) / elapsed.Seconds(), float64(after-before) / elapsed.Seconds(), err
}

func flood(files []*os.File, packet []byte, end time.Time) (count int, err error) {
	for {
		for _, file := range files {
			if _, err := file.Write(packet); err != nil {
				return count, err
			}
			count++
		}
		// Asking for the time costs little, but not nothing.
		if count%64 < len(files) && time.Now().After(end) {
			return count, nil
		}
	}
}

// discarded is the number of packets that the World has dropped on DiscardPort.
func (l *Lab) discarded(server netip.Addr) (uint64, error) {
	program := "iptables-nft-save"
	if server.Is6() {
		program = "ip6tables-nft-save"
	}
	out, err := l.World.Run(program, "-c", "-t", "raw")
	if err != nil {
		return 0, err
	}
	return ruleCounter(out, fmt.Sprintf("--dport %d ", DiscardPort))
}

// LineBytes returns the number of bytes, Ethernet headers included, that line i
// has carried towards the router and away from it.
func (l *Lab) LineBytes(i int) (down, up uint64, err error) {
	err = l.World.Do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(strings.NewReader(string(data)))
		for lines.Scan() {
			name, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), ":")
			// Bytes received are the first column, bytes sent the ninth.
			fields := strings.Fields(rest)
			if name != lineDevice(i) || len(fields) < 9 {
				continue
			}
			var errUp, errDown error
			up, errUp = strconv.ParseUint(fields[0], 10, 64)
			down, errDown = strconv.ParseUint(fields[8], 10, 64)
			return errors.Join(errUp, errDown)
		}
		return fmt.Errorf("%s not found", lineDevice(i))
	})
	if err != nil {
		return 0, 0, fmt.Errorf("bytes of line %d: %w", i, err)
	}
	return down, up, nil
}
