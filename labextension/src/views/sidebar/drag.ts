/** Drag code out of the side panel: into a notebook as a new cell, into an editor as text. */

import type { ICodeCell } from '@jupyterlab/nbformat';
import { MimeData } from '@lumino/coreutils';
import { Drag } from '@lumino/dragdrop';

/** What a notebook takes as cells. */
const CELLS_MIME = 'application/vnd.jupyter.cells';
/** A pointer that moved less than so many pixels clicks. */
const THRESHOLD = 5;

function startDrag(code: string, name: string, x: number, y: number): void {
  const cell: ICodeCell = { cell_type: 'code', execution_count: null, metadata: {}, outputs: [], source: code };
  const mimeData = new MimeData();
  mimeData.setData(CELLS_MIME, [cell]);
  mimeData.setData('text/plain', code);
  const dragImage = document.createElement('div');
  dragImage.className = 'fxl-DragImage';
  dragImage.textContent = name;
  const drag = new Drag({ mimeData, dragImage, supportedActions: 'copy', proposedAction: 'copy' });
  void drag.start(x, y).then(() => drag.dispose());
}

/** Begin to drag code when the pointer that is down now moves. */
export function watchForDrag(code: string, name: string, downX: number, downY: number): void {
  const onMove = (event: PointerEvent) => {
    if (Math.hypot(event.clientX - downX, event.clientY - downY) >= THRESHOLD) {
      stop();
      startDrag(code, name, event.clientX, event.clientY);
    }
  };
  const stop = () => {
    document.removeEventListener('pointermove', onMove, true);
    document.removeEventListener('pointerup', stop, true);
  };
  document.addEventListener('pointermove', onMove, true);
  document.addEventListener('pointerup', stop, true);
}
