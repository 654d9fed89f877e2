'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { load, task } = require('./helpers');
const { isBehind, KEPT, TaskBook } = load('service/book');

const taken = (book, tasks, inOrder = true) => book.merge(tasks, inOrder);

test('a task that is told again as it was is no change', () => {
  const book = new TaskBook();
  assert.deepEqual(taken(book, [task('a')]), ['a']);
  assert.deepEqual(taken(book, [task('a')]), []);
  assert.deepEqual(taken(book, [task('a', { reason: 'no worker' })]), ['a']);
});

test('a late answer does not take a task back in its life', () => {
  const book = new TaskBook();
  taken(book, [task('a', { state: 'success', ended: 110 })]);
  assert.deepEqual(taken(book, [task('a', { state: 'running' })], false), []);
  assert.equal(book.tasks.get('a').state, 'success');
});

test('the watch may take a task back: its worker was lost', () => {
  const book = new TaskBook();
  taken(book, [task('a', { state: 'running' })]);
  assert.deepEqual(taken(book, [task('a', { state: 'waiting-for-nodes' })]), ['a']);
});

test('another attempt is newer than the state of the one before', () => {
  const again = task('a', { state: 'waiting-for-launch', attempts: 2 });
  assert.equal(isBehind(task('a', { state: 'running', attempts: 1 }), again), false);
  assert.equal(isBehind(again, task('a', { state: 'running', attempts: 1 })), true);
});

test('purged tasks are forgotten, strangers are not named', () => {
  const book = new TaskBook();
  taken(book, [task('a'), task('b')]);
  assert.deepEqual(book.forget(['b', 'c']), ['b']);
  assert.deepEqual([...book.tasks.keys()], ['a']);
});

test('live tasks that a full telling leaves out are found', () => {
  const book = new TaskBook();
  taken(book, [task('a'), task('b'), task('c', { state: 'failed' })]);
  assert.deepEqual(book.liveOutside(new Set(['a'])), ['b']);
});

test('of very many ended tasks the oldest are forgotten, live ones never', () => {
  const book = new TaskBook();
  taken(book, [task('live', { received: 0 })]);
  const count = Math.ceil(KEPT * 1.1) + 1;
  const ended = Array.from({ length: count }, (_, i) => task(`t${i}`, { state: 'success', ended: i }));
  const changed = taken(book, ended);
  assert.equal(book.tasks.size, KEPT);
  assert.ok(book.tasks.has('live'));
  assert.ok(!book.tasks.has('t0'));
  assert.ok(book.tasks.has(`t${count - 1}`));
  assert.ok(changed.includes('t0')); // views are told that it is gone
});

test('10,000 tasks are merged, and again, without looking at others', () => {
  const book = new TaskBook();
  const tasks = Array.from({ length: 10_000 }, (_, i) => task(`t${i}`, { received: i }));
  assert.equal(taken(book, tasks).length, 10_000);
  assert.equal(taken(book, tasks).length, 0);
  let looked = 0;
  const tall = book.tasks;
  const values = tall.values.bind(tall);
  tall.values = () => ((looked += 1), values());
  taken(book, [task('t5', { state: 'success' })]);
  assert.equal(looked, 0);
});
