/** A Lumino widget that shows a React component, and lets it rest while it is hidden. */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { IViewContext, IViewHost } from './context';
import { ViewContext } from './context';

/** Shows one element; its components find the host with `useView`. */
export class View extends ReactWidget {
  constructor(host: IViewHost, element: React.ReactElement) {
    super();
    this._element = element;
    this._shown = { ...host, isShown: true };
    this._hidden = { ...host, isShown: false };
    this.addClass('fxl-View');
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this.update();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this.update();
  }

  protected override render(): React.ReactElement {
    const context = this.isVisible ? this._shown : this._hidden;
    return <ViewContext.Provider value={context}>{this._element}</ViewContext.Provider>;
  }

  private readonly _element: React.ReactElement;
  private readonly _shown: IViewContext;
  private readonly _hidden: IViewContext;
}
