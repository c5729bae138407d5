'use strict';
/* Walks through all pages, as somebody would who sets up five lines. */

const { Browser, assert } = require('./browser.js');

const members = [ 1, 2, 3, 4, 5 ].map((i) => `config member 'wan${i}'\n\tlist track_ip '203.0.113.${i}'\n\toption interval '100ms'\n\toption timeout '100ms'\n`).join('\n');

/* Offered interfaces become uplinks, and what they lack is mended. */
async function uplinks(b) {
	await b.open('network/loadbalance/uplinks');
	await b.shows('[data-offer=wan1]', 'no metric of its own');
	await b.shows('[data-offer=wan1]', 'in no firewall zone that masquerades');
	assert.equal(await b.page.locator('[data-offer=lan]').count(), 0);
	for (const name of [ 'wan1', 'wan2' ]) {
		await b.page.click(`[data-offer=${name}] >> text=Mend it`);
		await b.page.waitForSelector(`[data-offer=${name}]:not(:has-text("Mend it"))`);
		await b.page.click(`[data-offer=${name}] >> button:has-text("Add")`);
		await b.page.waitForSelector(`tr[data-section-id=${name}]`);
	}
	await b.picture('uplinks');
	await saveAndApply(b);
	const network = await b.laboratory('file', { name: 'network' });
	const firewall = await b.laboratory('file', { name: 'firewall' });
	assert.match(network, /interface 'wan1'[^]*?metric '10'[^]*interface 'wan2'[^]*?metric '20'/);
	assert.match(firewall, /list network 'wan3'\n\tlist network 'wan1'\n\tlist network 'wan2'/);
	assert.deepEqual(await b.laboratory('connect', { number: 100 }), { wan0: 0, wan1: 50, wan2: 50, wan3: 0, wan4: 0, wan5: 0 });
	b.quiet();
}

/* Saves and applies the page, and waits until that is confirmed. */
async function saveAndApply(b) {
	await b.page.click('.cbi-page-actions >> text=Save & Apply');
	await b.shows('body', 'Configuration changes applied');
	await b.page.waitForSelector('text=Configuration changes applied', { state: 'detached' });
	await b.page.waitForSelector('#view h2, #view .cbi-section');
}

/* The dialog of an uplink: only what was changed is written. */
async function weights(b) {
	await b.open('network/loadbalance/uplinks', '#wan1');
	await b.page.waitForSelector('.modal >> text=Uplink wan1');
	await b.page.locator('.modal [data-name=weight] input').fill('3');
	await b.page.locator('.modal [data-name=weight] input').press('Tab');
	await b.picture('dialog');
	await b.page.click('.modal >> text=Health');
	await b.picture('health');
	await b.page.click('.modal >> text=Save');
	await b.shows('tr[data-section-id=wan1]', '3');
	await saveAndApply(b);
	assert.match(await b.laboratory('file', { name: 'loadbalance' }), /config member 'wan1'\n\toption weight '3'\n\nconfig member 'wan2'\n*$/);
	assert.deepEqual(await b.laboratory('connect', { number: 40 }), { wan0: 0, wan1: 30, wan2: 10, wan3: 0, wan4: 0, wan5: 0 });
	b.quiet();
}

/* How five lines stand, one of which dies, and what a restart does. */
async function overview(b) {
	await b.laboratory('write', { name: 'loadbalance', text: members });
	await b.open('network/loadbalance/overview');
	await b.page.click('text=Restart the service');
	await b.shows('[data-verdict=success]', 'All is well: 5 of 5 uplinks');
	await b.laboratory('connect', { number: 100 });
	await b.laboratory('blackhole', { number: 2 });
	await b.shows('[data-member=wan2] [data-state]', 'offline');
	await b.shows('[data-member=wan2]', 'no answer from');
	await b.shows('[data-verdict=warning]', 'Out: wan2 (offline)');
	await b.page.waitForSelector('.lb-chart polygon');
	await b.picture('overview');
	await b.page.click('[data-span=hour]');
	await b.page.waitForSelector('text=no history of this span');
	await b.laboratory('restore', { number: 2 });
	await b.shows('[data-member=wan2] [data-state]', 'active');

	await b.page.click('[data-member=wan3] >> text=Switch off');
	await b.page.click('.modal >> text=Switch off');
	await b.shows('[data-member=wan3] [data-state]', 'down');
	await b.page.click('[data-member=wan3] >> text=Reconnect');
	await b.shows('[data-member=wan3] [data-state]', 'active');
	b.quiet();
}

