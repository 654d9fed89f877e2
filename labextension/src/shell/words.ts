/** What the shell says of tasks. No I/O here. */

import { short } from '../looks';
import type { IServiceStatus, ITask } from '../tokens';

/** Translates texts, one or several; a bundle of JupyterLab's translator does. */
export interface IWords {
  __(text: string, ...values: unknown[]): string;
  _n(one: string, several: string, count: number, ...values: unknown[]): string;
}

const WAITING = ['received', 'waiting-for-ep', 'waiting-for-nodes', 'waiting-for-launch'];

/** What the status bar says: a sign for the eye, words for everybody, and more for who points at it. */
export interface IStatusText {
  readonly words: string;
  readonly more: string;
}

/** Return what people call a task. */
export function nameOf(task: ITask): string {
  return task.label || task.function_name || short(task.task_id);
}

/**
 * Return what the status bar says, or null if there is nothing to say.
 *
 * @param wasOnline - Whether the service has been there since the page was opened: who never used it is not told
 *   that it is away.
 */
export function statusText(
  status: IServiceStatus,
  counts: { readonly [state: string]: number },
  running: Iterable<ITask>,
  wasOnline: boolean,
  words: IWords
): IStatusText | null {
  if (status.state === 'offline') {
    const problem = status.problem;
    const more = problem === null ? '' : [problem.message, problem.try].filter(Boolean).join('\n');
    return wasOnline ? { words: words.__('offline'), more } : null;
  }
  const waits = WAITING.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  const runs = counts.running ?? 0;
  if (status.state !== 'online' || runs + waits === 0) {
    return null;
  }
  const said = [
    ...(runs ? [words._n('%1 running', '%1 running', runs, runs)] : []),
    ...(waits ? [words._n('%1 waiting', '%1 waiting', waits, waits)] : [])
  ].join(', ');
  const places = [...new Set([...running].map(task => task.endpoint_name))].sort();
  const place = places.length > 1 ? words.__('%1 endpoints', places.length) : (places[0] ?? '');
  return { words: place ? `${said} · ${place}` : said, more: words.__('Show remote tasks') };
}
