import * as React from 'react';

import type { ITask } from '../../tokens';
import { useView } from '../shared/context';
import { useRoving } from '../shared/useRoving';
import { TaskRow } from './TaskRow';

/** Tasks in the side panel; behind the last one, how many more there are. */
export function TaskList(props: { label: string; tasks: readonly ITask[]; more: number }): React.ReactElement {
  const { tasks, more } = props;
  const { trans, views } = useView();
  const roving = useRoving(tasks.map(task => task.task_id));
  return (
    <>
      <ul className="fxl-Rows" role="list" aria-label={props.label} {...roving.list}>
        {tasks.map(task => (
          <TaskRow key={task.task_id} task={task} tabIndex={roving.tabIndex(task.task_id)} />
        ))}
      </ul>
      {more > 0 && (
        <button type="button" className="fxl-Link fxl-More" onClick={() => views.openTasks()}>
          {trans._n('%1 more in the task table', '%1 more in the task table', more, more)}
        </button>
      )}
    </>
  );
}
