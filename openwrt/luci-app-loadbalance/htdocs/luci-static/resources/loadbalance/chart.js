'use strict';
'require baseclass';
'require loadbalance.format as format';

const width = 1000;
const height = 280;

function svg(name, attributes, children) {
	const node = document.createElementNS('http://www.w3.org/2000/svg', name);
	for (const key in attributes)
		node.setAttribute(key, attributes[key]);
	(children ?? []).forEach((child) => node.appendChild(child));
	return node;
}

function points(list) {
	return list.map((p) => '%.1f,%.1f'.format(p[0], p[1])).join(' ');
}

/* A round number that is no less: 1, 2 or 5 times a power of ten. */
function ceiling(value) {
	const power = Math.pow(10, Math.floor(Math.log10(Math.max(value, 1))));
	return power * [ 1, 2, 5, 10 ].find((n) => n * power >= value);
}

function sum(list) {
	return list.reduce((a, b) => a + b, 0);
}

return baseclass.extend({
	/* The traffic of all uplinks, one above the other: received upwards, sent
	   downwards. A sample has a time and for each name what was received and
	   sent, in bytes per second. */
	throughput(samples, names, begin, end) {
		const x = (s) => (s.time - begin) / (end - begin) * width;
		const of = (s, name, way) => format.number(s.rates[name]?.[way]);
		const highest = (way) => Math.max(0, ...samples.map((s) => sum(names.map((n) => of(s, n, way)))));
		const top = ceiling(highest(0) * 8);
		const bottom = ceiling(highest(1) * 8);
		const middle = Math.round(height * Math.min(Math.max(top / (top + bottom), 0.25), 0.75));
		const scale = [ middle / top, (middle - height) / bottom ];
		const shapes = [];

		for (const way of [ 0, 1 ]) {
			let below = samples.map(() => 0);
			names.forEach((name, i) => {
				const above = samples.map((s, k) => below[k] + of(s, name, way) * 8);
				const line = (values) => samples.map((s, k) => [ x(s), middle - values[k] * scale[way] ]);
				shapes.push(svg('polygon', {
					'points': points(line(above).concat(line(below).reverse())),
					'fill': format.colour(i),
					'fill-opacity': way ? '.55' : '.85'
				}));
				below = above;
			});
		}
		shapes.push(svg('line', { 'x1': 0, 'x2': width, 'y1': middle, 'y2': middle, 'stroke': 'currentColor', 'vector-effect': 'non-scaling-stroke' }));

		return E('div', { 'class': 'lb-chart' }, [
			svg('svg', { 'viewBox': '0 0 %d %d'.format(width, height), 'preserveAspectRatio': 'none', 'role': 'img' }, shapes),
			E('span', { 'style': 'top:0' }, [ _('received, up to %s').format(format.rate(top / 8)) ]),
			E('span', { 'style': 'bottom:0' }, [ _('sent, up to %s').format(format.rate(bottom / 8)) ]),
			E('span', { 'style': 'left:auto;right:.4em;top:0' }, [ _('the last %s').format('%t'.format(end - begin)) ])
		]);
	},

	/* The samples of the monitor's history: of each path, points separated by
	   semicolons, whose last two values are bytes per second. A device that
	   several paths share counts once. */
	history(reply) {
		const step = format.number(reply.step_s) || 60;
		const end = Date.parse(reply.end) / 1000;
		const seen = [];
		const samples = {};
		format.objects(reply.paths).forEach((path) => {
			if (seen.includes(path.device))
				return;
			seen.push(path.device);
			const points = String(path.points).split(';');
			points.forEach((point, i) => {
				const time = end - (points.length - 1 - i) * step;
				const values = point.split(',');
				if (!values[3])
					return; // unknown, as in the first step
				samples[time] ??= { time, rates: {} };
				samples[time].rates[path.member] = [ format.number(values[3]), format.number(values[4]) ];
			});
		});
		return Object.values(samples).sort((a, b) => a.time - b.time);
	},

	/* Each name with its colour and its newest rates, after the sum. */
	legend(samples, names) {
		const last = samples[samples.length - 1];
		const rates = (list) => '↓ %s  ↑ %s'.format(format.rate(sum(list.map((r) => r[0]))), format.rate(sum(list.map((r) => r[1]))));
		const known = names.map((n) => last?.rates[n] ?? [ 0, 0 ]);

		return E('div', { 'class': 'lb-legend' }, [
			E('strong', {}, [ _('All uplinks: %s').format(rates(known)) ]),
			...names.map((name, i) => E('span', {}, [
				E('i', { 'style': 'background:' + format.colour(i) }),
				'%s: %s'.format(name, rates([ known[i] ]))
			]))
		]);
	},

	/* A small curve of numbers; a null is a gap. */
	curve(values) {
		const known = values.filter((v) => v != null);
		if (known.length < 2)
			return E('span');
		const highest = Math.max(...known) || 1;
		const lines = [ [] ];
		values.forEach((v, i) => {
			if (v == null)
				lines.push([]);
			else
				lines[lines.length - 1].push([ i / (values.length - 1) * 100, 19 - v / highest * 18 ]);
		});

		return svg('svg', { 'class': 'lb-curve', 'viewBox': '0 0 100 20', 'preserveAspectRatio': 'none', 'role': 'img' },
			lines.filter((l) => l.length > 1).map((l) => svg('polyline', {
				'points': points(l), 'fill': 'none', 'stroke': 'currentColor', 'vector-effect': 'non-scaling-stroke'
			})));
	}
});
