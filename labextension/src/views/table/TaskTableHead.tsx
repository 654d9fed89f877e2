import * as React from 'react';

import { useView } from '../shared/context';
import type { Column, ISort } from './columns';
import { COLUMNS, heading } from './columns';

const NUMBERS: ReadonlySet<Column> = new Set(['waited', 'ran', 'attempts']);

/** The headings; each orders the table by its column. */
export function TaskTableHead(props: { sort: ISort; onSort: (sort: ISort) => void }): React.ReactElement {
  const { sort, onSort } = props;
  const { trans } = useView();
  return (
    <thead>
      <tr aria-rowindex={1}>
        {COLUMNS.map(column => {
          const isSorted = sort.column === column;
          const order = isSorted ? (sort.isAscending ? 'ascending' : 'descending') : 'none';
          return (
            <th key={column} scope="col" aria-sort={order} className={NUMBERS.has(column) ? 'fxl-mod-number' : ''}>
              <button
                type="button"
                title={trans.__('%1: order by this column', heading(column, trans))}
                onClick={() => onSort({ column, isAscending: isSorted ? !sort.isAscending : column !== 'received' })}
              >
                {heading(column, trans)}
                {isSorted && (
                  <span aria-hidden="true" className="fxl-Table-order">
                    {sort.isAscending ? '▲' : '▼'}
                  </span>
                )}
              </button>
            </th>
          );
        })}
      </tr>
    </thead>
  );
}
