/** Finds the cells of open notebooks, runs and edits them. */

import type { Cell, ICellModel, ICodeCellModel } from '@jupyterlab/cells';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { NotebookActions } from '@jupyterlab/notebook';

import { Signal } from '@lumino/signaling';

import type { ICellText } from './fingerprint';

/** A cell, and the notebook on the page that it stands in. */
export interface IPlacedCell {
  readonly panel: NotebookPanel;
  readonly cell: Cell;
}

const made = new WeakMap<INotebookTracker, Cells>();

/** Return the cells of a tracker's notebooks; the same for every plugin. */
export function cellsOf(tracker: INotebookTracker): Cells {
  const cells = made.get(tracker) ?? new Cells(tracker);
  made.set(tracker, cells);
  return cells;
}

/** The cells of all open notebooks. */
export class Cells {
  constructor(private readonly _tracker: INotebookTracker) {
    NotebookActions.executionScheduled.connect((_, { cell }) => {
      this._running.add(cell.model);
      this._turns.set(cell.model, ++this._turn);
    });
    NotebookActions.executed.connect((_, { cell }) => {
      this._running.delete(cell.model);
      this.ran.emit();
    });
  }

  /** A cell has run. */
  readonly ran: Signal<Cells, void> = new Signal(this);

  /** Whether a cell was started on this page and goes on: its kernel shows what it does. */
  isRunning(model: ICellModel | undefined): boolean {
    // A kernel that is restarted leaves its cells idle, and nothing is said of them.
    const isIdle = (model as ICodeCellModel | undefined)?.executionState === 'idle';
    return model !== undefined && this._running.has(model) && !isIdle;
  }

  /** Return the cell that has the focus in the notebook that was used last. */
  active(): IPlacedCell | null {
    const panel = this._tracker.currentWidget;
    const cell = panel?.content.activeCell;
    return panel && cell ? { panel, cell } : null;
  }

  /** Return the cell that a node is part of. */
  around(node: Node): IPlacedCell | null {
    return this._first((panel, cell) => panel.node.contains(node) && cell.node.contains(node));
  }

  /** Return the cell whose outputs name a task. */
  ofTask(taskId: string): IPlacedCell | null {
    return this._first((_, cell) => namesTask(cell.model, taskId));
  }

  /** Return the cells above one, with the turn in which each ran on this page. */
  above({ panel, cell }: IPlacedCell): ICellText[] {
    const { widgets } = panel.content;
    return widgets.slice(0, Math.max(0, widgets.indexOf(cell))).map(({ model }) => ({
      source: model.sharedModel.getSource(),
      turn: this.turn(model)
    }));
  }

  /** Return when this page saw a cell run, counted on; 0 if it did not. */
  turn(model: ICellModel): number {
    return this._turns.get(model) ?? 0;
  }

  /** Show a cell and make it the active one. */
  async show({ panel, cell }: IPlacedCell, activate: (id: string) => void): Promise<void> {
    activate(panel.id);
    await panel.revealed;
    panel.content.activeCellIndex = panel.content.widgets.indexOf(cell);
    await panel.content.scrollToCell(cell);
    cell.node.focus({ preventScroll: true });
  }

  private _first(fits: (panel: NotebookPanel, cell: Cell) => boolean): IPlacedCell | null {
    let found: IPlacedCell | null = null;
    this._tracker.find(panel => {
      const cell = panel.content.widgets.find(each => fits(panel, each));
      found = cell ? { panel, cell } : null;
      return cell !== undefined;
    });
    return found;
  }

  private readonly _running = new WeakSet<ICellModel>();
  private readonly _turns = new WeakMap<ICellModel, number>();
  private _turn = 0;
}

/** Change a cell's text in place, so that one undo takes it back. */
export function rewrite({ cell }: IPlacedCell, edit: (source: string) => string): void {
  const model = cell.model.sharedModel;
  const [before, after] = [model.getSource(), edit(model.getSource())];
  if (before === after) {
    return;
  }
  let same = 0;
  while (same < before.length && before[same] === after[same]) {
    same += 1;
  }
  let end = 0;
  while (end < Math.min(before.length, after.length) - same && before.at(-1 - end) === after.at(-1 - end)) {
    end += 1;
  }
  model.updateSource(same, before.length - end, after.slice(same, after.length - end));
}

/** Run one cell, whatever else is selected. */
export function run({ panel, cell }: IPlacedCell): Promise<boolean> {
  return NotebookActions.runCells(panel.content, [cell], panel.sessionContext);
}

function namesTask(model: ICellModel, taskId: string): boolean {
  if (model.type !== 'code') {
    return false;
  }
  const { outputs } = model as ICodeCellModel;
  for (let index = 0; index < outputs.length; index++) {
    const told = outputs.get(index).metadata['funcx'] as { task_id?: unknown } | undefined;
    if (told?.task_id === taskId) {
      return true;
    }
  }
  return false;
}