/* A line that is full, and one behind the login page of a portal. */
async function states(b) {
	const portal = await b.laboratory('portal');
	await b.laboratory('write', { name: 'loadbalance', text: members
		.replace("config member 'wan4'\n", "$&\toption download '20mbit'\n")
		.replace("'203.0.113.5'\n", `'203.0.113.1'\n\toption track_method 'http'\n\toption track_url '${portal}'\n`) });
	await b.open('network/loadbalance/overview');
	await b.page.click('text=Restart the service');
	const filled = b.laboratory('fill', { number: 4 });
	await b.shows('[data-member=wan5] [data-state]', 'portal');
	await b.shows('[data-member=wan5]', 'redirected to http://203.0.113.1:8082/login');
	await b.shows('[data-member=wan4] [data-state]', 'full');
	await b.shows('[data-member=wan4]', 'of 20.0 Mbit/s');
	await b.shows('[data-verdict=warning]', 'Out: wan5 (portal)');
	await b.picture('states');
	await filled;
	await b.laboratory('write', { name: 'loadbalance', text: members });
	await b.page.click('text=Restart the service');
	await b.shows('[data-verdict=success]', 'All is well: 5 of 5 uplinks');
	b.quiet();
}

/* Nobody asks while nobody looks, and a poll asks once. */
async function polling(b) {
	await b.open('status/loadbalance');
	await b.page.waitForSelector('[data-verdict]');
	const asked = async () => (await b.laboratory('asked')).status;
	await b.page.evaluate(() => Object.defineProperty(document, 'hidden', { value: true, configurable: true }));
	await b.page.waitForTimeout(500);
	const before = await asked();
	await b.page.waitForTimeout(4000);
	assert.equal(await asked(), before);
	await b.page.evaluate(() => Object.defineProperty(document, 'hidden', { value: false }));
	await b.page.waitForTimeout(7000);
	assert.ok([ 1, 2, 3 ].includes(await asked() - before), `${await asked() - before} polls in 7 s`);
	b.quiet();
}

/* Presses a list's last field full of values. */
async function list(b, name, ...values) {
	for (const value of values) {
		const input = b.page.locator(`.modal [data-name=${name}] input[type=text]`).last();
		await input.pressSequentially(value);
		await input.press('Enter');
	}
}

/* Types a name and adds a section. */
async function add(b, kind, name) {
	const section = b.page.locator(`#cbi-loadbalance-${kind}`);
	await section.locator('.cbi-section-create input').fill('');
	await section.locator('.cbi-section-create input').pressSequentially(name);
	await section.locator('.cbi-section-create button').click();
	await b.page.waitForSelector('.modal');
}

/* A policy, rules and a set; what the program would refuse is not applied. */
async function rules(b) {
	await b.open('network/loadbalance/rules');
	await add(b, 'policy', 'wan_first');
	await b.page.selectOption('.modal [data-name=use_member] select', 'wan1');
	await b.page.selectOption('.modal [data-name=use_member] select', 'wan2');
	await b.page.fill('.modal [data-row=wan2] [data-field-of=metric]', '2');
	await b.page.click('.modal >> text=Save');
	await b.shows('#cbi-loadbalance-policy', 'wan1, wan2 (tier 2)');

	await add(b, 'ipset', 'streaming');
	await list(b, 'entry', '203.0.113.96/28');
	await b.page.click('.modal >> text=Save');
	await b.shows('#cbi-loadbalance-ipset', '203.0.113.96/28');

	await b.page.click('text=Add a rule');
	await b.page.waitForSelector('.modal');
	await list(b, 'dest_ip', '203.0.113.7');
	await list(b, 'dest_port', '80');
	await b.page.click('.modal >> text=Decision');
	await b.page.selectOption('.modal [data-name=use_policy] select', 'wan4');
	await b.picture('rule');
	await b.page.click('.modal >> .cbi-button-positive');
	await b.shows('.lb-check', 'The program would refuse this configuration');
	await b.shows('.lb-check', "option 'dest_port'");
	await b.picture('rules');
	await b.page.click('.cbi-page-actions >> text=Save & Apply');
	await b.page.waitForTimeout(2000);
	assert.doesNotMatch(await b.laboratory('file', { name: 'loadbalance' }), /config rule/);

	await b.page.click('#cbi-loadbalance-rule tr[data-section-id] >> text=Edit');
	await b.page.waitForSelector('.modal');
	await list(b, 'proto', 'tcp');
	await b.page.click('.modal >> .cbi-button-positive');
	await b.page.waitForSelector('.lb-check:not(:has-text("refuse"))', { state: 'attached' });
	await saveAndApply(b);
	assert.match(await b.laboratory('file', { name: 'loadbalance' }), /config rule\n\tlist dest_ip '203.0.113.7'\n\tlist dest_port '80'\n\toption use_policy 'wan4'\n\tlist proto 'tcp'\n/);
	assert.match(await b.laboratory('run', { command: 'iptables-nft-save -t mangle' }), /-A lb_rules.*--dports? 80.*-g lb_member_wan4/);
	assert.deepEqual(await b.laboratory('connect', { number: 7, server: '203.0.113.7:80' }), { wan0: 0, wan1: 0, wan2: 0, wan3: 0, wan4: 7, wan5: 0 });
	await b.laboratory('forget'); // the chains as a poll has read them before
	await b.open('network/loadbalance/rules');
	await b.shows('#cbi-loadbalance-rule [data-counter]', '7');
	await b.open('network/loadbalance/rules', '#%40rule%5B0%5D'); // as a problem links it
	await b.shows('.modal h4', 'Rule @rule[0]');
	b.quiet();
}

