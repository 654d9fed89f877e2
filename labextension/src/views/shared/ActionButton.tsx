import type { LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

/** What an action button needs. */
export interface IActionProps {
  icon: LabIcon;
  /** What it does, for tooltip and screen reader. */
  label: string;
  /** Shown beside the icon. */
  text?: string;
  onAct: () => void;
  isDisabled?: boolean;
  tabIndex?: number;
}

/** A small button with an icon. */
export function ActionButton(props: IActionProps): React.ReactElement {
  return (
    <button
      type="button"
      className={props.text ? 'fxl-Action fxl-mod-text' : 'fxl-Action'}
      title={props.label}
      aria-label={props.text ? undefined : props.label}
      disabled={props.isDisabled}
      tabIndex={props.tabIndex}
      onClick={event => {
        event.stopPropagation();
        props.onAct();
      }}
    >
      <props.icon.react tag="span" className="fxl-Action-icon" elementSize="normal" aria-hidden="true" />
      {props.text}
    </button>
  );
}
