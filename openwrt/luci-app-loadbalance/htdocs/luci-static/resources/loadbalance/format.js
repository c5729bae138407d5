'use strict';
'require baseclass';

document.head.appendChild(E('link', {
	'rel': 'stylesheet',
	'type': 'text/css',
	'href': L.resource('loadbalance/style.css')
}));

/* What a state is called, and how it looks. A newer program may know more. */
const states = {
	active: [ _('active'), 'lb-good' ],
	standby: [ _('standby'), 'lb-calm' ],
	offline: [ _('offline'), 'lb-bad' ],
	down: [ _('down'), 'lb-bad' ],
	portal: [ _('portal'), 'lb-odd' ],
	full: [ _('full'), 'lb-odd' ],
	quota: [ _('quota used up'), 'lb-odd' ],
	fault: [ _('faulty section'), 'lb-bad' ]
};

/* Colours that stay apart on light and dark pages. */
const colours = [ '#2f7ed8', '#e0861a', '#2a9d4a', '#c03fa0', '#8a6d3b', '#17a2b8', '#d9301f', '#7b61d1', '#8fae1b', '#6c757d' ];

function number(value) {
	const n = Number(value);
	return isFinite(n) ? n : 0;
}

return baseclass.extend({
	number,

	/* Lists and objects of a reply, whatever it holds in their place. */
	objects(value) { return Array.isArray(value) ? value.filter((v) => L.isObject(v)) : []; },

	texts(value) { return Array.isArray(value) ? value.map(String) : []; },

	stateName(state) { return states.hasOwnProperty(state) ? states[state][0] : String(state); },

	badge(state) {
		const look = states.hasOwnProperty(state) ? states[state][1] : 'lb-odd';
		return E('span', { 'class': 'lb-badge ' + look, 'data-state': String(state) }, [ this.stateName(state) ]);
	},

	colour(i) { return colours[i % colours.length]; },

	/* Bytes per second, as lines are sold: in bits. */
	rate(bytes) { return '%1000.1mbit/s'.format(Math.round(number(bytes) * 8)); },

	amount(bytes) { return '%1000.1mB'.format(Math.round(number(bytes))); },

	percent(part) {
		const value = number(part) * 100;
		const whole = Math.round(value);
		return Math.abs(value - whole) < 0.05 ? '%d %%'.format(whole) : '%.1f %%'.format(value);
	},

	milliseconds(ns) { return _('%.1f ms').format(number(ns) / 1e6); },

	/* How long ago a time of the reply is, by the router's clock. */
	age(time, now) {
		const seconds = Math.round((Date.parse(now) - Date.parse(time)) / 1000);
		return isFinite(seconds) ? '%t'.format(Math.max(seconds, 0)) : null;
	},

	/* tc's units, which options download and upload have: bytes per second, or 0. */
	parseRate(text) {
		const match = /^([0-9.]+)\s*([kmgt]?)(i?)(bit|bps)?$/i.exec(String(text ?? '').trim());
		if (!match)
			return 0;
		const power = ' kmgt'.indexOf(match[2].toLowerCase() || ' ');
		const value = number(match[1]) * Math.pow(match[3] ? 1024 : 1000, power);
		return /bps/i.test(match[4] ?? '') ? value : value / 8;
	}
});
