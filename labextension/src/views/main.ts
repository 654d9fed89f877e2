/** Opens the views in the main area, each task once and the table once, and restores them with the layout. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { taskIcon, tasksIcon } from '../icons';
import type { IFuncXViews, ITaskQuery } from '../tokens';
import { OPEN_TASK, OPEN_TASKS, queryArgs } from './commands';
import type { IViewHost } from './shared/context';
import { TaskTableView } from './table/widget';
import { TaskView } from './task/widget';

/** The views of the main area. */
export class MainViews implements IFuncXViews {
  constructor(private readonly _app: JupyterFrontEnd) {}

  /** Set before anything is opened. */
  host!: IViewHost;

  openTask(taskId: string): void {
    const found = this._tasks.find(widget => widget.content.taskId === taskId);
    this._show(found ?? this._makeTask(taskId), this._tasks);
  }

  openTasks(query?: ITaskQuery): void {
    const found = this._tables.currentWidget ?? this._tables.find(() => true);
    if (found && query !== undefined) {
      found.content.query = query;
    }
    this._show(found ?? this._makeTable(query ?? {}), this._tables);
  }

  /** Let the layout keep what is open. */
  restore(restorer: ILayoutRestorer): void {
    void restorer.restore(this._tasks, {
      command: OPEN_TASK,
      args: widget => ({ task_id: widget.content.taskId }),
      name: widget => widget.content.taskId
    });
    void restorer.restore(this._tables, {
      command: OPEN_TASKS,
      args: widget => queryArgs(widget.content.query) as ReadonlyPartialJSONObject,
      name: () => 'table'
    });
  }

  private _makeTask(taskId: string): MainAreaWidget<TaskView> {
    const content = new TaskView(this.host, taskId);
    content.title.icon = taskIcon;
    const widget = new MainAreaWidget({ content });
    widget.id = `fxl-task-${taskId}`;
    return widget;
  }

  private _makeTable(query: ITaskQuery): MainAreaWidget<TaskTableView> {
    const content = new TaskTableView(this.host, query);
    content.title.label = this.host.trans.__('Remote Tasks');
    content.title.icon = tasksIcon;
    const widget = new MainAreaWidget({ content });
    widget.id = 'fxl-tasks';
    content.queryChanged.connect(() => void this._tables.save(widget));
    return widget;
  }

  private _show<T extends TaskView | TaskTableView>(
    widget: MainAreaWidget<T>,
    tracker: WidgetTracker<MainAreaWidget<T>>
  ): void {
    widget.title.closable = true;
    widget.toolbar.hide(); // the views have their own
    if (!tracker.has(widget)) {
      void tracker.add(widget);
    }
    if (!widget.isAttached) {
      this._app.shell.add(widget, 'main');
    }
    this._app.shell.activateById(widget.id);
  }

  private readonly _tasks = new WidgetTracker<MainAreaWidget<TaskView>>({ namespace: 'funcx-task' });
  private readonly _tables = new WidgetTracker<MainAreaWidget<TaskTableView>>({ namespace: 'funcx-tasks' });
}
