/** A notebook's default endpoint: kept in its metadata, and told to the Jupyter server for its kernel. */

import type { NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

import type { IFuncX } from '../tokens';

const KEY = 'funcx';

/** Return the name of a notebook's default endpoint; `''` if it has none. */
export function endpointOfNotebook(panel: NotebookPanel): string {
  const facts = panel.context.model?.getMetadata(KEY) as { default_endpoint?: unknown } | undefined;
  const name = facts?.default_endpoint;
  return typeof name === 'string' ? name.trim() : '';
}

/** Set a notebook's default endpoint; `''` for none. */
export function setEndpointOfNotebook(panel: NotebookPanel, name: string): void {
  const { model } = panel.context;
  const { default_endpoint: _, ...rest } = (model.getMetadata(KEY) ?? {}) as { [key: string]: unknown };
  const facts = name ? { ...rest, default_endpoint: name } : rest;
  if (Object.keys(facts).length) {
    model.setMetadata(KEY, facts);
  } else {
    model.deleteMetadata(KEY);
  }
}

/** The endpoint of notebooks that have not chosen one, by the settings of the front end; `''` for none. */
export class UsualEndpoint {
  readonly changed: Signal<UsualEndpoint, void> = new Signal(this);

  get name(): string {
    return this._name;
  }

  /** Take the setting over. */
  set(name: string): void {
    if (name.trim() !== this._name) {
      this._name = name.trim();
      this.changed.emit();
    }
  }

  private _name = '';
}

/** Tells the server of one notebook's default endpoint while the notebook is open. */
export class EndpointTeller implements IDisposable {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _funcx: IFuncX,
    private readonly _usual: UsualEndpoint
  ) {
    const { context } = _panel;
    void context.ready.then(() => {
      if (this.isDisposed || _panel.isDisposed) {
        return;
      }
      this._paths.add(context.path);
      context.model.metadataChanged.connect(this._tell, this);
      context.pathChanged.connect(this._move, this);
      _funcx.statusChanged.connect(this._retell, this);
      _usual.changed.connect(this._tell, this);
      _panel.disposed.connect(this.dispose, this);
      this._tell();
    });
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.clearData(this);
  }

  private _move(): void {
    // The kernel goes on under the name that the notebook had when it started.
    this._paths.add(this._panel.context.path);
    this._told = null;
    this._tell();
  }

  private _retell(): void {
    if (this._hasFailed) {
      this._tell();
    }
  }

  private _tell(): void {
    const name = this._panel.isDisposed ? '' : endpointOfNotebook(this._panel) || this._usual.name;
    if (this._panel.isDisposed || (name === this._told && !this._hasFailed)) {
      return;
    }
    this._told = name;
    this._hasFailed = false;
    for (const path of this._paths) {
      this._funcx.setNotebookEndpoint(path, name || null).catch(() => {
        // Said when the connection is shown; the kernel finds the name in the saved file.
        this._hasFailed = true;
      });
    }
  }

  private readonly _paths = new Set<string>();
  private _told: string | null = null;
  private _hasFailed = false;
  private _isDisposed = false;
}
