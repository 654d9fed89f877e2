/** Which rows of a long list are on the screen; all rows are equally high. */

import * as React from 'react';

/** The rows to draw: `first` up to, not including, `end`. */
export interface IWindow {
  readonly first: number;
  readonly end: number;
  /** For the element that scrolls. */
  readonly onScroll: () => void;
}

/** So many rows beyond the edges are drawn as well. */
const MARGIN = 12;

/**
 * Follow the part of a list that is seen.
 *
 * @param scroller - The element that scrolls.
 * @param count - How many rows there are.
 * @param height - Of one row, in pixels.
 */
export function useWindow(scroller: React.RefObject<HTMLElement>, count: number, height: number): IWindow {
  const [seen, setSeen] = React.useState({ top: 0, height: 600 });
  const frame = React.useRef(0);
  const measure = () => {
    frame.current = 0;
    const node = scroller.current;
    if (node) {
      setSeen(before =>
        before.top === node.scrollTop && before.height === node.clientHeight
          ? before
          : { top: node.scrollTop, height: node.clientHeight }
      );
    }
  };
  const onScroll = () => {
    frame.current ||= requestAnimationFrame(measure);
  };
  React.useLayoutEffect(() => {
    const observer = new ResizeObserver(onScroll);
    if (scroller.current) {
      observer.observe(scroller.current);
    }
    measure();
    return () => {
      observer.disconnect();
      cancelAnimationFrame(frame.current);
      frame.current = 0;
    };
  }, []);
  const first = Math.max(0, Math.min(Math.floor(seen.top / height) - MARGIN, count));
  const end = Math.min(count, Math.ceil((seen.top + seen.height) / height) + MARGIN);
  return { first, end: Math.max(first, end), onScroll };
}
