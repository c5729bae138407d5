'use strict';
'require baseclass';
'require dom';
'require form';
'require uci';
'require ui';
'require loadbalance.config as config';

/* What a value of use_member says: its name, and weight and tier where given. */
function parse(text) {
	const words = String(text).trim().split(/\s+/);
	const row = { name: words[0], weight: '', metric: '' };
	words.slice(1).forEach((word) => {
		const [ key, value ] = word.split('=');
		if (key === 'weight' || key === 'metric')
			row[key] = value ?? '';
	});
	return row;
}

function format(row) {
	return [ row.name, ...[ 'weight', 'metric' ].filter((key) => row[key] !== '').map((key) => key + '=' + row[key]) ].join(' ');
}

/* The field for members with weight and tier: a row for each. */
const Members = ui.AbstractElement.extend({
	__init__(value, options) {
		this.rows = L.toArray(value).map(parse);
		this.options = options;
	},

	render() {
		this.node = E('div', { 'id': this.options.id });
		this.setUpdateEvents(this.node, 'members-changed');
		this.setChangeEvents(this.node, 'members-changed');
		dom.bindClassInstance(this.node, this);
		this.draw();
		return this.node;
	},

	changed(redraw) {
		if (redraw)
			this.draw();
		this.node.dispatchEvent(new CustomEvent('members-changed'));
	},

	number(row, key, placeholder) {
		return E('input', {
			'type': 'number',
			'min': 1,
			'class': 'cbi-input-text',
			'data-field-of': key,
			'value': row[key],
			'placeholder': placeholder,
			'disabled': this.options.disabled || null,
			'change': (ev) => {
				row[key] = ev.target.value.trim();
				this.changed();
			}
		});
	},

	draw() {
		const names = uci.sections(config.file, 'member').map((s) => s['.name']);
		const left = names.filter((n) => !this.rows.some((row) => row.name === n));
		const own = (row, key) => uci.get(config.file, row.name, key) || '1';
		const title = (text) => E('th', {}, [ text ]);

		dom.content(this.node, [ E('table', { 'class': 'lb-members' }, [
			this.rows.length ? E('tr', {}, [ title(_('Uplink')), title(_('Weight')), title(_('Tier')), title('') ])
				: E('tr', {}, [ E('td', {}, [ E('em', {}, [ _('all uplinks') ]) ]) ]),
			...this.rows.map((row) => E('tr', { 'data-row': row.name }, [
				E('td', {}, [ row.name ]),
				E('td', {}, [ this.number(row, 'weight', own(row, 'weight')) ]),
				E('td', {}, [ this.number(row, 'metric', own(row, 'metric')) ]),
				E('td', {}, [ E('button', {
					'class': 'btn cbi-button cbi-button-remove',
					'title': _('Remove'),
					'disabled': this.options.disabled || null,
					'click': (ev) => {
						ev.preventDefault();
						this.rows = this.rows.filter((r) => r !== row);
						this.changed(true);
					}
				}, [ '×' ]) ])
			])),
			left.length ? E('tr', {}, [ E('td', { 'colspan': 4 }, [ E('select', {
				'class': 'cbi-input-select',
				'disabled': this.options.disabled || null,
				'change': (ev) => {
					this.rows.push({ name: ev.target.value, weight: '', metric: '' });
					this.changed(true);
				}
			}, [ E('option', { 'value': '' }, [ _('Add an uplink…') ]), ...left.map((n) => E('option', { 'value': n }, [ n ])) ]) ]) ]) : ''
		]) ]);
	},

	getValue() {
		return this.rows.map(format);
	},

	setValue(value) {
		this.rows = L.toArray(value).map(parse);
		this.draw();
	}
});

return baseclass.extend({
	parse,

	/* The option of a form for use_member. */
	Option: form.Value.extend({
		__name__: 'CBI.LoadbalanceMembers',

		renderWidget(section_id, option_index, cfgvalue) {
			return new Members(cfgvalue, {
				id: this.cbid(section_id),
				disabled: this.readonly ?? this.map.readonly
			}).render();
		},

		/* An empty list is no value. */
		formvalue(section_id) {
			const value = this.super('formvalue', [ section_id ]);
			return value?.length ? value : null;
		},

		textvalue(section_id) {
			const rows = L.toArray(this.cfgvalue(section_id)).map(parse);
			return E('span', {}, [ rows.length === 0 ? _('all uplinks') : rows.map((row) => {
				const facts = [
					row.weight ? _('weight %s').format(row.weight) : null,
					row.metric ? _('tier %s').format(row.metric) : null
				].filter((f) => f);
				return facts.length ? '%s (%s)'.format(row.name, facts.join(', ')) : row.name;
			}).join(', ') ]);
		}
	})
});
