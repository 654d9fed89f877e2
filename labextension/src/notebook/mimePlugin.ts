/** Plugin `funcx-lab:mime`: outputs of tasks show how their tasks are, with the kernel or without. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IFuncX, TASK_MIME } from '../tokens';
import { TaskCard } from './card';
import { cellsOf } from './cells';
import type { ICardHost } from './host';
import { Watcher } from './watcher';

/** HTML has 50: below it, so that it comes first. */
const RANK = 30;

/** Renders tasks. */
export const mime: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:mime',
  description: 'Shows the tasks that outputs name, as the hub service tells them.',
  autoStart: true,
  requires: [IFuncX, IRenderMimeRegistry],
  optional: [INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    funcx: IFuncX,
    rendermime: IRenderMimeRegistry,
    tracker: INotebookTracker | null,
    translator: ITranslator | null
  ) => {
    const host: ICardHost = {
      funcx,
      rendermime,
      commands: app.commands,
      trans: (translator ?? nullTranslator).load('funcx_lab'),
      cells: tracker && cellsOf(tracker),
      watcher: new Watcher(funcx)
    };
    rendermime.addFactory({ safe: true, mimeTypes: [TASK_MIME], createRenderer: () => new TaskCard(host) }, RANK);
  }
};
