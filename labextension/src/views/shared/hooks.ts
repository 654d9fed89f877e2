/** React hooks for signals and for the time. */

import type { ISignal } from '@lumino/signaling';
import * as React from 'react';

import { useView } from './context';

/**
 * Render again whenever a signal is emitted; a hidden view waits until it is shown.
 *
 * @returns how often that has been, for the dependencies of other hooks.
 */
export function useChanged(...signals: ReadonlyArray<ISignal<any, any>>): number {
  const { isShown } = useView();
  const [count, setCount] = React.useState(0);
  React.useEffect(() => {
    if (!isShown) {
      return;
    }
    const bump = () => setCount(value => value + 1);
    bump(); // something may have changed since the last time it was shown
    signals.forEach(signal => signal.connect(bump));
    return () => signals.forEach(signal => signal.disconnect(bump));
  }, [isShown, ...signals]);
  return count;
}

const listeners = new Set<() => void>();
let timer = 0;

function tick(): void {
  listeners.forEach(listener => listener());
}

/** Return the time in Unix seconds; it goes on every second while `isRunning` and the view is shown. */
export function useNow(isRunning: boolean): number {
  const { isShown } = useView();
  const [now, setNow] = React.useState(() => Date.now() / 1000);
  React.useEffect(() => {
    if (!isRunning || !isShown) {
      return;
    }
    const listener = () => setNow(Date.now() / 1000);
    listener();
    listeners.add(listener);
    timer ||= window.setInterval(tick, 1000);
    return () => {
      listeners.delete(listener);
      if (!listeners.size) {
        window.clearInterval(timer);
        timer = 0;
      }
    };
  }, [isRunning, isShown]);
  return now;
}
