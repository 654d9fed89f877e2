'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { load, task } = require('./helpers');
const { arrange, NEWEST_FIRST } = load('views/table/columns');
const { choose, destination, NOTHING } = load('views/table/selection');
const { notebookTraceback } = load('looks');
const { pieces } = load('views/task/ansi');
const { LINES, LogStore } = load('views/task/logStore');
const { joinEndpoints } = load('views/sidebar/endpointFacts');

const texts = log => Array.from({ length: log.length }, (_, index) => log.line(index).text);
const ids = tasks => tasks.map(each => each.task_id).join('');

test('a log has the lines of two streams, however they were cut', () => {
  const log = new LogStore();
  log.append('stdout', 'on');
  log.append('stderr', 'warn\n');
  log.append('stdout', 'e\ntwo\n\nfour');
  assert.deepEqual(texts(log), ['one', 'warn', 'two', '', 'four']);
  assert.equal(log.line(1).stream, 'stderr');
});

test('a carriage return starts the line again, also across pieces', () => {
  const log = new LogStore();
  for (const text of ['10%\r', '20%', '\r30%\r', '\nend\r\n']) {
    log.append('stderr', text);
  }
  assert.deepEqual(texts(log), ['30%', 'end']);
});

test('a log keeps its newest lines and says how many it left out', () => {
  const log = new LogStore();
  for (let number = 0; number < LINES + 10; number++) {
    log.append('stdout', `${number}\n`);
  }
  assert.equal(log.length, LINES);
  assert.equal(log.dropped, 10);
  assert.equal(log.line(0).text, '10');
});

test('terminal colours become classes, other sequences nothing', () => {
  assert.deepEqual(pieces('\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b[2K'), [
    { text: 'red', className: 'fxl-ansi-red fxl-ansi-bold' },
    { text: ' ', className: '' },
    { text: 'link', className: '' }
  ]);
  assert.deepEqual(pieces('<b>'), [{ text: '<b>', className: '' }]);
});

test('rows are filtered and ordered; equal ones the newest first', () => {
  const tasks = [
    task('a', { label: 'fit', received: 1, attempts: 2 }),
    task('b', { label: 'plot', function_name: 'draw', received: 2 }),
    task('c', { label: 'fit', received: 3, state: 'failed', ended: 4 })
  ];
  assert.equal(ids(arrange(tasks, {}, NEWEST_FIRST, 9)), 'cba');
  assert.equal(ids(arrange(tasks, { text: 'FIT' }, { column: 'name', isAscending: true }, 9)), 'ca');
  assert.equal(ids(arrange(tasks, { states: ['running'] }, { column: 'attempts', isAscending: false }, 9)), 'ab');
  assert.equal(ids(arrange(tasks, { endpoint: 'nowhere' }, NEWEST_FIRST, 9)), '');
});

test('a selection grows from where it began', () => {
  const rows = ['a', 'b', 'c', 'd'];
  let selection = choose(NOTHING, rows, 'c', 'replace');
  selection = choose(selection, rows, 'a', 'range');
  assert.deepEqual([...selection.chosen], ['a', 'b', 'c']);
  selection = choose(selection, rows, 'd', 'range');
  assert.deepEqual([...selection.chosen], ['c', 'd']);
  selection = choose(selection, rows, 'd', 'toggle');
  assert.deepEqual([...selection.chosen], ['c']);
  assert.equal(destination('PageDown', 2, 4, 10), 3);
  assert.equal(destination('x', 2, 4, 10), null);
});

test('endpoints of this machine stand with those of the service, online ones first', () => {
  const endpoint = (endpoint_id, name, status) => ({ endpoint_id, name, status });
  const joined = joinEndpoints(
    [endpoint('1', 'old', 'offline'), endpoint('2', 'ready', 'online')],
    [
      { name: 'old', state: 'stopped', endpoint_id: '1' },
      { name: 'fresh', state: 'stopped', endpoint_id: null }
    ]
  );
  assert.deepEqual(
    joined.map(entry => [entry.name, entry.endpoint !== null, entry.machine !== null]),
    [
      ['ready', true, false],
      ['fresh', false, true],
      ['old', true, true]
    ]
  );
});

test('frames of cells read as in the notebook, others stay', () => {
  const remote = [
    'Traceback (most recent call last):',
    '  File "<Cell In[3] 5acb2265>", line 5, in <module>',
    '    fit(1)',
    '  File "<Cell In[2] 00ff>", line 2, in fit',
    '  File "/lib/numpy.py", line 9, in mean'
  ].join('\n');
  assert.deepEqual(notebookTraceback(remote).split('\n').slice(1), [
    'Cell In[3], line 5',
    '    fit(1)',
    'Cell In[2], line 2, in fit',
    '  File "/lib/numpy.py", line 9, in mean'
  ]);
});
