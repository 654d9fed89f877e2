import * as React from 'react';

import { useView } from '../shared/context';
import { isFinal } from '../shared/facts';
import { useChanged } from '../shared/hooks';
import { Hint } from './Hint';
import { TaskList } from './TaskList';

/** The tasks that ended last. */
export function RecentSection(props: { readLimit: () => number }): React.ReactElement {
  const { funcx, trans } = useView();
  const changes = useChanged(funcx.tasksChanged);
  const ended = React.useMemo(
    () =>
      [...funcx.tasks.values()]
        .filter(isFinal)
        .sort((one, other) => (other.ended ?? other.received) - (one.ended ?? one.received)),
    [funcx, changes]
  );
  if (!ended.length) {
    return <Hint>{trans.__('No task has ended yet. What has ended stays here with its output.')}</Hint>;
  }
  const shown = ended.slice(0, props.readLimit());
  return <TaskList label={trans.__('Recent tasks')} tasks={shown} more={ended.length - shown.length} />;
}
