/**
 * Where each follower of a task's log is, and what to ask for next. No I/O here.
 *
 * The watch tells a task's log once per page, from one place on. A follower who comes later, and wants more
 * than that, catches up with requests until it has reached the place where the watch is. Whatever comes twice
 * is dropped by its number; numbers rise but need not be consecutive.
 */

import type { IFollower } from '../tokens';
import type { NumberedEvent } from './documents';

/** What to say on the watch. */
export type FollowCommand =
  | { readonly type: 'follow'; readonly task_id: string; readonly after: number }
  | { readonly type: 'unfollow'; readonly task_id: string };

/** One follower's place in one task's log. */
export class Cursor {
  /** Whether the watch brings what comes next; otherwise requests do. */
  live = false;
  /** Whether a request for it is on its way. */
  asking = false;

  constructor(
    readonly taskId: string,
    public after: number,
    readonly follower: IFollower
  ) {}
}

/** All followers of a page. */
export class Follows {
  /** Take a follower in; return what to say on the watch, if it is open. */
  add(cursor: Cursor): FollowCommand[] {
    const others = this._cursors.get(cursor.taskId);
    if (others !== undefined) {
      others.add(cursor);
      return [];
    }
    this._cursors.set(cursor.taskId, new Set([cursor]));
    if (!this._open) {
      return [];
    }
    return [this._goLive(cursor.taskId)];
  }

  /** Let a follower go; return what to say on the watch, if it is open. */
  remove(cursor: Cursor): FollowCommand[] {
    const cursors = this._cursors.get(cursor.taskId);
    if (!cursors?.delete(cursor) || cursors.size > 0) {
      return [];
    }
    this._cursors.delete(cursor.taskId);
    const followed = this._reached.delete(cursor.taskId);
    return followed && this._open ? [{ type: 'unfollow', task_id: cursor.taskId }] : [];
  }

  /** Whether a follower is still there. */
  has(cursor: Cursor): boolean {
    return this._cursors.get(cursor.taskId)?.has(cursor) ?? false;
  }

  /** The watch is open: return what to say, so that everybody goes on where they were. */
  opened(): FollowCommand[] {
    this._open = true;
    this._reached.clear();
    return [...this._cursors.keys()].map(taskId => this._goLive(taskId));
  }

  /** The watch is closed; requests may go on. */
  closed(): void {
    this._open = false;
    this._reached.clear();
    for (const cursor of this._all()) {
      cursor.live = false;
    }
  }

  /** Return those whose next entries have to be asked for, and take note that they will be. */
  toAsk(): Cursor[] {
    const cursors = this._all().filter(cursor => !cursor.live && !cursor.asking);
    for (const cursor of cursors) {
      cursor.asking = true;
    }
    return cursors;
  }

  /** The watch told entries of a task; return whom they are for, and which. */
  told(taskId: string, events: readonly NumberedEvent[], ended: boolean): Delivery[] {
    const last = events.at(-1)?.[0] ?? 0;
    if (this._reached.has(taskId)) {
      this._reached.set(taskId, Math.max(last, this._reached.get(taskId) ?? 0));
    }
    const live = [...(this._cursors.get(taskId) ?? [])].filter(cursor => cursor.live);
    return live.flatMap(cursor => this._deliver(cursor, events, ended));
  }

  /** A request answered entries for one follower; return what is new, and whether to ask on. */
  answered(cursor: Cursor, events: readonly NumberedEvent[], ended: boolean): [Delivery[], boolean] {
    cursor.asking = false;
    if (!this.has(cursor) || cursor.live) {
      return [[], false];
    }
    const deliveries = this._deliver(cursor, events, ended);
    const reached = this._reached.get(cursor.taskId);
    cursor.live = !ended && reached !== undefined && cursor.after >= reached;
    const behind = reached !== undefined ? !cursor.live : events.length > 0;
    return [deliveries, !ended && behind];
  }

  /** A task's log cannot be read: let its followers go and return them. */
  failed(taskId: string): Cursor[] {
    const cursors = [...(this._cursors.get(taskId) ?? [])];
    this._cursors.delete(taskId);
    this._reached.delete(taskId);
    return cursors;
  }

  private _goLive(taskId: string): FollowCommand {
    const cursors = [...(this._cursors.get(taskId) ?? [])];
    const after = Math.min(...cursors.map(cursor => cursor.after));
    for (const cursor of cursors) {
      cursor.live = true;
    }
    this._reached.set(taskId, after);
    return { type: 'follow', task_id: taskId, after };
  }

  private _deliver(cursor: Cursor, events: readonly NumberedEvent[], ended: boolean): Delivery[] {
    const news = events.filter(([seq]) => seq > cursor.after);
    cursor.after = news.at(-1)?.[0] ?? cursor.after;
    if (ended) {
      this._leave(cursor);
    }
    return news.length || ended ? [{ cursor, events: news, ended }] : [];
  }

  private _leave(cursor: Cursor): void {
    const cursors = this._cursors.get(cursor.taskId);
    cursors?.delete(cursor);
    if (cursors?.size === 0) {
      this._cursors.delete(cursor.taskId);
      this._reached.delete(cursor.taskId);
    }
  }

  private _all(): Cursor[] {
    return [...this._cursors.values()].flatMap(cursors => [...cursors]);
  }

  private readonly _cursors = new Map<string, Set<Cursor>>();
  /** How far the watch has told each task that it follows. */
  private readonly _reached = new Map<string, number>();
  private _open = false;
}

/** Entries for one follower. */
export interface Delivery {
  readonly cursor: Cursor;
  readonly events: readonly NumberedEvent[];
  readonly ended: boolean;
}

