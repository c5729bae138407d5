'use strict';
'require dom';
'require form';
'require uci';
'require ui';
'require view';
'require loadbalance.calls as calls';
'require loadbalance.config as config';
'require loadbalance.format as format';
'require loadbalance.uplinks as uplinks';

const methods = [ 'ping', 'arp', 'tcp', 'dns', 'http' ];

function value(section, tab, name, title, description, placeholder) {
	const option = section.taboption(tab, form.Value, name, title, description);
	option.modalonly = true;
	option.placeholder = placeholder;
	return option;
}

return view.extend({
	load() {
		return Promise.all([
			calls.interfaces(),
			calls.status(),
			uci.load(config.file),
			L.resolveDefault(uci.load('network')),
			L.resolveDefault(uci.load('firewall'))
		]);
	},

	addGeneral(s) {
		let o = s.taboption('general', form.ListValue, 'enabled', _('Switched on'), _('If not, it is as if the uplink did not exist.'));
		config.flag(o, '1').modalonly = true;

		o = s.taboption('general', form.Value, 'interface', _('Interface'), _('The interface in the network configuration, if it has another name than the uplink.'));
		o.modalonly = true;
		o.placeholder = _('named as the uplink');
		this.names.forEach((name) => o.value(name));

		value(s, 'general', 'interface6', _('IPv6 interface'), _('Only where it is not on the same device.'), _('found by itself'));
		value(s, 'general', 'device', _('Device'), _('Instead of an interface, for a line that the network configuration does not have.'));
		value(s, 'general', 'gateway', _('IPv4 gateway'), _('Only where the network does not tell it.'), _('found by itself')).datatype = 'ip4addr';
		value(s, 'general', 'gateway6', _('IPv6 gateway'), null, _('found by itself')).datatype = 'ip6addr';

		o = s.taboption('general', form.Value, 'weight', _('Weight'), _('How many connections it gets, in proportion to the others.'));
		o.datatype = 'range(1,1000)';
		o.placeholder = '1';
		config.effective(o, '1');

		o = s.taboption('general', form.Value, 'metric', _('Tier'), _('Only the lowest tier that has a working uplink is used: a higher number makes a backup.'));
		o.datatype = 'range(1,256)';
		o.placeholder = '1';
		config.effective(o, '1');

		o = s.taboption('general', form.DynamicList, 'prefix6', _('IPv6 prefixes'), _('What the provider delegated, where the network does not tell it.'));
		o.modalonly = true;
		o = s.taboption('general', form.ListValue, 'router_traffic', _('Takes the router\'s own connections'), _('No for a line without address translation.'));
		config.flag(o, '1').modalonly = true;
		value(s, 'general', 'mark', _('Packet mark'), _('Only where another program needs to know it.'), _('by itself'));
		value(s, 'general', 'table', _('Routing table'), null, _('by itself')).datatype = 'uinteger';
	},

	addHealth(s) {
		let o = s.taboption('health', form.DynamicList, 'track_ip', _('Targets'), _('Addresses that are probed over this uplink, or gateway. Without one, it counts as working while it has link, address and route. Two are better than one.'));
		o.placeholder = '1.1.1.1';
		o.value('gateway', _('its gateway'));
		config.effective(o, _('not probed'));

		o = s.taboption('health', form.ListValue, 'track_method', _('Probed by'));
		config.choice(o, 'ping', methods).modalonly = true;

		/* What has no effect now is not thrown away. */
		const depends = (option, ...names) => {
			names.forEach((name) => option.depends('track_method', name));
			option.retain = true;
		};
		depends(value(s, 'health', 'track_port', _('Port'), null, _('443 for tcp, 53 for dns')), 'tcp', 'dns');
		depends(value(s, 'health', 'track_url', _('URL'), _('What is asked for. A portal answers with another status.'), 'http://cp.cloudflare.com/generate_204'), 'http');
		depends(value(s, 'health', 'track_status', _('Expected status'), null, '204'), 'http');
		depends(value(s, 'health', 'portal_retry', _('Log in again after'), _('While a portal is in the way, scripts are called again and again.'), '60s'), 'http');

		value(s, 'health', 'reliability', _('Targets that must answer'), null, '1').datatype = 'uinteger';
		value(s, 'health', 'interval', _('Interval'), _('Between two rounds of probes. Plain numbers are seconds.'), '500ms');
		value(s, 'health', 'timeout', _('Timeout'), _('An answer later than this counts as missing.'), '800ms');
		value(s, 'health', 'down', _('Misses in a row until it is offline'), null, '4').datatype = 'range(1,1000)';
		value(s, 'health', 'up', _('Answers in a row until it is back'), null, '6').datatype = 'range(1,1000)';
		value(s, 'health', 'window', _('Rounds over which loss and latency are measured'), null, '60').datatype = 'range(1,1000)';
		value(s, 'health', 'failure_loss', _('Loss that takes it offline (%)'), _('0: loss is ignored.'), '30').datatype = 'range(0,100)';
		value(s, 'health', 'recovery_loss', _('Loss below which it may come back (%)'), null, '10').datatype = 'range(0,100)';
		value(s, 'health', 'failure_latency', _('Latency that takes it offline (ms)'), _('Not set: latency is ignored. A busy line answers slowly.'), _('ignored'));
		value(s, 'health', 'recovery_latency', _('Latency below which it may come back (ms)'), null, '300');

		o = s.taboption('health', form.ListValue, 'initial_state', _('State before the first result'));
		config.choice(o, 'online', [ 'online', 'offline' ]).modalonly = true;
		o = s.taboption('health', form.ListValue, 'on_dead', _('Its connections when it fails'), _('reset: clients notice at once. clear: the next packet takes another uplink. none: nothing happens.'));
		config.choice(o, 'reset', [ 'reset', 'clear', 'none' ]).modalonly = true;
		o = s.taboption('health', form.ListValue, 'failback', _('When it is back'), _('new: new connections use it. all: also those return that had moved to a backup. never: only when the others fail.'));
		config.choice(o, 'new', [ 'new', 'all', 'never' ]).modalonly = true;
	},

	addLimits(s) {
		value(s, 'limits', 'download', _('Download rate'), _('What the line can do. Above 90 % it gets nothing new while another has room.'), '20mbit');
		value(s, 'limits', 'upload', _('Upload rate'), null, '5mbit');
		value(s, 'limits', 'quota', _('Quota'), _('Bytes of a month, both directions.'), '50GB');
		const day = value(s, 'limits', 'quota_day', _('Day on which the month begins'), null, '1');
		day.datatype = 'range(1,28)';
		const o = s.taboption('limits', form.ListValue, 'quota_action', _('When it is used up'), _('last: it waits until no other works. off: it is not used.'));
		config.choice(o, 'last', [ 'last', 'off' ]).modalonly = true;
	},

	addGlobals(map) {
		const s = map.section(form.NamedSection, 'globals', 'globals', _('Service'));
		s.addremove = uci.get(config.file, 'globals') == null;
		const plain = (name, title, description, placeholder) => {
			const option = s.option(form.Value, name, title, description);
			option.placeholder = placeholder;
			return option;
		};

		config.flag(s.option(form.ListValue, 'enabled', _('Switched on')), '1');
		config.flag(s.option(form.ListValue, 'router_traffic', _('Balance the router\'s own connections')), '1');
		config.choice(s.option(form.ListValue, 'balance', _('Turns'), _('nth: strict rotation. random: by chance. source: a host keeps its uplink.')), 'nth', [ 'nth', 'random', 'source' ]);
		s.option(form.DynamicList, 'bypass', _('Never balanced'), _('Destinations for which the main routing table decides.')).placeholder = '172.16.0.0/12';
		config.flag(s.option(form.ListValue, 'ignore_split_default', _('Balance beside a VPN for all traffic'), _('Routes to 0.0.0.0/1 and the like do not take precedence.')), '0');
		plain('mark_mask', _('Bits of the packet mark'), _('To be changed if another program uses the same.'), '0x3f000000');
		config.choice(s.option(form.ListValue, 'loglevel', _('Log from')), 'notice', [ 'error', 'warning', 'notice', 'info', 'debug' ]);
		config.flag(s.option(form.ListValue, 'monitor', _('Run the monitor'), _('It probes the uplinks and mends what others change.')), '1');
	},

	/* What stands in the way of an interface, and the button that mends it. */
	renderMissing(name) {
		const missing = uplinks.missing(name);
		if (missing.length === 0)
			return '';
		return E('div', {}, [
			E('ul', { 'class': 'lb-list' }, missing.map((m) => E('li', {}, [ m.text ]))),
			E('button', {
				'class': 'btn cbi-button cbi-button-apply',
				'disabled': this.map.readonly || null,
				'click': ui.createHandlerFn(this, () => {
					missing.forEach((m) => m.mend());
					return this.map.save(null, true);
				})
			}, [ _('Mend it') ])
		]);
	},

	handleOffer(name) {
		const section = uplinks.sectionName(name);
		uci.add(config.file, 'member', section);
		if (section !== name)
			uci.set(config.file, section, 'interface', name);
		return this.map.save(null, true);
	},

	/* The interfaces that are no uplink yet. */
	renderOffers() {
		const offers = uplinks.offers(this.interfaces);
		const cell = (title, children) => E('td', { 'class': 'td', 'data-title': title }, children);
		return E('div', { 'class': 'cbi-section' }, [
			E('h3', {}, [ _('Interfaces that are no uplink yet') ]),
			offers.length === 0 ? E('p', {}, [ E('em', {}, [ _('There is none: make one under Network › Interfaces.') ]) ])
				: E('table', { 'class': 'table' }, [
					E('tr', { 'class': 'tr table-titles' }, [ _('Interface'), _('Protocol'), _('Device'), _('Missing'), '' ]
						.map((t) => E('th', { 'class': 'th' }, [ t ]))),
					...offers.map((i) => E('tr', { 'class': 'tr', 'data-offer': i.name }, [
						cell(_('Interface'), [ i.name ]),
						cell(_('Protocol'), [ i.proto ]),
						cell(_('Device'), [ i.device ?? '–' ]),
						cell(_('Missing'), [ this.renderMissing(i.name) ]),
						E('td', { 'class': 'td nowrap cbi-section-actions' }, [ E('div', {}, [ E('button', {
							'class': 'btn cbi-button cbi-button-add',
							'disabled': this.map.readonly || null,
							'click': ui.createHandlerFn(this, 'handleOffer', i.name)
						}, [ _('Add') ]) ]) ])
					]))
				])
		]);
	},

	addMembers(map, status) {
		const s = map.section(form.GridSection, 'member', _('Uplinks'));
		s.addremove = true;
		s.nodescriptions = true;
		s.modaltitle = (section_id) => _('Uplink %s').format(section_id);
		s.renderSectionAdd = () => config.renderAdd(s, _('Add an uplink without interface'));
		s.tab('general', _('General'));
		s.tab('health', _('Health'));
		s.tab('limits', _('Limits'));

		let o = s.option(form.DummyValue, '_interface', _('Interface'));
		o.modalonly = false;
		o.textvalue = (section_id) => {
			const device = uci.get(config.file, section_id, 'device');
			const name = uci.get(config.file, section_id, 'interface') || section_id;
			return E('div', {}, device ? [ _('device %s').format(device) ] : [ name, this.renderMissing(name) ]);
		};
		o = s.option(form.DummyValue, '_state', _('State'));
		o.modalonly = false;
		o.textvalue = (section_id) => {
			const member = format.objects(status.members).find((m) => m.name === section_id);
			const state = member?.fault ? 'fault' : member?.ipv4?.state ?? member?.ipv6?.state;
			return state ? format.badge(state) : E('em', {}, [ _('not in use') ]);
		};
		this.addGeneral(s);
		this.addHealth(s);
		this.addLimits(s);
	},

	render([ interfaces, status ]) {
		this.interfaces = interfaces;
		this.names = uplinks.wanNames(interfaces);
		this.box = E('div');
		this.offers = E('div');

		const map = this.map = new form.Map(config.file, _('Load Balancing'));
		map.chain('network');
		map.chain('firewall');
		this.addMembers(map, status);
		this.addGlobals(map);

		config.watch(map, this.box);
		const draw = map.renderContents;
		map.renderContents = (...args) => draw.apply(map, args).then((node) => {
			dom.content(this.offers, [ this.renderOffers() ]);
			node.querySelector('.cbi-section').after(this.offers);
			return node;
		});

		return map.render().then((node) => {
			config.openNamed(map);
			return E('div', {}, [ this.box, node ]);
		});
	},

	handleSaveApply(ev, mode) {
		return config.saveAndApply(this, this.box, ev, mode);
	}
});
