/** One task as its view shows it: its record, and what its log tells. */

import { OutputAreaModel } from '@jupyterlab/outputarea';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

import type { IFuncX, IProblem, ITask, ITaskEvent, TaskState } from '../../tokens';
import { FuncXError } from '../../tokens';
import { Displays } from './displays';
import { LogStore } from './logStore';

/** A state that the task came into. */
export interface IMove {
  readonly time: number;
  readonly state: TaskState;
  readonly reason: string;
}

/** Follows one task until it is disposed. */
export class TaskModel implements IDisposable {
  constructor(
    readonly funcx: IFuncX,
    readonly taskId: string
  ) {
    funcx.tasksChanged.connect(this._onTasks, this);
    funcx.statusChanged.connect(this._onStatus, this);
    this._following = funcx.follow(taskId, 0, {
      events: (entries, ended) => this._take(entries, ended),
      failed: problem => this._fail(problem)
    });
    this._onStatus();
  }

  /** Tells that the record, the moves, or what cannot be read changed. */
  readonly changed = new Signal<this, void>(this);
  /** Tells that the log grew. */
  readonly logChanged = new Signal<this, void>(this);

  readonly log = new LogStore();
  readonly outputs = new OutputAreaModel({ trusted: false });

  /** The task's record; null until it is known. */
  get task(): ITask | null {
    return this.funcx.tasks.get(this.taskId) ?? this._last;
  }

  /** The states it went through. */
  get moves(): readonly IMove[] {
    return this._moves;
  }

  /** Whether nothing more will come. */
  get isComplete(): boolean {
    return this._isComplete;
  }

  /** Why the task cannot be shown; null if it can. */
  get problem(): IProblem | null {
    return this._problem;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._following.dispose();
      Signal.clearData(this);
      this.outputs.dispose();
    }
  }

  private _onTasks(_: IFuncX, taskIds: readonly string[]): void {
    if (taskIds.includes(this.taskId)) {
      this._last = this.task; // it stays here when it is gone there
      this.changed.emit();
    }
  }

  private _onStatus(): void {
    if (this.funcx.status.state === 'online') {
      this.funcx.task(this.taskId).then(
        task => {
          this._last = task;
          this._problem = null;
          this._isDisposed || this.changed.emit();
        },
        error => this._fail(error instanceof FuncXError ? error.problem : null)
      );
    }
  }

  private _fail(problem: IProblem | null): void {
    if (!this._isDisposed) {
      this._problem = problem;
      this.changed.emit();
    }
  }

  private _take(entries: ReadonlyArray<readonly [number, ITaskEvent]>, ended: boolean): void {
    const moves = [...this._moves];
    let hasText = false;
    for (const [, event] of entries) {
      switch (event.kind) {
        case 'stdout':
        case 'stderr':
          this.log.append(event.kind, String(event.data));
          hasText = true;
          break;
        case 'state':
          moves.push(moveOf(event));
          break;
        default:
          this._displays.take(event);
      }
    }
    if (moves.length > this._moves.length || ended !== this._isComplete) {
      this._moves = moves;
      this._isComplete = ended;
      this.changed.emit();
    }
    if (hasText) {
      this.logChanged.emit();
    }
  }

  private readonly _displays = new Displays(this.outputs);
  private readonly _following: IDisposable;
  private _moves: readonly IMove[] = [];
  private _isComplete = false;
  private _problem: IProblem | null = null;
  private _last: ITask | null = null;
  private _isDisposed = false;
}

function moveOf(event: ITaskEvent): IMove {
  const data = event.data as { state: TaskState; reason?: string };
  return { time: event.time, state: data.state, reason: data.reason ?? '' };
}
