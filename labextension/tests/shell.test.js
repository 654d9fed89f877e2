'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { load, task, words } = require('./helpers');
const { Endings, tell } = load('shell/endings');
const { statusText } = load('shell/words');
const { listTasks } = load('service/listing');
const { DEFAULTS, readSettings } = load('service/settings');

const ONLINE = { state: 'online', problem: null };
const book = (...tasks) => new Map(tasks.map(each => [each.task_id, each]));

/** Let tasks go on one after another; return what is said. */
function said(seconds, ...steps) {
  const endings = new Endings();
  return steps.flatMap(step => tell(endings.see([...step.keys()], step, seconds), words));
}

test('the status bar counts what runs and says where', () => {
  const running = [task('a'), task('b')];
  assert.equal(statusText(ONLINE, { running: 2, success: 9 }, running, true, words).words, '2 running · cluster');
  const two = [task('a'), task('b', { endpoint_name: 'other' })];
  const text = statusText(ONLINE, { running: 2, 'waiting-for-nodes': 3 }, two, true, words);
  assert.equal(text.words, '2 running, 3 waiting · 2 endpoints');
});

test('the status bar says nothing while nothing goes on', () => {
  assert.equal(statusText(ONLINE, { success: 3 }, [], true, words), null);
  assert.equal(statusText({ state: 'connecting', problem: null }, {}, [], false, words), null);
});

test('that the service is away is said, with what to do, to who had it on this page', () => {
  const away = { state: 'offline', problem: { code: 'X', message: 'Gone.', try: 'Start it.' } };
  assert.deepEqual(statusText(away, {}, [], true, words), { words: 'offline', more: 'Gone.\nStart it.' });
  assert.equal(statusText(away, {}, [], false, words), null);
});

test('the end of a long task is told, once', () => {
  const over = book(task('a', { state: 'success', ended: 175 }));
  const told = said(60, book(task('a')), over, over);
  assert.deepEqual(told.map(each => each.text), ['fit succeeded after 1 min 15 s on cluster.']);
  assert.equal(told[0].task.task_id, 'a');
});

test('why it failed stands in its first line', () => {
  const error = { code: 'X', message: 'no such file\nmore', type: '', traceback: '' };
  const [told] = said(60, book(task('a')), book(task('a', { state: 'failed', ended: 160, error })));
  assert.deepEqual([told.kind, told.text], ['error', 'fit failed after 1 min 0 s on cluster. no such file']);
});

test('short tasks, cancelled ones, and those that had ended before are not told', () => {
  assert.deepEqual(said(60, book(task('a')), book(task('a', { state: 'success', ended: 159 }))), []);
  assert.deepEqual(said(60, book(task('a')), book(task('a', { state: 'cancelled', ended: 900 }))), []);
  assert.deepEqual(said(60, book(task('a', { state: 'success', ended: 900 }))), []);
  assert.deepEqual(said(0, book(task('a')), book(task('a', { state: 'success', ended: 900 }))), []);
});

test('a map is told when the last of its tasks has ended', () => {
  const part = (id, facts) => task(id, { items: [0, 5, 10], label: 'scan', ...facts });
  const [one, two] = [part('a'), part('b')];
  const [first, second] = [part('a', { state: 'success', ended: 150 }), part('b', { state: 'failed', ended: 200 })];
  assert.deepEqual(said(60, book(one, two), book(first, two)), []);
  const told = said(60, book(one, two), book(first, two), book(first, second));
  assert.deepEqual(told.map(each => each.text), ['scan ended after 1 min 40 s: 1 of its 2 tasks failed.']);
});

test('many ends at once are told together', () => {
  const ids = ['a', 'b', 'c', 'd'];
  const over = ids.map(id => task(id, { state: id === 'd' ? 'failed' : 'success', ended: 200 }));
  const told = said(60, book(...ids.map(id => task(id))), book(...over));
  assert.deepEqual(told, [{ kind: 'error', text: '4 remote tasks ended, 1 of them failed.', task: null }]);
});

test('a text is looked for until something is found', async () => {
  const pages = { 9: { tasks: [], next: 5 }, 5: { tasks: [task('b')], next: 1 }, 1: { tasks: [task('c')], next: null } };
  const found = await listTasks(before => Promise.resolve(pages[before]), 9);
  assert.deepEqual([found.tasks.map(each => each.task_id), found.next], [['b'], 1]);
});

test('settings that are not there are as the schema says, unknown ones are left out', () => {
  const schema = require('../schema/service.json');
  const said = Object.fromEntries(Object.entries(schema.properties).map(([name, { default: value }]) => [name, value]));
  assert.deepEqual(DEFAULTS, said);
  const read = readSettings({ confirmCancel: false, colour: 'red' });
  assert.deepEqual(read, { ...DEFAULTS, confirmCancel: false });
});
