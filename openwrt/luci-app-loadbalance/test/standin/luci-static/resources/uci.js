'use strict';
'require baseclass';
'require rpc';

/* The configuration: what rpcd has, and changes to it that are not saved. */

const call = (method, params, expect) => rpc.declare({ object: 'uci', method, params, expect, reject: true });
const callGet = call('get', [ 'config' ], { values: {} });
const callAdd = call('add', [ 'config', 'type', 'name', 'values' ], { section: '' });
const callSet = call('set', [ 'config', 'section', 'values' ]);
const callDelete = call('delete', [ 'config', 'section', 'options' ]);
const callOrder = call('order', [ 'config', 'sections' ]);

const plain = (section) => Object.fromEntries(Object.entries(section).filter(([ key ]) => key[0] !== '.'));

return baseclass.extend({
	__init__() {
		/* By file: sections by name as they are to be, and as rpcd has them. */
		this.files = {};
		this.counter = 0;
	},

	async load(names) {
		for (const name of L.toArray(names)) {
			if (this.files[name])
				continue;
			const values = await callGet(name);
			this.files[name] ??= { now: values, saved: structuredClone(values), reordered: false };
		}
	},

	sections(file, type) {
		return Object.values(this.files[file]?.now ?? {}).filter((s) => type == null || s['.type'] === type)
			.sort((a, b) => a['.index'] - b['.index']);
	},

	get(file, name, option) {
		const [ , type, position ] = /^@(\w+)\[(\d+)\]$/.exec(name) ?? [];
		const section = type ? this.sections(file, type)[position]?.['.name'] : name;
		const found = this.files[file]?.now[section];
		return option == null ? found ?? null : found?.[option] ?? null;
	},

	set(file, section, option, value) {
		const found = this.files[file]?.now[section];
		if (!found)
			throw new Error(`uci.set(): there is no ${file}.${section}`);
		if (value == null || value === '')
			delete found[option];
		else
			found[option] = value;
	},

	unset(file, section, option) {
		if (this.files[file]?.now[section])
			this.set(file, section, option, null);
	},

	add(file, type, name) {
		const id = name || 'new' + ++this.counter;
		this.files[file].now[id] = { '.type': type, '.name': id, '.create': name ?? '', '.anonymous': !name, '.index': 1000 + ++this.counter };
		return id;
	},

	remove(file, section) {
		delete this.files[file].now[section];
	},

	move(file, section, target, after) {
		const all = this.sections(file);
		if (!this.get(file, section) || !this.get(file, target))
			throw new Error(`uci.move(): there is no ${section} or ${target}`);
		const [ moved ] = all.splice(all.findIndex((s) => s['.name'] === section), 1);
		all.splice(all.findIndex((s) => s['.name'] === target) + (after ? 1 : 0), 0, moved);
		all.forEach((s, i) => s['.index'] = i);
		this.files[file].reordered = true;
	},

	async save() {
		const names = Object.keys(this.files);
		for (const name of names)
			await this.saveFile(name, this.files[name]);
		this.files = {};
		await this.load(names);
	},

	/* Sends what differs. */
	async saveFile(file, { now, saved, reordered }) {
		for (const name in saved)
			if (!now[name])
				await callDelete(file, name, null);
		for (const name in now) {
			const section = now[name];
			if (!saved[name]) {
				section['.name'] = await callAdd(file, section['.type'], section['.create'] || undefined, plain(section));
				continue;
			}
			const gone = Object.keys(plain(saved[name])).filter((option) => !(option in section));
			const fresh = Object.entries(plain(section)).filter(([ option, value ]) => JSON.stringify(value) !== JSON.stringify(saved[name][option]));
			if (gone.length)
				await callDelete(file, name, gone);
			if (fresh.length)
				await callSet(file, name, Object.fromEntries(fresh));
		}
		if (reordered)
			await callOrder(file, this.sections(file).map((s) => s['.name']));
	}
});
