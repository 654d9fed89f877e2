/** Which tasks' ends people are told of. No I/O here. */

import { FINAL_STATES } from '../tokens';
import type { ITask } from '../tokens';
import { nameOf } from './words';
import type { IWords } from './words';

/** So many ends at once are told one by one; more are told together. */
const SEVERAL = 3;

/** What to tell. */
export interface ITelling {
  readonly kind: 'success' | 'error';
  readonly text: string;
  /** The task that it is about; null for several. */
  readonly task: ITask | null;
}

/** One end: of a task, or of a map with all its tasks. */
export interface IEnd {
  readonly task: ITask;
  readonly seconds: number;
  readonly tasks: number;
  readonly failed: number;
}

/** Watches tasks that were alive on this page; each end counts once. */
export class Endings {
  /**
   * Take note of what changed; return the ends of tasks and maps that took at least `seconds`.
   *
   * A task that somebody cancelled ends without a word: whoever did that knows.
   */
  see(changed: readonly string[], tasks: ReadonlyMap<string, ITask>, seconds: number): IEnd[] {
    const ends: IEnd[] = [];
    const maps = new Set<string>();
    for (const taskId of changed) {
      const task = tasks.get(taskId);
      if (task === undefined) {
        this._alive.delete(taskId);
      } else if (!FINAL_STATES.has(task.state)) {
        this._alive.add(taskId);
      } else if (this._alive.delete(taskId)) {
        if (task.items !== null) {
          maps.add(task.task_group_id);
        } else {
          ends.push(endOf([task]));
        }
      }
    }
    ends.push(...this._mapsOver(maps, tasks));
    return ends.filter(end => seconds > 0 && end.seconds >= seconds && end.task.state !== 'cancelled');
  }

  private _mapsOver(maps: ReadonlySet<string>, tasks: ReadonlyMap<string, ITask>): IEnd[] {
    if (maps.size === 0) {
      return [];
    }
    const groups = new Map<string, ITask[]>([...maps].map(group => [group, []]));
    for (const task of tasks.values()) {
      groups.get(task.task_group_id)?.push(task);
    }
    const over = [...groups.values()].filter(group => group.every(task => FINAL_STATES.has(task.state)));
    return over.map(endOf);
  }

  private readonly _alive = new Set<string>();
}

/** Return what to say of ends that came together. */
export function tell(ends: readonly IEnd[], words: IWords): ITelling[] {
  if (ends.length > SEVERAL) {
    const failed = ends.filter(end => end.failed > 0).length;
    const text = failed
      ? words.__('%1 remote tasks ended, %2 of them failed.', ends.length, failed)
      : words.__('%1 remote tasks succeeded.', ends.length);
    return [{ kind: failed ? 'error' : 'success', text, task: null }];
  }
  return ends.map(end => ({ kind: end.failed ? 'error' : 'success', text: sentence(end, words), task: end.task }));
}

function sentence({ task, seconds, tasks, failed }: IEnd, words: IWords): string {
  const [name, took] = [nameOf(task), lasting(seconds, words)];
  if (tasks > 1) {
    return failed
      ? words.__('%1 ended after %2: %3 of its %4 tasks failed.', name, took, failed, tasks)
      : words.__('%1 succeeded after %2.', name, took);
  }
  if (task.state === 'success') {
    return words.__('%1 succeeded after %2 on %3.', name, took, task.endpoint_name);
  }
  const why = (task.error?.message ?? '').split('\n', 1)[0].slice(0, 200);
  const said =
    task.state === 'expired'
      ? words.__('%1 expired after %2 on %3.', name, took, task.endpoint_name)
      : words.__('%1 failed after %2 on %3.', name, took, task.endpoint_name);
  return why ? `${said} ${why}` : said;
}

function endOf(tasks: readonly ITask[]): IEnd {
  const bad = tasks.filter(task => task.state === 'failed' || task.state === 'expired');
  const task = bad[0] ?? tasks.find(each => each.state === 'success') ?? tasks[0];
  const begun = Math.min(...tasks.map(each => each.received));
  const ended = Math.max(...tasks.map(each => each.ended ?? each.received));
  return { task, seconds: ended - begun, tasks: tasks.length, failed: bad.length };
}

function lasting(seconds: number, words: IWords): string {
  if (seconds < 60) {
    return words.__('%1 s', Math.round(seconds));
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? words.__('%1 min %2 s', minutes, Math.floor(seconds % 60))
    : words.__('%1 h %2 min', Math.floor(minutes / 60), minutes % 60);
}
