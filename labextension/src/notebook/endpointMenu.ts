/** The context menu of a cell: run it at one of the endpoints. */

import { MenuSvg } from '@jupyterlab/ui-components';

import { COMMANDS } from './commands';
import type { INotebookHost } from './commands';

/** Above what else a cell's menu has of its own. */
const RANK = 9.5;

/** Add the submenu, and keep it as the endpoints are. */
export function addEndpointMenu({ app, funcx, trans }: INotebookHost): void {
  const submenu = new MenuSvg({ commands: app.commands });
  submenu.title.label = trans.__('Run Cell on Endpoint');
  const fill = () => {
    submenu.clearItems();
    for (const { name, status } of funcx.endpoints) {
      const args = { endpoint: name, text: `${name} · ${status}`, isMenu: true };
      submenu.addItem({ command: COMMANDS.run, args });
    }
    if (funcx.endpoints.length) {
      submenu.addItem({ type: 'separator' });
    }
    submenu.addItem({ command: COMMANDS.run, args: { endpoint: 'auto', text: trans.__('auto'), isMenu: true } });
  };
  funcx.endpointsChanged.connect(fill);
  fill();
  app.contextMenu.addItem({ type: 'submenu', submenu, selector: '.jp-Notebook .jp-CodeCell', rank: RANK });
}
