'use strict';
'require view';

return view.extend({
	render() { return E('p', _('Uplinks')); }
});
