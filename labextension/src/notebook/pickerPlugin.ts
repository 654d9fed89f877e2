/** Plugin `funcx-lab:picker`: the endpoint of a notebook, in its toolbar and for its kernel. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IFuncX } from '../tokens';
import { EndpointTeller } from './defaultEndpoint';
import { EndpointPicker } from './picker';

/** Shows and tells the default endpoint of every open notebook. */
export const picker: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:picker',
  description: "A notebook's default endpoint: in the toolbar, in the metadata, and for the kernel.",
  autoStart: true,
  requires: [IFuncX, INotebookTracker],
  optional: [IToolbarWidgetRegistry, ITranslator],
  activate: (
    _: JupyterFrontEnd,
    funcx: IFuncX,
    tracker: INotebookTracker,
    toolbars: IToolbarWidgetRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('funcx_lab');
    toolbars?.addFactory<NotebookPanel>(
      'Notebook',
      'funcx-endpoint',
      panel => new EndpointPicker(panel, funcx, trans)
    );
    tracker.forEach(panel => new EndpointTeller(panel, funcx));
    tracker.widgetAdded.connect((_, panel) => void new EndpointTeller(panel, funcx));
  }
};
