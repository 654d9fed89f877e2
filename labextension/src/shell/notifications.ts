/** Tells people that a long task has ended, on the page and, if they like, outside of it. */

import { Notification } from '@jupyterlab/apputils';
import type { CommandRegistry } from '@lumino/commands';

import type { ISettings } from '../service/settings';
import type { IFuncX } from '../tokens';
import { Endings, tell } from './endings';
import type { ITelling } from './endings';
import type { IWords } from './words';

const CLOSE_MS = 15_000;

/** Watches the tasks of a page and tells of their ends. */
export class Notifications {
  constructor(
    private readonly _funcx: IFuncX,
    private readonly _commands: CommandRegistry,
    private readonly _words: IWords,
    private readonly _settings: () => ISettings
  ) {
    _funcx.tasksChanged.connect((_, changed) => this._see(changed));
  }

  private _see(changed: readonly string[]): void {
    const { notifyAfterSeconds, browserNotifications } = this._settings();
    const ends = this._endings.see(changed, this._funcx.tasks, notifyAfterSeconds);
    for (const telling of tell(ends, this._words)) {
      const action = this._action(telling);
      Notification.emit(telling.text, telling.kind, { autoClose: CLOSE_MS, actions: [action] });
      if (browserNotifications && document.visibilityState === 'hidden') {
        this._outside(telling, action.callback);
      }
    }
  }

  /** To its cell if a notebook has it, to its own view otherwise. */
  private _action(telling: ITelling): { label: string; callback: () => void } {
    if (telling.task === null) {
      return { label: this._words.__('Show tasks'), callback: () => this._go('funcx:open-tasks', {}) };
    }
    const args = { task_id: telling.task.task_id };
    if (this._commands.hasCommand('funcx:go-to-cell') && this._commands.isEnabled('funcx:go-to-cell', args)) {
      return { label: this._words.__('Go to cell'), callback: () => this._go('funcx:go-to-cell', args) };
    }
    return { label: this._words.__('Open task'), callback: () => this._go('funcx:open-task', args) };
  }

  private _go(command: string, args: { task_id?: string }): void {
    void this._commands.execute(command, args);
  }

  private _outside(telling: ITelling, go: () => void): void {
    if (!('Notification' in window) || window.Notification.permission !== 'granted') {
      return;
    }
    // Two pages of one browser tell the same: its tag makes it one.
    const tag = telling.task?.task_id ?? 'funcx-lab';
    const shown = new window.Notification(this._words.__('Remote tasks'), { body: telling.text, tag });
    shown.onclick = () => {
      window.focus();
      go();
    };
  }

  private readonly _endings = new Endings();
}

/** Ask the browser once whether we may notify outside of the page. */
export async function askPermission(): Promise<void> {
  if ('Notification' in window && window.Notification.permission === 'default') {
    await window.Notification.requestPermission();
  }
}
