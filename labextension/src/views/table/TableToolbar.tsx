import { refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { retryIcon } from '../../icons';
import { LOOKS } from '../../looks';
import type { ITaskQuery, TaskState } from '../../tokens';
import { FINAL_STATES } from '../../tokens';
import { ActionButton } from '../shared/ActionButton';
import { attempt } from '../shared/actions';
import { useView } from '../shared/context';
import { wordOf } from '../shared/facts';
import { useChanged } from '../shared/hooks';

/** What the toolbar needs. */
export interface IToolbarProps {
  query: ITaskQuery;
  onQuery: (query: ITaskQuery) => void;
  /** How many of the selected tasks can be cancelled, and be run again. */
  live: number;
  ended: number;
  onCancel: () => void;
  onRetry: () => void;
}

const STATES = Object.keys(LOOKS) as TaskState[];
const GROUPS: { readonly [name: string]: readonly TaskState[] } = {
  live: STATES.filter(state => !FINAL_STATES.has(state)),
  ended: STATES.filter(state => FINAL_STATES.has(state))
};

/** Above the table: what is listed, and what is done with what is selected. */
export function TableToolbar(props: IToolbarProps): React.ReactElement {
  const { funcx, trans } = useView();
  return (
    <div className="fxl-Toolbar" role="toolbar" aria-label={trans.__('Remote tasks')}>
      <input
        type="search"
        className="fxl-Input"
        placeholder={trans.__('Filter by name or id')}
        aria-label={trans.__('Filter by name or id')}
        value={props.query.text ?? ''}
        onChange={event => props.onQuery({ ...props.query, text: event.target.value })}
      />
      <StateChoice {...props} />
      <EndpointChoice {...props} />
      <span className="fxl-Toolbar-gap" />
      <ActionButton
        icon={stopIcon}
        label={trans.__('Cancel the selected tasks (Delete)')}
        text={props.live ? trans.__('Cancel %1', props.live) : trans.__('Cancel')}
        isDisabled={!props.live}
        onAct={props.onCancel}
      />
      <ActionButton
        icon={retryIcon}
        label={trans.__('Run the calls of the selected tasks again')}
        text={props.ended ? trans.__('Run %1 again', props.ended) : trans.__('Run again')}
        isDisabled={!props.ended}
        onAct={props.onRetry}
      />
      <ActionButton
        icon={refreshIcon}
        label={trans.__('Read everything again (F5)')}
        onAct={() => void attempt(() => funcx.refresh())}
      />
    </div>
  );
}

function StateChoice(props: IToolbarProps): React.ReactElement {
  const { trans } = useView();
  const states = props.query.states ?? [];
  const group = Object.keys(GROUPS).find(name => GROUPS[name].join() === states.join());
  return (
    <select
      className="fxl-Input"
      aria-label={trans.__('State')}
      value={group ?? states[0] ?? ''}
      onChange={event => {
        const value = event.target.value;
        props.onQuery({ ...props.query, states: value ? (GROUPS[value] ?? [value as TaskState]) : undefined });
      }}
    >
      <option value="">{trans.__('All states')}</option>
      <option value="live">{trans.__('Not ended')}</option>
      <option value="ended">{trans.__('Ended')}</option>
      {STATES.map(state => (
        <option key={state} value={state}>
          {wordOf(state, trans)}
        </option>
      ))}
    </select>
  );
}

function EndpointChoice(props: IToolbarProps): React.ReactElement {
  const { funcx, trans } = useView();
  useChanged(funcx.endpointsChanged);
  const chosen = props.query.endpoint ?? '';
  const known = funcx.endpoints.find(each => each.endpoint_id === chosen || each.name === chosen);
  return (
    <select
      className="fxl-Input"
      aria-label={trans.__('Endpoint')}
      value={known?.endpoint_id ?? chosen}
      onChange={event => props.onQuery({ ...props.query, endpoint: event.target.value || undefined })}
    >
      <option value="">{trans.__('All endpoints')}</option>
      {chosen && !known && <option value={chosen}>{chosen}</option>}
      {funcx.endpoints.map(each => (
        <option key={each.endpoint_id} value={each.endpoint_id}>
          {each.name}
        </option>
      ))}
    </select>
  );
}
