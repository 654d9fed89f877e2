/** Dashboards of the hub service: panes of the main area, and outputs of cells. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { DOMAIN } from '../service';
import { DASHBOARD_MIME, IFuncX } from '../tokens';
import { LAYOUT, readLayout, titles } from './catalogue';
import { addCommands, OPEN_DASHBOARD } from './commands';
import { DashboardOutput } from './output';
import { DashboardPanes } from './panes';
import { Theme } from './theme';

const ID = 'funcx-lab:dashboards';
/** Below HTML, which has 50, so that it comes first. */
const MIME_RANK = 30;
/** In palette and launcher, behind the commands about tasks. */
const RANK = 50;

const dashboards: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Live dashboards of the hub service, as panes and as outputs of cells.',
  autoStart: true,
  requires: [IFuncX],
  // Notebook 7 lacks some of them.
  optional: [
    IRenderMimeRegistry,
    ILayoutRestorer,
    ISettingRegistry,
    IThemeManager,
    ICommandPalette,
    ILauncher,
    ITranslator
  ],
  activate: (
    app: JupyterFrontEnd,
    funcx: IFuncX,
    rendermime: IRenderMimeRegistry | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null,
    themes: IThemeManager | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const host = { funcx, theme: new Theme(themes, registry), trans };
    const panes = new DashboardPanes(app.shell, host);
    let layout = LAYOUT;
    void registry
      ?.load(ID)
      .then(loaded => {
        const read = () => (layout = readLayout(loaded.composite.layout));
        loaded.changed.connect(read);
        read();
      })
      .catch(error => console.warn('The layout of dashboards cannot be read', error));
    addCommands(app.commands, panes, () => layout, trans);
    if (restorer !== null) {
      panes.restore(restorer);
    }
    [...titles(trans).keys()].forEach((name, index) =>
      palette?.addItem({
        command: OPEN_DASHBOARD,
        args: { name },
        category: trans.__('Remote Tasks'),
        rank: RANK + index
      })
    );
    launcher?.add({ command: OPEN_DASHBOARD, args: { name: 'tasks' }, category: trans.__('Remote'), rank: RANK });
    rendermime?.addFactory(
      {
        safe: true,
        mimeTypes: [DASHBOARD_MIME],
        createRenderer: options => new DashboardOutput(host, options.mimeType)
      },
      MIME_RANK
    );
  }
};

// Each plugin has a type of its own for what it provides.
const plugins: JupyterFrontEndPlugin<any>[] = [dashboards];

export default plugins;
