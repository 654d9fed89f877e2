'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { load } = require('./helpers');
const { Cursor, Follows } = load('service/follows');

/** A task's log, whose numbers have gaps as real ones may have. */
const LOG = Array.from({ length: 40 }, (_, i) => [1 + 2 * i, { time: i, kind: 'stdout', data: `${i}` }]);
const behind = after => LOG.filter(([seq]) => seq > after);

/** A follower that keeps what it got. */
function reader(follows, after = 0, taskId = 't') {
  const cursor = new Cursor(taskId, after, {});
  const got = [];
  return { cursor, got, said: follows.add(cursor) };
}

function hand(deliveries, ...readers) {
  for (const { cursor, events, ended } of deliveries) {
    const to = readers.find(each => each.cursor === cursor);
    to.got.push(...events.map(([seq]) => seq));
    to.ended ||= ended;
  }
}

const seqs = (from, to) => LOG.slice(from, to).map(([seq]) => seq);

test('a follower is told what the watch tells, each once and in order', () => {
  const follows = new Follows();
  follows.opened();
  const one = reader(follows, 0);
  assert.deepEqual(one.said, [{ type: 'follow', task_id: 't', after: 0 }]);
  hand(follows.told('t', LOG.slice(0, 5), false), one);
  hand(follows.told('t', LOG.slice(3, 8), false), one);
  assert.deepEqual(one.got, seqs(0, 8));
});

test('after a lost connection it goes on where it was', () => {
  const follows = new Follows();
  follows.opened();
  const one = reader(follows, 0);
  hand(follows.told('t', LOG.slice(0, 5), false), one);
  follows.closed();
  assert.deepEqual(follows.opened(), [{ type: 'follow', task_id: 't', after: LOG[4][0] }]);
  hand(follows.told('t', LOG.slice(5, 9), true), one);
  assert.deepEqual(one.got, seqs(0, 9));
  assert.ok(one.ended);
  follows.closed();
  assert.deepEqual(follows.opened(), []); // nobody is left to follow
});

test('who comes later catches up with requests, without a gap and without repetition', () => {
  const follows = new Follows();
  follows.opened();
  const one = reader(follows, 0);
  hand(follows.told('t', LOG.slice(0, 10), false), one);
  const two = reader(follows, 0);
  assert.deepEqual(two.said, []); // the watch tells a log once
  assert.deepEqual(follows.toAsk(), [two.cursor]);
  // While the request is on its way the watch goes on; its answer is older than that.
  hand(follows.told('t', LOG.slice(10, 12), false), one, two);
  let [deliveries, more] = follows.answered(two.cursor, LOG.slice(0, 11), false);
  hand(deliveries, one, two);
  assert.ok(more);
  [deliveries, more] = follows.answered(two.cursor, behind(two.cursor.after).slice(0, 1), false);
  hand(deliveries, one, two);
  assert.ok(!more);
  hand(follows.told('t', LOG.slice(12, 15), true), one, two);
  assert.deepEqual(one.got, seqs(0, 15));
  assert.deepEqual(two.got, seqs(0, 15));
  assert.ok(one.ended && two.ended);
});

test('two who are at different places are both served by one watch that opens again', () => {
  const follows = new Follows();
  const [far, near] = [reader(follows, LOG[7][0]), reader(follows, LOG[2][0])];
  assert.deepEqual(follows.opened(), [{ type: 'follow', task_id: 't', after: LOG[2][0] }]);
  hand(follows.told('t', LOG.slice(3, 12), false), far, near);
  assert.deepEqual(far.got, seqs(8, 12));
  assert.deepEqual(near.got, seqs(3, 12));
});

test('without a watch, requests bring the log page by page to its end', () => {
  const follows = new Follows();
  const one = reader(follows, 0);
  assert.deepEqual(follows.toAsk(), [one.cursor]);
  assert.deepEqual(follows.toAsk(), []); // one request at a time
  let [deliveries, more] = follows.answered(one.cursor, LOG.slice(0, 20), false);
  hand(deliveries, one);
  assert.ok(more);
  [deliveries, more] = follows.answered(one.cursor, LOG.slice(20), true);
  hand(deliveries, one);
  assert.ok(!more);
  assert.deepEqual(one.got, seqs(0));
  assert.ok(one.ended);
});

test('an answer that comes after the watch opened again changes nothing', () => {
  const follows = new Follows();
  const one = reader(follows, 0);
  follows.toAsk();
  follows.opened();
  hand(follows.told('t', LOG.slice(0, 5), false), one);
  const [deliveries, more] = follows.answered(one.cursor, LOG.slice(0, 3), false);
  assert.deepEqual([deliveries, more], [[], false]);
  assert.deepEqual(one.got, seqs(0, 5));
});

test('the last who leaves ends the following; who has left gets nothing', () => {
  const follows = new Follows();
  follows.opened();
  const [one, two] = [reader(follows), reader(follows)];
  assert.deepEqual(follows.remove(one.cursor), []);
  assert.deepEqual(follows.remove(two.cursor), [{ type: 'unfollow', task_id: 't' }]);
  assert.deepEqual(follows.remove(two.cursor), []);
  assert.deepEqual(follows.told('t', LOG, true), []);
});

test('a log that cannot be read lets its followers go', () => {
  const follows = new Follows();
  follows.opened();
  const one = reader(follows);
  assert.deepEqual(follows.failed('t'), [one.cursor]);
  assert.deepEqual(follows.failed('t'), []);
});
