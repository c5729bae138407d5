'use strict';
'require baseclass';
'require rpc';

/* Files and programs, by rpcd's object file. */

const call = (method, params, expect) => rpc.declare({ object: 'file', method, params, expect, reject: true });

return baseclass.extend({
	read: call('read', [ 'path' ], { data: '' }),
	write: call('write', [ 'path', 'data' ]),
	exec: call('exec', [ 'command', 'params' ], { '': {} })
});
