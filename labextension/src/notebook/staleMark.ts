/** The badge of an output whose cell, or what the cell uses, changed since it ran. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import type { Cells, IPlacedCell } from './cells';
import { changedInputs, isEdited } from './fingerprint';
import type { IOrigin } from './fingerprint';
import { element, setText } from './html';

/** An edit is looked at when nothing was typed for so long, in milliseconds. */
const REST_MS = 300;

/** Shows that an output is not of the cell as it stands there now. */
export class StaleMark {
  readonly node = element('span', 'fxl-TaskCard-stale');

  constructor(
    private readonly _cells: Cells | null,
    private readonly _trans: TranslationBundle
  ) {
    this.node.hidden = true;
    this.node.setAttribute('role', 'note');
  }

  /** Say what the cell was when it ran. */
  setOrigin(origin: IOrigin | null): void {
    this._origin = origin;
    this._look();
  }

  /** Watch a cell; null ends it. */
  setCell(placed: IPlacedCell | null): void {
    Signal.clearData(this);
    window.clearTimeout(this._timer);
    this._placed = placed;
    if (placed) {
      placed.cell.model.contentChanged.connect(this._later, this);
      this._cells?.ran.connect(this._later, this);
    }
    this._look();
  }

  private _later(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => this._look(), REST_MS);
  }

  private _look(): void {
    const text = this._origin && this._placed ? this._text(this._origin, this._placed) : '';
    setText(this.node, text);
    this.node.hidden = !text;
  }

  private _text(origin: IOrigin, placed: IPlacedCell): string {
    const { cell } = placed;
    if (isEdited(origin, cell.model.sharedModel.getSource())) {
      return this._trans.__('stale: the cell was edited since it ran');
    }
    const cells = this._cells;
    const changed = cells && origin.inputs.length ? changedInputs(origin, cells.above(placed), cells.turn(cell.model)) : [];
    return changed.length ? this._trans.__('stale: %1 may have changed since', changed.join(', ')) : '';
  }

  private _origin: IOrigin | null = null;
  private _placed: IPlacedCell | null = null;
  private _timer = 0;
}
