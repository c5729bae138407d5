'use strict';
'require form';
'require uci';
'require view';
'require loadbalance.calls as calls';
'require loadbalance.config as config';
'require loadbalance.format as format';
'require loadbalance.members as members';

const verdicts = [ 'default', 'unreachable', 'blackhole' ];

/* What a rule asks of a packet, in the order of the dialog. */
const conditions = [
	[ 'src_iface', (v) => _('from %s').format(v) ],
	[ 'src_device', (v) => _('from device %s').format(v) ],
	[ 'src_ip', (v) => _('source %s').format(v) ],
	[ 'src_mac', (v) => _('source %s').format(v) ],
	[ 'ipset_src', (v) => _('source in set %s').format(v) ],
	[ 'dest_ip', (v) => _('destination %s').format(v) ],
	[ 'ipset', (v) => _('destination in set %s').format(v) ],
	[ 'proto', (v) => v ],
	[ 'src_port', (v) => _('source port %s').format(v) ],
	[ 'dest_port', (v) => _('port %s').format(v) ],
	[ 'icmp_type', (v) => _('ICMP type %s').format(v) ],
	[ 'dscp', (v) => _('DSCP %s').format(v) ],
	[ 'fwmark', (v) => _('mark %s').format(v) ],
	[ 'family', (v) => v ]
];

function named(type) {
	return uci.sections(config.file, type).map((s) => s['.name']);
}

