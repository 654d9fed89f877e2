import * as React from 'react';

import { LOOKS } from '../../looks';
import type { TaskState } from '../../tokens';
import { useView } from './context';
import { wordOf } from './facts';

/** A state as an icon in its colour and as a word in the text's colour. */
export function StateMark(props: { state: TaskState }): React.ReactElement {
  const { trans } = useView();
  return (
    <span className="fxl-State" data-state={props.state}>
      <StateIcon state={props.state} />
      <span className="fxl-State-word">{wordOf(props.state, trans)}</span>
    </span>
  );
}

/** The icon alone, where the word stands beside it. */
export function StateIcon(props: { state: TaskState }): React.ReactElement {
  const look = LOOKS[props.state] ?? { icon: '?', colour: '--jp-ui-font-color1' };
  return (
    <span className="fxl-State-icon" aria-hidden="true" style={{ color: `var(${look.colour})` }}>
      {look.icon}
    </span>
  );
}
