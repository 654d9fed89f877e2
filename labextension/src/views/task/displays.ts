/** Figures and tables of a task as outputs, the way a notebook keeps them. */

import type { IDisplayData, IOutput } from '@jupyterlab/nbformat';
import type { IOutputAreaModel } from '@jupyterlab/outputarea';

import type { ITaskEvent } from '../../tokens';

/** So many displays are kept, the newest. */
const KEPT = 50;

interface IDisplay {
  readonly data?: IDisplayData['data'];
  readonly metadata?: IDisplayData['metadata'];
  readonly transient?: { readonly display_id?: string };
}

/** Puts the display events of a log into an output area's model. */
export class Displays {
  constructor(private readonly _outputs: IOutputAreaModel) {}

  /** Take in one event; kinds that show nothing are passed over. */
  take(event: ITaskEvent): void {
    if (event.kind === 'display') {
      this._add(event.data as IDisplay);
    } else if (event.kind === 'update_display') {
      this._update(event.data as IDisplay);
    } else if (event.kind === 'clear') {
      const data = event.data as { wait?: boolean } | boolean | null;
      this._outputs.clear(typeof data === 'object' ? Boolean(data?.wait) : Boolean(data));
      this._ids = [];
    }
  }

  private _add(display: IDisplay): void {
    this._ids.push(display.transient?.display_id ?? '');
    this._outputs.add(outputOf(display));
    if (this._outputs.length > KEPT) {
      const kept = this._outputs.toJSON().slice(-KEPT);
      this._ids = this._ids.slice(-KEPT);
      this._outputs.fromJSON(kept);
    }
  }

  private _update(display: IDisplay): void {
    const id = display.transient?.display_id;
    this._ids.forEach((known, index) => {
      if (id && known === id && index < this._outputs.length) {
        this._outputs.set(index, outputOf(display));
      }
    });
  }

  private _ids: string[] = [];
}

function outputOf(display: IDisplay): IOutput {
  return { output_type: 'display_data', data: display.data ?? {}, metadata: display.metadata ?? {} };
}
