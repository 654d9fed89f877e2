/** What cards can reach. */

import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { IFuncX } from '../tokens';
import type { Cells } from './cells';
import type { Watcher } from './watcher';

/** What the application gives the cards of a page. */
export interface ICardHost {
  readonly funcx: IFuncX;
  readonly rendermime: IRenderMimeRegistry;
  readonly commands: CommandRegistry;
  readonly trans: TranslationBundle;
  /** null where there are no notebooks. */
  readonly cells: Cells | null;
  readonly watcher: Watcher;
}
