import { copyIcon, linkIcon, stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { dashboardIcon, retryIcon } from '../../icons';
import type { ITask } from '../../tokens';
import { ActionButton } from '../shared/ActionButton';
import { cancelTasks, copy, execute, openDashboard, retryTasks } from '../shared/actions';
import { Clock } from '../shared/Clock';
import { attachLine, taskCode } from '../shared/code';
import { useView } from '../shared/context';
import { isFinal, nameOf } from '../shared/facts';
import { StateMark } from '../shared/StateMark';

const GO_TO_CELL = 'funcx:go-to-cell';

/** What the task is and how it is, and what can be done with it. */
export function TaskHeader(props: { task: ITask }): React.ReactElement {
  const { task } = props;
  const { trans, views } = useView();
  const name = nameOf(task);
  return (
    <header className="fxl-TaskHeader">
      <h2 title={name}>{name}</h2>
      <p className="fxl-TaskHeader-state">
        <span role="status">
          <StateMark state={task.state} />
        </span>
        <Clock task={task} />
        <button type="button" className="fxl-Link" onClick={() => views.openTasks({ endpoint: task.endpoint_id })}>
          {trans.__('on %1', task.endpoint_name)}
        </button>
        <code>{task.task_id}</code>
      </p>
      {task.reason && !task.error && <p className="fxl-TaskHeader-reason">{task.reason}</p>}
      <TaskActions task={task} />
    </header>
  );
}

function TaskActions(props: { task: ITask }): React.ReactElement {
  const { task } = props;
  const view = useView();
  const { funcx, trans } = view;
  return (
    <div className="fxl-TaskHeader-actions" role="toolbar" aria-label={trans.__('Task')}>
      {isFinal(task) ? (
        <ActionButton
          icon={retryIcon}
          label={trans.__('Run the same call again, as a new task')}
          text={trans.__('Run again')}
          onAct={() => void retryTasks(view, [task.task_id])}
        />
      ) : (
        <ActionButton
          icon={stopIcon}
          label={trans.__('Cancel the task and stop its process')}
          text={trans.__('Cancel')}
          onAct={() => void cancelTasks(view, [task.task_id])}
        />
      )}
      <ActionButton
        icon={copyIcon}
        label={taskCode(task)}
        text={trans.__('Copy as Python')}
        onAct={() => copy(view, taskCode(task))}
      />
      <ActionButton
        icon={copyIcon}
        label={attachLine(task)}
        text={trans.__('Copy %funcx line')}
        onAct={() => copy(view, attachLine(task))}
      />
      {view.commands.hasCommand(GO_TO_CELL) && view.commands.isEnabled(GO_TO_CELL, { task_id: task.task_id }) && (
        <ActionButton
          icon={linkIcon}
          label={trans.__('Show the cell that it came from')}
          text={trans.__('Go to cell')}
          onAct={() => execute(view, GO_TO_CELL, { task_id: task.task_id })}
        />
      )}
      {funcx.status.dashboards && (
        <ActionButton
          icon={dashboardIcon}
          label={trans.__('Open the dashboard of its endpoint')}
          text={trans.__('Dashboard')}
          onAct={() => openDashboard(view, 'tasks', task.endpoint_id)}
        />
      )}
    </div>
  );
}
