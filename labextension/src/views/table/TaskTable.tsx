import * as React from 'react';

import type { ITaskQuery } from '../../tokens';
import { attempt, cancelTasks, retryTasks } from '../shared/actions';
import { useView } from '../shared/context';
import { isFinal } from '../shared/facts';
import { useChanged } from '../shared/hooks';
import type { ISort } from './columns';
import { arrange, NEWEST_FIRST } from './columns';
import type { ISelection, Manner } from './selection';
import { choose, NOTHING } from './selection';
import { TableFoot } from './TableFoot';
import { TableToolbar } from './TableToolbar';
import { TaskGrid } from './TaskGrid';
import { usePages } from './usePages';

/** What the table needs. */
export interface ITableProps {
  query: ITaskQuery;
  onQuery: (query: ITaskQuery) => void;
}

/** The tasks of the user: filter, order, select, cancel, run again. */
export function TaskTable(props: ITableProps): React.ReactElement {
  const view = useView();
  const { funcx } = view;
  const { query } = props;
  const changes = useChanged(funcx.tasksChanged, funcx.countsChanged);
  const [sort, setSort] = React.useState<ISort>(NEWEST_FIRST);
  const [selection, setSelection] = React.useState<ISelection>(NOTHING);
  const pages = usePages(query);
  const tasks = React.useMemo(
    () => arrange(funcx.tasks.values(), query, sort, Date.now() / 1000),
    [funcx, changes, query, sort]
  );
  const ids = React.useMemo(() => tasks.map(task => task.task_id), [tasks]);
  const chosen = React.useMemo(
    () => (selection.chosen.size ? tasks.filter(task => selection.chosen.has(task.task_id)) : []),
    [tasks, selection.chosen]
  );
  const latestIds = React.useRef(ids);
  latestIds.current = ids;
  const onChoose = React.useCallback((taskId: string, manner: Manner) => {
    setSelection(before => choose(before, latestIds.current, taskId, manner));
  }, []);
  const live = chosen.filter(task => !isFinal(task)).map(task => task.task_id);
  const ended = chosen.filter(isFinal).map(task => task.task_id);

  const onKey = (event: React.KeyboardEvent) => {
    if (event.key === 'Delete') {
      const active = tasks.find(task => task.task_id === selection.active);
      void cancelTasks(view, live.length || !active || isFinal(active) ? live : [active.task_id]);
    } else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) {
      setSelection(before => ({ ...before, chosen: new Set(ids) }));
    } else if (event.key === 'Escape' && selection.chosen.size) {
      setSelection(before => ({ ...before, chosen: new Set() }));
    } else if (event.key === 'F5') {
      void attempt(() => funcx.refresh());
    } else {
      return;
    }
    event.preventDefault();
  };
  return (
    <div className="fxl-TaskTable">
      <TableToolbar
        query={query}
        onQuery={props.onQuery}
        live={live.length}
        ended={ended.length}
        onCancel={() => void cancelTasks(view, live)}
        onRetry={() => void retryTasks(view, ended)}
      />
      <TaskGrid
        tasks={tasks}
        sort={sort}
        onSort={setSort}
        selection={selection}
        onChoose={onChoose}
        onKey={onKey}
        onNearEnd={pages.more}
      />
      <TableFoot query={query} shown={tasks.length} chosen={chosen.length} pages={pages} />
    </div>
  );
}
