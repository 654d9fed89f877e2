/** How a task looks below its cell. Facts in, elements out; asks nobody. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { LOOKS, clock, notebookTraceback, short } from '../looks';
import type { ITask } from '../tokens';
import { clockOf, errorOf, isFinal, ran, waited, wordOf } from '../views/shared/facts';
import { element, setText } from './html';
import { plain } from './lines';

/** The parts of a card that change with its task. */
export class CardView {
  readonly node: HTMLElement;

  constructor(
    private readonly _trans: TranslationBundle,
    log: HTMLElement
  ) {
    this._state.setAttribute('role', 'status');
    this._icon.setAttribute('aria-hidden', 'true');
    const summary = element('summary', '', _trans.__('Traceback'));
    this._traceback = element('details', 'fxl-TaskCard-traceback', summary, this._trace);
    this._traceback.open = true;
    this._trace.tabIndex = 0;
    const head = element('div', 'fxl-TaskCard-head', this._icon, ' ', this._state, this._where, this._label, this._id);
    const parts = [head, this._reason, log, this._error, this._traceback, this._balance];
    this.node = element('div', 'fxl-TaskCard-body', ...parts);
  }

  /** Show a task as it is now. */
  show(task: ITask, now: number): void {
    const trans = this._trans;
    const look = LOOKS[task.state] ?? { icon: '?', colour: '--jp-ui-font-color1' };
    setText(this._icon, look.icon);
    this._icon.style.color = `var(${look.colour}, inherit)`;
    setText(this._state, wordOf(task.state, trans));
    this.tick(task, now);
    fill(this._label, task.label ? ` ${task.label}` : '');
    fill(this._id, ` ${short(task.task_id)}`);
    this._id.title = task.task_id;
    const error = plain(errorOf(task));
    const isTold = task.state === 'cancelled' || error.includes(task.reason);
    fill(this._reason, isTold ? '' : task.reason);
    fill(this._error, error);
    fill(this._trace, task.state === 'cancelled' ? '' : notebookTraceback(plain(task.error?.traceback ?? '').trimEnd()));
    this._traceback.hidden = this._trace.hidden;
    fill(this._balance, this._sums(task, now));
  }

  /** Show how long it has been. */
  tick(task: ITask, now: number): void {
    const time = clock(clockOf(task, now));
    setText(this._where, ` ${this._trans.__('on %1', task.endpoint_name)} · ${time}`);
  }

  private _sums(task: ITask, now: number): string {
    const time = ran(task, now);
    if (!isFinal(task) || time === null) {
      return '';
    }
    const host = typeof task.worker.host === 'string' ? ` · ${this._trans.__('at %1', task.worker.host)}` : '';
    const text = this._trans.__('ran %1 · waited %2', clock(time), clock(waited(task, now)));
    return `${text}${host}`;
  }

  private readonly _icon = element('span', 'fxl-TaskCard-icon');
  private readonly _state = element('strong', 'fxl-TaskCard-state');
  private readonly _where = element('span', 'fxl-TaskCard-where');
  private readonly _label = element('em', 'fxl-TaskCard-label');
  private readonly _id = element('code', 'fxl-TaskCard-id');
  private readonly _reason = element('div', 'fxl-TaskCard-dim');
  private readonly _error = element('div', 'fxl-TaskCard-error');
  private readonly _trace = element('pre', '');
  private readonly _traceback: HTMLDetailsElement;
  private readonly _balance = element('div', 'fxl-TaskCard-dim');
}

function fill(node: HTMLElement, text: string): void {
  setText(node, text);
  node.hidden = !text;
}
