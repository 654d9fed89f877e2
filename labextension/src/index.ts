/** The extension's plugins; each folder brings its own. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import dashboards from './dashboards';
import notebook from './notebook';
import service from './service';
import shell from './shell';
import views from './views';

export * from './tokens';

// Each plugin has a type of its own for what it provides.
const plugins: JupyterFrontEndPlugin<any>[] = [...service, ...shell, ...views, ...notebook, ...dashboards];

export default plugins;
