'use strict';
'require baseclass';
'require uci';
'require loadbalance.config as config';

/* Protocols of interfaces that lead nowhere, or that follow an IPv4 interface. */
const noUplinks = [ 'none', 'relay', 'dhcpv6', '6in4', '6rd', '6to4', 'map', '464xlat' ];

function interfaceOf(member) {
	return member.device ? null : member.interface || member['.name'];
}

/* netifd's interfaces in the file, but for those that can be no uplink. */
function interfaces() {
	return uci.sections('network', 'interface').filter((s) =>
		s['.name'] !== 'loopback' && !noUplinks.includes(s.proto ?? 'none') && s.disabled !== '1' &&
		(s.proto !== 'static' || s.gateway));
}

function zones() {
	return uci.sections('firewall', 'zone');
}

/* A metric that no interface has: each uplink needs its own, or the main table
   keeps only one default route. */
function freeMetric() {
	const taken = uci.sections('network', 'interface').map((s) => Number(s.metric ?? 0));
	let metric = 10;
	while (taken.includes(metric))
		metric += 10;
	return metric;
}

function missingMetric(name) {
	const metric = uci.get('network', name, 'metric');
	const twin = metric && interfaces().find((s) => s['.name'] !== name && s.metric === metric);
	if (metric && !twin)
		return null;
	return {
		text: twin ? _('the metric %s is also that of %s').format(metric, twin['.name']) : _('no metric of its own'),
		mend: () => uci.set('network', name, 'metric', String(freeMetric()))
	};
}

function missingZone(name) {
	const all = zones();
	const masquerades = (z) => z.masq === '1';
	const found = all.find((z) => L.toArray(z.network).includes(name));
	const target = all.find((z) => z.name === 'wan' && masquerades(z)) ?? all.find(masquerades);
	if (all.length === 0 || (found && masquerades(found)))
		return null;
	if (found)
		return {
			text: _('the firewall zone %s does not masquerade').format(found.name),
			mend: () => uci.set('firewall', found['.name'], 'masq', '1')
		};
	if (!target)
		return { text: _('no firewall zone masquerades: make one under Network › Firewall'), mend: () => {} };
	return {
		text: _('in no firewall zone that masquerades'),
		mend: () => uci.set('firewall', target['.name'], 'network', L.toArray(target.network).concat([ name ]))
	};
}

return baseclass.extend({
	wanNames(dump) {
		return interfaces().map((s) => s['.name']).concat(dump.map((i) => i.interface))
			.filter((name, i, all) => name !== 'loopback' && all.indexOf(name) === i);
	},

	/* What an interface lacks to be an uplink, each with what mends it. */
	missing(name) {
		if (uci.get('network', name) == null)
			return [];
		return [ missingMetric(name), missingZone(name) ].filter((m) => m);
	},

	/* Interfaces that could be uplinks and are none: [ { name, proto, device } ]. */
	offers(dump) {
		const used = uci.sections(config.file, 'member').map(interfaceOf);
		return interfaces().filter((s) => !used.includes(s['.name'])).map((s) => {
			const now = dump.find((i) => i.interface === s['.name']);
			return { name: s['.name'], proto: s.proto, device: now?.l3_device ?? s.device ?? s.ifname };
		});
	},

	/* The name of the section for an interface: its own where that can be. */
	sectionName(name) {
		const wanted = name.replace(/[^A-Za-z0-9_]/g, '_').slice(0, 30);
		let free = wanted;
		for (let i = 2; config.nameFault('member', free); i++)
			free = wanted + '_' + i;
		return free;
	}
});
