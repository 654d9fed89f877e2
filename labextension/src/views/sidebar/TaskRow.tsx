import { stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { retryIcon } from '../../icons';
import type { ITask } from '../../tokens';
import { ActionButton } from '../shared/ActionButton';
import { cancelTasks, retryTasks } from '../shared/actions';
import { Clock } from '../shared/Clock';
import { useView } from '../shared/context';
import { errorOf, isFinal, nameOf, wordOf } from '../shared/facts';
import { StateIcon } from '../shared/StateMark';

/** One task in the side panel: what it is, how it is, how long. */
export const TaskRow = React.memo(function TaskRow(props: { task: ITask; tabIndex: number }) {
  const { task, tabIndex } = props;
  const view = useView();
  const { trans } = view;
  const ended = isFinal(task);
  const name = nameOf(task);
  const why = errorOf(task) || task.reason;
  const facts = [wordOf(task.state, trans), task.endpoint_name, why].filter(Boolean).join(' · ');
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key === 'Delete' && !ended) {
      event.preventDefault();
      void cancelTasks(view, [task.task_id]);
    }
  };
  return (
    <li className="fxl-Row" data-item={task.task_id} onKeyDown={onKeyDown}>
      <button
        type="button"
        className="fxl-Row-main"
        data-key={task.task_id}
        tabIndex={tabIndex}
        onClick={() => view.views.openTask(task.task_id)}
      >
        <span className="fxl-Row-head">
          <StateIcon state={task.state} />
          <span className="fxl-Row-name" title={name}>
            {name}
          </span>
          <Clock task={task} />
        </span>
        <span className="fxl-Row-facts" title={facts}>
          {facts}
        </span>
      </button>
      <span className="fxl-Row-actions">
        {ended ? (
          <ActionButton
            icon={retryIcon}
            label={trans.__('Run the same call again')}
            tabIndex={tabIndex}
            onAct={() => void retryTasks(view, [task.task_id])}
          />
        ) : (
          <ActionButton
            icon={stopIcon}
            label={trans.__('Cancel %1', name)}
            tabIndex={tabIndex}
            onAct={() => void cancelTasks(view, [task.task_id])}
          />
        )}
      </span>
    </li>
  );
});
