'use strict';
'require dom';
'require fs';
'require uci';
'require ui';
'require view';
'require loadbalance.calls as calls';
'require loadbalance.config as config';
'require loadbalance.format as format';

const path = '/etc/config/loadbalance';

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load() {
		return calls.importMwan3().then((reply) => Promise.all([
			reply,
			reply.error ? null : calls.check(reply.text),
			L.resolveDefault(uci.load(config.file))
		]));
	},

	/* The text begins with notes, as comments. */
	split(text) {
		const lines = String(text).split('\n');
		const end = lines.findIndex((line) => line !== '' && line.charAt(0) !== '#');
		const notes = lines.slice(0, Math.max(end, 0)).map((line) => line.replace(/^# ?/, '')).join('\n').trim();
		return [ notes, lines.slice(Math.max(end, 0)).join('\n') ];
	},

	say(style, text) {
		dom.append(this.progress, [ E('div', { 'class': 'alert-message ' + style }, [ text ]) ]);
	},

	/* Writes the file and changes the services over. What was there before comes
	   back if that does not work. */
	handleSwitch(text) {
		dom.content(this.progress, []);
		return L.resolveDefault(fs.read(path), '').then((before) =>
			fs.write(path, text)
				.then(() => calls.initScript('mwan3', 'stop'))
				.then(() => calls.initScript('mwan3', 'disable'))
				.then(() => calls.initScript('loadbalance', 'enable'))
				.then(() => calls.initScript('loadbalance', 'restart'))
				.then(() => this.say('success', _('Done: mwan3 is stopped and disabled, and loadbalance has taken over.')))
				.catch((e) => fs.write(path, before)
					.then(() => calls.initScript('mwan3', 'enable'))
					.then(() => calls.initScript('mwan3', 'start'))
					.then(() => this.say('danger', _('It did not work: %s. The configuration from before is back, and mwan3 runs again.').format(calls.reason(e))))
					.catch((again) => this.say('danger', _('It did not work: %s. What was before could not be put back: %s.').format(calls.reason(e), calls.reason(again))))));
	},

	render([ reply, checked ]) {
		this.progress = E('div');
		const page = (children) => E('div', {}, [ E('h2', {}, [ _('Import from mwan3') ]), ...children, this.progress ]);
		if (reply.error)
			return page([ E('div', { 'class': 'alert-message warning' }, [ String(reply.error) ]) ]);

		const [ notes, text ] = this.split(reply.text);
		const errors = format.objects(checked?.messages).filter((m) => m.level === 'error');
		const own = uci.sections(config.file, 'member').length;
		const list = (title, texts) => texts.length ? E('div', { 'class': 'alert-message warning' }, [
			E('strong', {}, [ title ]), E('ul', { 'class': 'lb-list' }, texts.map((t) => E('li', {}, [ t ]))) ]) : '';
		return page([
			E('p', {}, [ _('This is what would be written. Nothing has been changed yet.') ]),
			notes ? E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('Notes') ]), E('pre', { 'class': 'lb-mono', 'id': 'notes' }, [ notes ]) ]) : '',
			list(_('The program says:'), format.objects(reply.messages).map((m) => String(m.text))),
			list(_('To be mended first:'), errors.map((m) => String(m.text))),
			own > 0 ? E('div', { 'class': 'alert-message warning' }, [ _('The present configuration with %d uplinks is replaced.').format(own) ]) : '',
			E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ path ]), E('pre', { 'class': 'lb-mono', 'id': 'imported' }, [ text ]) ]),
			E('div', { 'class': 'cbi-page-actions' }, [ E('button', {
				'class': 'btn cbi-button cbi-button-apply',
				'disabled': L.hasViewPermission() === false || errors.length > 0 || null,
				'click': ui.createHandlerFn(this, 'handleSwitch', String(reply.text))
			}, [ _('Write it and switch over') ]) ])
		]);
	}
});
