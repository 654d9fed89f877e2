/** Roving tabindex: one stop for Tab in a list, the arrow keys go through it. */

import * as React from 'react';

/** What a list and its items need. */
export interface IRoving {
  /** For the list's element. */
  readonly list: {
    ref: React.RefObject<any>;
    onKeyDown: (event: React.KeyboardEvent) => void;
    onFocus: (event: React.FocusEvent) => void;
    onBlur: (event: React.FocusEvent) => void;
  };
  /** 0 for the item that Tab reaches and for its buttons, -1 for the others. */
  tabIndex(key: string): number;
}

/**
 * Let the arrow keys, Home and End go through the elements with `data-key` in a list.
 *
 * When the item with the focus goes away, its neighbour gets it.
 */
export function useRoving(keys: readonly string[]): IRoving {
  const ref = React.useRef<HTMLElement>(null);
  const [current, setCurrent] = React.useState<string>('');
  const place = React.useRef(0);
  const hasFocus = React.useRef(false);
  const isThere = keys.includes(current);
  const active = isThere ? current : (keys[Math.min(place.current, keys.length - 1)] ?? '');
  if (isThere) {
    place.current = keys.indexOf(current);
  }

  const focus = (key: string | undefined) => {
    if (key !== undefined) {
      setCurrent(key);
      ref.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)?.focus();
    }
  };
  React.useLayoutEffect(() => {
    if (hasFocus.current && document.activeElement === document.body) {
      focus(active || undefined);
    }
  });

  const onKeyDown = (event: React.KeyboardEvent) => {
    const index = keys.indexOf(active);
    const next: { [key: string]: number } = {
      ArrowDown: Math.min(index + 1, keys.length - 1),
      ArrowUp: Math.max(index - 1, 0),
      Home: 0,
      End: keys.length - 1
    };
    if (event.key in next && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      focus(keys[next[event.key]]);
    }
  };
  const onFocus = (event: React.FocusEvent) => {
    hasFocus.current = true;
    const key = (event.target as HTMLElement).closest<HTMLElement>('[data-item]')?.dataset.item;
    if (key !== undefined) {
      setCurrent(key);
    }
  };
  const onBlur = () => {
    hasFocus.current = false;
  };
  return { list: { ref, onKeyDown, onFocus, onBlur }, tabIndex: key => (key === active ? 0 : -1) };
}
