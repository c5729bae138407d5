'use strict';
/* What LuCI defines for all scripts: texts and their formatting. */

/* The conversions of LuCI's String.format that the pages use. Any other is a
   mistake, or a gap in this file. */
const conversions = {
	'%': () => '%',
	s: (v) => String(v),
	d: (v) => String(Math.floor(+v || 0)),
	f: (v, precision) => precision == null ? String(+v || 0) : (+v || 0).toFixed(precision),
	h: (v) => String(v ?? '').replace(/[&"'<>]/g, (c) => `&#${c.charCodeAt(0)};`),
	x: (v) => Math.floor(+v || 0).toString(16),
	t: (v) => {
		const [ days, hours, minutes, seconds ] = [ v / 86400, v / 3600 % 24, v / 60 % 60, v % 60 ].map(Math.floor);
		return `${days ? `${days}d ` : ''}${hours}h ${minutes}m ${seconds}s`;
	},
	m: (v, precision, width) => {
		const units = [ ' ', ' K', ' M', ' G', ' T', ' P' ];
		let n = +v || 0, i = 0;
		for (; n > (width || 1000) && i < units.length - 1; i++)
			n /= width || 1000;
		return i ? n.toFixed(precision ?? 2) + units[i] : n + ' ';
	}
};

String.prototype.format = function(...values) {
	let used = 0;
	return this.replace(/%(\d+)?(?:\.(\d+))?(.)?/g, (all, width, precision, type) => {
		if (!conversions.hasOwnProperty(type))
			throw new Error(`format of '${this}': '${all}' is unknown`);
		if (type !== '%' && used >= values.length)
			throw new Error(`format of '${this}': a value is missing`);
		return conversions[type](type === '%' ? null : values[used++], precision == null ? null : +precision, +width);
	});
};

/* Returns a text in the user's language. */
function _(text) {
	if (typeof text !== 'string')
		throw new TypeError('_() takes a text');
	return window.TRANSLATIONS?.[text] ?? text;
}
