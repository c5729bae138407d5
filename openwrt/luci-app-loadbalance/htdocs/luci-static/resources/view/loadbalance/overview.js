'use strict';
'require dom';
'require poll';
'require uci';
'require ui';
'require view';
'require loadbalance.calls as calls';
'require loadbalance.chart as chart';
'require loadbalance.format as format';
'require loadbalance.summary as summary';

const pollSeconds = 3;
const minutesShown = 5;
/* Polls that a curve of latency shows: two minutes. */
const curveLength = 40;
/* The history has a value a minute: no need to ask more often. */
const historySeconds = 60;

const spans = [
	[ 'minutes', _('Minutes'), minutesShown * 60 ],
	[ 'hour', _('Hour'), 3600 ],
	[ 'day', _('Day'), 24 * 3600 ]
];

/* The page of the form that holds a section. */
const pages = { member: 'uplinks', globals: 'uplinks', policy: 'rules', rule: 'rules', ipset: 'rules' };

function link(text) {
	const match = /^(?:loadbalance:\d+: )?(\w+)(?: '([^']+)')?:/.exec(text);
	if (!match || !pages.hasOwnProperty(match[1]))
		return '';
	return E('a', { 'href': L.url('admin/network/loadbalance', pages[match[1]]) + (match[2] ? '#' + encodeURIComponent(match[2]) : '') },
		[ _('Mend it') ]);
}

function cell(title, children) {
	return E('td', { 'class': 'td', 'data-title': title }, children);
}

