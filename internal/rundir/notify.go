package rundir

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Notifier hears when another process has accepted a configuration or stopped
// the service, and when the run directory is removed.
type Notifier struct {
	// Changes delivers one value for any number of changes since the last.
	Changes <-chan struct{}
	// Gone is closed when the run directory is removed.
	Gone <-chan struct{}
	file *os.File
}

// Notify starts a Notifier.
func (d Dir) Notify() (*Notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	// Files are replaced by renaming, or overwritten where there is no room; the
	// mark of a stopped service is removed by the next start.
	if _, err := unix.InotifyAddWatch(fd, string(d), unix.IN_MOVED_TO|unix.IN_CLOSE_WRITE|unix.IN_DELETE|unix.IN_MOVE_SELF|unix.IN_ATTRIB|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("inotify %s: %w", d, err)
	}
	file, changes, gone := os.NewFile(uintptr(fd), "inotify"), make(chan struct{}, 1), make(chan struct{})
	go hear(file, changes, gone)
	return &Notifier{changes, gone, file}, nil
}

// Close ends it.
func (n *Notifier) Close() { n.file.Close() }

func hear(file *os.File, changes, gone chan struct{}) {
	buffer := make([]byte, 4096) // holds at least 15 events (inotify(7))
	for {
		size, err := file.Read(buffer)
		if err != nil {
			return // closed
		}
		concerned, isGone := readEvents(buffer[:size])
		if isGone {
			close(gone)
			return
		}
		if concerned && len(changes) == 0 { // nobody else sends
			changes <- struct{}{}
		}
	}
}

// readEvents reports whether events in the kernel's format name one of the files
// that matter, and whether the directory is gone, or may be somebody else's. Without
// the monitor's file, which nobody finds then, it is as good as gone.
func readEvents(events []byte) (concerned, gone bool) {
	for len(events) >= unix.SizeofInotifyEvent {
		// struct inotify_event: descriptor, mask, cookie and the name's length.
		mask, length := binary.NativeEndian.Uint32(events[4:]), binary.NativeEndian.Uint32(events[12:])
		end := min(unix.SizeofInotifyEvent+uint64(length), uint64(len(events)))
		name := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:end], "\x00"))
		concerned = concerned || name == configFile || name == stoppedFile || mask&unix.IN_Q_OVERFLOW != 0
		gone = gone || name == "" && mask&(unix.IN_IGNORED|unix.IN_MOVE_SELF|unix.IN_ATTRIB) != 0 || mask&unix.IN_DELETE != 0 && name == monitorFile
		events = events[end:]
	}
	return concerned, gone
}
