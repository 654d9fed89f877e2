/** A task below its cell: what the notebook kept of it, and as soon as the service answers how it is. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import { FuncXError } from '../tokens';
import type { ITask } from '../tokens';
import { isFinal } from '../views/shared/facts';
import { fixButtons, nameTask, taskButtons } from './actions';
import { CardView } from './cardView';
import type { IPlacedCell } from './cells';
import type { ICardHost } from './host';
import { Buttons, element, setText } from './html';
import { TaskLog } from './log';
import { readOutput } from './output';
import type { IOutput } from './output';
import { StaleMark } from './staleMark';
import type { IWatched } from './watcher';

/** A kernel that shows a task's outputs itself says how it ended within this time, in milliseconds. */
const GRACE_MS = 3000;
/** The watch tells of a task that was just sent; it is not asked for before, for the service may not have it yet. */
const TOLD_MS = 10_000;

/** Renders `application/vnd.funcx.task.v1+json`. */
export class TaskCard extends Widget implements IRenderMime.IRenderer, IWatched {
  constructor(private readonly _host: ICardHost) {
    super();
    this.addClass('fxl-TaskCard');
    const { trans } = _host;
    this._buttons = new Buttons(trans.__('Task'));
    this._fixes = new Buttons(trans.__('What to do'));
    this._stale = new StaleMark(_host.cells, trans);
    const foot = element('div', 'fxl-TaskCard-foot', this._buttons.node, this._stale.node);
    this.node.append(this._kept, this._live, this._note, this._fixes.node, foot);
    this._live.hidden = this._note.hidden = true;
  }

  get taskId(): string {
    return this._output?.taskId ?? '';
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const output = readOutput(model);
    if (output.taskId !== this._output?.taskId) {
      this._forget();
    }
    this._output = output;
    this._model = model;
    this._stale.setOrigin(output.origin);
    this._update();
    await this._renderKept();
    this._ask();
  }

  seen(isSeen: boolean): void {
    this._isSeen = isSeen;
    this._placed = isSeen ? (this._host.cells?.around(this.node) ?? null) : null;
    this._stale.setCell(this._placed);
    if (isSeen) {
      this.changed();
      this._ask();
    } else {
      this._unfollow();
    }
  }

  changed(): void {
    this._task = this._host.funcx.tasks.get(this.taskId) ?? this._task;
    this._isUnknown &&= this._task === null;
    this._update();
    if (!this._task && this._host.funcx.status.state === 'online') {
      this._ask();
    }
  }

