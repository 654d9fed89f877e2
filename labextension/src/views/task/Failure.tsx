import * as React from 'react';

import { notebookTraceback } from '../../looks';
import type { ITaskError } from '../../tokens';
import { useView } from '../shared/context';
import { pieces } from './ansi';

/** A traceback is shown up to this length, its end: there stands what happened. */
const SHOWN = 40_000;

/** Why the task failed, with the remote traceback. */
export function Failure(props: { error: ITaskError }): React.ReactElement {
  const { error } = props;
  const { trans } = useView();
  const traceback = notebookTraceback(error.traceback.trimEnd());
  const hidden = traceback.length - SHOWN;
  const lines = (hidden > 0 ? traceback.slice(-SHOWN) : traceback).split('\n');
  return (
    <div className="fxl-Failure">
      <p>
        <strong>{error.type || error.code}</strong> {error.message}
      </p>
      {traceback && (
        <pre tabIndex={0} aria-label={trans.__('Traceback')} role="region">
          {hidden > 0 && `… ${hidden.toLocaleString()}\n`}
          {lines.map((line, index) => (
            <React.Fragment key={index}>
              {pieces(line).map((piece, place) => (
                <span key={place} className={piece.className || undefined}>
                  {piece.text}
                </span>
              ))}
              {'\n'}
            </React.Fragment>
          ))}
        </pre>
      )}
    </div>
  );
}
