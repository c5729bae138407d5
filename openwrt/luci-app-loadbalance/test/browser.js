'use strict';
/* The browser of the tests, and what they ask the laboratory for. */

const assert = require('node:assert/strict');
const { chromium } = require('playwright-core');

/* How long a page may take to show something, in ms: a test that waits for a
   verdict needs some seconds, and CI's machine is busy. */
const patience = 20000;

class Browser {
	static async start(server) {
		const b = new Browser();
		b.server = server;
		b.chromium = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [ '--no-sandbox' ] });
		await b.as({});
		return b;
	}

	/* Starts a new session: of a user, on a screen. */
	async as({ query = '', ...screen }) {
		if (this.context)
			await this.context.close();
		this.context = await this.chromium.newContext({ viewport: { width: 1280, height: 1600 }, ...screen });
		this.page = await this.context.newPage();
		this.page.setDefaultTimeout(patience);
		this.query = query;
		this.faults = [];
		this.page.on('pageerror', (e) => this.faults.push(String(e.stack || e)));
		this.page.on('console', (m) => m.type() === 'error' && this.faults.push(m.text()));
	}

	async open(path, hash = '') {
		await this.page.goto('about:blank'); // or another hash alone would load nothing
		await this.page.goto('%s/cgi-bin/luci/admin/%s?%s%s'.replace('%s', this.server).replace('%s', path).replace('%s', this.query).replace('%s', hash));
		await this.page.waitForSelector('#view h2, #view .cbi-section');
	}

	/* Ends a step: nothing on the page may have failed. */
	quiet() {
		assert.deepEqual(this.faults.splice(0), []);
	}

	async laboratory(what, query = {}) {
		const response = await fetch('%s/laboratory/%s?%s'.replace('%s', this.server).replace('%s', what).replace('%s', new URLSearchParams(query)));
		const text = await response.text();
		assert.equal(response.status, 200, text);
		return JSON.parse(text);
	}

	async picture(name) {
		if (!process.env.PICTURES)
			return;
		await this.page.waitForTimeout(500); // until all is faded in
		await this.page.screenshot({ path: `${process.env.PICTURES}/${name}.png`, fullPage: true });
	}

	/* Waits until something holds. */
	async eventually(holds, what) {
		for (const end = Date.now() + patience; !await holds();) {
			assert.ok(Date.now() < end, `it never holds that ${what}`);
			await this.page.waitForTimeout(100);
		}
	}

	/* Waits until a part of the page shows a text. */
	async shows(selector, text) {
		try {
			await this.page.locator(selector).filter({ hasText: text }).first().waitFor();
		}
		catch {
			assert.fail(`${selector} does not show ${text}:\n${(await this.page.locator(selector).allInnerTexts()).join('\n') || await this.page.locator('body').innerText()}`);
		}
	}
}

module.exports = { Browser, assert };
