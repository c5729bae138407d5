'use strict';
'require baseclass';
'require dom';

/* Dialogs, notes and the fields of forms. */

/* Kinds of values, as validation.js names them: what they must be, and a test. */
const datatypes = {
	string: () => [ '', () => true ],
	uinteger: () => [ 'positive integer value', (v) => /^\d+$/.test(v) ],
	range: (low, high) => [ `value between ${low} and ${high}`, (v) => v !== '' && +v >= low && +v <= high ],
	ip4addr: () => [ 'valid IPv4 address', (v) => /^\d+(\.\d+){3}$/.test(v) && v.split('.').every((n) => n <= 255) ],
	ip6addr: () => [ 'valid IPv6 address', (v) => v.includes(':') && !/[^0-9a-f:.]/i.test(v) ]
};

function datatype(text) {
	const [ , name, args ] = /^(\w+)(?:\((.*)\))?$/.exec(text);
	if (!datatypes.hasOwnProperty(name))
		throw new Error(`datatype '${text}' is unknown`);
	return datatypes[name](...(args ?? '').split(',').filter((a) => a).map(Number));
}

function knownOptions(options, names) {
	for (const name in options)
		if (!names.includes(name))
			throw new Error(`a field does not know the option '${name}'`);
	return options;
}

const fieldOptions = [ 'id', 'datatype', 'optional', 'validate', 'disabled', 'placeholder', 'choices' ];

const AbstractElement = baseclass.extend({
	node: null,
	error: '',

	__init__(value, options) {
		this.value = value;
		this.options = knownOptions(options, fieldOptions);
	},

	isValid() {
		return this.error === '';
	},

	getValidationError() {
		return this.error;
	},

	setUpdateEvents(target, ...events) {
		const { datatype: type, optional, validate } = this.options;
		events.forEach((name) => target.addEventListener(name, () => this.node.dispatchEvent(new CustomEvent('widget-update', { bubbles: true }))));
		if (!type && !validate)
			return;
		this.node.addEventListener('validation-success', () => this.error = '');
		this.node.addEventListener('validation-failure', (ev) => this.error = ev.detail.message);
		this.check = addValidator(target, type ?? 'string', optional ?? true, validate, ...events);
	},

	setChangeEvents(target, ...events) {
		events.forEach((name) => target.addEventListener(name, () => this.node.dispatchEvent(new CustomEvent('widget-change', { bubbles: true }))));
	},

	triggerValidation() {
		this.check?.();
	},

	bind(node, field, ...events) {
		this.node = node;
		this.setUpdateEvents(field, ...events);
		this.setChangeEvents(field, 'change');
		dom.bindClassInstance(node, this);
		return node;
	}
});

/* Validates a field at events; the function returned does it at once. */
function addValidator(field, type, optional, validate, ...events) {
	const [ expected, test ] = datatype(type);
	const run = () => {
		const value = field.value ?? '';
		let fault = true;
		if (value === '' ? !optional : !test(value))
			fault = _('Expecting: %s').format(value === '' ? _('non-empty value') : expected);
		else if (validate)
			fault = validate(value);
		field.classList.toggle('cbi-input-invalid', fault !== true);
		field.dispatchEvent(new CustomEvent(fault === true ? 'validation-success' : 'validation-failure', { bubbles: true, detail: { message: fault } }));
		return fault === true;
	};
	(events.length ? events : [ 'blur', 'keyup' ]).forEach((name) => field.addEventListener(name, run));
	run();
	return run;
}

const Textfield = AbstractElement.extend({
	render() {
		const input = E('input', {
			'type': 'text', 'class': 'cbi-input-text', 'value': this.value, 'placeholder': this.options.placeholder,
			'disabled': this.options.disabled || null, 'list': this.options.choices ? 'list.' + this.options.id : null
		});
		const choices = this.options.choices ? E('datalist', { 'id': 'list.' + this.options.id },
			this.options.choices.map(([ key, text ]) => E('option', { 'value': key }, [ text ]))) : '';
		return this.bind(E('div', { 'id': this.options.id }, [ input, choices ]), input, 'keyup', 'blur');
	},

	getValue() {
		return this.node.querySelector('input').value;
	}
});

