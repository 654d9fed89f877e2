import { copyIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { clock, short } from '../../looks';
import type { ITask } from '../../tokens';
import { ActionButton } from '../shared/ActionButton';
import { copy } from '../shared/actions';
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
    [trans.__('Task'), <Id id={task.task_id} />],
    [trans.__('Function'), <Id id={task.function_id} name={task.function_name} />],
    [trans.__('Task group'), <Id id={task.task_group_id} />],
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
      <colgroup>
        <col className="fxl-Facts-name" />
        <col />
      </colgroup>
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

/** An id by its end, with a button that copies all of it. */
function Id(props: { id: string; name?: string }): React.ReactElement {
  const view = useView();
  const label = view.trans.__('Copy %1', props.id);
  return (
    <span className="fxl-Id" title={props.id}>
      {props.name && <span title={props.name}>{props.name}</span>}
      <code>{short(props.id)}</code>
      <ActionButton icon={copyIcon} label={label} onAct={() => copy(view, props.id)} />
    </span>
  );
}

function OtherTask(props: { taskId: string }): React.ReactElement {
  const { views } = useView();
  return (
    <button type="button" className="fxl-Link" title={props.taskId} onClick={() => views.openTask(props.taskId)}>
      {short(props.taskId)}
    </button>
  );
}
