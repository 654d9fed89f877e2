/** How states look, the same as in the kernel's cards: an icon's shape, a word and a colour. */

import type { TaskState } from './tokens';

/** Icon, word and CSS variable of a state. */
export interface ILook {
  readonly icon: string;
  readonly word: string;
  readonly colour: string;
}

/** The looks of all states. */
export const LOOKS: Readonly<Record<TaskState, ILook>> = {
  received: { icon: '○', word: 'received', colour: '--jp-info-color1' },
  'waiting-for-ep': { icon: '◌', word: 'waiting for the endpoint', colour: '--jp-warn-color1' },
  'waiting-for-nodes': { icon: '◔', word: 'waiting for nodes', colour: '--jp-info-color1' },
  'waiting-for-launch': { icon: '◑', word: 'waiting for a worker', colour: '--jp-info-color1' },
  running: { icon: '▶', word: 'running', colour: '--jp-brand-color1' },
  success: { icon: '✔', word: 'success', colour: '--jp-success-color1' },
  failed: { icon: '✖', word: 'failed', colour: '--jp-error-color1' },
  cancelled: { icon: '■', word: 'cancelled', colour: '--jp-ui-font-color2' },
  expired: { icon: '⧗', word: 'expired', colour: '--jp-ui-font-color2' }
};

/** Return a duration in seconds as `0:12`, `3:05` or `2:00:00`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Return the end of an id, which people and `%funcx` take for it. */
export function short(taskId: string): string {
  return `…${taskId.slice(-8)}`;
}

/** Return a size in bytes for people, in decimal units. */
export function formatBytes(size: number): string {
  if (size < 1000) {
    return `${size} B`;
  }
  const units = ['kB', 'MB', 'GB'];
  let value = size / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

const CELL_FRAME = /^  File "<?(Cell In\[\d+\])[^"]*", line (\d+)(?:, in (.+))?$/gm;

/** Return a traceback whose frames in cells read as IPython writes them: `Cell In[3], line 4`. */
export function notebookTraceback(traceback: string): string {
  return traceback.replace(CELL_FRAME, (_, cell: string, line: string, name?: string) =>
    name && name !== '<module>' ? `${cell}, line ${line}, in ${name}` : `${cell}, line ${line}`
  );
}
