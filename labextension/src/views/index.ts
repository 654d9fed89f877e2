/** What people see of tasks: the side panel, the task table, and a view of each task. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { IMovableSectionRegistry } from '@jupyterlab/apputils';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { logoIcon } from '../icons';
import { DOMAIN } from '../service';
import { DEFAULTS, readSettings, SETTINGS_ID } from '../service/settings';
import { IFuncX, IFuncXViews } from '../tokens';
import { addCommands } from './commands';
import { MainViews } from './main';
import { SectionSource } from './sidebar/movable';
import { FuncXPanel } from './sidebar/panel';

/** Id of the side panel; the status bar shows it. */
const SIDEBAR = 'fxl-sidebar';

const tasks: JupyterFrontEndPlugin<IFuncXViews> = {
  id: 'funcx-lab:tasks',
  description: 'The table of remote tasks, and a view of each task.',
  autoStart: true,
  requires: [IFuncX, IRenderMimeRegistry],
  optional: [ILayoutRestorer, ITranslator],
  provides: IFuncXViews,
  activate: (
    app: JupyterFrontEnd,
    funcx: IFuncX,
    rendermime: IRenderMimeRegistry,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ): IFuncXViews => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const views = new MainViews(app);
    views.host = { funcx, views, commands: app.commands, rendermime, trans };
    addCommands(app.commands, funcx, views, trans);
    if (restorer !== null) {
      views.restore(restorer);
    }
    return views;
  }
};

const sidebar: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:sidebar',
  description: 'A side panel with endpoints, running and recent tasks, and functions.',
  autoStart: true,
  requires: [IFuncX, IFuncXViews, IRenderMimeRegistry],
  // An older JupyterLab does not have the last one.
  optional: [ILayoutRestorer, ISettingRegistry, ITranslator, IMovableSectionRegistry].filter(Boolean),
  activate: (
    app: JupyterFrontEnd,
    funcx: IFuncX,
    views: IFuncXViews,
    rendermime: IRenderMimeRegistry,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null,
    translator: ITranslator | null,
    movable?: IMovableSectionRegistry | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const host = { funcx, views, commands: app.commands, rendermime, trans };
    let settings = DEFAULTS;
    const panel = new FuncXPanel(host, translator ?? nullTranslator, () => settings.maxRecent);
    panel.id = SIDEBAR;
    panel.title.icon = logoIcon;
    panel.title.caption = trans.__('Remote tasks');
    panel.node.setAttribute('role', 'region');
    panel.node.setAttribute('aria-label', trans.__('Remote tasks'));
    void registry?.load(SETTINGS_ID).then(loaded => {
      const take = () => {
        settings = readSettings(loaded.composite);
        panel.update();
      };
      loaded.changed.connect(take);
      take();
    });
    restorer?.add(panel, SIDEBAR);
    movable?.registerSource(SIDEBAR, trans.__('Remote tasks'), new SectionSource(panel));
    app.shell.add(panel, 'left', { rank: 600, type: 'Remote tasks' });
  }
};

// Each plugin has a type of its own for what it provides.
const plugins: JupyterFrontEndPlugin<any>[] = [tasks, sidebar];

export default plugins;
