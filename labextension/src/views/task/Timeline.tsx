import * as React from 'react';

import { clock } from '../../looks';
import { FINAL_STATES } from '../../tokens';
import { useView } from '../shared/context';
import { dateOf, timeOf } from '../shared/facts';
import { useNow } from '../shared/hooks';
import { StateMark } from '../shared/StateMark';
import type { IMove } from './model';

/** The states that the task went through: when, why and for how long. */
export function Timeline(props: { moves: readonly IMove[] }): React.ReactElement {
  const { moves } = props;
  const { trans } = useView();
  const last = moves[moves.length - 1];
  const now = useNow(last !== undefined && !FINAL_STATES.has(last.state));
  return (
    <ol className="fxl-Timeline" aria-label={trans.__('States')}>
      {moves.map((move, index) => {
        const isLast = index === moves.length - 1;
        const end = isLast ? now : moves[index + 1].time;
        const seconds = isLast && FINAL_STATES.has(move.state) ? '' : clock(end - move.time);
        return (
          <li key={index} className={isLast ? 'fxl-mod-last' : ''}>
            <div className="fxl-Timeline-head">
              <StateMark state={move.state} />
              <span className="fxl-Clock" title={trans.__('time in this state')}>
                {seconds}
              </span>
            </div>
            <div className="fxl-Timeline-facts">
              <time title={dateOf(move.time)}>{timeOf(move.time)}</time>
              {move.reason && <span>{move.reason}</span>}
            </div>
          </li>
        );
      })}
    </ol>
  );
}
