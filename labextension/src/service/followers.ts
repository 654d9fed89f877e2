/** Brings tasks' logs to their followers: from the watch, and with requests where the watch does not. */

import type { IFollower } from '../tokens';
import type { NumberedEvent } from './documents';
import { Cursor, Follows } from './follows';
import type { Delivery, FollowCommand } from './follows';
import { problemIn } from './rest';
import type { Rest } from './rest';

/** All followers of a page. */
export class Followers {
  constructor(
    private readonly _rest: Rest,
    private readonly _say: (command: FollowCommand) => void
  ) {}

  /** Take a follower in; return what lets it go. */
  add(taskId: string, after: number, follower: IFollower): () => void {
    const cursor = new Cursor(taskId, after, follower);
    this._follows.add(cursor).forEach(this._say);
    void this.ask();
    return () => this._follows.remove(cursor).forEach(this._say);
  }

  /** The watch is open. */
  opened(): void {
    this._follows.opened().forEach(this._say);
  }

  /** The watch is closed. */
  closed(): void {
    this._follows.closed();
  }

  /** The watch told entries. */
  told(taskId: string, events: readonly NumberedEvent[], ended: boolean): void {
    this._hand(this._follows.told(taskId, events, ended));
  }

  /** The watch refused something. */
  failed(error: { readonly code: string; readonly message: string; readonly task_id?: string }): void {
    if (error.task_id !== undefined) {
      const problem = { code: error.code, message: error.message, try: '' };
      this._follows.failed(error.task_id).forEach(cursor => cursor.follower.failed?.(problem));
    }
  }

  /** Ask for what the watch does not bring; resolves when nothing is behind any more. */
  async ask(): Promise<void> {
    await Promise.all(this._follows.toAsk().map(cursor => this._catchUp(cursor)));
  }

  private async _catchUp(cursor: Cursor): Promise<void> {
    try {
      for (let more = true; more; ) {
        const { events, ended } = await this._rest.events(cursor.taskId, cursor.after);
        const [deliveries, behind] = this._follows.answered(cursor, events, ended);
        this._hand(deliveries);
        more = behind;
        cursor.asking = more;
      }
    } catch (error) {
      cursor.asking = false;
      const problem = problemIn(error);
      if (problem.code === 'TASK_NOT_FOUND' || problem.code === 'NOT_FOUND') {
        this._follows.remove(cursor).forEach(this._say);
        cursor.follower.failed?.(problem);
      }
      // Anything else: whoever opens the watch again, or polls, brings the rest.
    }
  }

  private _hand(deliveries: readonly Delivery[]): void {
    for (const { cursor, events, ended } of deliveries) {
      cursor.follower.events(events, ended);
    }
  }

  private readonly _follows = new Follows();
}
