/** The columns of the task table, and how rows are filtered and ordered by them. No I/O here. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ITask, ITaskQuery, TaskState } from '../../tokens';
import { errorOf, nameOf, ran, waited } from '../shared/facts';

/** A column's name. */
export type Column = 'state' | 'name' | 'endpoint' | 'received' | 'waited' | 'ran' | 'attempts' | 'error';

/** What the table is ordered by. */
export interface ISort {
  readonly column: Column;
  readonly isAscending: boolean;
}

/** All columns, in their order. */
export const COLUMNS: readonly Column[] = ['state', 'name', 'endpoint', 'received', 'waited', 'ran', 'attempts', 'error'];

/** The order of tasks that the service gives. */
export const NEWEST_FIRST: ISort = { column: 'received', isAscending: false };

const STATE_ORDER: readonly TaskState[] = [
  'running',
  'waiting-for-launch',
  'waiting-for-nodes',
  'waiting-for-ep',
  'received',
  'failed',
  'expired',
  'cancelled',
  'success'
];

/** Return a column's heading. */
export function heading(column: Column, trans: TranslationBundle): string {
  return {
    state: trans.__('State'),
    name: trans.__('Name'),
    endpoint: trans.__('Endpoint'),
    received: trans.__('Received'),
    waited: trans.__('Waited'),
    ran: trans.__('Ran'),
    attempts: trans.__('Attempts'),
    error: trans.__('Error')
  }[column];
}

/** Whether a task is among those that are asked for. */
export function isAsked(task: ITask, query: ITaskQuery): boolean {
  if (query.states?.length && !query.states.includes(task.state)) {
    return false;
  }
  if (query.endpoint && task.endpoint_id !== query.endpoint && task.endpoint_name !== query.endpoint) {
    return false;
  }
  if (query.group && task.task_group_id !== query.group) {
    return false;
  }
  const text = query.text?.trim().toLowerCase();
  return !text || [task.label, task.function_name, task.task_id].some(each => each?.toLowerCase().includes(text));
}

function keyOf(task: ITask, column: Column, now: number): number | string {
  switch (column) {
    case 'state':
      return STATE_ORDER.indexOf(task.state);
    case 'name':
      return nameOf(task).toLowerCase();
    case 'endpoint':
      return task.endpoint_name;
    case 'received':
      return task.received;
    case 'waited':
      return waited(task, now);
    case 'ran':
      return ran(task, now) ?? -1;
    case 'attempts':
      return task.attempts;
    case 'error':
      return errorOf(task) || '\uffff'; // those without an error come last
  }
}

/** Return the tasks that are asked for, in order; equal ones the newest first. */
export function arrange(tasks: Iterable<ITask>, query: ITaskQuery, sort: ISort, now: number): ITask[] {
  const keyed: Array<{ task: ITask; key: number | string }> = [];
  for (const task of tasks) {
    if (isAsked(task, query)) {
      keyed.push({ task, key: keyOf(task, sort.column, now) });
    }
  }
  const sign = sort.isAscending ? 1 : -1;
  keyed.sort((one, other) => {
    if (one.key === other.key) {
      return other.task.received - one.task.received;
    }
    return one.key < other.key ? -sign : sign;
  });
  return keyed.map(each => each.task);
}
