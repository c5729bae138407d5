'use strict';
'require baseclass';
'require dom';
'require rpc';
'require uci';
'require ui';

/* Forms over the configuration: a map has sections, a section has options. */

const callAccess = rpc.declare({ object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false } });

/* Lets setting a property throw that no page of LuCI would look at: a misspelt
   placeholder is otherwise only missing. */
function closed(target, names) {
	return new Proxy(target, {
		set(object, key, value) {
			if (!(key in object) && !names.includes(key) && !key.startsWith('__'))
				throw new Error(`${object.constructor.name} of '${object.sectiontype ?? object.option}' does not know '${key}'`);
			return Reflect.set(object, key, value);
		}
	});
}

const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

const Map = baseclass.extend({
	__init__(config, title, description) {
		Object.assign(this, { config, title, description, children: [], chained: [ config ], readonly: null, parent: null });
	},

	chain(config) {
		this.chained.push(config);
	},

	section(Class, ...args) {
		const section = closed(new Class(this, ...args), [ 'addbtntitle', 'modaltitle', 'nodescriptions' ]);
		this.children.push(section);
		return section;
	},

	async load() {
		this.readonly = !await callAccess('uci', this.config, 'write');
		await Promise.all(this.chained.map((config, i) => i ? L.resolveDefault(uci.load(config)) : uci.load(config)));
		this.children.forEach((s) => s.load());
	},

	render() {
		return this.load().then(() => this.renderContents());
	},

	async renderContents() {
		this.root ??= E('div', { 'class': 'cbi-map', 'id': 'cbi-' + this.config });
		dom.bindClassInstance(this.root, this);
		const nodes = this.children.map((s) => s.render());
		dom.content(this.root, [ this.title ? E('h2', {}, this.title) : '', ...nodes ]);
		this.checkDepends();
		return this.root;
	},

	reset() {
		return this.renderContents();
	},

	async save() {
		this.checkDepends();
		try {
			this.children.forEach((s) => s.parse());
		}
		catch (e) {
			ui.addNotification(null, E('p', {}, [ e.message ]));
			throw e;
		}
		await uci.save();
		await this.load();
		return this.renderContents();
	},

	checkDepends() {
		this.children.forEach((s) => s.checkDepends());
	},

	field(option, section_id) {
		return this.root.querySelector(`[id="${option.cbid(section_id)}"]`);
	}
});

const AbstractSection = baseclass.extend({
	addremove: false,
	anonymous: false,
	sortable: false,

	__init__(map, sectiontype, title, description) {
		Object.assign(this, { map, sectiontype, title, description, children: [], tabs: [] });
	},

	tab(name, title) {
		if (this.tabs.some((t) => t.name === name))
			throw new Error(`tab '${name}' is there already`);
		this.tabs.push({ name, title });
	},

	option(Class, ...args) {
		const option = closed(new Class(this.map, this, ...args), [ 'placeholder', 'datatype', 'modalonly', 'tab' ]);
		this.children.push(option);
		return option;
	},

	taboption(tab, ...args) {
		if (!this.tabs.some((t) => t.name === tab))
			throw new Error(`there is no tab '${tab}'`);
		const option = this.option(...args);
		option.tab = tab;
		return option;
	},

	load() {
		this.cfgsections().forEach((id) => this.children.forEach((o) => o.cfgvalue(id, o.load(id))));
	},

	parse() {
		this.cfgsections().forEach((id) => this.children.filter((o) => this.map.field(o, id)).forEach((o) => o.parse(id)));
	},

	checkDepends() {
		this.cfgsections().forEach((id) => this.children.forEach((o) => o.checkDepends(id)));
	},

	/* The options of a section as fields, in their tabs. */
	renderOptions(section_id) {
		const fields = (tab) => this.children.filter((o) => o.tab === tab).map((o) => o.render(section_id));
		if (this.tabs.length === 0)
			return fields(undefined);
		const panes = this.tabs.map((t, i) => E('div', { 'data-tab': t.name, 'data-tab-active': String(i === 0) }, fields(t.name)));
		return [ E('ul', { 'class': 'cbi-tabmenu' }, this.tabs.map((t, i) => E('li', {}, [ E('a', {
			'href': '#', 'click': (ev) => {
				ev.preventDefault();
				panes.forEach((pane, k) => pane.setAttribute('data-tab-active', String(k === i)));
			}
		}, [ t.title ]) ]))), ...panes ];
	},

	frame(children) {
		return E('div', { 'class': 'cbi-section', 'id': 'cbi-%s-%s'.format(this.map.config, this.sectiontype) }, [
			this.title ? E('h3', {}, this.title) : '',
			this.description ? E('div', { 'class': 'cbi-section-descr' }, this.description) : '',
			...children
		]);
	},

	button(title, style, handler, ...args) {
		return E('button', { 'class': 'cbi-button ' + style, 'disabled': this.map.readonly || null, 'click': ui.createHandlerFn(this, handler, ...args) }, [ title ]);
	}
});

