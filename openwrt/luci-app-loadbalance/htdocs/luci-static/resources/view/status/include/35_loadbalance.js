'use strict';
'require baseclass';
'require loadbalance.calls as calls';
'require loadbalance.format as format';
'require loadbalance.summary as summary';

/* The box on LuCI's start page: a line for each uplink. */
return baseclass.extend({
	title: _('Load Balancing'),

	load() {
		return calls.status();
	},

	render(status) {
		if (!status || status.error)
			return null;
		const members = summary.members(status);
		return E('div', {}, [
			members.length && summary.verdict(status)[0] === 'success' ? '' : summary.banner(status),
			E('table', { 'class': 'table' }, members.map((m) => {
				const sum = (key) => m.families.reduce((n, f) => n + format.number(f.state[key]), 0);
				return E('tr', { 'class': 'tr', 'data-member': m.name }, [
					E('td', { 'class': 'td left' }, [ E('a', { 'href': L.url('admin/status/loadbalance') }, [ m.name ]) ]),
					E('td', { 'class': 'td left' }, [ format.badge(summary.state(m)), ' ', E('span', { 'class': 'lb-small' }, [ summary.reason(m) ]) ]),
					E('td', { 'class': 'td left' }, m.families.length
						? [ _('%s of new connections').format(format.percent(m.families[0].state.share)) ] : []),
					E('td', { 'class': 'td left' }, [ _('connections: %d').format(sum('connections')) ])
				]);
			}))
		]);
	}
});
