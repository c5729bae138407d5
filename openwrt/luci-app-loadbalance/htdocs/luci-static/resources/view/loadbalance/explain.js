'use strict';
'require dom';
'require uci';
'require ui';
'require view';
'require loadbalance.calls as calls';
'require loadbalance.config as config';
'require loadbalance.format as format';

/* What describes a packet: name, title, what may be chosen, an example. */
const fields = [
	[ 'src', _('Source'), _('the router itself') ],
	[ 'dst', _('Destination'), '203.0.113.10' ],
	[ 'proto', _('Protocol'), 'tcp' ],
	[ 'sport', _('Source port'), _('any') ],
	[ 'dport', _('Destination port'), '443' ],
	[ 'in', _('Comes in by'), _('by its source') ],
	[ 'mac', _('Hardware address'), _('any') ],
	[ 'dscp', _('DSCP'), _('any') ],
	[ 'without', _('If this uplink were down'), _('none') ]
];

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load() {
		return Promise.all([
			calls.hostHints(),
			calls.interfaces(),
			L.resolveDefault(uci.load(config.file))
		]);
	},

	/* What a field suggests: [ value, name ]. */
	suggestions(hints, interfaces) {
		const hosts = [];
		Object.keys(hints).forEach((mac) => [ 'ipaddrs', 'ip6addrs' ].forEach((kind) => L.toArray(hints[mac]?.[kind]).forEach((address) =>
			hosts.push([ address, hints[mac].name ?? mac ]))));
		return {
			src: hosts,
			proto: [ 'tcp', 'udp', 'icmp', 'icmpv6' ].map((p) => [ p, '' ]),
			in: interfaces.map((i) => [ i.interface, i.l3_device ?? '' ]),
			without: uci.sections(config.file, 'member').map((m) => [ m['.name'], '' ])
		};
	},

	renderField(name, title, placeholder, suggestions) {
		const input = this.inputs[name] = E('input', {
			'type': 'text',
			'id': 'explain-' + name,
			'name': name,
			'class': 'cbi-input-text',
			'placeholder': placeholder,
			'list': suggestions ? 'explain-list-' + name : null,
			'keydown': (ev) => ev.key === 'Enter' && this.handleExplain()
		});
		return E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title', 'for': 'explain-' + name }, [ title ]),
			E('div', { 'class': 'cbi-value-field' }, [
				input,
				suggestions ? E('datalist', { 'id': 'explain-list-' + name },
					suggestions.map(([ value, text ]) => E('option', { 'value': value }, [ String(text) ]))) : ''
			])
		]);
	},

	/* Where it goes, in a sentence. */
	where(outcome) {
		const verdicts = {
			default: _('follows the main routing table'),
			unreachable: _('is refused'),
			blackhole: _('is dropped silently')
		};
		if (!outcome.member)
			return verdicts.default;
		return verdicts.hasOwnProperty(outcome.member) ? verdicts[outcome.member] : _('leaves by %s').format(outcome.member);
	},

	renderOutcome(outcome, open) {
		const facts = [
			...format.texts(outcome.conditions),
			outcome.rule ? String(outcome.rule) : null,
			format.number(outcome.share) > 0 && outcome.share < 1 ? _('share: %s').format(format.percent(outcome.share)) : null
		].filter((f) => f);
		return E('details', { 'open': open ? '' : null }, [
			E('summary', {}, [ E('strong', {}, [ this.where(outcome) ]), facts.length ? ' (%s)'.format(facts.join('; ')) : '' ]),
			E('ol', { 'class': 'lb-list' }, format.objects(outcome.steps).map((step) => E('li', {}, [ String(step.text) ])))
		]);
	},

	renderOutcomes(outcomes) {
		return format.objects(outcomes).map((o, i, all) => this.renderOutcome(o, all.length === 1));
	},

	renderAnswer(reply) {
		if (reply.error)
			return [ E('div', { 'class': 'alert-message warning' }, [ String(reply.error) ]) ];
		/* A name has several addresses: then there is an answer for each. */
		const answers = Array.isArray(reply.addresses) ? format.objects(reply.addresses) : [ reply ];
		const notes = (title, texts) => texts.length ? E('div', {}, [ E('strong', {}, [ title ]), E('ul', { 'class': 'lb-list' }, texts.map((t) => E('li', {}, [ t ]))) ]) : '';
		return answers.map((a) => E('div', { 'class': 'cbi-section' }, [
			E('h3', {}, [ _('The way of a packet to %s').format(a.packet?.dst) ]),
			...this.renderOutcomes(a.outcomes),
			L.isObject(a.without) ? E('div', {}, [
				E('h3', {}, [ _('If %s were down').format(a.without.member) ]),
				...(a.without.changed ? this.renderOutcomes(a.without.outcomes) : [ E('p', {}, [ _('Nothing would change.') ]) ])
			]) : '',
			notes(_('To be known:'), format.texts(a.notes).concat(format.objects(a.messages).map((m) => String(m.text)))),
			a.text ? E('details', {}, [ E('summary', {}, [ _('As text') ]), E('pre', { 'class': 'lb-mono' }, [ String(a.text) ]) ]) : ''
		]));
	},

	handleExplain() {
		const packet = {};
		fields.forEach(([ name ]) => {
			packet[name] = this.inputs[name].value.trim() || undefined;
		});
		return calls.explain(packet).then((reply) => dom.content(this.answer, this.renderAnswer(reply)));
	},

	render([ hints, interfaces ]) {
		const suggestions = this.suggestions(hints, interfaces);
		this.inputs = {};
		return E('div', {}, [
			E('h2', {}, [ _('Explain') ]),
			E('p', {}, [ _('Which way does a packet take, and why? Only the destination is needed. What you leave out and matters is told with all its possibilities.') ]),
			E('div', { 'class': 'cbi-section' }, [
				E('div', { 'class': 'cbi-section-node' }, fields.map(([ name, title, placeholder ]) => this.renderField(name, title, placeholder, suggestions[name]))),
				E('div', { 'class': 'cbi-page-actions' }, [
					E('button', { 'class': 'btn cbi-button cbi-button-apply', 'click': ui.createHandlerFn(this, 'handleExplain') }, [ _('Explain it') ])
				])
			]),
			this.answer = E('div', { 'id': 'answer' })
		]);
	}
});
