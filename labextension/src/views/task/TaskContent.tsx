import * as React from 'react';

import { useView } from '../shared/context';
import { isFinal } from '../shared/facts';
import { useChanged } from '../shared/hooks';
import { ServiceProblem } from '../sidebar/ServiceProblem';
import { Failure } from './Failure';
import { Inputs } from './Inputs';
import { LogView } from './LogView';
import type { TaskModel } from './model';
import { OutputsView } from './OutputsView';
import { Provenance } from './Provenance';
import { TaskHeader } from './TaskHeader';
import { Timeline } from './Timeline';

/** Everything about one task. */
export function TaskContent(props: { model: TaskModel }): React.ReactElement {
  const { model } = props;
  const { funcx, trans } = useView();
  useChanged(model.changed, funcx.statusChanged, model.outputs.stateChanged, model.logChanged);
  const { task } = model;
  const problem = funcx.status.problem ?? model.problem;
  if (task === null) {
    return problem ? <ServiceProblem problem={problem} /> : <p className="fxl-Hint">{trans.__('reading …')}</p>;
  }
  const hasError = task.error !== null && task.state !== 'cancelled';
  const isSilent = model.log.length === 0 && model.outputs.length === 0 && !hasError;
  return (
    <div className="fxl-Task">
      <TaskHeader task={task} />
      {problem && <ServiceProblem problem={problem} />}
      <div className="fxl-Task-columns">
        <main className="fxl-Task-main">
          {hasError && task.error && (
            <Part title={trans.__('Error')}>
              <Failure error={task.error} />
            </Part>
          )}
          {model.log.length > 0 && (
            <Part title={trans.__('Log')}>
              <LogView model={model} />
            </Part>
          )}
          <Part title={trans.__('Outputs')} isHidden={model.outputs.length === 0}>
            <OutputsView model={model} />
          </Part>
          {isSilent && (
            <p className="fxl-Hint">
              {isFinal(task)
                ? trans.__('It wrote nothing and showed nothing.')
                : trans.__('What it writes and shows comes here at once.')}
            </p>
          )}
        </main>
        <aside className="fxl-Task-aside">
          <Part title={trans.__('States')}>
            <Timeline moves={model.moves} />
          </Part>
          <Part title={trans.__('Inputs')}>
            <Inputs taskId={task.task_id} />
          </Part>
          <Part title={trans.__('Provenance')}>
            <Provenance task={task} />
          </Part>
        </aside>
      </div>
    </div>
  );
}

function Part(props: { title: string; isHidden?: boolean; children: React.ReactNode }): React.ReactElement {
  return (
    <section className="fxl-Part" hidden={props.isHidden}>
      <h3>{props.title}</h3>
      {props.children}
    </section>
  );
}
