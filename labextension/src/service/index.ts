/** Provides the hub service to all other parts of the extension. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IFuncX } from '../tokens';
import { FuncX } from './funcx';
import { readSettings, SETTINGS_ID } from './settings';

/** The name of the extension's texts. */
export const DOMAIN = 'funcx_lab';

const service: JupyterFrontEndPlugin<IFuncX> = {
  id: SETTINGS_ID,
  description: 'Tasks, endpoints and functions of the funcx-lab hub service, kept up to date.',
  autoStart: true,
  optional: [ISettingRegistry, ITranslator],
  provides: IFuncX,
  activate: (app: JupyterFrontEnd, registry: ISettingRegistry | null, translator: ITranslator | null): IFuncX => {
    const funcx = new FuncX(app.serviceManager.serverSettings, (translator ?? nullTranslator).load(DOMAIN));
    void app.restored.then(() => funcx.refresh());
    void registry?.load(SETTINGS_ID).then(loaded => {
      const read = () => {
        const settings = readSettings(loaded.composite);
        funcx.connection.pollMs = settings.pollIntervalMs;
        funcx.connection.keepsListening = settings.browserNotifications;
        document.body.classList.toggle('fxl-mod-still', settings.reducedMotion);
      };
      loaded.changed.connect(read);
      read();
    });
    return funcx;
  }
};

// Each plugin has a type of its own for what it provides.
const plugins: JupyterFrontEndPlugin<any>[] = [service];

export default plugins;
