/** The extension's settings, of schema/service.json. No I/O here. */

/** The plugin whose settings they are. */
export const SETTINGS_ID = 'funcx-lab:service';

/** All settings. */
export interface ISettings {
  /** Name of an endpoint, or `''`. */
  readonly defaultEndpoint: string;
  readonly pollIntervalMs: number;
  readonly showStatusItem: boolean;
  /** 0: never. */
  readonly notifyAfterSeconds: number;
  readonly browserNotifications: boolean;
  readonly confirmCancel: boolean;
  readonly maxRecent: number;
  readonly dashboardTheme: 'auto' | 'light' | 'dark';
  readonly reducedMotion: boolean;
}

/** What holds when there is no settings registry; the same as in the schema. */
export const DEFAULTS: ISettings = {
  defaultEndpoint: '',
  pollIntervalMs: 5000,
  showStatusItem: true,
  notifyAfterSeconds: 60,
  browserNotifications: false,
  confirmCancel: true,
  maxRecent: 20,
  dashboardTheme: 'auto',
  reducedMotion: false
};

/** Return the settings that a registry's `composite` holds. */
export function readSettings(composite: { readonly [name: string]: unknown }): ISettings {
  const known = Object.keys(DEFAULTS).filter(name => composite[name] !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(known.map(name => [name, composite[name]])) };
}
