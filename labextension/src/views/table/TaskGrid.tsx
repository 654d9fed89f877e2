import * as React from 'react';

import type { ITask } from '../../tokens';
import { useView } from '../shared/context';
import { useWindow } from '../shared/useWindow';
import type { ISort } from './columns';
import { COLUMNS } from './columns';
import type { ISelection, Manner } from './selection';
import { destination } from './selection';
import { TaskTableHead } from './TaskTableHead';
import { TaskTableRow } from './TaskTableRow';

/** Height of a row in pixels; the style sheet says the same. */
const ROW = 28;
/** A further page is read when so many rows are left below. */
const AHEAD = 200;

/** What the grid needs. */
export interface IGridProps {
  tasks: readonly ITask[];
  sort: ISort;
  onSort: (sort: ISort) => void;
  selection: ISelection;
  onChoose: (taskId: string, manner: Manner) => void;
  /** Keys that are not about moving. */
  onKey: (event: React.KeyboardEvent) => void;
  onNearEnd: () => void;
}

/** The table itself; only the rows on the screen are in the page. */
export function TaskGrid(props: IGridProps): React.ReactElement {
  const { tasks, selection, onChoose } = props;
  const { trans, views } = useView();
  const scroller = React.useRef<HTMLDivElement>(null);
  const seen = useWindow(scroller, tasks.length, ROW);
  const wantsFocus = React.useRef(false);
  const found = selection.active === null ? -1 : tasks.findIndex(task => task.task_id === selection.active);
  const active = Math.max(0, found);

  React.useEffect(() => {
    if (seen.end > tasks.length - AHEAD) {
      props.onNearEnd();
    }
  }, [seen.end, tasks.length]);
  React.useLayoutEffect(() => {
    const row = wantsFocus.current && scroller.current?.querySelector<HTMLElement>('tr[tabindex="0"]');
    if (row) {
      wantsFocus.current = false;
      row.focus({ preventScroll: true });
    }
  });

  const moveTo = (index: number, manner: Manner) => {
    const node = scroller.current!;
    const [top, bottom] = [index * ROW, (index + 2) * ROW]; // the heading covers one row
    if (top < node.scrollTop) {
      node.scrollTop = top;
    } else if (bottom > node.scrollTop + node.clientHeight) {
      node.scrollTop = bottom - node.clientHeight;
    }
    wantsFocus.current = true;
    seen.onScroll();
    onChoose(tasks[index].task_id, manner);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const isInRows = (event.target as HTMLElement).closest('thead') === null;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 0) / ROW) - 2);
    const next = isInRows && !event.altKey ? destination(event.key, active, tasks.length, page) : null;
    if (next !== null) {
      event.preventDefault();
      moveTo(next, event.shiftKey ? 'range' : 'move');
    } else if (isInRows && tasks.length && event.key === ' ') {
      event.preventDefault();
      onChoose(tasks[active].task_id, 'toggle');
    } else if (isInRows && tasks.length && event.key === 'Enter') {
      event.preventDefault();
      views.openTask(tasks[active].task_id);
    } else {
      props.onKey(event);
    }
  };
  const shown = tasks.slice(seen.first, seen.end);
  const isActiveShown = active >= seen.first && active < seen.end;
  return (
    <div
      className="fxl-Table-scroller"
      ref={scroller}
      onScroll={seen.onScroll}
      onKeyDown={onKeyDown}
      tabIndex={isActiveShown ? -1 : 0}
      role="group"
      aria-label={trans.__('Remote tasks')}
    >
      <table
        className="fxl-Table"
        role="grid"
        aria-multiselectable="true"
        aria-rowcount={tasks.length + 1}
        aria-colcount={COLUMNS.length}
      >
        <caption className="fxl-mod-unseen">
          {trans.__('Remote tasks. Arrow keys move, Space selects, Enter opens, Delete cancels, F5 reads again.')}
        </caption>
        <colgroup>
          {COLUMNS.map(column => (
            <col key={column} className={`fxl-Col-${column}`} />
          ))}
        </colgroup>
        <TaskTableHead sort={props.sort} onSort={props.onSort} />
        <tbody>
          <Space rows={seen.first} />
          {shown.map((task, index) => (
            <TaskTableRow
              key={task.task_id}
              task={task}
              place={seen.first + index + 2}
              isChosen={selection.chosen.has(task.task_id)}
              tabIndex={seen.first + index === active ? 0 : -1}
              onChoose={onChoose}
            />
          ))}
          <Space rows={tasks.length - seen.end} />
        </tbody>
      </table>
    </div>
  );
}

/** Stands for rows that are not on the screen. */
function Space(props: { rows: number }): React.ReactElement | null {
  return props.rows > 0 ? <tr aria-hidden="true" style={{ height: props.rows * ROW }} /> : null;
}
