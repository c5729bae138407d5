'use strict';
'require baseclass';
'require dom';
'require uci';
'require ui';
'require loadbalance.calls as calls';

const file = 'loadbalance';

/* Names that the program keeps for itself. */
const reserved = [ 'default', 'unreachable', 'blackhole', 'main', 'local', 'local6' ];

function quote(value) {
	return "'" + String(value).replace(/'/g, "'\\''") + "'";
}

return baseclass.extend({
	file,

	/* Why a name cannot be a new section's, or null. All types share one set of
	   names: UCI would change the type of a section that is there. */
	nameFault(type, name) {
		const taken = uci.get(file, name);
		if (!/^[A-Za-z0-9_]{1,32}$/.test(name))
			return _('The name must be 1 to 32 letters, digits or _.');
		if (reserved.includes(name) || (type !== 'policy' && name === 'balanced') || name === 'globals')
			return _('The name %s is reserved.').format(name);
		if (taken)
			return _('The name %s is already taken by a section of type %s.').format(name, taken['.type']);
		return null;
	},

	/* A field for a name and a button that adds a section of a name. */
	renderAdd(section, title) {
		const type = section.sectiontype;
		const input = E('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'placeholder': _('Name'), 'disabled': section.map.readonly || null });
		const button = E('button', {
			'class': 'cbi-button cbi-button-add',
			'disabled': true,
			'click': ui.createHandlerFn(this, (ev) => section.handleAdd(ev, input.value))
		}, [ title ]);

		ui.addValidator(input, 'string', true, (name) => {
			const fault = name === '' ? null : this.nameFault(type, name);
			button.disabled = section.map.readonly || name === '' || fault != null;
			return fault ?? true;
		}, 'blur', 'keyup');
		return E('div', { 'class': 'cbi-section-create' }, [ E('div', {}, [ input ]), button ]);
	},

	/* The configuration as it would be saved, as UCI writes it. */
	text() {
		return uci.sections(file).map((s) => {
			const options = Object.keys(s).filter((name) => name.charAt(0) !== '.').map((name) =>
				Array.isArray(s[name])
					? s[name].map((v) => '\tlist %s %s\n'.format(name, quote(v))).join('')
					: '\toption %s %s\n'.format(name, quote(s[name])));
			return '\nconfig %s%s\n'.format(s['.type'], s['.anonymous'] ? '' : ' ' + quote(s['.name'])) + options.join('');
		}).join('');
	},

	/* Has the program check what would be saved. Resolves to the node that says
	   what is wrong, and whether an apply would be refused. */
	check() {
		return calls.check(this.text()).then((reply) => {
			const messages = Array.isArray(reply.messages) ? reply.messages : [];
			const errors = messages.filter((m) => m.level === 'error');
			const list = (title, style, some) => some.length === 0 ? '' : E('div', { 'class': 'alert-message ' + style }, [
				E('strong', {}, [ title ]),
				E('ul', { 'class': 'lb-list' }, some.map((m) => E('li', {}, [ String(m.text) ])))
			]);
			return {
				refused: !reply.error && reply.ok === false,
				node: E('div', { 'class': 'lb-check' }, reply.error
					? [ E('div', { 'class': 'alert-message warning' }, [ _('The configuration could not be checked.'), ' ', String(reply.error) ]) ]
					: [
						list(_('The program would refuse this configuration:'), 'danger', errors),
						list(_('To be known:'), 'notice', messages.filter((m) => m.level === 'warning'))
					])
			};
		});
	},

	/* Lets the box show what the program says about the configuration each time
	   the map is drawn, which is after each change. */
	watch(map, box) {
		const draw = map.renderContents;
		map.renderContents = (...args) => draw.apply(map, args).then((node) => {
			this.check().then((result) => dom.content(box, result.node));
			return node;
		});
	},

	/* Saves, and applies unless the program would refuse it. */
	saveAndApply(view, box, ev, mode) {
		return view.handleSave(ev).then(() => this.check()).then((result) => {
			dom.content(box, result.node);
			if (result.refused)
				box.scrollIntoView();
			else
				ui.changes.apply(mode === '0');
		});
	},

	/* Opens the dialog of the section that the address names after a number sign. */
	openNamed(map) {
		const named = location.hash.length > 1 ? uci.get(file, decodeURIComponent(location.hash.slice(1))) : null;
		const section = map.children.find((s) => s.sectiontype === named?.['.type']);
		return section?.renderMoreOptionsModal?.(named['.name']);
	},

	/* A list whose first choice stands for no value at all: nothing is written
	   that nobody has chosen. */
	choice(option, otherwise, values) {
		option.value('', _('%s (default)').format(otherwise));
		values.forEach((v) => option.value(v));
		option.optional = true;
		return option;
	},

	/* The same for yes and no, however the file spells them. */
	flag(option, otherwise) {
		option.value('', _('%s (default)').format(otherwise === '1' ? _('yes') : _('no')));
		option.value('1', _('yes'));
		option.value('0', _('no'));
		option.optional = true;
		option.cfgvalue = function(section_id) {
			const value = uci.get(file, section_id, this.option);
			return value == null ? '' : [ '1', 'on', 'true', 'yes', 'enabled' ].includes(value) ? '1' : '0';
		};
		option.textvalue = function(section_id) {
			return (this.cfgvalue(section_id) || otherwise) === '1' ? _('yes') : _('no');
		};
		return option;
	},

	/* The value that is in force where an option is not set. */
	effective(option, otherwise) {
		option.textvalue = function(section_id) {
			const value = this.cfgvalue(section_id);
			return E('span', {}, [ value == null || value === '' ? otherwise : Array.isArray(value) ? value.join(', ') : String(value) ]);
		};
		return option;
	}
});
