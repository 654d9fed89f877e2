import { addBelowIcon, copyIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { short } from '../../looks';
import type { IFunction } from '../../tokens';
import { ActionButton } from '../shared/ActionButton';
import { copy, insertCode } from '../shared/actions';
import { callCode } from '../shared/code';
import { useView } from '../shared/context';
import { dateOf, timeOf } from '../shared/facts';
import { watchForDrag } from './drag';

/** Return what its owner wrote about a function; `''` if nothing. */
function descriptionOf(entry: IFunction): string {
  const meta = entry.meta as { description?: unknown } | undefined;
  return typeof meta?.description === 'string' ? meta.description : '';
}

/** One function in the side panel: drag it into a notebook, or Enter inserts its call. */
export const FunctionRow = React.memo(function FunctionRow(props: { entry: IFunction; tabIndex: number }) {
  const { entry, tabIndex } = props;
  const view = useView();
  const { trans } = view;
  const code = callCode(entry);
  const facts = descriptionOf(entry) || trans.__('registered %1', timeOf(entry.created));
  const title = `${facts}\n${dateOf(entry.created)}\n${entry.function_id}`;
  return (
    <li className="fxl-Row" data-item={entry.function_id}>
      <button
        type="button"
        className="fxl-Row-main fxl-mod-draggable"
        data-key={entry.function_id}
        tabIndex={tabIndex}
        title={trans.__('Drag it into a notebook, or press Enter to insert its call')}
        onPointerDown={event => {
          if (event.button === 0) {
            watchForDrag(code, entry.name, event.clientX, event.clientY);
          }
        }}
        onClick={event => {
          // A click comes from the keyboard (detail 0) or is the second one: a first one may begin a drag.
          if (event.detail === 0 || event.detail === 2) {
            insertCode(view, code);
          }
        }}
      >
        <span className="fxl-Row-head">
          <span className="fxl-Row-sign" aria-hidden="true">
            ƒ
          </span>
          <span className="fxl-Row-name" title={entry.name}>
            {entry.name}
          </span>
          <code className="fxl-Row-word">{short(entry.function_id)}</code>
        </span>
        <span className="fxl-Row-facts" title={title}>
          {facts}
        </span>
      </button>
      <span className="fxl-Row-actions">
        <ActionButton
          icon={addBelowIcon}
          label={trans.__('Insert a call of %1 into the notebook', entry.name)}
          tabIndex={tabIndex}
          onAct={() => insertCode(view, code)}
        />
        <ActionButton
          icon={copyIcon}
          label={trans.__('Copy the id of %1', entry.name)}
          tabIndex={tabIndex}
          onAct={() => copy(view, entry.function_id)}
        />
      </span>
    </li>
  );
});
