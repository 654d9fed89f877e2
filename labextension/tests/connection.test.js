'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { load, words } = require('./helpers');
const { backoff } = load('service/backoff');
const { Course } = load('service/course');
const { readEndpoint, readFunction, readMessage, readStatus } = load('service/documents');
const { noExtension, problemOf } = load('service/problems');

test('waits double up to a limit, and half of each is left to chance', () => {
  assert.deepEqual([1, 2, 3].map(failures => backoff(failures, 1)), [1000, 2000, 4000]);
  assert.equal(backoff(3, 0), 2000);
  assert.equal(backoff(500, 1), 60_000);
});

test('a service that is well is watched', () => {
  assert.deepEqual(new Course(() => 1).well(), { do: 'open' });
});

test('a service that is away is asked less and less often, and at once when the page wakes', () => {
  const course = new Course(() => 1);
  assert.deepEqual([1, 2, 3].map(() => course.ill(false).after), [1000, 2000, 4000]);
  assert.deepEqual(course.wake(), { do: 'check', after: 0 });
  assert.equal(course.ill(false).after, 1000);
});

test('a hidden page rests instead of asking', () => {
  assert.deepEqual(new Course(() => 1).ill(true), { do: 'rest' });
  assert.deepEqual(new Course(() => 1).closed(true, 60_000, true), { do: 'rest' });
});

test('where no WebSocket comes through, requests replace it, and it is tried again after a while', () => {
  const course = new Course(() => 1);
  course.pollMs = 7000;
  assert.deepEqual(course.well(), { do: 'open' });
  course.closed(false, 0, false);
  assert.deepEqual(course.well(), { do: 'open' });
  course.closed(false, 0, false);
  const steps = Array.from({ length: 25 }, () => course.well());
  assert.deepEqual(steps[0], { do: 'poll', after: 7000 });
  assert.deepEqual(steps[24], { do: 'open' });
  course.greeted();
  assert.deepEqual(course.well(), { do: 'open' });
});

test('a watch that closes again and again right after its hello is not opened in a hot loop', () => {
  const course = new Course(() => 1);
  const waits = [1, 2, 3, 4].map(() => course.closed(true, 50, false).after);
  assert.deepEqual(waits, [1000, 2000, 4000, 8000]);
  assert.equal(course.closed(true, 60_000, false).after, 1000);
});

test('an endpoint tells its state, a function its id, under the names that the views know', () => {
  assert.equal(readEndpoint({ name: 'a', state: 'online' }).status, 'online');
  const found = readFunction({ function_uuid: 'u', function_name: 'fit', created: 1 });
  assert.deepEqual([found.function_id, found.name], ['u', 'fit']);
});

test('what is no message of the watch is none', () => {
  for (const text of ['', 'null', '[]', '7', '{"type":3}', '{"typ":"hello"}', '{"type":"hel']) {
    assert.equal(readMessage(text), null, text);
  }
  assert.equal(readMessage('{"type":"reload"}').type, 'reload');
});

test('a status says online or offline, with what to do', () => {
  const problem = { code: 'SERVICE_UNREACHABLE', message: 'No answer.', try: 'Start it.' };
  const status = readStatus({ ok: false, service: 'local', user: null, mode: 'standalone', problem });
  assert.deepEqual([status.state, status.problem], ['offline', problem]);
  assert.equal(readStatus({ ok: true, user: 'ann' }).state, 'online');
  assert.equal(readStatus({}).problem, null);
});

test("errors are told in the service's words if it has any, else in ours", () => {
  const body = JSON.stringify({ code: 'TASK_NOT_FOUND', message: 'No such task.' });
  assert.deepEqual(problemOf(404, body, words), { code: 'TASK_NOT_FOUND', message: 'No such task.', try: '' });
  assert.equal(problemOf(403, '<html>', words).code, 'JUPYTER_LOGIN');
  assert.match(problemOf(502, '<html>', words).message, /502/);
});

test('without the server extension the line to type is said', () => {
  assert.match(noExtension(words).try, /`pip install [^`]*funcx-lab[^`]*`/);
});
