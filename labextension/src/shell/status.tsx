/** The item in the status bar: how many tasks run, and where. */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { IStatusBar } from '@jupyterlab/statusbar';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { IFuncX } from '../tokens';
import { statusText } from './words';
import type { IStatusText, IWords } from './words';

/** Says `⇅ 3 running · endpoint`, and nothing while nothing goes on. */
export class StatusItem extends ReactWidget {
  constructor(
    private readonly _funcx: IFuncX,
    private readonly _words: IWords,
    private readonly _show: () => void
  ) {
    super();
    this.addClass('fxl-StatusItem');
    this._funcx.statusChanged.connect(this._look, this);
    this._funcx.countsChanged.connect(this._look, this);
    this._funcx.tasksChanged.connect(this._look, this);
  }

  /** What the status bar asks for. */
  readonly options: IStatusBar.IItem = {
    item: this,
    align: 'left',
    rank: 60,
    isActive: () => this._wanted && this._text !== null,
    activeStateChanged: new Signal<this, void>(this)
  };

  /** Whether the settings want it. */
  set wanted(value: boolean) {
    this._wanted = value;
    this._tell();
  }

  /** Let go of the service. */
  override dispose(): void {
    Signal.clearData(this);
    super.dispose();
  }

  protected override render(): React.ReactElement {
    const { words, more } = this._text ?? { words: '', more: '' };
    return (
      <button type="button" className="fxl-StatusItem-button" title={more} onClick={this._show}>
        <span aria-hidden="true">⇅ </span>
        {words}
      </button>
    );
  }

  private _look(): void {
    this._wasOnline ||= this._funcx.status.state === 'online';
    const running = [...this._funcx.tasks.values()].filter(task => task.state === 'running');
    const text = statusText(this._funcx.status, this._funcx.counts, running, this._wasOnline, this._words);
    if (text?.words !== this._text?.words || text?.more !== this._text?.more) {
      this._text = text;
      this.toggleClass('fxl-mod-offline', this._funcx.status.state === 'offline');
      this._tell();
      this.update();
    }
  }

  private _tell(): void {
    (this.options.activeStateChanged as Signal<this, void>).emit();
  }

  private _text: IStatusText | null = null;
  private _wanted = true;
  private _wasOnline = false;
}
