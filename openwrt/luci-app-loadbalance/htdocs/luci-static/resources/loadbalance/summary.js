'use strict';
'require baseclass';
'require loadbalance.format as format';

const families = [ [ 'ipv4', 'IPv4' ], [ 'ipv6', 'IPv6' ] ];

/* States in which a member is of use to the policy 'balanced'. */
const good = [ 'active', 'standby' ];

return baseclass.extend({
	/* The members with the families that they have: [ { name, member, families:
	   [ { key, title, state: {…} } ] } ]. */
	members(status) {
		return format.objects(status.members).map((member) => ({
			name: String(member.name),
			member,
			families: families.filter((f) => L.isObject(member[f[0]]))
				.map((f) => ({ key: f[0], title: f[1], state: member[f[0]] }))
		}));
	},

	/* The member's state in a word: its best family's. */
	state(m) {
		if (m.member.fault)
			return 'fault';
		const found = m.families.map((f) => String(f.state.state));
		const order = [ 'active', 'standby' ];
		return order.find((s) => found.includes(s)) ?? found[0] ?? 'down';
	},

	/* Why a family is not as it should be: a line that works has nothing to say. */
	why(state) {
		return state.reason || (state.health?.online ? '' : state.health?.reason) || '';
	},

	reason(m) {
		return [ m.member.fault, ...m.families.map((f) => this.why(f.state)) ]
			.filter((r) => r).map(String).filter((r, i, all) => all.indexOf(r) === i).join('; ');
	},

	/* One sentence that says how it stands: [ how bad, text ]. */
	verdict(status) {
		if (status.error)
			return [ 'danger', String(status.error) ];
		if (status.stopped)
			return [ 'warning', _('The service was stopped: nothing is balanced until it is started.') ];

		const all = this.members(status);
		if (all.length === 0)
			return [ 'warning', _('No uplink is configured yet: add some on the page Uplinks.') ];
		if (!status.running)
			return [ 'danger', _('The service is not running: nothing is balanced.') ];
		if (L.isObject(status.refused))
			return [ 'danger', _('The configuration has errors and is not in effect: what was accepted last goes on.') ];

		const bad = all.filter((m) => !good.includes(this.state(m)));
		const active = all.filter((m) => this.state(m) === 'active');
		if (active.length === 0)
			return [ 'danger', _('No uplink works.') ];
		if (status.monitor?.silent)
			return [ 'warning', _('No target of any uplink answers: the targets or something further upstream is at fault. Balancing goes on.') ];
		if (bad.length > 0)
			return [ 'warning', _('%d of %d uplinks get new connections. Out: %s.').format(active.length, all.length,
				bad.map((m) => '%s (%s)'.format(m.name, format.stateName(this.state(m)))).join(', ')) ];
		if (status.monitor?.wanted && !status.monitor?.running)
			return [ 'warning', _('All uplinks are up, but the monitor does not run: nobody notices a dead line.') ];
		if (!status.in_sync)
			return [ 'warning', _('Balancing works, but the kernel is not as configured.') ];
		return [ 'success', _('All is well: %d of %d uplinks get new connections.').format(active.length, all.length) ];
	},

	banner(status) {
		const [ how, text ] = this.verdict(status);
		return E('div', { 'class': 'alert-message ' + how, 'data-verdict': how }, [ text ]);
	}
});
