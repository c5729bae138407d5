'use strict';
'require dom';
'require poll';
'require view';

/* LuCI's start page with our box alone. */
return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load() {
		return L.require('view.status.include.35_loadbalance');
	},

	render(include) {
		const box = E('div');
		const draw = () => include.load().then((data) => {
			const content = include.render(data);
			if (content != null)
				dom.content(box, content);
		});
		poll.add(draw, 2);
		return E('div', { 'class': 'cbi-section' }, [ E('h2', {}, [ include.title ]), box ]);
	}
});
