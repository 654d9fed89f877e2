/** Reads the service's list of tasks page by page into the book of tasks. */

import * as React from 'react';

import type { ITaskQuery } from '../../tokens';
import { explain } from '../shared/actions';
import { useView } from '../shared/context';
import { useChanged } from '../shared/hooks';

/** So many tasks are asked for at once. */
const PAGE = 1000;

/** How far the list is read. */
export interface IPages {
  readonly isLoading: boolean;
  readonly isComplete: boolean;
  /** Why the last page could not be read; `''` if it could. */
  readonly problem: string;
  /** Read the next page. */
  more(): void;
}

/** Read the first page whenever the query changes or the service comes back, and further ones on demand. */
export function usePages(query: ITaskQuery): IPages {
  const { funcx } = useView();
  useChanged(funcx.statusChanged);
  const [next, setNext] = React.useState<number | null>(null);
  const [isLoading, setLoading] = React.useState(false);
  const [problem, setProblem] = React.useState('');
  const turn = React.useRef(0);
  const isOnline = funcx.status.state === 'online';

  const read = async (before?: number) => {
    const mine = ++turn.current; // an answer to an earlier question comes too late
    setLoading(true);
    try {
      const page = await funcx.listTasks({ ...query, limit: PAGE, before });
      if (mine === turn.current) {
        setNext(page.next);
        setProblem('');
      }
    } catch (error) {
      if (mine === turn.current) {
        setProblem(explain(error));
      }
    } finally {
      if (mine === turn.current) {
        setLoading(false);
      }
    }
  };
  React.useEffect(() => {
    if (isOnline) {
      const timer = window.setTimeout(() => void read(), 150); // while somebody types
      return () => window.clearTimeout(timer);
    }
    return undefined;
  }, [JSON.stringify(query), isOnline]);

  const more = () => {
    if (next !== null && !isLoading && isOnline) {
      void read(next);
    }
  };
  return { isLoading, isComplete: next === null && !isLoading, problem, more };
}
