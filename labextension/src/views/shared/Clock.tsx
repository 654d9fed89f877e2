import * as React from 'react';

import { clock } from '../../looks';
import type { ITask } from '../../tokens';
import { useView } from './context';
import { clockOf, isFinal } from './facts';
import { useNow } from './hooks';

/** How long a task runs or waits; it goes on by itself. */
export function Clock(props: { task: ITask }): React.ReactElement {
  const { trans } = useView();
  const now = useNow(!isFinal(props.task));
  const title = props.task.started === null ? trans.__('waiting time') : trans.__('running time');
  return (
    <span className="fxl-Clock" title={title}>
      {clock(clockOf(props.task, now))}
    </span>
  );
}
