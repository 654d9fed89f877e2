import * as React from 'react';

import type { IFunction } from '../../tokens';
import { useView } from '../shared/context';
import { CELLS } from '../shared/facts';
import { useChanged } from '../shared/hooks';
import { useRoving } from '../shared/useRoving';
import { FunctionRow } from './FunctionRow';
import { Hint } from './Hint';

/** More rows than this would only be scrolled over. */
const ROWS = 200;

/** The user's registered functions, the newest first; cells and scripts are left out. */
export function FunctionsSection(): React.ReactElement {
  const { funcx, trans, isShown } = useView();
  useChanged(funcx.statusChanged);
  const [functions, setFunctions] = React.useState<readonly IFunction[]>([]);
  // A function is registered when a task first calls it.
  const called = useCalledFunctions();
  React.useEffect(() => {
    if (isShown && funcx.status.state === 'online') {
      funcx.listFunctions().then(setFunctions, () => undefined); // the header tells what is wrong
    }
  }, [funcx, isShown, funcx.status.state, called]);
  const shown = React.useMemo(
    () =>
      functions
        .filter(entry => !CELLS.has(entry.name))
        .sort((one, other) => other.created - one.created)
        .slice(0, ROWS),
    [functions]
  );
  const roving = useRoving(shown.map(entry => entry.function_id));
  if (!shown.length) {
    return <Hint>{trans.__('No function yet. %1 registers one of your notebook.', '%funcx register NAME')}</Hint>;
  }
  return (
    <ul className="fxl-Rows" role="list" aria-label={trans.__('Functions')} {...roving.list}>
      {shown.map(entry => (
        <FunctionRow key={entry.function_id} entry={entry} tabIndex={roving.tabIndex(entry.function_id)} />
      ))}
    </ul>
  );
}

/** Return how many functions the tasks of this page call. */
function useCalledFunctions(): number {
  const { funcx } = useView();
  const changes = useChanged(funcx.tasksChanged);
  return React.useMemo(
    () => new Set([...funcx.tasks.values()].map(task => task.function_id)).size,
    [funcx, changes]
  );
}
