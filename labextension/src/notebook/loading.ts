/** A cell that ran before its kernel knew `%%funcx`: what to do about it, where the user can see it. */

import { Notification } from '@jupyterlab/apputils';
import type { ICodeCellModel } from '@jupyterlab/cells';
import type * as nbformat from '@jupyterlab/nbformat';
import { NotebookActions } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import { run } from './cells';
import type { IPlacedCell } from './cells';

const UNKNOWN = /Cell magic `%%funcx` not found/;
const LOAD = '%load_ext funcx_lab';

/** Offer to load the magics if a cell that just ran says that its kernel does not know them. */
export function offerToLoad(placed: IPlacedCell, trans: TranslationBundle): void {
  if (!UNKNOWN.test(said(placed.cell.model as ICodeCellModel))) {
    return;
  }
  Notification.warning(trans.__('This kernel does not know %%funcx yet.'), {
    autoClose: false,
    actions: [
      {
        label: trans.__('Add %1 above and run both', LOAD),
        callback: () => void load(placed)
      }
    ]
  });
}

async function load(placed: IPlacedCell): Promise<void> {
  const { content } = placed.panel;
  if (placed.cell.isDisposed) {
    return;
  }
  content.activeCellIndex = content.widgets.indexOf(placed.cell);
  NotebookActions.insertAbove(content);
  const first = content.activeCell;
  if (first) {
    first.model.sharedModel.setSource(LOAD);
    await run({ panel: placed.panel, cell: first });
    await run(placed);
  }
}

function said(model: ICodeCellModel): string {
  const texts: string[] = [];
  for (let index = 0; index < model.outputs.length; index++) {
    const output = model.outputs.get(index).toJSON();
    texts.push(String((output as nbformat.IStream).text ?? (output as nbformat.IError).evalue ?? ''));
  }
  return texts.join('\n');
}
