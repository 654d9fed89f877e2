/** What the workbench around the views shows: commands, status bar, running section, launcher, notifications. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { DOMAIN } from '../service';
import { DEFAULTS, readSettings, SETTINGS_ID } from '../service/settings';
import type { ISettings } from '../service/settings';
import { IFuncX } from '../tokens';
import { addCommands } from './commands';
import { askPermission, Notifications } from './notifications';
import { RunningTasks } from './running';
import { StatusItem } from './status';

/** The sidebar with endpoints and tasks. */
const SIDEBAR = 'fxl-sidebar';

/** Commands that make sense without arguments, in the palette's order. */
const PALETTE = [
  'funcx:open-tasks',
  'funcx:open-task',
  'funcx:run-cell-remotely',
  'funcx:choose-endpoint',
  'funcx:cancel-task',
  'funcx:cancel-all',
  'funcx:retry-task',
  'funcx:attach',
  'funcx:go-to-cell',
  'funcx:open-dashboard',
  'funcx:open-dashboards-layout',
  'funcx:refresh',
  'funcx:login'
];

const commands: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:commands',
  description: 'Commands about remote tasks, their notifications, and where they are offered.',
  autoStart: true,
  requires: [IFuncX],
  optional: [ISettingRegistry, ITranslator, ICommandPalette, ILauncher],
  activate: (
    app: JupyterFrontEnd,
    funcx: IFuncX,
    registry: ISettingRegistry | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null
  ): void => {
    const words = (translator ?? nullTranslator).load(DOMAIN);
    let settings = DEFAULTS;
    watchSettings(registry, now => {
      if (now.browserNotifications && !settings.browserNotifications) {
        void askPermission();
      }
      settings = now;
    });
    addCommands({ app, funcx, words, settings: () => settings });
    new Notifications(funcx, app.commands, words, () => settings);
    for (const [rank, command] of PALETTE.entries()) {
      palette?.addItem({ command, category: words.__('Remote Tasks'), rank });
    }
    void app.restored.then(() => {
      // Other plugins bring them, and may be switched off.
      const there = ['funcx:open-tasks', 'funcx:open-dashboards-layout'].filter(id => app.commands.hasCommand(id));
      there.forEach((command, rank) => launcher?.add({ command, category: words.__('Remote'), rank }));
    });
  }
};

const status: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:status',
  description: 'Tells in the status bar how many remote tasks run.',
  autoStart: true,
  requires: [IFuncX],
  optional: [IStatusBar, ISettingRegistry, ITranslator], // Notebook 7 has no status bar
  activate: (
    app: JupyterFrontEnd,
    funcx: IFuncX,
    statusBar: IStatusBar | null,
    registry: ISettingRegistry | null,
    translator: ITranslator | null
  ): void => {
    if (statusBar === null) {
      return;
    }
    const show = () => app.shell.activateById(SIDEBAR);
    const item = new StatusItem(funcx, (translator ?? nullTranslator).load(DOMAIN), show);
    statusBar.registerStatusItem('funcx-lab:status', item.options);
    watchSettings(registry, settings => {
      item.wanted = settings.showStatusItem;
    });
  }
};

const running: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:running',
  description: 'Lists remote tasks among what runs.',
  autoStart: true,
  requires: [IFuncX],
  optional: [IRunningSessionManagers, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    funcx: IFuncX,
    managers: IRunningSessionManagers | null,
    translator: ITranslator | null
  ): void => {
    managers?.add(new RunningTasks(funcx, app.commands, (translator ?? nullTranslator).load(DOMAIN)));
  }
};

function watchSettings(registry: ISettingRegistry | null, take: (settings: ISettings) => void): void {
  void registry?.load(SETTINGS_ID).then(loaded => {
    loaded.changed.connect(() => take(readSettings(loaded.composite)));
    take(readSettings(loaded.composite));
  });
}

// Each plugin has a type of its own for what it provides.
const plugins: JupyterFrontEndPlugin<any>[] = [commands, status, running];

export default plugins;
