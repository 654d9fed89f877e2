/** Provides the hub service to all other parts of the extension. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IFuncX } from '../tokens';
import { FuncX } from './funcx';

/** The name of the extension's texts. */
export const DOMAIN = 'funcx_lab';

const service: JupyterFrontEndPlugin<IFuncX> = {
  id: 'funcx-lab:service',
  description: 'Tasks, endpoints and functions of the funcx-lab hub service, kept up to date.',
  autoStart: true,
  optional: [ITranslator],
  provides: IFuncX,
  activate: (app: JupyterFrontEnd, translator: ITranslator | null): IFuncX => {
    const funcx = new FuncX(app.serviceManager.serverSettings, (translator ?? nullTranslator).load(DOMAIN));
    void app.restored.then(() => funcx.refresh());
    return funcx;
  }
};

// Each plugin has a type of its own for what it provides.
const plugins: JupyterFrontEndPlugin<any>[] = [service];

export default plugins;
