/** The section "Remote tasks" among what runs. */

import type { IRunningSessions } from '@jupyterlab/running';
import { stopIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import { Debouncer } from '@lumino/polling';
import { Signal } from '@lumino/signaling';

import { taskIcon, tasksIcon } from '../icons';
import { LOOKS } from '../looks';
import { FINAL_STATES } from '../tokens';
import type { IFuncX, ITask } from '../tokens';
import { nameOf } from './words';
import type { IWords } from './words';

/** So many tasks are listed, for each row costs the page much; the table has all of them. */
export const LISTED = 25;
const INTERVAL_MS = 500;

/** Lists live tasks; shutting one down cancels it. */
export class RunningTasks implements IRunningSessions.IManager {
  constructor(
    private readonly _funcx: IFuncX,
    private readonly _commands: CommandRegistry,
    private readonly _words: IWords
  ) {
    this.name = _words.__('Remote tasks');
    this.shutdownLabel = _words.__('Cancel');
    this.shutdownAllLabel = _words.__('Cancel All');
    this.shutdownAllConfirmationText = () =>
      _words.__('Cancel all of your remote tasks that wait or run? What they have computed is lost.');
    const changed = new Debouncer(() => this.runningChanged.emit(), INTERVAL_MS);
    _funcx.tasksChanged.connect(() => void changed.invoke());
  }

  readonly name: string;
  readonly shutdownLabel: string;
  readonly shutdownAllLabel: string;
  readonly shutdownAllConfirmationText: () => string;
  readonly shutdownItemIcon = stopIcon;
  readonly runningChanged = new Signal<RunningTasks, void>(this);

  /** The newest live tasks; the last item tells of more. */
  running(): IRunningSessions.IRunningItem[] {
    const live = [...this._funcx.tasks.values()].filter(task => !FINAL_STATES.has(task.state));
    live.sort((a, b) => b.received - a.received);
    const items = live.slice(0, LISTED).map(task => this._item(task));
    return live.length > LISTED ? [...items, this._more(live.length - LISTED)] : items;
  }

  /** Read everything again. */
  refreshRunning(): void {
    void this._commands.execute('funcx:refresh');
  }

  /** Cancel all; JupyterLab has asked already. */
  shutdownAll(): void {
    void this._commands.execute('funcx:cancel-all', { confirm: false });
  }

  private _item(task: ITask): IRunningSessions.IRunningItem {
    const args = { task_id: task.task_id };
    return {
      className: 'fxl-RunningTask',
      context: task.task_id,
      icon: () => taskIcon,
      label: () => nameOf(task),
      labelTitle: () => [nameOf(task), task.task_id, task.reason].filter(Boolean).join('\n'),
      detail: () => `${LOOKS[task.state].word} · ${task.endpoint_name}`,
      open: () => void this._commands.execute('funcx:open-task', args),
      shutdown: () => void this._commands.execute('funcx:cancel-task', args)
    };
  }

  private _more(count: number): IRunningSessions.IRunningItem {
    return {
      className: 'fxl-RunningTask',
      icon: () => tasksIcon,
      label: () => this._words.__('… and %1 more: open the table', count),
      open: () => void this._commands.execute('funcx:open-tasks')
    };
  }
}
