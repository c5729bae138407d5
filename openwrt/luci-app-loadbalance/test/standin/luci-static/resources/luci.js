'use strict';
/* A stand-in of LuCI's client runtime for the tests: modules, elements, polls and
   views, as luci.js has them. It is written from the interface alone, knows what
   the pages use, and throws on anything else. */

/* Lets reading a property that is not there throw. */
function strict(target, name) {
	return new Proxy(target, {
		get(object, key, receiver) {
			/* A promise looks whether what it is given is one. */
			if (!(key in object) && typeof key === 'string' && key !== 'then' && key !== 'toJSON')
				throw new Error(`${name} has no '${key}'`);
			return Reflect.get(object, key, receiver);
		}
	});
}

/* LuCI's classes: extend() makes one of properties, super() calls a method that
   it overrides. */
class Base {
	static extend(properties) {
		const Parent = this;
		class Class extends Parent {}
		for (const key in properties)
			Class.prototype[key] = properties[key];
		return Class;
	}

	constructor(...args) {
		this.__init__(...args);
	}

	__init__() {}

	super(method, args = []) {
		/* The method of the class above the one whose method is running. */
		const levels = this.__levels ??= {};
		let proto = levels[method] ?? this;
		while (!Object.hasOwn(proto, method))
			proto = Object.getPrototypeOf(proto);
		proto = Object.getPrototypeOf(proto);
		const before = levels[method];
		levels[method] = proto;
		try {
			return proto[method].apply(this, args);
		}
		finally {
			levels[method] = before;
		}
	}
}
Object.defineProperty(Base.prototype, '__levels', { writable: true, enumerable: false });

const instances = new WeakMap();

const dom = {
	elem: (e) => e instanceof Node,

	append(node, children) {
		if (Array.isArray(children))
			for (const child of children) {
				if (child == null)
					throw new TypeError('a list of children has a null');
				node.append(dom.elem(child) ? child : String(child));
			}
		else if (dom.elem(children))
			node.append(children);
		else if (children != null)
			node.innerHTML = String(children); // as in LuCI: a mere text is HTML
		return node.lastChild;
	},

	content(node, children) {
		node.replaceChildren();
		return dom.append(node, children);
	},

	create(tag, attributes, children) {
		if (Array.isArray(tag)) {
			if (tag.length || attributes != null)
				throw new Error('E([]) makes an empty fragment and takes no children');
			return document.createDocumentFragment();
		}
		if (attributes == null || attributes.constructor !== Object)
			[ attributes, children ] = [ {}, children ?? attributes ];
		const node = document.createElement(tag);
		for (const key in attributes) {
			const value = attributes[key];
			if (typeof value === 'function')
				node.addEventListener(key, value);
			else if (typeof value === 'object' && value !== null)
				throw new TypeError(`attribute ${key} of ${tag} is an object`);
			else if (value != null)
				node.setAttribute(key, value);
		}
		dom.append(node, children);
		return node;
	},

	bindClassInstance: (node, instance) => instances.set(node, instance),

	findClassInstance(node) {
		for (; node; node = node.parentNode)
			if (instances.has(node))
				return instances.get(node);
		return null;
	},

	callClassMethod(node, method, ...args) {
		return dom.findClassInstance(node)[method](...args);
	}
};

const poll = {
	queue: [],
	add(callback, seconds) {
		if (typeof callback !== 'function' || !(seconds > 0))
			throw new TypeError('poll.add() takes a function and seconds');
		const entry = { callback, seconds, idle: true };
		this.queue.push(entry);
	},
	start() {
		let tick = 0;
		const step = () => {
			this.queue.filter((e) => tick % e.seconds === 0 && e.idle).forEach((e) => {
				e.idle = false;
				Promise.resolve(e.callback()).finally(() => e.idle = true);
			});
			tick++;
		};
		step();
		window.setInterval(step, 1000);
	}
};

const View = Base.extend({
	load() {},
	render() {},

	__init__() {
		Promise.resolve(this.load()).then((data) => this.render(data)).then((nodes) => {
			const place = document.getElementById('view');
			dom.content(place, nodes);
			dom.append(place, this.addFooter());
			poll.start();
		}).catch((e) => L.error(e));
	},

	maps() {
		return [ ...document.querySelectorAll('#maincontent .cbi-map') ];
	},

	handleSave() {
		return Promise.all(this.maps().map((map) => dom.callClassMethod(map, 'save')));
	},

	handleSaveApply(ev, mode) {
		return this.handleSave().then(() => loaded.ui.then((ui) => ui.changes.apply(mode === '0')));
	},

	handleReset() {
		return Promise.all(this.maps().map((map) => dom.callClassMethod(map, 'reset')));
	},

	addFooter() {
		const readonly = this.maps().every((map) => dom.findClassInstance(map).readonly);
		const button = (handler, title, ...args) => handler ? E('button', {
			'class': 'cbi-button', 'disabled': readonly || null, 'click': (ev) => handler.call(this, ev, ...args)
		}, [ title ]) : '';
		if (!this.handleSave && !this.handleSaveApply && !this.handleReset)
			return E([]);
		return E('div', { 'class': 'cbi-page-actions' }, [
			button(this.handleSaveApply, _('Save & Apply'), '0'), button(this.handleSave, _('Save')), button(this.handleReset, _('Reset'))
		]);
	}
});

/* Modules by name, as promises. */
const loaded = {
	baseclass: Promise.resolve(Base),
	view: Promise.resolve(View),
	dom: Promise.resolve(strict(dom, 'dom')),
	poll: Promise.resolve(strict(poll, 'poll'))
};

const directive = /^'require (\S+?)(?: as (\S+))?';$/;

async function load(name) {
	const response = await fetch(`/luci-static/resources/${name.replace(/\./g, '/')}.js`);
	if (!response.ok)
		throw new Error(`there is no module '${name}'`);
	const source = await response.text();
	const lines = source.split('\n').map((line) => directive.exec(line)).filter((match) => match);
	const modules = await Promise.all(lines.map((match) => L.require(match[1])));
	const names = lines.map((match) => match[2] ?? match[1]);
	const make = new Function(...names, `${source}\n//# sourceURL=/${name}.js`);
	const Class = make(...modules);
	if (!(Class?.prototype instanceof Base))
		throw new TypeError(`module '${name}' returns no class`);
	const instance = new Class();
	return instance instanceof View ? instance : strict(instance, name);
}

class LuCI {
	constructor(env) {
		this.env = env;
		return strict(this, 'L');
	}

	require(name) {
		return loaded[name] ??= load(name);
	}

	error(e) {
		dom.append(document.getElementById('maincontent'), [ E('div', { 'class': 'alert-message danger' }, [ String(e) ]) ]);
		throw e;
	}

	isObject(value) {
		return value !== null && typeof value === 'object';
	}

	toArray(value) {
		if (value == null)
			return [];
		if (Array.isArray(value))
			return value;
		return typeof value === 'object' ? [ value ] : String(value).trim().split(/\s+/).filter((word) => word);
	}

	resolveDefault(promise, otherwise) {
		return Promise.resolve(promise).catch(() => otherwise);
	}

	url(...parts) {
		return [ this.env.scriptname, ...parts ].join('/');
	}

	resource(...parts) {
		return [ this.env.resource, ...parts ].join('/');
	}

	hasViewPermission() {
		return !this.env.nodespec.readonly;
	}
}

function E(...args) {
	return dom.create(...args);
}

let L;
