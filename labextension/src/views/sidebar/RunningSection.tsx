import * as React from 'react';

import { useView } from '../shared/context';
import { isFinal } from '../shared/facts';
import { useChanged } from '../shared/hooks';
import { Hint } from './Hint';
import { TaskList } from './TaskList';

/** More rows than this are in the task table. */
const ROWS = 100;

/** Tasks that have not ended: those that run first, then the newest. */
export function RunningSection(): React.ReactElement {
  const { funcx, trans } = useView();
  const changes = useChanged(funcx.tasksChanged, funcx.countsChanged);
  const live = React.useMemo(
    () =>
      [...funcx.tasks.values()]
        .filter(task => !isFinal(task))
        .sort((one, other) => Number(other.started !== null) - Number(one.started !== null) || other.received - one.received),
    [funcx, changes]
  );
  if (!live.length) {
    return (
      <Hint>
        {trans.__('Nothing runs. Put %1 on the first line of a cell to run it at an endpoint.', '%%funcx')}
      </Hint>
    );
  }
  const shown = live.slice(0, ROWS);
  return <TaskList label={trans.__('Running tasks')} tasks={shown} more={live.length - shown.length} />;
}
