import * as React from 'react';

import { clock, short } from '../../looks';
import type { ITask } from '../../tokens';
import { useView } from '../shared/context';
import { dateOf, ran, waited } from '../shared/facts';

/** Where and with what the task was computed. */
export function Provenance(props: { task: ITask }): React.ReactElement {
  const { task } = props;
  const { trans } = useView();
  const { host, pid, python, environment, package: version, ...place } = task.worker;
  const now = Date.now() / 1000;
  const seconds = ran(task, now);
  const rows: Array<[string, React.ReactNode]> = [
    [trans.__('Task'), task.task_id],
    [trans.__('Function'), `${task.function_name} ${task.function_id}`],
    [trans.__('Task group'), task.task_group_id],
    [trans.__('Received'), dateOf(task.received)],
    [trans.__('Waited'), task.started !== null || task.ended !== null ? clock(waited(task, now)) : ''],
    [trans.__('Ran'), task.ended !== null && seconds !== null ? clock(seconds) : ''],
    [trans.__('Attempts'), String(task.attempts)],
    [trans.__('Code'), task.code_hash],
    [trans.__('Inputs'), task.input_hash],
    [trans.__('Host'), text(host)],
    [trans.__('Process'), text(pid)],
    [trans.__('Python'), text(python)],
    [trans.__('Environment'), text(environment)],
    [trans.__('funcx-lab'), text(version)],
    ...Object.entries(place).map(([name, value]): [string, string] => [name, text(value)]),
    [trans.__('Session'), task.session ?? ''],
    [trans.__('Result of'), task.reused_from && <OtherTask taskId={task.reused_from} />],
    [trans.__('Saved'), task.saved_s === null ? '' : clock(task.saved_s)],
    [trans.__('Repeats'), task.repeats && <OtherTask taskId={task.repeats} />]
  ];
  return (
    <table className="fxl-Facts">
      <caption className="fxl-mod-unseen">{trans.__('Where and with what it was computed')}</caption>
      <tbody>
        {rows
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td title={typeof value === 'string' ? value : undefined}>{value}</td>
            </tr>
          ))}
      </tbody>
    </table>
  );
}

function text(value: unknown): string {
  if (value === undefined || value === null || value === '') {
    return '';
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function OtherTask(props: { taskId: string }): React.ReactElement {
  const { views } = useView();
  return (
    <button type="button" className="fxl-Link" title={props.taskId} onClick={() => views.openTask(props.taskId)}>
      {short(props.taskId)}
    </button>
  );
}
