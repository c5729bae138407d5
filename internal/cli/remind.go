package cli

import (
	"fmt"
	"time"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/reset"
)

const (
	// remindAfter lets a client answer again: Linux answers segments that do
	// not belong to a connection every 500 ms (tcp_invalid_ratelimit).
	remindAfter = 600 * time.Millisecond
	// reminders are enough to tell all but one of 700 clients where a tenth of
	// all packets is lost: either the answer or the reset.
	reminders = 3
)

// remind tells clients again that their connections are gone until these have
// ended, if this run told any. It is called without the lock and lasts up to
// two seconds.
func (in *invocation) remind() {
	if changes := in.takeTold(); changes != nil {
		remindClients(changes, in.log)
	}
}

// takeTold returns the changes with which clients were told last, once.
func (in *invocation) takeTold() *apply.Changes {
	changes := in.told
	in.told = nil
	return changes
}

func remindClients(changes *apply.Changes, log *logger) {
	for range reminders {
		time.Sleep(remindAfter)
		told, err := remindOnce(changes)
		if err != nil {
			log.Notice(fmt.Sprintf("connections: %v", err))
		}
		if told == 0 {
			return
		}
	}
}

func remindOnce(changes *apply.Changes) (told int, err error) {
	connections, err := conntrack.Open()
	if err != nil {
		return 0, err
	}
	defer connections.Close()
	engine := &apply.Engine{Connections: connections, Resets: reset.Sender{}}
	return engine.Remind(changes)
}
