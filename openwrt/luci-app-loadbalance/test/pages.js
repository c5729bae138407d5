'use strict';
/* Walks through all pages, as somebody would who sets up five lines. */

const { Browser, assert } = require('./browser.js');

const members = [ 1, 2, 3, 4, 5 ].map((i) => `config member 'wan${i}'\n\tlist track_ip '203.0.113.${i}'\n\toption interval '100ms'\n\toption timeout '100ms'\n`).join('\n');

async function overview(b) {
	await b.laboratory('write', { name: 'loadbalance', text: members });
	await b.open('network/loadbalance/overview');
	await b.shows('[data-verdict]', 'The service is not running');
	await b.page.click('text=Restart the service');
	await b.shows('[data-verdict=success]', 'All is well: 5 of 5 uplinks');
	await b.laboratory('connect', { number: 100 });
	await b.laboratory('blackhole', { number: 2 });
	await b.shows('[data-member=wan2] [data-state]', 'offline');
	await b.shows('[data-member=wan2]', 'no answer from');
	await b.shows('[data-verdict=warning]', 'Out: wan2 (offline)');
	await b.page.waitForSelector('.lb-chart');
	await b.picture('overview');
	b.quiet();
}

async function main() {
	const b = await Browser.start(process.argv[2]);
	for (const step of [ overview ]) {
		console.log(step.name);
		await step(b);
	}
	await b.chromium.close();
}

main().catch((e) => {
	console.error(e);
	process.exit(1);
});