/* A name is one for all sections, and no word of the program. */
async function names(b) {
	await b.open('network/loadbalance/rules');
	const input = b.page.locator('#cbi-loadbalance-policy .cbi-section-create input');
	const button = b.page.locator('#cbi-loadbalance-policy .cbi-section-create button');
	for (const name of [ 'wan1', 'globals', 'streaming', 'default', 'local6', 'a-b', 'x'.repeat(33), '<b>' ]) {
		await input.fill('');
		await input.pressSequentially(name);
		assert.equal(await button.isDisabled(), true, name);
	}
	await input.fill('');
	await input.pressSequentially('other');
	assert.equal(await button.isDisabled(), false);
	b.quiet();
}

/* Rules are put in another order by dragging. */
async function order(b) {
	await b.open('network/loadbalance/rules');
	await b.page.click('text=Add a rule');
	await b.page.waitForSelector('.modal');
	await list(b, 'src_ip', '192.168.1.50');
	await b.page.click('.modal >> .cbi-button-positive');
	await b.shows('#cbi-loadbalance-rule', 'source 192.168.1.50');
	const row = (text) => b.page.locator('#cbi-loadbalance-rule tr[data-section-id]').filter({ hasText: text });
	await row('192.168.1.50').locator('.drag-handle').dragTo(row('203.0.113.7'), { targetPosition: { x: 40, y: 3 } });
	await saveAndApply(b);
	assert.match(await b.laboratory('file', { name: 'loadbalance' }), /config rule\n\tlist src_ip '192.168.1.50'\n[^]*config rule\n\tlist dest_ip/);
	b.quiet();
}

/* An apply that is not confirmed is taken back, shares and all. */
async function rollback(b) {
	await b.laboratory('set', { deaf: 1 });
	await b.open('network/loadbalance/uplinks', '#wan1');
	await b.page.waitForSelector('.modal');
	const input = b.page.locator('.modal [data-name=weight] input');
	await input.fill('9');
	await input.press('Tab');
	await b.page.click('.modal >> .cbi-button-positive');
	await b.shows('tr[data-section-id=wan1]', '9');
	await b.page.click('.cbi-page-actions >> text=Save & Apply');
	await b.shows('body', 'Applying configuration changes');
	const written = async () => /weight '9'/.test(await b.laboratory('file', { name: 'loadbalance' }));
	await b.eventually(written, 'the weight is written');
	await b.eventually(async () => !await written(), 'the weight is taken back');
	await b.page.goto('about:blank');
	await b.laboratory('set');
	b.faults = b.faults.filter((f) => !/504/.test(f)); // confirmations that did not arrive
	b.quiet();
}

