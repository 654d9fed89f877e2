/** Every task that a page has heard of, and which of two tellings is newer. No I/O here. */

import { FINAL_STATES } from '../tokens';
import type { ITask, TaskState } from '../tokens';

/** So many ended tasks are kept; the oldest go first. */
export const KEPT = 20_000;

const ORDER: readonly TaskState[] = [
  'received',
  'waiting-for-ep',
  'waiting-for-nodes',
  'waiting-for-launch',
  'running',
  'success',
  'failed',
  'cancelled',
  'expired'
];

/** Whether a task goes on. */
export function isLive(task: ITask): boolean {
  return !FINAL_STATES.has(task.state);
}

/**
 * Whether an answer to a request may stand beside what the watch told meanwhile: an answer may be late, so it
 * must not take a task back in its life.
 */
export function isBehind(known: ITask, told: ITask): boolean {
  if (known.attempts !== told.attempts) {
    return told.attempts < known.attempts;
  }
  return ORDER.indexOf(told.state) < ORDER.indexOf(known.state);
}

/** Tasks by id. */
export class TaskBook {
  readonly tasks = new Map<string, ITask>();

  /**
   * Take tasks in; return the ids of those that are new or different.
   *
   * @param inOrder - Whether they come from the watch, which tells everything in order.
   */
  merge(told: readonly ITask[], inOrder: boolean): string[] {
    const changed: string[] = [];
    for (const task of told) {
      const known = this.tasks.get(task.task_id);
      if (known !== undefined && (differs(known, task) ? !inOrder && isBehind(known, task) : true)) {
        continue;
      }
      this.tasks.set(task.task_id, task);
      changed.push(task.task_id);
    }
    return this.tasks.size > KEPT * 1.1 ? [...changed, ...this._prune()] : changed;
  }

  /** Forget tasks; return the ids of those that were known. */
  forget(taskIds: readonly string[]): string[] {
    return taskIds.filter(taskId => this.tasks.delete(taskId));
  }

  /** Return the ids of live tasks that are not among these. */
  liveOutside(told: ReadonlySet<string>): string[] {
    const outside: string[] = [];
    for (const [taskId, task] of this.tasks) {
      if (isLive(task) && !told.has(taskId)) {
        outside.push(taskId);
      }
    }
    return outside;
  }

  private _prune(): string[] {
    const ended = [...this.tasks.values()].filter(task => !isLive(task));
    ended.sort((a, b) => (a.ended ?? a.received) - (b.ended ?? b.received));
    return this.forget(ended.slice(0, Math.max(0, this.tasks.size - KEPT)).map(task => task.task_id));
  }
}

function differs(known: ITask, told: ITask): boolean {
  return (
    known.state !== told.state ||
    known.reason !== told.reason ||
    known.attempts !== told.attempts ||
    JSON.stringify(known) !== JSON.stringify(told)
  );
}
