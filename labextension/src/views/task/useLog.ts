/** Draws a log again when it grew, at most once in a frame, and keeps its end in sight. */

import * as React from 'react';

import { useView } from '../shared/context';
import type { TaskModel } from './model';

/** Whether the end is kept in sight, and what the log's element needs. */
export interface IFollowing {
  readonly isFollowing: boolean;
  follow(): void;
  /** The user scrolled. */
  scrolled(): void;
}

/** Closer to the end than so many pixels counts as its end. */
const NEAR = 8;

/** Render again whenever the log grew. */
export function useGrowth(model: TaskModel): void {
  const { isShown } = useView();
  const [, setCount] = React.useState(0);
  React.useEffect(() => {
    let frame = 0;
    const draw = () => {
      frame = 0;
      setCount(count => count + 1);
    };
    const ask = () => {
      frame ||= requestAnimationFrame(draw);
    };
    if (isShown) {
      ask();
      model.logChanged.connect(ask);
    }
    return () => {
      cancelAnimationFrame(frame);
      model.logChanged.disconnect(ask);
    };
  }, [model, isShown]);
}

/** Keep the end of a scrolled element in sight until the user scrolls away from it. */
export function useFollowing(scroller: React.RefObject<HTMLElement>): IFollowing {
  const [isFollowing, setFollowing] = React.useState(true);
  const top = React.useRef(0);
  const toEnd = () => {
    const node = scroller.current;
    if (node) {
      node.scrollTop = node.scrollHeight;
      top.current = node.scrollTop;
    }
  };
  React.useLayoutEffect(() => {
    if (isFollowing) {
      toEnd();
    }
  });
  const scrolled = () => {
    const node = scroller.current;
    if (node) {
      // Growing content moves the end, never the place: only a way up is the user's wish to stay.
      const isUp = node.scrollTop < top.current;
      const isAtEnd = node.scrollHeight - node.scrollTop - node.clientHeight < NEAR;
      top.current = node.scrollTop;
      setFollowing(now => (isAtEnd ? true : isUp ? false : now));
    }
  };
  return {
    isFollowing,
    follow: () => {
      setFollowing(true);
      toEnd();
    },
    scrolled
  };
}
