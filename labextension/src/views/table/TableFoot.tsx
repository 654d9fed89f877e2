import * as React from 'react';

import type { ITaskQuery } from '../../tokens';
import { useView } from '../shared/context';
import type { IPages } from './usePages';

/** What the line below the table needs. */
export interface IFootProps {
  query: ITaskQuery;
  shown: number;
  chosen: number;
  pages: IPages;
}

/** Below the table: how much of all this is, and how to see more. */
export function TableFoot(props: IFootProps): React.ReactElement {
  const { shown, chosen, pages, query } = props;
  const { funcx, trans } = useView();
  const isFiltered = Boolean(query.text || query.endpoint || query.states?.length || query.group);
  const total = Object.values(funcx.counts).reduce((sum, count) => sum + count, 0);
  return (
    <div className="fxl-Foot">
      <span>{shown === 0 && !pages.isLoading ? empty() : listed()}</span>
      <span role="status">{chosen > 0 && trans._n('%1 selected', '%1 selected', chosen, chosen)}</span>
      {pages.problem && <span className="fxl-Foot-problem">{pages.problem}</span>}
      {pages.isLoading && <span>{trans.__('reading …')}</span>}
      {!pages.isComplete && !pages.isLoading && (
        <button type="button" className="fxl-Link" onClick={pages.more}>
          {trans.__('Read more')}
        </button>
      )}
    </div>
  );

  function empty(): string {
    return isFiltered ? trans.__('No task is like this.') : trans.__('No task yet: run a cell with %1.', '%%funcx');
  }

  function listed(): string {
    const rest = !isFiltered && total > shown ? ` ${trans.__('of %1', total)}` : '';
    return trans._n('%1 task', '%1 tasks', shown, shown) + rest;
  }
}
