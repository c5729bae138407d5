package apply

import (
	"slices"

	"loadbalance/internal/apply/challenge"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
)

type fakeConnections struct{ *fakeKernel }

func (k fakeConnections) Delete(f family.Family, match func(conntrack.Entry) bool) (int, error) {
	if err := k.step("conntrack (%s)", f); err != nil {
		return 0, err
	}
	before := len(k.entries)
	k.entries = slices.DeleteFunc(k.entries, func(e conntrack.Entry) bool {
		return e.Family == f && match(e)
	})
	return before - len(k.entries), nil
}

func (k fakeConnections) Mark(f family.Family, bits uint32, mark func(conntrack.Entry) uint32) error {
	if err := k.step("conntrack marks (%s)", f); err != nil {
		return err
	}
	for i, e := range k.entries {
		if e.Family == f {
			k.entries[i].Mark = e.Mark&^bits | mark(e)&bits
		}
	}
	return nil
}

// fakeResets tells every client whose connection has no entry any more.
type fakeResets struct{ *fakeKernel }

func (k fakeResets) Send(flows []challenge.Flow, uplinks []string) (challenge.Result, error) {
	if err := k.step("reset %d connections, not behind %v", len(flows), uplinks); err != nil {
		return challenge.Result{}, err
	}
	for _, flow := range flows {
		// The client's answer would go the old way.
		if slices.ContainsFunc(k.entries, func(e conntrack.Entry) bool { return flowOf(e) == flow }) {
			k.t.Errorf("%v is reset, but its entry is still there", flow)
		}
	}
	k.resets = append(k.resets, flows...)
	for _, flow := range flows {
		if k.answersOn > 0 {
			k.entries = append(k.entries, tcp(k.answersOn, flow.Client.String(), flow.Server.String()))
		}
	}
	return challenge.Result{Challenged: len(flows)}, nil
}
