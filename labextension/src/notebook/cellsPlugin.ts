/** Plugin `funcx-lab:cells`: run a cell at an endpoint, put code into one, find the one of a task. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IFuncX } from '../tokens';
import { cellsOf } from './cells';
import { COMMANDS, addCommands } from './commands';
import { addEndpointMenu } from './endpointMenu';

/** Adds the commands of cells. */
export const cells: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:cells',
  description: 'Commands that run cells at endpoints, insert code and find the cell of a task.',
  autoStart: true,
  requires: [IFuncX, INotebookTracker],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, funcx: IFuncX, tracker: INotebookTracker, translator: ITranslator | null) => {
    const trans = (translator ?? nullTranslator).load('funcx_lab');
    const host = { app, funcx, tracker, cells: cellsOf(tracker), trans };
    addCommands(host);
    addEndpointMenu(host);
    const update = () => Object.values(COMMANDS).forEach(id => app.commands.notifyCommandChanged(id));
    tracker.currentChanged.connect(update);
    tracker.activeCellChanged.connect(update);
  }
};
