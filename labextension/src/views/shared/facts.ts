/** What views tell of a task, computed from its record. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { LOOKS, short } from '../../looks';
import type { ITask, TaskState } from '../../tokens';
import { FINAL_STATES } from '../../tokens';

/** What cells and scripts are called where their functions are registered. */
export const CELLS: ReadonlySet<string> = new Set(['cell', 'script']);

/** Whether a task has ended. */
export function isFinal(task: ITask): boolean {
  return FINAL_STATES.has(task.state);
}

/** Return what people call a task: its label, its function, or for a cell the end of its id. */
export function nameOf(task: ITask): string {
  const name = task.label || task.function_name;
  const items = task.items ? ` [${task.items[0]}–${task.items[0] + task.items[1] - 1}]` : '';
  return (CELLS.has(name) || !name ? `${name || 'task'} ${short(task.task_id)}` : name) + items;
}

/** Return how many seconds a task waited before it ran or ended, as of `now`. */
export function waited(task: ITask, now: number): number {
  return (task.started ?? task.ended ?? now) - task.received;
}

/** Return how many seconds a task ran, as of `now`; null if it has not begun. */
export function ran(task: ITask, now: number): number | null {
  return task.started === null ? null : (task.ended ?? now) - task.started;
}

/** Return the seconds that a task's clock shows: running time, or waiting time before. */
export function clockOf(task: ITask, now: number): number {
  return ran(task, now) ?? waited(task, now);
}

/** Return the last line of what went wrong; `''` if nothing did. */
export function errorOf(task: ITask): string {
  const error = task.error;
  if (error === null || task.state === 'cancelled') {
    return '';
  }
  return error.type ? `${error.type}: ${error.message}` : error.message;
}

/** Return a state in the user's language. */
export function wordOf(state: TaskState, trans: TranslationBundle): string {
  return LOOKS[state] ? trans.__(LOOKS[state].word) : state;
}

// Made once: a new one for each row would take longer than all the rest of the row.
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'short', timeStyle: 'medium' });

/** Return Unix seconds as time of day, with the date if it is not today's. */
export function timeOf(seconds: number): string {
  const time = new Date(seconds * 1000);
  return time.toDateString() === new Date().toDateString() ? TIME.format(time) : DATE.format(time);
}

/** Return Unix seconds as date and time. */
export function dateOf(seconds: number): string {
  return DATE.format(new Date(seconds * 1000));
}
