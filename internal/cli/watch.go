package cli

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/status"
)

// frameInterval is as often as the eye can follow numbers. A frame costs some 30 ms on a PC.
const frameInterval = time.Second

// watchStatus shows the status once a second until somebody ends it or nobody reads it any more.
// Only the first must succeed: another program may hold a lock for a while.
func (in *invocation) watchStatus() int {
	// With SIGPIPE among them, a write to a closed pipe is an error, not the program's end.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGPIPE)
	ticks := time.NewTicker(frameInterval)
	defer ticks.Stop()
	frames := &frames{out: in.out, json: in.json}
	for {
		current, unread := in.status()
		if unread != nil && frames.last == nil {
			return in.fail(unread)
		}
		var err error
		if unread == nil {
			err = frames.show(current)
		}
		if errors.Is(err, unix.EPIPE) {
			return exitDone
		}
		if err != nil {
			return in.fail(err)
		}
		select {
		case <-signals:
			return exitDone
		case <-ticks.C:
		}
		// Only now: Ctrl-C at a terminal also ends the programs that were being asked.
		if unread != nil {
			in.log.Error(unread.Error())
		}
	}
}

// frames prints one status after another: on a terminal over the one before, elsewhere below it.
type frames struct {
	out  io.Writer
	json bool
	last *status.Status
}

// show prints a status with its rates since the one before.
func (f *frames) show(current status.Status) error {
	first := f.last == nil
	if !first {
		current.AddRates(*f.last)
	}
	f.last = &current
	if f.json {
		return current.WriteJSONLine(f.out)
	}
	var drawn strings.Builder
	_ = current.WriteText(&drawn) // which takes everything
	text := drawn.String()
	if columns, rows, isTerminal := terminalSize(f.out); isTerminal {
		text = overdraw(text, columns, rows)
	} else if !first {
		text = "\n" + text
	}
	_, err := io.WriteString(f.out, text)
	return err
}

// terminalSize is 0 by 0 where the terminal does not know it, as on a serial line.
func terminalSize(w io.Writer) (columns, rows int, isTerminal bool) {
	file, ok := w.(*os.File)
	if !ok {
		return 0, 0, false
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, false
	}
	return int(size.Col), int(size.Row), true
}

// Of ECMA-48: to the upper left corner, clear to the end of the line, of the screen.
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// overdraw returns what draws a text over the one before; only the rest is cleared, so that
// nothing flickers. Lines and columns that a terminal does not have are left out; the last
// row is left to the cursor. A size of 0 is not known.
func overdraw(text string, columns, rows int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if rows > 0 && len(lines) > rows-1 {
		lines = lines[:rows-1]
	}
	var drawn strings.Builder
	drawn.WriteString(home)
	for _, line := range lines {
		drawn.WriteString(cutLine(line, columns) + "\n")
	}
	drawn.WriteString(clearRest)
	return drawn.String()
}

// cutLine returns a line that fits, with the rest of its row cleared: of a full row, clearing
// would take the last character.
func cutLine(line string, columns int) string {
	characters := []rune(line)
	if columns > 0 && len(characters) >= columns {
		return string(characters[:columns])
	}
	return line + clearLine
}
