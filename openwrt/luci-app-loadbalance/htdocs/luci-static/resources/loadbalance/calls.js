'use strict';
'require baseclass';
'require fs';
'require rpc';

const callStatus = rpc.declare({
	object: 'loadbalance',
	method: 'status',
	params: [ 'history' ],
	reject: true
});

const callCheck = rpc.declare({
	object: 'loadbalance',
	method: 'check',
	params: [ 'config' ],
	reject: true
});

const callExplain = rpc.declare({
	object: 'loadbalance',
	method: 'explain',
	params: [ 'src', 'dst', 'proto', 'sport', 'dport', 'in', 'mac', 'dscp', 'without' ],
	reject: true
});

const callImport = rpc.declare({
	object: 'loadbalance',
	method: 'import',
	reject: true
});

const callUp = rpc.declare({
	object: 'network.interface',
	method: 'up',
	params: [ 'interface' ],
	reject: true
});

const callDown = rpc.declare({
	object: 'network.interface',
	method: 'down',
	params: [ 'interface' ],
	reject: true
});

const callDump = rpc.declare({
	object: 'network.interface',
	method: 'dump',
	expect: { 'interface': [] }
});

const callHostHints = rpc.declare({
	object: 'luci-rpc',
	method: 'getHostHints',
	expect: { '': {} }
});

/* Why something failed. LuCI's messages say on further lines where in its code. */
function reason(e) {
	return e.message.split('\n')[0];
}

/* The reply of a call, or an object with the error as text: no page may wait
   for an answer that does not come. */
function answered(call) {
	return call.then(
		(reply) => L.isObject(reply) ? reply : { error: _('The answer is empty.') },
		(e) => ({ error: _('The program does not answer: %s. Is the package loadbalance installed, and was rpcd restarted since?').format(reason(e)) }));
}

/* Runs an init script, whose access list names the exact command. */
function initScript(name, action) {
	return fs.exec('/etc/init.d/' + name, [ action ]).then((result) => {
		if (result.code !== 0)
			throw new Error(result.stderr || result.stdout || _('/etc/init.d/%s %s ended with code %d').format(name, action, result.code));
	});
}

return baseclass.extend({
	status(history) { return answered(callStatus(history ? true : undefined)); },

	check(config) { return answered(callCheck(config)); },

	explain(packet) {
		return answered(callExplain(packet.src, packet.dst, packet.proto, packet.sport, packet.dport,
			packet.in, packet.mac, packet.dscp, packet.without));
	},

	importMwan3() { return answered(callImport()); },

	ifup(name) { return callUp(name); },

	ifdown(name) { return callDown(name); },

	interfaces() { return L.resolveDefault(callDump(), []); },

	hostHints() { return L.resolveDefault(callHostHints(), {}); },

	initScript,

	reason
});
