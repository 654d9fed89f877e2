/** Which rows of a table are selected, and which one the keys act on. No I/O here. */

/** A table's selection; it stays with the tasks when the rows are ordered anew. */
export interface ISelection {
  readonly chosen: ReadonlySet<string>;
  /** The row that has the focus. */
  readonly active: string | null;
  /** Where a range begins. */
  readonly anchor: string | null;
}

/** Nothing is selected. */
export const NOTHING: ISelection = { chosen: new Set(), active: null, anchor: null };

/** How a click or key changes the selection. */
export type Manner = 'replace' | 'toggle' | 'range' | 'move';

/** Return the selection after a row was chosen. */
export function choose(before: ISelection, ids: readonly string[], id: string, manner: Manner): ISelection {
  switch (manner) {
    case 'replace':
      return { chosen: new Set([id]), active: id, anchor: id };
    case 'toggle': {
      const chosen = new Set(before.chosen);
      if (!chosen.delete(id)) {
        chosen.add(id);
      }
      return { chosen, active: id, anchor: id };
    }
    case 'range': {
      const ends = [ids.indexOf(before.anchor ?? id), ids.indexOf(id)].sort((one, other) => one - other);
      return { chosen: new Set(ids.slice(Math.max(0, ends[0]), ends[1] + 1)), active: id, anchor: before.anchor ?? id };
    }
    case 'move':
      return { ...before, active: id, anchor: id };
  }
}

/** Return where a key leads from row `index`; null if it is no such key. */
export function destination(key: string, index: number, count: number, page: number): number | null {
  const steps: { [key: string]: number } = {
    ArrowDown: index + 1,
    ArrowUp: index - 1,
    PageDown: index + page,
    PageUp: index - page,
    Home: 0,
    End: count - 1
  };
  return key in steps && count ? Math.max(0, Math.min(steps[key], count - 1)) : null;
}
