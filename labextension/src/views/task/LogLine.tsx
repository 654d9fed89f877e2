import * as React from 'react';

import { formatBytes } from '../../looks';
import { useView } from '../shared/context';
import { pieces } from './ansi';
import type { ILogLine } from './logStore';

/** A line is shown up to this length, until somebody wants more of it. */
const FOLD = 2_000;

/** What a line needs. `text` is the line's now: the line itself may grow. */
export interface ILineProps {
  line: ILogLine;
  text: string;
}

/** One line of the log; a long one is folded. */
export const LogLine = React.memo(function LogLine(props: ILineProps) {
  const { trans } = useView();
  const [shown, setShown] = React.useState(FOLD);
  const { text, line } = props;
  const hidden = text.length - shown;
  return (
    <div className={line.stream === 'stderr' ? 'fxl-Log-line fxl-mod-stderr' : 'fxl-Log-line'}>
      {pieces(hidden > 0 ? text.slice(0, shown) : text).map((piece, index) => (
        <span key={index} className={piece.className || undefined}>
          {piece.text}
        </span>
      ))}
      {hidden > 0 && (
        <button type="button" className="fxl-Link fxl-Log-more" onClick={() => setShown(shown * 10)}>
          {trans.__('… %1 more', formatBytes(hidden))}
        </button>
      )}
    </div>
  );
});