function table(headings, rows, empty) {
	return E('table', { 'class': 'table' }, [
		E('tr', { 'class': 'tr table-titles' }, headings.map((h) => E('th', { 'class': 'th' }, [ h ]))),
		...(rows.length ? rows : [ E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td' }, [ E('em', {}, [ empty ]) ]) ]) ])
	]);
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	samples: [],
	latencies: {},
	span: 'minutes',

	load() {
		return Promise.all([
			calls.status(true),
			L.resolveDefault(uci.load('loadbalance'))
		]);
	},

	/* Rates come from the difference of two polls, by the router's clock. */
	takeSample(status) {
		const now = Date.parse(status.time) / 1000;
		const devices = {};
		format.objects(status.devices).forEach((d) => {
			devices[d.name] = L.isObject(d.rate)
				? [ format.number(d.rate.rx_bytes), format.number(d.rate.tx_bytes) ] : [ format.number(d.rx_bytes), format.number(d.tx_bytes) ];
		});
		if (!isFinite(now))
			return;

		const before = this.counters;
		this.counters = { now, devices };
		this.rates = {};
		if (!before || now <= before.now)
			return;
		summary.members(status).forEach((m) => {
			/* Members that share a device share its counters: the first has them. */
			const device = m.families.map((f) => f.state.device).find((d) => d);
			const [ a, b ] = [ before.devices[device], devices[device] ];
			if (!a || !b || Object.values(this.rates).some((r) => r.device === device))
				return;
			const rate = [ 0, 1 ].map((way) => Math.max(b[way] - a[way], 0) / (now - before.now));
			this.rates[m.name] = Object.assign(rate, { device });
		});
		this.samples.push({ time: now, rates: this.rates });
		this.samples = this.samples.filter((s) => s.time >= now - minutesShown * 60);
	},

	takeLatencies(status) {
		summary.members(status).forEach((m) => m.families.forEach((f) => {
			const key = m.name + f.key;
			const ns = f.state.health?.online ? f.state.health.latency_ns : null;
			this.latencies[key] = (this.latencies[key] ?? []).concat([ ns == null ? null : format.number(ns) ]).slice(-curveLength);
		}));
	},

	renderProblems(status) {
		const lists = [
			[ _('The file is refused:'), format.texts(status.refused?.problems) ],
			[ _('To be mended:'), format.texts(status.problems) ],
			[ _('An apply would change:'), status.running ? format.texts(status.drift) : [] ],
			[ _('To be known:'), format.texts(status.notices) ],
			[ _('The monitor says:'), status.monitor?.error ? [ String(status.monitor.error) ] : [] ]
		];

		return lists.filter((l) => l[1].length > 0).map(([ title, texts ]) => E('div', { 'class': 'cbi-section' }, [
			E('strong', {}, [ title ]),
			E('ul', { 'class': 'lb-list' }, texts.map((text) => E('li', {}, [ text, ' ', link(text) ])))
		]));
	},

	/* The samples of the chosen span: the page's own, or the monitor's. */
	renderChart(status) {
		const names = summary.members(status).map((m) => m.name);
		const end = this.counters?.now ?? Date.now() / 1000;
		const length = spans.find((s) => s[0] === this.span)[2];
		const samples = (this.span === 'minutes' ? this.samples : this.history).filter((s) => s.time >= end - length);
		const seconds = this.span === 'minutes' ? pollSeconds : historySeconds;

		return E('div', {}, [
			E('ul', { 'class': 'cbi-tabmenu' }, spans.map(([ key, title ]) => E('li', { 'class': key === this.span ? 'cbi-tab' : 'cbi-tab-disabled' }, [
				E('a', { 'href': '#', 'data-span': key, 'click': (ev) => {
					ev.preventDefault();
					this.span = key;
					this.update(this.status);
				} }, [ title ])
			]))),
			samples.length < 2
				? E('p', {}, [ E('em', {}, [ this.span === 'minutes'
					? _('The chart begins with the next poll.') : _('The monitor has no history of this span yet.') ]) ])
				: chart.throughput(samples, names, Math.max(end - length, samples[0].time - seconds), end),
			chart.legend(this.samples, names)
		]);
	},

	perFamily(m, render) {
		return m.families.map((f) => E('span', { 'class': 'lb-family' }, [
			m.families.length > 1 ? E('span', { 'class': 'lb-small' }, [ f.title, ' ' ]) : '',
			...render(f.state, f)
		]));
	},

	renderState(m, status) {
		if (m.member.fault)
			return [ format.badge('fault'), E('div', { 'class': 'lb-small' }, [ String(m.member.fault) ]) ];
		return this.perFamily(m, (s) => {
			const age = format.age(s.health?.since, status.time);
			const why = summary.why(s);
			const flaps = format.number(s.health?.flaps);
			return [
				format.badge(s.state),
				...[ 'full', 'portal' ].filter((fact) => s[fact] === true && s.state !== fact).map((fact) => format.badge(fact)),
				age ? E('span', { 'class': 'lb-small' }, [ ' ', _('for %s').format(age) ]) : '',
				why ? E('div', { 'class': 'lb-small' }, [ String(why) ]) : '',
				flaps > 0 ? E('div', { 'class': 'lb-small' }, [ _('times offline: %d').format(flaps) ]) : ''
			];
		});
	},

	renderRate(m) {
		const rate = this.rates?.[m.name];
		const of = (way, option, arrow) => {
			const limit = format.parseRate(uci.get('loadbalance', m.name, option));
			const used = limit ? Math.min(rate[way] / limit, 1) : 0;
			return [
				E('div', {}, [ limit
					? _('%s %s of %s').format(arrow, format.rate(rate[way]), format.rate(limit))
					: '%s %s'.format(arrow, format.rate(rate[way])) ]),
				limit ? E('span', { 'class': 'lb-bar' }, [ E('i', { 'style': 'width:%d%%'.format(used * 100) }) ]) : ''
			];
		};
		return rate ? [ ...of(0, 'download', '↓'), ...of(1, 'upload', '↑') ] : [ '–' ];
	},

	renderQuota(m, status) {
		const usage = format.objects(status.usage).find((u) => u.member === m.name);
		if (!usage)
			return [ '–' ];
		const [ used, limit ] = [ format.number(usage.bytes), format.number(usage.quota) ];
		return [
			_('%s of %s').format(format.amount(used), format.amount(limit)),
			E('span', { 'class': 'lb-bar' }, [ E('i', { 'style': 'width:%d%%'.format(limit ? Math.min(used / limit, 1) * 100 : 0) }) ])
		];
	},

	/* The cells of a member that change; its buttons stay. */
	renderCells(m, status) {
		const health = (s) => s.health;
		return [
			[ _('Uplink'), [
				E('strong', {}, [ m.name ]),
				...this.perFamily(m, (s) => [ E('span', { 'class': 'lb-small' }, [ [ s.device, s.gateway ].filter((t) => t).join(' → ') ]) ])
			] ],
			[ _('State'), this.renderState(m, status) ],
			[ _('Share'), this.perFamily(m, (s) => [
				format.percent(s.share),
				format.number(s.dealt) > 0 ? E('div', { 'class': 'lb-small' }, [ _('dealt: %s (%d)').format(format.percent(s.dealt_share), format.number(s.dealt)) ]) : ''
			]) ],
			[ _('Rate'), this.renderRate(m) ],
			[ _('Latency and loss'), this.perFamily(m, (s, f) => health(s) ? [
				s.health.online ? '%s, %s'.format(format.milliseconds(s.health.latency_ns), format.percent(s.health.loss)) : format.percent(s.health.loss),
				E('div', {}, [ chart.curve(this.latencies[m.name + f.key] ?? []) ])
			] : [ '–' ]) ],
			[ _('Connections'), this.perFamily(m, (s) => [
				String(format.number(s.connections)),
				format.number(s.unanswered_connections) > 0
					? E('div', { 'class': 'lb-small' }, [ _('%d unanswered').format(format.number(s.unanswered_connections)) ]) : ''
			]) ],
			[ _('Quota'), this.renderQuota(m, status) ]
		];
	},

	interfaceOf(name) {
		if (uci.get('loadbalance', name, 'device'))
			return null;
		return uci.get('loadbalance', name, 'interface') || name;
	},

	lineButton(name, title, style, action) {
		return E('button', {
			'class': 'btn cbi-button ' + style,
			'disabled': this.readonly || null,
			'click': ui.createHandlerFn(this, action, name)
		}, [ title ]);
	},

	handleUp(name) {
		return this.report(calls.ifup(name));
	},

	handleDown(name) {
		ui.showModal(_('Switch a line off'), [
			E('p', {}, [ _('The interface %s goes down until somebody switches it on again. Its connections break.').format(name) ]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Cancel') ]), ' ',
				E('button', {
					'class': 'btn cbi-button cbi-button-negative important',
					'click': ui.createHandlerFn(this, () => this.report(calls.ifdown(name)).then(ui.hideModal))
				}, [ _('Switch off') ])
			])
		]);
	},

	handleRestart() {
		return this.report(calls.initScript('loadbalance', 'restart'));
	},

	report(done) {
		return done.catch((e) => {
			ui.addNotification(null, E('p', {}, [ calls.reason(e) ]), 'danger');
		}).then(() => this.poll());
	},

	/* Rows live as long as their member: a button that is being pressed stays. */
	updateUplinks(status) {
		const members = summary.members(status);
		if (this.drawn !== members.map((m) => m.name).join(' ')) {
			this.drawn = members.map((m) => m.name).join(' ');
			this.rows = members.map((m) => {
				const name = this.interfaceOf(m.name);
				const cells = this.renderCells(m, status).map(([ title ]) => cell(title, []));
				const buttons = name ? [
					this.lineButton(name, _('Reconnect'), 'cbi-button-reload', 'handleUp'), ' ',
					this.lineButton(name, _('Switch off'), 'cbi-button-negative', 'handleDown')
				] : [];
				return E('tr', { 'class': 'tr', 'data-member': m.name }, cells.concat([ E('td', { 'class': 'td nowrap cbi-section-actions' }, [ E('div', {}, buttons) ]) ]));
			});
			dom.content(this.uplinks, [ table(
				[ _('Uplink'), _('State'), _('Share'), _('Rate'), _('Latency and loss'), _('Connections'), _('Quota'), '' ],
				this.rows, _('There is no uplink yet.')) ]);
		}
		members.forEach((m, i) => this.renderCells(m, status).forEach(([ , children ], k) => dom.content(this.rows[i].children[k], children)));
	},

	renderPolicies(status) {
		const rows = [];
		format.objects(status.policies).forEach((policy) => format.objects(policy.members).forEach((member) => {
			[ 'ipv4', 'ipv6' ].filter((f) => L.isObject(member[f])).forEach((f) => rows.push(E('tr', { 'class': 'tr' }, [
				cell(_('Policy'), [ String(policy.name) ]),
				cell(_('Uplink'), [ '%s %s'.format(member.name, f === 'ipv6' ? 'IPv6' : '') ]),
				cell(_('Share'), [ format.percent(member[f].share) ]),
				cell(_('Dealt'), [ '%d (%s)'.format(format.number(member[f].dealt), format.percent(member[f].dealt_share)) ]),
				cell(_('Expected'), [ format.percent(member[f].expected_share) ])
			])));
		}));
		return table([ _('Policy'), _('Uplink'), _('Share'), _('Dealt'), _('Expected') ], rows, _('Nothing is dealt.'));
	},

	update(status) {
		this.status = status;
		dom.content(this.verdict, [ summary.banner(status) ]);
		dom.content(this.problems, this.renderProblems(status));
		if (status.error)
			return;
		dom.content(this.chart, [ this.renderChart(status) ]);
		this.updateUplinks(status);
		dom.content(this.policies, [ this.renderPolicies(status) ]);
	},

	take(status) {
		this.takeSample(status);
		this.takeLatencies(status);
		if (L.isObject(status.history))
			this.history = chart.history(status.history);
		this.update(status);
	},

	poll() {
		if (document.hidden)
			return Promise.resolve();
		const now = Date.now() / 1000;
		const history = this.span !== 'minutes' && now - (this.asked ?? 0) >= historySeconds;
		if (history)
			this.asked = now;
		return calls.status(history).then((status) => this.take(status));
	},

	render([ status ]) {
		const section = (title) => E('div', { 'class': 'cbi-section' }, title ? [ E('h3', {}, [ title ]) ] : []);
		const part = (title, name) => {
			const node = section(title);
			node.appendChild(this[name] = E('div'));
			return node;
		};
		this.readonly = L.hasViewPermission() === false;
		this.history = [];

		const page = E('div', {}, [
			E('h2', {}, [ _('Load Balancing') ]),
			this.verdict = E('div'),
			this.problems = E('div'),
			part(_('Throughput'), 'chart'),
			part(_('Uplinks'), 'uplinks'),
			part(_('Policies'), 'policies'),
			E('div', { 'class': 'cbi-page-actions' }, [
				E('button', {
					'class': 'btn cbi-button cbi-button-apply',
					'disabled': this.readonly || null,
					'click': ui.createHandlerFn(this, 'handleRestart')
				}, [ _('Restart the service') ])
			])
		]);
		this.take(status);
		poll.add(() => this.poll(), pollSeconds);
		return page;
	}
});
