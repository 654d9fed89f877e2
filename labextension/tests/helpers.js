/** What the tests of the front end's decisions share. */
'use strict';

const path = require('node:path');

/** Load a module of src/ that tests/labextension/test_front_end_units.py has compiled. */
exports.load = name => require(path.join(process.env.FUNCX_LAB_COMPILED, name));

/** Texts in English, as JupyterLab's translator fills them in. */
const fill = (text, values) => text.replace(/%(\d)/g, (_, place) => String(values[place - 1]));
exports.words = {
  __: (text, ...values) => fill(text, values),
  _n: (one, several, count, ...values) => fill(count === 1 ? one : several, values)
};

/** Return a task as the service tells it. */
exports.task = (id, facts = {}) => ({
  task_id: id,
  task_group_id: 'g',
  function_id: 'f',
  function_name: 'fit',
  endpoint_id: 'e',
  endpoint_name: 'cluster',
  state: 'running',
  reason: '',
  label: null,
  items: null,
  received: 100,
  started: 101,
  ended: null,
  attempts: 1,
  error: null,
  worker: {},
  ...facts
});