async function explain(b) {
	await b.open('network/loadbalance/explain');
	await b.page.fill('[name=src]', '192.168.1.10');
	await b.page.fill('[name=dst]', '203.0.113.7');
	await b.page.fill('[name=proto]', 'tcp');
	await b.page.fill('[name=dport]', '80');
	await b.page.fill('[name=without]', 'wan4');
	await b.page.click('text=Explain it');
	await b.shows('#answer', 'leaves by wan4');
	await b.shows('#answer', 'If wan4 were down');
	await b.picture('explain');
	await b.page.fill('[name=dst]', '<img src=x onerror=window.hacked=1>');
	await b.page.click('text=Explain it');
	await b.shows('#answer .alert-message', 'onerror');
	assert.equal(await b.page.locator('datalist option').filter({ hasText: 'onerror' }).count(), 1); // a host's name
	assert.equal(await b.page.evaluate(() => window.hacked), undefined);
	b.quiet();
}

const mwan3 = `config globals 'globals'
	option mmx_mask '0x3F00'

config interface 'wan1'
	option enabled '1'
	list track_ip '203.0.113.1'

config interface 'wan2'
	option enabled '1'

config member 'a'
	option interface 'wan1'
	option weight '3'

config member 'b'
	option interface 'wan2'

config policy 'balanced'
	list use_member 'a'
	list use_member 'b'

config rule 'default_rule'
	option dest_ip '0.0.0.0/0'
	option use_policy 'balanced'
`;

async function importing(b) {
	await b.laboratory('write', { name: 'mwan3', text: mwan3 });
	await b.open('network/loadbalance/import');
	await b.shows('#imported', "config member 'wan1'");
	await b.picture('import');
	const before = await b.laboratory('file', { name: 'loadbalance' });
	await b.laboratory('set', { broken: 1 });
	await b.page.click('text=Write it and switch over');
	await b.shows('.alert-message', 'It did not work: the script is broken');
	assert.deepEqual((await b.laboratory('calls')).slice(-2), [ 'mwan3 enable', 'mwan3 start' ]);
	assert.equal(await b.laboratory('file', { name: 'loadbalance' }), before);
	await b.laboratory('set');
	await b.page.click('text=Write it and switch over');
	await b.shows('.alert-message', 'loadbalance has taken over');
	assert.deepEqual((await b.laboratory('calls')).slice(-4), [ 'mwan3 stop', 'mwan3 disable', 'loadbalance enable', 'loadbalance restart' ]);
	assert.match(await b.laboratory('file', { name: 'loadbalance' }), /config member 'wan1'/);
	b.quiet();
}

/* Whatever a reply holds, nothing of it runs. */
async function hostile(b) {
	const bad = '<img src=x onerror="window.hacked=1">';
	const family = { state: bad, reason: bad, device: bad, gateway: bad, share: bad, dealt: bad, connections: bad, health: { online: true, since: bad, reason: bad, latency_ns: bad, flaps: bad } };
	const replies = [
		{ time: new Date().toISOString(), running: true, members: [ { name: bad, ipv4: family, ipv6: family, fault: bad }, { name: bad, ipv4: family } ],
			usage: [ { member: bad, bytes: bad, quota: bad } ], rules: { '@rule[0]': bad },
			policies: [ { name: bad, members: [ { name: bad, ipv4: family } ] } ], problems: [ bad, `loadbalance:1: member '${bad}': x` ], notices: [ bad ], drift: [ bad ],
			refused: { problems: [ bad ] }, devices: [ { name: bad, rx_bytes: bad } ], monitor: { error: bad }, sets: [ { name: bad, domains: [ { name: bad } ] } ], history: { paths: [ { member: bad, points: bad } ] } },
		{ time: bad, running: bad, members: bad, policies: { length: 3 }, problems: bad, monitor: bad, devices: 7, refused: bad, history: bad },
		{ members: [ null, 7, bad, [] ], policies: [ [], { members: [ null ] } ], devices: [ null ], problems: [ null, {} ] },
		{ error: bad }
	];
	const before = await b.laboratory('file', { name: 'loadbalance' });
	await b.laboratory('write', { name: 'loadbalance', text: `config member 'wan1'
	option interface '${bad}'
	option weight '${bad}'
	list track_ip '${bad}'

config policy 'p'
	list use_member '${bad} weight=${bad} metric=2'

config rule
	list src_ip '${bad}'
	option use_policy '${bad}'

config ipset 's'
	list domain '${bad}'
	list entry '${bad}'
` });
	for (const hash of [ 'network/loadbalance/uplinks#wan1', 'network/loadbalance/rules#p', 'network/loadbalance/rules#@rule[0]', 'network/loadbalance/rules#s' ]) {
		const [ page, section ] = hash.split('#');
		await b.open(page, '#' + encodeURIComponent(section));
		await b.page.waitForSelector('.modal');
		await b.shows('.lb-check', 'would refuse');
		assert.equal(await b.page.evaluate(() => window.hacked), undefined, hash);
		b.quiet();
	}
	await b.laboratory('write', { name: 'loadbalance', text: before });
	for (const reply of replies) {
		await b.laboratory('set', { hostile: JSON.stringify(reply) });
		for (const page of [ 'status/loadbalance', 'network/loadbalance/uplinks', 'network/loadbalance/rules', 'status/overview' ]) {
			await b.open(page);
			await b.page.waitForTimeout(page === 'status/loadbalance' && reply === replies[0] ? 3500 : 200); // a further poll gives rates
			assert.equal(await b.page.evaluate(() => window.hacked), undefined, page);
			b.quiet();
		}
	}
	await b.laboratory('set');
}