  tick(): void {
    if (this._task && this._output?.view === 'line' && !this._output.ended) {
      this._update(); // its kernel may have left it
    } else if (this._task && !isFinal(this._task)) {
      this._view?.tick(this._task, Date.now() / 1000);
    } else if (!this._task && !this._hasAsked) {
      this._ask();
    }
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._forget();
      this._stale.setCell(null);
      super.dispose();
    }
  }

  protected override onAfterAttach(): void {
    this._host.watcher.add(this);
  }

  protected override onBeforeDetach(): void {
    this._host.watcher.remove(this);
  }

  /** Ask the service for the task, once there is a reason to. */
  private _ask(): void {
    const taskId = this.taskId;
    const isTold = this._output?.view === 'line' && this._output.ended !== null && this._output.ended !== 'failed';
    if (!taskId || !this._isSeen || this._task || this._isUnknown || isTold || this._isJustSent()) {
      return;
    }
    this._hasAsked = true;
    this._host.watcher.task(taskId).then(
      task => {
        if (taskId === this.taskId) {
          this._task = task;
          this._update();
        }
      },
      error => {
        if (taskId === this.taskId && error instanceof FuncXError && error.problem.code === 'TASK_NOT_FOUND') {
          this._isUnknown = true;
          this._update();
        }
      }
    );
  }

  private _isJustSent(): boolean {
    const turn = this._placed ? (this._host.cells?.turn(this._placed.cell.model) ?? 0) : 0;
    const isKnown = this._host.funcx.tasks.has(this.taskId);
    return turn > 0 && !isKnown && Date.now() - this._since < TOLD_MS;
  }

  private _update(): void {
    if (this.isDisposed || !this._output) {
      return;
    }
    const { trans, funcx } = this._host;
    const task = this._task;
    const isLive = task !== null && (funcx.status.state === 'online' || isFinal(task)) && this._isToShow(task);
    if (isLive) {
      this._view ??= this._makeView();
      this._view.show(task, Date.now() / 1000);
      this._follow(task);
    }
    this._live.hidden = !isLive;
    this._isKeptShown = !(isLive && this._output.view === 'card') && this._output.refused === null;
    if (this._isKeptShown !== (this._keptWidget !== null)) {
      void this._renderKept();
    }
    this._note.hidden = !this._isUnknown;
    setText(this._note, this._isUnknown ? trans.__('The hub service does not have this task any more.') : '');
    this._showButtons(task);
  }

  private _showButtons(task: ITask | null): void {
    const { funcx } = this._host;
    const { view, refused, endpoint } = this._output!;
    const fault = refused ?? (task?.state === 'failed' || task?.state === 'expired' ? task.error : null);
    const online = funcx.endpoints.map(each => `${each.name}:${each.status}`).join();
    const where = `${funcx.status.readOnly}:${this._placed !== null}`;
    const isQuiet = view === 'line' && (task === null || isFinal(task));
    const key = task && !isQuiet && funcx.status.state === 'online' ? `${task.task_id}:${isFinal(task)}:${where}` : '';
    this._buttons.show(key, () =>
      key ? taskButtons(this._host, task!, { mayRetry: view === 'card', retried: id => this._rename(id) }) : []
    );
    this._fixes.show(fault && this._isSeen ? `${fault.code}:${this.taskId}:${where}:${online}` : '', () =>
      fault ? fixButtons(this._host, this._placed, fault, task?.endpoint_name ?? endpoint) : []
    );
  }

  /** Whether the task itself is shown here, or by its kernel below. */
  private _isToShow(task: ITask): boolean {
    if (this._output!.view === 'card') {
      return true;
    }
    if (this._output!.ended !== null || this._host.cells?.isRunning(this._placed?.cell.model)) {
      return false;
    }
    const left = isFinal(task) ? GRACE_MS - (Date.now() - 1000 * (task.ended ?? 0)) : 0;
    if (left > 0) {
      window.setTimeout(() => this._update(), left);
    }
    return left <= 0;
  }

  private _makeView(): CardView {
    this._log = new TaskLog(this._host.rendermime, () => this._model?.trusted ?? false);
    const view = new CardView(this._host.trans, this._log.node);
    this._live.replaceChildren(view.node);
    return view;
  }

  private _follow(task: ITask): void {
    if (this._follower || this._hasEnded || !this._isSeen || this._host.funcx.status.state !== 'online') {
      return;
    }
    this._follower = this._host.funcx.follow(task.task_id, this._after, {
      events: (entries, ended) => {
        this._after = entries.at(-1)?.[0] ?? this._after;
        this._log?.add(entries);
        if (ended) {
          this._hasEnded = true;
          this._unfollow();
        }
      },
      failed: () => this._unfollow()
    });
  }

  private _unfollow(): void {
    const follower = this._follower;
    this._follower = null;
    // A follower may end while it is being told.
    void Promise.resolve().then(() => follower?.dispose());
  }

  private _rename(taskId: string): void {
    if (!nameTask(this._placed, this.taskId, taskId)) {
      this._forget();
      this._output = { ...this._output!, taskId, ended: null };
      this._ask();
    }
  }

  private async _renderKept(): Promise<void> {
    this._keptWidget?.dispose();
    this._keptWidget = null;
    this._kept.replaceChildren();
    if (this._isKeptShown && this._model) {
      await this._showKept(this._model);
    }
  }

  /** Show what the notebook has of the task. */
  private async _showKept({ data, trusted }: IRenderMime.IMimeModel): Promise<void> {
    const { rendermime } = this._host;
    const kept = Object.fromEntries(Object.entries(data).filter(([type]) => type.startsWith('text/')));
    const type = rendermime.preferredMimeType(kept, trusted ? 'any' : 'ensure');
    if (type === undefined) {
      return;
    }
    const widget = (this._keptWidget = rendermime.createRenderer(type));
    this._kept.replaceChildren(widget.node);
    await widget.renderModel(rendermime.createModel({ data: kept, trusted }));
  }

  private _forget(): void {
    this._unfollow();
    this._log?.dispose();
    this._keptWidget?.dispose();
    this._live.replaceChildren();
    this._task = this._view = this._log = this._keptWidget = null;
    [this._after, this._hasEnded, this._isUnknown, this._hasAsked] = [0, false, false, false];
    this._since = Date.now();
  }

  private readonly _kept = element('div', 'fxl-TaskCard-kept');
  private readonly _live = element('div', 'fxl-TaskCard-live');
  private readonly _note = element('div', 'fxl-TaskCard-dim');
  private readonly _buttons: Buttons;
  private readonly _fixes: Buttons;
  private readonly _stale: StaleMark;
  private _output: IOutput | null = null;
  private _model: IRenderMime.IMimeModel | null = null;
  private _placed: IPlacedCell | null = null;
  private _task: ITask | null = null;
  private _view: CardView | null = null;
  private _log: TaskLog | null = null;
  private _keptWidget: Widget | null = null;
  private _follower: IDisposable | null = null;
  private _after = 0;
  private _hasEnded = false;
  private _isUnknown = false;
  private _hasAsked = false;
  private _since = Date.now();
  private _isSeen = false;
  private _isKeptShown = true;
}
