/** Reads tasks again when the watch told less than everything. */

import { FINAL_STATES } from '../tokens';
import type { ITask, TaskState } from '../tokens';
import type { TaskBook } from './book';
import { isLive } from './book';
import { PAGE } from './rest';
import type { Rest } from './rest';

const LIVE: readonly TaskState[] = [
  'received',
  'waiting-for-ep',
  'waiting-for-nodes',
  'waiting-for-launch',
  'running'
];
/** The first messages of a watch hold so many live tasks at most. */
const FIRST = 500;
/** They have come after so many milliseconds. */
const SETTLE_MS = 1000;
/** So few tasks are asked for one by one. */
const FEW = 20;
/** So many pages are read at most, this often, and with pauses so many times as long as the reading took. */
const PAGES = 20;
const INTERVAL_MS = 5000;
const PAUSES = 9;

/** Keeps a book complete. */
export class Reload {
  constructor(
    private readonly _rest: Rest,
    private readonly _book: TaskBook,
    private readonly _changed: (ids: readonly string[]) => void
  ) {}

  /** A new watch begins: its first messages tell what is live. */
  expectFirst(): void {
    this._first = [];
    clearTimeout(this._settling);
    this._settling = setTimeout(() => this._judgeFirst(), SETTLE_MS);
  }

  /** The watch told tasks. */
  heard(tasks: readonly ITask[]): void {
    this._first?.push(...tasks);
  }

  /** The watch is closed. */
  closed(): void {
    this._first = null;
    clearTimeout(this._settling);
  }

  /** Ask for what the first messages left out: more live tasks, or the ends of those that this page took for live. */
  private _judgeFirst(): void {
    const first = this._first ?? [];
    this._first = null;
    const outside = this._book.liveOutside(new Set(first.map(task => task.task_id)));
    if (first.filter(isLive).length >= FIRST || outside.length > 0) {
      this.ask();
    }
  }

  /** Read again soon; often asked, it happens every 5 s, and less often while much is to be read. */
  ask(): void {
    if (this._timer === null) {
      const wait = Math.max(0, this._due - Date.now());
      this._timer = setTimeout(() => void this._later(), wait);
    }
  }

  /** Read live tasks, the newest ended ones, and what has become of those that were live. */
  async now(): Promise<void> {
    const begun = Date.now();
    this._due = begun + INTERVAL_MS;
    const told = new Set<string>();
    const complete = await this._pages(LIVE, PAGES, told);
    await this._pages([...FINAL_STATES], 1, told, 100);
    const outside = complete ? this._book.liveOutside(told) : [];
    if (outside.length > FEW) {
      await this._pages([...FINAL_STATES], PAGES, told);
    }
    await this._ask(outside.filter(taskId => !told.has(taskId)).slice(0, FEW));
    this._due = Math.max(this._due, Date.now() + PAUSES * (Date.now() - begun));
  }

  private async _later(): Promise<void> {
    try {
      await this.now();
    } catch {
      // The connection notices by itself; its next first message asks again.
    } finally {
      this._timer = null;
    }
  }

  private async _pages(
    states: readonly TaskState[],
    pages: number,
    told: Set<string>,
    limit = PAGE
  ): Promise<boolean> {
    let before: number | null = null;
    for (let page = 0; page < pages; page++) {
      const found = await this._rest.tasks({ states, limit, before });
      found.tasks.forEach(task => told.add(task.task_id));
      this._changed(this._book.merge(found.tasks, false));
      before = found.next;
      if (before === null) {
        return true;
      }
    }
    return false;
  }

  private async _ask(taskIds: readonly string[]): Promise<void> {
    const answers = await Promise.allSettled(taskIds.map(taskId => this._rest.task(taskId)));
    const tasks = answers.flatMap(answer => (answer.status === 'fulfilled' ? [answer.value] : []));
    this._changed(this._book.merge(tasks, false));
  }

  private _first: ITask[] | null = null;
  private _settling: ReturnType<typeof setTimeout> | undefined;
  private _timer: ReturnType<typeof setTimeout> | null = null;
  /** When it may be read again. */
  private _due = 0;
}
