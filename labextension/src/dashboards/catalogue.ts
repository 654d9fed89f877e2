/** Which dashboards there are, and where the panes of the default layout stand. No I/O here. */

import type { DockLayout } from '@lumino/widgets';
import type { TranslationBundle } from '@jupyterlab/translation';

/** What a pane or an output shows. */
export interface IDashboard {
  readonly name: string;
  /** Only this endpoint's: name or id. */
  readonly endpoint?: string;
  /** Colours; those of the page if left out. */
  readonly theme?: 'light' | 'dark';
}

/** One pane of the default layout. */
export interface IPlace {
  readonly name: string;
  readonly mode: DockLayout.InsertMode;
  /** The dashboard beside which it stands. */
  readonly ref?: string;
}

const MODES: readonly string[] = ['tab-after', 'tab-before', 'split-top', 'split-left', 'split-right', 'split-bottom'];

/** The layout that holds when the settings have none. */
export const LAYOUT: readonly IPlace[] = [
  { name: 'tasks', mode: 'tab-after' },
  { name: 'queue', mode: 'split-right', ref: 'tasks' },
  { name: 'throughput', mode: 'split-bottom', ref: 'tasks' },
  { name: 'failures', mode: 'split-bottom', ref: 'queue' }
];

/** Names of the dashboards and their titles, in order. */
export function titles(trans: TranslationBundle): ReadonlyMap<string, string> {
  return new Map([
    ['tasks', trans.__('Task stream')],
    ['queue', trans.__('Queue')],
    ['scaling', trans.__('Scaling')],
    ['latency', trans.__('Latency')],
    ['throughput', trans.__('Throughput')],
    ['failures', trans.__('Failures')],
    ['bytes', trans.__('Bytes moved')]
  ]);
}

/** Whether this may be a dashboard's name: one part of an address, and nothing else. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z][a-z0-9-]{0,39}$/.test(value);
}

/** Return what arguments of a command or the facts of an output ask for; null if they name no dashboard. */
export function readDashboard(facts: { readonly [fact: string]: unknown }): IDashboard | null {
  const { name, endpoint, theme } = facts;
  if (!isName(name)) {
    return null;
  }
  return {
    name,
    ...(typeof endpoint === 'string' && endpoint ? { endpoint } : {}),
    ...(theme === 'light' || theme === 'dark' ? { theme } : {})
  };
}

/** Return the places that a setting gives; what makes no sense is left out. */
export function readLayout(setting: unknown): readonly IPlace[] {
  const places = Array.isArray(setting) ? (setting as { readonly [fact: string]: unknown }[]) : [];
  return places
    .filter(place => place && isName(place.name))
    .map(place => ({
      name: place.name as string,
      mode: (MODES.includes(String(place.mode)) ? place.mode : 'tab-after') as DockLayout.InsertMode,
      ...(isName(place.ref) ? { ref: place.ref } : {})
    }));
}
