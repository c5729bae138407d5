'use strict';
'require baseclass';

/* Calls on ubus by JSON-RPC. */

const codes = { 2: 'Invalid argument', 3: 'Method not found', 4: 'Resource not found', 6: 'Permission denied', 9: 'Unspecified error' };

function fail(options, why) {
	/* LuCI's messages say on further lines where in its code they come from. */
	throw new Error('RPC call to %s/%s failed with %s\n  at handleCallReply (rpc.js:1:1)'.format(options.object, options.method, why));
}

return baseclass.extend({
	declare(options) {
		for (const key in options)
			if (![ 'object', 'method', 'params', 'expect', 'reject' ].includes(key))
				throw new Error(`rpc.declare() does not know '${key}'`);

		return async (...values) => {
			const params = {};
			(options.params ?? []).forEach((name, i) => params[name] = values[i]);
			const response = await fetch(L.env.ubuspath, {
				method: 'POST',
				body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'call', params: [ L.env.sessionid, options.object, options.method, params ] })
			});
			const reply = await response.json();
			if (reply.error)
				fail(options, `error ${reply.error.code}: ${reply.error.message}`);
			const [ code, result ] = reply.result;
			if (code !== 0 && options.reject)
				fail(options, `ubus code ${code}: ${codes[code]}`);

			let value = result ?? code;
			for (const key in options.expect ?? {}) {
				const found = key === '' ? value : value?.[key];
				const type = (v) => Object.prototype.toString.call(v);
				value = type(found) === type(options.expect[key]) ? found : options.expect[key];
			}
			return value;
		};
	}
});
