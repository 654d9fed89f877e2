/** The view of one task as a widget of the main area. */

import * as React from 'react';

import { LOOKS, short } from '../../looks';
import type { IViewHost } from '../shared/context';
import { nameOf, wordOf } from '../shared/facts';
import { View } from '../shared/View';
import { TaskModel } from './model';
import { TaskContent } from './TaskContent';

/** Shows one task until it is closed. */
export class TaskView extends View {
  constructor(host: IViewHost, taskId: string) {
    const model = new TaskModel(host.funcx, taskId);
    super(host, <TaskContent model={model} />);
    this.addClass('fxl-TaskView');
    this._host = host;
    this._model = model;
    this.title.label = short(taskId);
    this.title.caption = taskId;
    model.changed.connect(this._name, this);
    this._name();
  }

  /** Which task it is. */
  get taskId(): string {
    return this._model.taskId;
  }

  override dispose(): void {
    this._model.dispose();
    super.dispose();
  }

  /** Name the tab after the task, with its state's icon. */
  private _name(): void {
    const { task } = this._model;
    if (task !== null) {
      const name = nameOf(task);
      this.title.label = `${LOOKS[task.state]?.icon ?? '?'} ${name}`;
      this.title.caption = `${name}\n${wordOf(task.state, this._host.trans)}\n${task.task_id}`;
    }
  }

  private readonly _host: IViewHost;
  private readonly _model: TaskModel;
}