const NamedSection = AbstractSection.extend({
	__init__(map, section, ...args) {
		this.super('__init__', [ map, ...args ]);
		this.section = section;
	},

	cfgsections() {
		return [ this.section ];
	},

	handleAdd() {
		uci.add(this.map.config, this.sectiontype, this.section);
		return this.map.save();
	},

	render() {
		if (uci.get(this.map.config, this.section))
			return this.frame([ E('div', { 'data-section-id': this.section }, this.renderOptions(this.section)) ]);
		return this.frame([ this.addremove ? this.button(_('Add'), 'cbi-button-add', 'handleAdd') : '' ]);
	}
});

/* A table with a row for each section, and a dialog for each. */
const GridSection = AbstractSection.extend({
	cfgsections() {
		return uci.sections(this.map.config, this.sectiontype).map((s) => s['.name']);
	},

	/* Nothing is edited in the table. */
	parse() {},

	checkDepends() {},

	handleAdd(ev, name) {
		const added = uci.add(this.map.config, this.sectiontype, typeof name === 'string' ? name : undefined);
		return this.renderMoreOptionsModal(added, () => uci.remove(this.map.config, added));
	},

	handleRemove(section_id) {
		uci.remove(this.map.config, section_id);
		return this.map.save();
	},

	renderSectionAdd() {
		if (!this.anonymous)
			throw new Error('named sections are added by a field of the page');
		return E('div', { 'class': 'cbi-section-create' }, [ this.button(this.addbtntitle, 'cbi-button-add', 'handleAdd') ]);
	},

	renderRow(section_id, columns) {
		const row = E('tr', { 'class': 'tr', 'data-section-id': section_id }, [
			...(this.anonymous ? [] : [ E('td', { 'class': 'td' }, [ section_id ]) ]),
			...columns.map((o) => E('td', { 'class': 'td', 'data-title': o.title }, o.textvalue(section_id) ?? E('em', {}, [ _('none') ]))),
			E('td', { 'class': 'td cbi-section-actions' }, [
				this.sortable ? E('button', { 'class': 'cbi-button drag-handle', 'draggable': 'true', 'dragstart': () => this.__dragged = section_id }, [ '☰' ]) : '',
				E('button', { 'class': 'cbi-button cbi-button-edit', 'click': ui.createHandlerFn(this, 'renderMoreOptionsModal', section_id) }, [ _('Edit') ]),
				this.addremove ? this.button(_('Delete'), 'cbi-button-remove', 'handleRemove', section_id) : ''
			])
		]);
		if (this.sortable) {
			row.addEventListener('dragover', (ev) => ev.preventDefault());
			row.addEventListener('drop', (ev) => {
				const place = row.getBoundingClientRect();
				uci.move(this.map.config, this.__dragged, section_id, ev.clientY > place.top + place.height / 2);
				this.map.renderContents();
			});
		}
		return row;
	},

	render() {
		const columns = this.children.filter((o) => !o.modalonly);
		const titles = [ ...(this.anonymous ? [] : [ _('Name') ]), ...columns.map((o) => o.title), '' ];
		return this.frame([
			E('table', { 'class': 'table cbi-section-table' }, [
				E('tr', { 'class': 'tr' }, titles.map((t) => E('th', { 'class': 'th' }, [ t ]))),
				...this.cfgsections().map((id) => this.renderRow(id, columns))
			]),
			this.addremove ? this.renderSectionAdd() : ''
		]);
	},

	/* The dialog: the same options over the one section. */
	async renderMoreOptionsModal(section_id, cancelled) {
		const map = new Map(this.map.config);
		const section = new NamedSection(map, section_id, this.sectiontype);
		section.tabs = this.tabs;
		map.parent = this.map;
		map.children.push(section);
		for (const o of this.children.filter((o) => o.modalonly !== false)) {
			const copy = Object.assign(Object.create(Object.getPrototypeOf(o)), o, { map, section });
			section.children.push(copy);
		}
		const close = () => {
			ui.hideModal();
			return this.map.load().then(() => this.map.renderContents());
		};
		const node = await map.render();
		ui.showModal('%h'.format(this.modaltitle(section_id)), [ node, E('div', { 'class': 'button-row' }, [
			E('button', { 'class': 'cbi-button', 'click': () => {
				if (typeof cancelled === 'function')
					cancelled();
				close();
			} }, [ _('Dismiss') ]),
			E('button', { 'class': 'cbi-button cbi-button-positive', 'disabled': map.readonly || null, 'click': ui.createHandlerFn(this, () => map.save().then(close)) }, [ _('Save') ])
		]) ], 'cbi-modal');
	}
});

