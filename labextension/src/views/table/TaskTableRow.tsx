import * as React from 'react';

import { clock } from '../../looks';
import type { ITask } from '../../tokens';
import { useView } from '../shared/context';
import { dateOf, errorOf, isFinal, nameOf, ran, timeOf, waited, wordOf } from '../shared/facts';
import { useNow } from '../shared/hooks';
import { StateIcon } from '../shared/StateMark';
import type { Manner } from './selection';

/** What a row needs. */
export interface IRowProps {
  task: ITask;
  /** Its place among all rows, from 1; the heading is row 1. */
  place: number;
  isChosen: boolean;
  tabIndex: number;
  onChoose: (taskId: string, manner: Manner) => void;
}

/** One task in the table. */
export const TaskTableRow = React.memo(function TaskTableRow(props: IRowProps) {
  const { task, onChoose } = props;
  const { trans, views } = useView();
  const now = useNow(!isFinal(task));
  const name = nameOf(task);
  const word = wordOf(task.state, trans);
  const seconds = ran(task, now);
  const error = errorOf(task);
  return (
    <tr
      aria-rowindex={props.place}
      aria-selected={props.isChosen}
      data-key={task.task_id}
      tabIndex={props.tabIndex}
      className="fxl-Table-row"
      onClick={event => onChoose(task.task_id, event.shiftKey ? 'range' : event.ctrlKey || event.metaKey ? 'toggle' : 'replace')}
      onDoubleClick={() => views.openTask(task.task_id)}
    >
      <td title={task.reason ? `${word}: ${task.reason}` : word}>
        <StateIcon state={task.state} />
        {word}
      </td>
      <td title={`${name}\n${task.task_id}`}>
        <button type="button" className="fxl-Link" tabIndex={-1} onClick={() => views.openTask(task.task_id)}>
          {name}
        </button>
      </td>
      <td title={task.endpoint_name}>{task.endpoint_name}</td>
      <td title={dateOf(task.received)}>{timeOf(task.received)}</td>
      <td className="fxl-mod-number">{clock(waited(task, now))}</td>
      <td className="fxl-mod-number">{seconds === null ? '' : clock(seconds)}</td>
      <td className="fxl-mod-number">{task.attempts}</td>
      <td title={error}>{error}</td>
    </tr>
  );
});
