/** Which colours dashboards have: those of the page, unless the settings say otherwise. */

import type { IThemeManager } from '@jupyterlab/apputils';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import { DEFAULTS, readSettings, SETTINGS_ID } from '../service/settings';

/** Light or dark. */
export type Shade = 'light' | 'dark';

/** Knows the colours of dashboards, and tells when they change. */
export class Theme {
  constructor(
    private readonly _manager: IThemeManager | null,
    registry: ISettingRegistry | null
  ) {
    _manager?.themeChanged.connect(() => this._update());
    void registry
      ?.load(SETTINGS_ID)
      .then(loaded => {
        const read = () => {
          this._wanted = readSettings(loaded.composite).dashboardTheme;
          this._update();
        };
        loaded.changed.connect(read);
        read();
      })
      .catch(error => console.warn('The settings of dashboards cannot be read', error));
    this._shade = this._find();
  }

  get shade(): Shade {
    return this._shade;
  }

  get changed(): ISignal<Theme, Shade> {
    return this._changed;
  }

  private _update(): void {
    const shade = this._find();
    if (shade !== this._shade) {
      this._shade = shade;
      this._changed.emit(shade);
    }
  }

  private _find(): Shade {
    if (this._wanted !== 'auto') {
      return this._wanted;
    }
    const name = this._manager?.theme;
    if (this._manager && name) {
      return this._manager.isLight(name) ? 'light' : 'dark';
    }
    return document.body.dataset.jpThemeLight === 'false' ? 'dark' : 'light';
  }

  private _wanted: Shade | 'auto' = DEFAULTS.dashboardTheme;
  private _shade: Shade;
  private readonly _changed = new Signal<Theme, Shade>(this);
}
