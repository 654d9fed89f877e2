/** What a task printed and drew, in order, below a card. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { ITaskEvent } from '../tokens';
import { Lines } from './lines';

/** So many pieces (texts between figures, and figures) are kept. */
const PIECES = 200;
/** What is new is painted at most this often, in milliseconds. */
const PAINT_MS = 100;
/** Types of a display that are not shown here: a card in a card, what would run, what needs a kernel. */
const NOT_HERE = [
  'application/vnd.funcx.task.v1+json',
  'application/javascript',
  'application/vnd.jupyter.widget-view+json'
];

interface ITextPiece {
  readonly kind: 'stdout' | 'stderr';
  readonly node: HTMLPreElement;
  readonly lines: Lines;
}

interface IDisplayPiece {
  readonly kind: 'display';
  readonly node: HTMLElement;
  readonly displayId: string | null;
  widget: Widget | null;
}

type Piece = ITextPiece | IDisplayPiece;

/** A task's log as HTML: text is text, displays go through the front end's renderers. */
export class TaskLog {
  readonly node = document.createElement('div');

  /**
   * @param isTrusted - Whether the notebook is trusted: only then may a display's HTML stay as it is.
   */
  constructor(
    private readonly _rendermime: IRenderMimeRegistry,
    private readonly _isTrusted: () => boolean
  ) {
    this.node.className = 'fxl-TaskLog';
  }

  /** Take in entries of the log. */
  add(entries: ReadonlyArray<readonly [number, ITaskEvent]>): void {
    for (const [, event] of entries) {
      this._take(event);
    }
    while (this._pieces.length > PIECES) {
      this._drop(this._pieces.shift());
    }
    if (!this._timer) {
      this._timer = window.setTimeout(() => this._paint(), PAINT_MS);
    }
  }

  /** Forget everything. */
  clear(): void {
    this._pieces.splice(0).forEach(piece => this._drop(piece));
  }

  dispose(): void {
    window.clearTimeout(this._timer);
    this.clear();
  }

  private _take({ kind, data }: ITaskEvent): void {
    if (this._isToClear && ['stdout', 'stderr', 'display'].includes(kind)) {
      this._isToClear = false;
      this.clear();
    }
    if (kind === 'stdout' || kind === 'stderr') {
      this._write(kind, String(data));
    } else if (kind === 'display' || kind === 'update_display') {
      this._display((data ?? {}) as IDisplayData, kind === 'update_display');
    } else if (kind === 'clear') {
      const waits = typeof data === 'object' ? Boolean((data as { wait?: unknown } | null)?.wait) : Boolean(data);
      this._isToClear = waits;
      if (!waits) {
        this.clear();
      }
    }
  }

  private _write(kind: 'stdout' | 'stderr', text: string): void {
    let last = this._pieces.at(-1);
    if (last === undefined || last.kind !== kind) {
      const node = document.createElement('pre');
      node.className = `fxl-TaskLog-text fxl-mod-${kind}`;
      node.tabIndex = 0; // so that it can be scrolled with the keyboard
      last = { kind, node, lines: new Lines() };
      this._pieces.push(last);
      this.node.append(node);
    }
    (last as ITextPiece).lines.add(text);
    this._dirty.add(last as ITextPiece);
  }

  private _display(told: IDisplayData, isUpdate: boolean): void {
    const data = Object.fromEntries(Object.entries(told.data ?? {}).filter(([type]) => !NOT_HERE.includes(type)));
    const displayId = told.transient?.display_id ?? null;
    if (!isUpdate) {
      const node = document.createElement('div');
      node.className = 'fxl-TaskLog-display';
      const piece: IDisplayPiece = { kind: 'display', node, displayId, widget: null };
      this._pieces.push(piece);
      this.node.append(node);
      this._render(piece, data, told.metadata ?? {});
      return;
    }
    for (const piece of this._pieces) {
      if (piece.kind === 'display' && displayId !== null && piece.displayId === displayId) {
        this._render(piece, data, told.metadata ?? {});
      }
    }
  }

  private _render(
    piece: IDisplayPiece,
    data: ReadonlyPartialJSONObject,
    metadata: ReadonlyPartialJSONObject
  ): void {
    const trusted = this._isTrusted();
    const type = this._rendermime.preferredMimeType(data, trusted ? 'any' : 'ensure');
    if (type === undefined) {
      return;
    }
    release(piece);
    const widget: IRenderMime.IRenderer = this._rendermime.createRenderer(type);
    piece.widget = widget;
    if (piece.node.isConnected) {
      Widget.attach(widget, piece.node);
    } else {
      piece.node.append(widget.node);
    }
    const model = this._rendermime.createModel({ data, metadata, trusted });
    widget.renderModel(model).catch(reason => {
      widget.node.textContent = String(reason);
    });
  }

  private _paint(): void {
    this._timer = 0;
    for (const { node, lines } of this._dirty) {
      const isAtEnd = node.scrollTop + node.clientHeight >= node.scrollHeight - 4;
      node.textContent = lines.text;
      if (isAtEnd) {
        node.scrollTop = node.scrollHeight;
      }
    }
    this._dirty.clear();
  }

  private _drop(piece: Piece | undefined): void {
    if (piece?.kind === 'display') {
      release(piece);
    }
    piece?.node.remove();
  }

  private readonly _pieces: Piece[] = [];
  private readonly _dirty = new Set<ITextPiece>();
  private _timer = 0;
  private _isToClear = false;
}

interface IDisplayData {
  readonly data?: ReadonlyPartialJSONObject;
  readonly metadata?: ReadonlyPartialJSONObject;
  readonly transient?: { readonly display_id?: string };
}

function release(piece: IDisplayPiece): void {
  const { widget } = piece;
  piece.widget = null;
  if (widget?.isAttached) {
    Widget.detach(widget);
  } else if (widget) {
    MessageLoop.clearData(widget);
    widget.node.remove();
  }
  widget?.dispose();
}