const Value = baseclass.extend({
	rmempty: true,
	optional: false,
	retain: false,
	readonly: null,

	__init__(map, section, option, title, description) {
		Object.assign(this, { map, section, option, title, description, deps: [], choices: [], values: {} });
	},

	value(key, text) {
		this.choices.push([ String(key), String(text ?? key) ]);
	},

	depends(name, value) {
		this.deps.push([ name, value ]);
	},

	cbid(section_id) {
		return 'cbid.%s.%s.%s'.format(this.map.config, section_id, this.option);
	},

	load(section_id) {
		return uci.get(this.map.config, section_id, this.option);
	},

	cfgvalue(section_id, ...set) {
		if (set.length)
			this.values[section_id] = set[0];
		return this.values[section_id];
	},

	textvalue(section_id) {
		const value = this.cfgvalue(section_id);
		return value == null ? null : '%h'.format(L.toArray(value).join(' '));
	},

	validate() {
		return true;
	},

	getUIElement(section_id) {
		const node = this.map.field(this, section_id);
		return node ? dom.findClassInstance(node) : null;
	},

	formvalue(section_id) {
		return this.getUIElement(section_id)?.getValue() ?? null;
	},

	isActive(section_id) {
		return !this.map.field(this, section_id)?.closest('[data-name]').classList.contains('hidden');
	},

	checkDepends(section_id) {
		const field = this.map.field(this, section_id);
		if (!field || this.deps.length === 0)
			return;
		const holds = ([ name, value ]) => this.section.children.find((o) => o.option === name).formvalue(section_id) === value;
		field.closest('[data-name]').classList.toggle('hidden', !this.deps.some(holds));
	},

	fieldOptions(section_id) {
		return {
			id: this.cbid(section_id),
			datatype: this.datatype,
			placeholder: this.placeholder,
			optional: this.optional || this.rmempty,
			validate: (value) => this.validate(section_id, value),
			disabled: this.readonly ?? this.map.readonly
		};
	},

	renderWidget(section_id, index, value) {
		const choices = this.choices.length ? { choices: this.choices } : {};
		return new ui.Textfield(L.toArray(value).join(' '), { ...this.fieldOptions(section_id), ...choices }).render();
	},

	render(section_id) {
		const frame = E('div', { 'class': 'cbi-value', 'data-name': this.option }, [
			E('label', { 'class': 'cbi-value-title' }, this.title),
			E('div', { 'class': 'cbi-value-field' }, [
				this.renderWidget(section_id, 0, this.cfgvalue(section_id)),
				this.description ? E('div', { 'class': 'cbi-value-description' }, this.description) : ''
			])
		]);
		frame.addEventListener('widget-change', () => this.map.checkDepends());
		return frame;
	},

	parse(section_id) {
		const field = this.getUIElement(section_id);
		if (!this.isActive(section_id))
			return this.retain || uci.unset(this.map.config, section_id, this.option);
		if (!field.isValid())
			throw new Error('Option "%s" contains an invalid input value. %s'.format(this.title, field.getValidationError()));
		const value = this.formvalue(section_id);
		if (value == null || value.length === 0)
			uci.unset(this.map.config, section_id, this.option);
		else if (!same(value, this.cfgvalue(section_id)))
			uci.set(this.map.config, section_id, this.option, value);
	}
});

const ListValue = Value.extend({
	renderWidget(section_id, index, value) {
		return new ui.Select(value, { ...this.fieldOptions(section_id), optional: this.optional, choices: this.choices }).render();
	}
});

const List = Value.extend({
	renderWidget(section_id, index, value) {
		return new ui.DynamicList(value, this.fieldOptions(section_id)).render();
	}
});

const DummyValue = Value.extend({
	parse() {}
});

return baseclass.extend({ Map, NamedSection, GridSection, Value, ListValue, DynamicList: List, DummyValue });