/* The group that the menu names for a page is enough for it. */
async function groups(b) {
	await b.laboratory('write', { name: 'mwan3', text: mwan3 });
	await b.laboratory('denied');
	for (const [ group, ...pages ] of [
		[ 'luci-app-loadbalance-status', 'status/loadbalance', 'network/loadbalance/overview', 'status/overview' ],
		[ 'luci-app-loadbalance', 'network/loadbalance/uplinks', 'network/loadbalance/rules', 'network/loadbalance/explain' ],
		[ 'luci-app-loadbalance-import', 'network/loadbalance/import' ]
	]) {
		await b.as({ query: 'user=' + group });
		for (const page of pages) {
			await b.open(page);
			await b.page.waitForTimeout(300);
		}
		assert.deepEqual(await b.laboratory('denied'), []);
	}
	b.quiet();
	await b.as({});
}

/* What a status can say besides, also in words that the page does not know, and
   in Chinese. */
async function facts(b) {
	const line = (name, state, more) => ({ name, ipv4: { state, device: name, share: 0, dealt: 0, connections: 0, ...more } });
	const reply = {
		time: new Date().toISOString(), running: true, in_sync: false, drift: [ 'ipv4: 1 chain' ],
		members: [ line('wan1', 'active', { full: true, share: 1 }), line('wan2', 'portal', { reason: 'a login is wanted' }), line('wan3', 'asleep'),
			{ ...line('wan4', 'down'), fault: "loadbalance:7: member 'wan4': option 'weight': 'abc' is no number" } ],
		problems: [ "loadbalance:7: member 'wan4': option 'weight': 'abc' is no number", "loadbalance:9: rule '@rule[1]': x" ],
		policies: [], devices: [], usage: [ { member: 'wan1', bytes: 12.5e9, quota: 50e9 }, { member: 'wan2', bytes: 999.6, quota: 2e6 } ],
		history: { step_s: 60, end: new Date().toISOString(), paths: [ { member: 'wan1', family: 'ipv4', device: 'wan1', points: '100,0,10,,;100,0,10,1e6,1e5;100,0,10,2e6,1e5;50,50,,3e6,1e5' } ] }
	};
	await b.laboratory('set', { hostile: JSON.stringify(reply) });
	await b.open('status/loadbalance');
	await b.shows('[data-verdict=warning]', '1 of 4 uplinks get new connections. Out: wan2 (portal), wan3 (asleep), wan4 (faulty section).');
	await b.shows('[data-member=wan1]', 'full');
	await b.shows('[data-member=wan1]', '12.5 GB of 50.0 GB');
	await b.shows('[data-member=wan2]', 'a login is wanted');
	await b.shows('[data-member=wan2]', '1000 B of 2.0 MB'); // LuCI's %m rounds nothing below its limit
	await b.shows('[data-member=wan4]', "'abc' is no number");
	assert.match(await b.page.locator('li:has-text("loadbalance:7") a').getAttribute('href'), /network\/loadbalance\/uplinks#wan4$/);
	assert.match(await b.page.locator('li:has-text("loadbalance:9") a').getAttribute('href'), /network\/loadbalance\/rules#%40rule%5B1%5D$/);
	await b.page.click('[data-span=hour]');
	await b.shows('.lb-chart', 'received, up to 50.0 Mbit/s');
	/* What is unknown is no zero: three points have two corners each. */
	assert.equal((await b.page.locator('.lb-chart polygon').first().getAttribute('points')).split(' ').length, 6);
	b.quiet();

	await b.as({ query: 'lang=zh-cn' });
	await b.open('status/loadbalance');
	await b.shows('[data-verdict=warning]', '1/4 条上行线路在接收新连接');
	await b.shows('th', '延迟与丢包');
	b.quiet();
	await b.as({});
	await b.laboratory('set');
}

/* Every page says something useful where the program does not answer. */
async function silent(b) {
	await b.laboratory('set', { silent: 1 });
	for (const [ page, text ] of [
		[ 'status/loadbalance', 'The program does not answer' ],
		[ 'network/loadbalance/uplinks', 'could not be checked' ],
		[ 'network/loadbalance/rules', 'could not be checked' ],
		[ 'network/loadbalance/import', 'The program does not answer' ]
	]) {
		await b.open(page);
		await b.shows('.alert-message', text);
		assert.doesNotMatch(await b.page.locator('#view').innerText(), /handleCallReply/);
	}
	await b.laboratory('set');
	b.quiet();
}

async function startpage(b) {
	await b.open('status/overview');
	await b.shows('tr[data-member=wan1]', 'active');
	await b.picture('startpage');
	b.quiet();
}

/* Who may only read can press nothing. */
async function reader(b) {
	await b.as({ query: 'user=reader' });
	await b.open('network/loadbalance/overview');
	for (const button of await b.page.locator('.cbi-button').all())
		assert.equal(await button.isDisabled(), true, await button.innerText());
	for (const page of [ 'uplinks', 'rules' ]) {
		await b.open('network/loadbalance/' + page);
		await b.page.waitForSelector('#view .cbi-section-table');
		for (const text of [ 'Delete', 'Add', 'Mend it' ])
			for (const button of await b.page.locator(`#view button:text-is("${text}")`).all())
				assert.equal(await button.isDisabled(), true, text);
	}
	b.quiet();
	await b.as({});
}

/* Sixty lines are drawn in no time; nothing is wider than a phone. */
async function screens(b) {
	const family = { state: 'active', share: 1 / 60, dealt: 100, dealt_share: 1 / 60, connections: 3, device: 'eth0', gateway: '192.0.2.1', health: { online: true, since: new Date(0).toISOString(), latency_ns: 2e7, loss: 0 } };
	const many = [ ...Array(60).keys() ].map((i) => ({ name: 'wan' + i, ipv4: { ...family, device: 'eth' + i } }));
	await b.laboratory('set', { hostile: JSON.stringify({ time: new Date().toISOString(), running: true, in_sync: true, monitor: { running: true }, members: many, policies: [ { name: 'balanced', members: many } ], devices: [] }) });
	await b.open('status/loadbalance');
	await b.page.waitForSelector('[data-member=wan59]');
	const longest = await b.page.evaluate(() => new Promise((resolve) => {
		let longest = 0;
		new PerformanceObserver((list) => list.getEntries().forEach((e) => longest = Math.max(longest, e.duration))).observe({ type: 'longtask', buffered: true });
		setTimeout(() => resolve(longest), 4000);
	}));
	console.log(`60 members are drawn in ${longest} ms at most`);
	await b.laboratory('set');

	await b.as({ viewport: { width: 390, height: 844 }, query: 'dark=1' });
	for (const page of [ 'status/loadbalance', 'network/loadbalance/uplinks', 'network/loadbalance/rules', 'network/loadbalance/explain' ]) {
		await b.open(page);
		await b.page.waitForTimeout(500);
		const width = await b.page.evaluate(() => document.querySelector('#view').scrollWidth);
		await b.picture('phone-' + page.replace(/\//g, '-'));
		assert.ok(width <= 390, `${page} is ${width} pixels wide`);
	}
	b.quiet();
	await b.as({});
}

async function main() {
	const b = await Browser.start(process.argv[2]);
	const only = process.env.STEPS?.split(',');
	for (const step of [ uplinks, weights, overview, states, polling, rules, names, order, rollback, explain, startpage, reader, groups, facts, hostile, silent, screens, importing ]) {
		if (only && !only.includes(step.name))
			continue;
		const begin = Date.now();
		try {
			await step(b);
		}
		catch (e) {
			await b.picture('failed');
			console.log('faults of the page:', b.faults);
			throw new Error(step.name, { cause: e });
		}
		console.log(`${step.name}: ${((Date.now() - begin) / 1000).toFixed(1)} s`);
	}
	await b.chromium.close();
}

main().catch((e) => {
	console.error(e);
	process.exit(1);
});
