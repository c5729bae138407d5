package apply

import (
	"slices"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/reset"
	"loadbalance/internal/family"
)

type fakeConnections struct{ *fakeKernel }

func (k fakeConnections) Each(f family.Family, filter conntrack.Filter, visit func(conntrack.Entry) bool) error {
	if err := k.step("conntrack list (%s)", f); err != nil {
		return err
	}
	for _, e := range k.entries {
		if e.Family == f && e.Mark&filter.Mask == filter.Mark&filter.Mask && !visit(e) {
			break
		}
	}
	return nil
}

func (k fakeConnections) Delete(f family.Family, filter conntrack.Filter, match func(conntrack.Entry) bool) (int, error) {
	if err := k.step("conntrack (%s)", f); err != nil {
		return 0, err
	}
	k.checkWritten(f)
	before := len(k.entries)
	k.entries = slices.DeleteFunc(k.entries, func(e conntrack.Entry) bool {
		return e.Family == f && e.Mark&filter.Mask == filter.Mark&filter.Mask && match(e)
	})
	return before - len(k.entries), nil
}

func (k fakeConnections) Remove(f family.Family, entries []conntrack.Entry) ([]conntrack.Entry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if err := k.step("conntrack remove %d (%s)", len(entries), f); err != nil {
		return nil, err
	}
	k.checkWritten(f)
	k.entries = slices.DeleteFunc(k.entries, func(e conntrack.Entry) bool {
		return slices.ContainsFunc(entries, func(gone conntrack.Entry) bool {
			return gone.Family == e.Family && gone.Original == e.Original && gone.Protocol == e.Protocol && gone.Mark == e.Mark
		})
	})
	return entries, nil
}

// checkWritten fails if the old chains are still there: with its next packet, an
// entry would come back with the old mark.
func (k fakeConnections) checkWritten(f family.Family) {
	if k.writing[f] {
		k.t.Errorf("connections (%s) are deleted while the chains are being written", f)
	}
}

// fakeResets tells every client whose connection has no entry any more.
type fakeResets struct{ *fakeKernel }

func (k fakeResets) Send(flows []reset.Flow, uplinks []string) (reset.Result, error) {
	if err := k.step("reset %d connections, not behind %v", len(flows), uplinks); err != nil {
		return reset.Result{}, err
	}
	for _, flow := range flows {
		// The client's answer would go the old way.
		if slices.ContainsFunc(k.entries, func(e conntrack.Entry) bool { return flowOf(e) == flow && !k.pickedUp }) {
			k.t.Errorf("%v is reset, but its entry is still there", flow)
		}
	}
	k.resets = append(k.resets, flows...)
	for _, flow := range flows {
		if k.answersOn > 0 {
			k.entries = append(k.entries, tcp(k.answersOn, flow.Client.String(), flow.Server.String()))
		}
	}
	return reset.Result{Reset: len(flows)}, nil
}
