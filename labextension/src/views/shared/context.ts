/** What every component of the views can reach. */

import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { IFuncX, IFuncXViews } from '../../tokens';

/** What the application gives the views. */
export interface IViewHost {
  readonly funcx: IFuncX;
  readonly views: IFuncXViews;
  readonly commands: CommandRegistry;
  readonly rendermime: IRenderMimeRegistry;
  readonly trans: TranslationBundle;
}

/** The host, and whether anybody can see the view now. */
export interface IViewContext extends IViewHost {
  readonly isShown: boolean;
}

/** Provided by `View`. */
export const ViewContext = React.createContext<IViewContext | null>(null);

/** Return the context of the view that a component is part of. */
export function useView(): IViewContext {
  const context = React.useContext(ViewContext);
  if (context === null) {
    throw new Error('A component of the views stands outside of a View.');
  }
  return context;
}
