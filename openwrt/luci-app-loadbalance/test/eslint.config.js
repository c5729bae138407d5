'use strict';
/* The rules that LuCI's own repository has for its applications; what it only
   warns of is an error here. */

const { defineConfig } = require('eslint/config');
const globals = require('globals');
const js = require('@eslint/js');
const json = require('@eslint/json').default;

const runtime = [ '_', 'L', 'E' ];
const readonly = (names) => Object.fromEntries(names.map((name) => [ name, 'readonly' ]));

const rules = {
	'strict': 0,
	'no-prototype-builtins': 0,
	'no-empty': 0,
	'no-undef': 'error',
	'no-unused-vars': [ 'error', { args: 'none', caughtErrors: 'none', varsIgnorePattern: '^(' + [ ...runtime, 'LuCI' ].join('|') + ')$' } ],
	'no-regex-spaces': 0,
	'no-control-regex': 0,
	'no-var': 'error',
	'prefer-const': 'error'
};

const script = {
	sourceType: 'script',
	ecmaVersion: 'latest',
	parserOptions: { ecmaFeatures: { globalReturn: true } }
};

/* A file has the modules that its directives name, and no others. */
const required = {
	preprocess(text) {
		const names = [ ...text.matchAll(/^'require (?:\S+ as )?(\w+)';$/gm) ].map((match) => match[1]);
		return [ names.length ? `${text}\n/* global ${names.join(', ')} */` : text ];
	},
	postprocess: (messages) => messages.flat()
};

module.exports = defineConfig([
	{
		files: [ '**/*.json' ],
		ignores: [ '**/package-lock.json' ],
		plugins: { json },
		language: 'json/json',
		extends: [ 'json/recommended' ],
		rules: { 'json/no-duplicate-keys': 'error' }
	},
	{
		files: [ '**/htdocs/**/*.js', '**/standin/**/*.js' ],
		plugins: { js },
		processor: required,
		extends: [ 'js/recommended' ],
		languageOptions: { ...script, globals: { ...globals.browser, ...readonly(runtime) } },
		rules
	},
	/* The runtime defines what others have. */
	{
		files: [ '**/standin/**/{luci,cbi}.js' ],
		rules: { 'no-redeclare': 0, 'prefer-const': 0, 'no-new-func': 0 }
	},
	{
		files: [ '**/test/*.js' ],
		plugins: { js },
		extends: [ 'js/recommended' ],
		languageOptions: { ...script, sourceType: 'commonjs', globals: { ...globals.node, ...readonly([ 'document', 'window' ]) } },
		rules
	}
]);
