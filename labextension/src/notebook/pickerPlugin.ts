/** Plugin `funcx-lab:picker`: the endpoint of a notebook, in its toolbar and for its kernel. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { SETTINGS_ID, readSettings } from '../service/settings';
import { IFuncX } from '../tokens';
import { EndpointTeller, UsualEndpoint } from './defaultEndpoint';
import { EndpointPicker } from './picker';

/** Shows and tells the default endpoint of every open notebook. */
export const picker: JupyterFrontEndPlugin<void> = {
  id: 'funcx-lab:picker',
  description: "A notebook's default endpoint: in the toolbar, in the metadata, and for the kernel.",
  autoStart: true,
  requires: [IFuncX, INotebookTracker],
  optional: [IToolbarWidgetRegistry, ITranslator, ISettingRegistry],
  activate: (
    _: JupyterFrontEnd,
    funcx: IFuncX,
    tracker: INotebookTracker,
    toolbars: IToolbarWidgetRegistry | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null
  ) => {
    const usual = new UsualEndpoint();
    void settings?.load(SETTINGS_ID).then(loaded => {
      const take = () => usual.set(readSettings(loaded.composite).defaultEndpoint);
      loaded.changed.connect(take);
      take();
    });
    const trans = (translator ?? nullTranslator).load('funcx_lab');
    toolbars?.addFactory<NotebookPanel>(
      'Notebook',
      'funcx-endpoint',
      panel => new EndpointPicker(panel, funcx, usual, trans)
    );
    tracker.forEach(panel => new EndpointTeller(panel, funcx, usual));
    tracker.widgetAdded.connect((_, panel) => void new EndpointTeller(panel, funcx, usual));
  }
};