return view.extend({
	load() {
		return Promise.all([
			calls.status(),
			uci.load(config.file),
			L.resolveDefault(uci.load('network'))
		]);
	},

	addPolicies(map) {
		const s = map.section(form.GridSection, 'policy', _('Policies'),
			_('How connections are dealt to some uplinks. The policy balanced gets what no rule matches; unless it is here, it deals to all uplinks.'));
		s.addremove = true;
		s.nodescriptions = true;
		s.modaltitle = (section_id) => _('Policy %s').format(section_id);
		s.renderSectionAdd = () => config.renderAdd(s, _('Add a policy'));

		s.option(members.Option, 'use_member', _('Uplinks'), _('Weight and tier count here in place of the uplink\'s own. The lowest tier that has a working uplink is used.'));
		let o = config.choice(s.option(form.ListValue, 'balance', _('Turns'), _('nth: strict rotation. random: by chance. source: a host keeps its uplink.')),
			uci.get(config.file, 'globals', 'balance') || 'nth', [ 'nth', 'random', 'source' ]);
		config.effective(o, uci.get(config.file, 'globals', 'balance') || 'nth');
		o = config.choice(s.option(form.ListValue, 'last_resort', _('If no uplink works'), _('unreachable: refuse. blackhole: drop. default: the main routing table.')),
			'unreachable', [ 'unreachable', 'blackhole', 'default' ]);
		config.effective(o, 'unreachable');
		o = config.choice(s.option(form.ListValue, 'failback', _('When an uplink is back'), _('In place of what the uplink says.')),
			_('as the uplink says'), [ 'new', 'all', 'never' ]);
		o.modalonly = true;
	},

	/* How many connections a rule has taken since the rules were last written. */
	counter(status, section_id) {
		const count = status.rules?.[this.ruleName(section_id)];
		return count == null ? '–' : String(format.number(count));
	},

	addRules(map, status) {
		const s = map.section(form.GridSection, 'rule', _('Rules'),
			_('The first rule that matches decides about a new connection. All conditions of a rule must hold; of several values one is enough.'));
		s.addremove = true;
		s.anonymous = true;
		s.sortable = true;
		s.nodescriptions = true;
		s.addbtntitle = _('Add a rule');
		s.modaltitle = (section_id) => _('Rule %s').format(this.ruleName(section_id));

		this.addConditions(s);
		this.addActions(s, status);
	},

	/* A rule needs no name: then it is called as the program calls it. */
	ruleName(section_id) {
		const all = uci.sections(config.file, 'rule');
		const i = all.findIndex((r) => r['.name'] === section_id);
		return i < 0 || !all[i]['.anonymous'] ? section_id : '@rule[%d]'.format(i);
	},

	addConditions(s) {
		let o = s.option(form.DummyValue, '_name', _('Rule'));
		o.modalonly = false;
		o.textvalue = (section_id) => E('span', {}, [ this.ruleName(section_id) ]);
		o = s.option(form.DummyValue, '_conditions', _('Conditions'));
		o.modalonly = false;
		o.textvalue = (section_id) => {
			const found = conditions.map(([ name, say ]) => [ L.toArray(uci.get(config.file, section_id, name)).join(', '), say ])
				.filter(([ value ]) => value !== '').map(([ value, say ]) => say(value));
			return E('span', {}, [ found.length ? found.join('; ') : _('every connection') ]);
		};

		const text = (kind, name, title, description, placeholder) => {
			const option = s.taboption('match', kind, name, title, description);
			option.modalonly = true;
			option.placeholder = placeholder;
			return option;
		};
		s.tab('match', _('Conditions'));
		s.tab('action', _('Decision'));
		text(form.DynamicList, 'src_ip', _('Source'), _('Addresses or prefixes; ! in front: not this one.'), '192.168.1.20');
		text(form.DynamicList, 'dest_ip', _('Destination'), _('Addresses or prefixes. For names, make a set.'), '203.0.113.0/24');
		text(form.DynamicList, 'proto', _('Protocol'), null, 'tcp');
		text(form.DynamicList, 'dest_port', _('Destination port'), _('Needs a protocol that has ports.'), '80,443,8000-8100');
		text(form.DynamicList, 'src_port', _('Source port'), null, '5060');
		const from = text(form.Value, 'src_iface', _('Comes in by'), _('router: only what the router itself sends.'), _('any interface'));
		[ 'router' ].concat(uci.sections('network', 'interface').map((i) => i['.name']).filter((n) => n !== 'loopback')).forEach((n) => from.value(n));
		const sets = named('ipset');
		const target = text(form.Value, 'ipset', _('Destination in set'));
		const source = text(form.Value, 'ipset_src', _('Source in set'));
		sets.forEach((name) => {
			target.value(name);
			source.value(name);
		});
		config.choice(text(form.ListValue, 'family', _('Address family')), _('both'), [ 'ipv4', 'ipv6', 'any' ]);
		text(form.DynamicList, 'src_mac', _('Hardware address'), _('Of a host in a network that is directly connected.'), '02:00:5e:00:53:01');
		text(form.Value, 'src_device', _('Comes in by device'), _('In place of an interface.'), 'br-guest');
		text(form.Value, 'icmp_type', _('ICMP type'), null, 'echo-request');
		text(form.Value, 'dscp', _('DSCP'), null, 'EF');
		text(form.Value, 'fwmark', _('Packet mark'), _('One that another program has set, with its mask.'), '0x1/0xff');
	},

	addActions(s, status) {
		const option = (kind, name, title, description) => s.taboption('action', kind, name, title, description);
		let o = option(form.ListValue, 'use_policy', _('Goes to'), _('A policy, or an uplink: only that one. default: the main routing table. unreachable: refuse. blackhole: drop.'));
		config.choice(o, 'balanced', [ ...new Set([ 'balanced', ...named('policy'), ...named('member'), ...verdicts ]) ]);
		config.effective(o, 'balanced');

		config.flag(option(form.ListValue, 'sticky', _('A source keeps its uplink')), '0').modalonly = true;
		o = option(form.ListValue, 'sticky_key', _('Kept for'), _('source_dest: each pair of source and destination by itself.'));
		config.choice(o, 'source', [ 'source', 'source_dest' ]).modalonly = true;
		o.depends('sticky', '1');
		o.retain = true;
		o = option(form.Value, 'timeout', _('Kept for how long'), _('After its last new connection.'));
		o.modalonly = true;
		o.placeholder = '600';
		o.depends('sticky', '1');
		o.retain = true;
		config.flag(option(form.ListValue, 'log', _('Log each connection')), '0').modalonly = true;
		config.flag(option(form.ListValue, 'enabled', _('Switched on')), '1');

		o = s.option(form.DummyValue, '_connections', _('Connections'));
		o.modalonly = false;
		o.textvalue = (section_id) => E('span', { 'data-counter': section_id }, [ this.counter(status, section_id) ]);
	},

	addSets(map, status) {
		const s = map.section(form.GridSection, 'ipset', _('Sets'), _('Named lists of addresses or domains, for rules.'));
		s.addremove = true;
		s.nodescriptions = true;
		s.modaltitle = (section_id) => _('Set %s').format(section_id);
		s.renderSectionAdd = () => config.renderAdd(s, _('Add a set'));

		let o = config.choice(s.option(form.ListValue, 'family', _('Address family')), 'ipv4', [ 'ipv4', 'ipv6' ]);
		config.effective(o, 'ipv4');
		o = s.option(form.DynamicList, 'domain', _('Domains'), _('With all names below them; learnt from the answers that the router gives to DNS queries.'));
		o.placeholder = 'example.org';
		config.effective(o, '–');
		o = s.option(form.DynamicList, 'entry', _('Addresses'));
		o.placeholder = '203.0.113.0/24';
		config.effective(o, '–');
		o = s.option(form.Value, 'loadfile', _('File with more'), _('One address a line.'));
		o.modalonly = true;
		o.placeholder = '/etc/loadbalance.d/streaming.txt';
		o = s.option(form.DummyValue, '_learnt', _('Learnt'));
		o.modalonly = false;
		o.textvalue = (section_id) => {
			const domains = format.objects(format.objects(status.sets).find((set) => set.name === section_id)?.domains);
			return E('span', {}, [ domains.length
				? domains.map((d) => '%s: %d'.format(d.name, format.number(d.addresses))).join(', ') : '–' ]);
		};
	},

	render([ status ]) {
		this.box = E('div');
		const map = new form.Map(config.file, _('Load Balancing'));
		this.addRules(map, status);
		this.addPolicies(map);
		this.addSets(map, status);
		config.watch(map, this.box);
		return map.render().then((node) => {
			config.openNamed(map);
			return E('div', {}, [ this.box, node ]);
		});
	},

	handleSaveApply(ev, mode) {
		return config.saveAndApply(this, this.box, ev, mode);
	}
});