const Select = AbstractElement.extend({
	render() {
		const { choices, optional } = this.options;
		const all = optional && !choices.some(([ key ]) => key === '') ? [ [ '', _('-- Please choose --') ], ...choices ] : choices;
		const select = E('select', { 'class': 'cbi-input-select', 'disabled': this.options.disabled || null },
			all.map(([ key, text ]) => E('option', { 'value': key, 'selected': key === (this.value ?? '') || null }, [ text ])));
		return this.bind(E('div', { 'id': this.options.id }, [ select ]), select, 'change', 'click', 'blur');
	},

	getValue() {
		return this.node.querySelector('select').value;
	}
});

const DynamicList = AbstractElement.extend({
	render() {
		const field = E('input', {
			'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.options.placeholder, 'disabled': this.options.disabled || null,
			'keydown': (ev) => {
				if (ev.key === 'Enter' && field.value !== '') {
					this.items.push(field.value);
					field.value = '';
					this.draw();
				}
			}
		});
		this.items = L.toArray(this.value);
		this.list = E('div', { 'class': 'cbi-dynlist' });
		this.bind(E('div', { 'id': this.options.id }, [ this.list, field ]), field, 'keyup', 'blur');
		this.draw();
		return this.node;
	},

	draw() {
		dom.content(this.list, this.items.map((item, i) => E('span', {
			'class': 'item', 'click': () => {
				this.items.splice(i, 1);
				this.draw();
			}
		}, [ item ])));
	},

	getValue() {
		return this.items;
	}
});

function post(action) {
	return fetch(L.url('admin/uci', action), { method: 'POST' });
}

const pause = (ms) => new Promise((resolve) => window.setTimeout(resolve, ms));

return baseclass.extend({
	AbstractElement, Textfield, Select, DynamicList, addValidator,

	instantiateView(path) {
		return L.require('view.' + path.replace(/\//g, '.')).catch((e) => L.error(e));
	},

	showModal(title, children, ...classes) {
		this.hideModal();
		document.body.classList.add('modal-open');
		document.body.append(E('div', { 'class': [ 'modal', ...classes ].join(' ') }, [ E('h4', {}, title), ...children ]));
	},

	hideModal() {
		document.body.classList.remove('modal-open');
		document.querySelector('.modal')?.remove();
	},

	addNotification(title, children, ...classes) {
		const note = E('div', { 'class': [ 'alert-message', ...classes ].join(' ') }, title == null ? [] : [ E('h4', {}, title) ]);
		dom.append(note, children);
		document.getElementById('maincontent').prepend(note);
	},

	/* A handler that keeps its button pressed until it is done. */
	createHandlerFn(context, handler, ...args) {
		const call = typeof handler === 'string' ? context[handler] : handler;
		if (typeof call !== 'function')
			throw new TypeError(`createHandlerFn(): '${handler}' is no function`);
		return (ev) => {
			const button = ev.currentTarget;
			button.disabled = true;
			Promise.resolve(call.call(context, ...args, ev)).finally(() => button.disabled = false);
		};
	},

	changes: {
		/* Applies what is staged, and confirms it so that it is not taken back. */
		async apply(checked) {
			const end = Date.now() + L.env.apply_rollback * 1000;
			const show = (text) => {
				dom.content(status, [ text ]);
				return text;
			};
			const status = E('div', { 'class': 'alert-message' });
			document.body.append(status);
			show(_('Applying configuration changes…'));
			const response = await post(checked ? 'apply_rollback' : 'apply_unchecked');
			if (!response.ok)
				return show(await response.text());
			do
				await pause(L.env.apply_holdoff * 1000);
			while (!(await post('confirm')).ok && Date.now() < end);
			show(_('Configuration changes applied.'));
			await pause(L.env.apply_display * 1000);
			location.href = location.href.split('#')[0];
		}
	}
});
