/** The task table as a widget of the main area. */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { ITaskQuery } from '../../tokens';
import type { IViewHost } from '../shared/context';
import { View } from '../shared/View';
import { TaskTable } from './TaskTable';

/** Holds what the table lists, for its toolbar and for the layout. */
class QueryHolder {
  readonly changed = new Signal<this, void>(this);
  query: ITaskQuery = {};

  set(query: ITaskQuery): void {
    this.query = query;
    this.changed.emit();
  }
}

function HeldTable(props: { holder: QueryHolder }): React.ReactElement {
  const { holder } = props;
  const [query, setQuery] = React.useState(holder.query);
  React.useEffect(() => {
    const take = () => setQuery(holder.query);
    holder.changed.connect(take);
    take();
    return () => void holder.changed.disconnect(take);
  }, [holder]);
  return <TaskTable query={query} onQuery={next => holder.set(next)} />;
}

/** The task table. */
export class TaskTableView extends View {
  constructor(host: IViewHost, query: ITaskQuery) {
    const holder = new QueryHolder();
    holder.query = query;
    super(host, <HeldTable holder={holder} />);
    this._holder = holder;
    this.addClass('fxl-TaskTableView');
  }

  /** What is listed. */
  get query(): ITaskQuery {
    return this._holder.query;
  }

  set query(query: ITaskQuery) {
    this._holder.set(query);
  }

  /** Tells that something else is listed. */
  get queryChanged(): ISignal<unknown, void> {
    return this._holder.changed;
  }

  private readonly _holder: QueryHolder;
}
