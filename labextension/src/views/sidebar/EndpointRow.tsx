import * as React from 'react';

import { useView } from '../shared/context';
import { EndpointActions } from './EndpointActions';
import type { IEndpointEntry } from './endpointFacts';
import { isOnline, loadWords, stateWord } from './endpointFacts';
import type { IMachine } from './useMachine';
import { WorkersBar } from './WorkersBar';

/** One endpoint in the side panel; Enter lists its tasks. */
export const EndpointRow = React.memo(
  function EndpointRow(props: { entry: IEndpointEntry; machine: IMachine; tabIndex: number }) {
    const { entry, machine, tabIndex } = props;
    const { trans, views } = useView();
    const { endpoint } = entry;
    const word = machine.busy.has(entry.machine?.name ?? '') ? trans.__('a moment …') : stateWord(entry, trans);
    const load = endpoint && isOnline(entry) ? loadWords(endpoint, trans) : '';
    const why = endpoint?.reason ?? (endpoint ? '' : trans.__('Configured on this machine.'));
    const sharing = endpoint?.shared ? trans.__('shared by %1', endpoint.owner ?? '?') : '';
    const facts = [load, sharing, why].filter(Boolean).join(' · ');
    return (
      <li className="fxl-Row" data-item={entry.key}>
        <button
          type="button"
          className="fxl-Row-main"
          data-key={entry.key}
          tabIndex={tabIndex}
          onClick={() => views.openTasks(endpoint ? { endpoint: endpoint.endpoint_id } : {})}
        >
          <span className="fxl-Row-head">
            <span className={isOnline(entry) ? 'fxl-Dot fxl-mod-online' : 'fxl-Dot'} aria-hidden="true" />
            <span className="fxl-Row-name" title={entry.name}>
              {entry.name}
            </span>
            <span className="fxl-Row-word">{word}</span>
          </span>
          {endpoint?.workers && isOnline(entry) && <WorkersBar workers={endpoint.workers} />}
          {facts && (
            <span className="fxl-Row-facts" title={facts}>
              {facts}
            </span>
          )}
        </button>
        <EndpointActions entry={entry} machine={machine} tabIndex={tabIndex} />
      </li>
    );
  },
  (before, after) =>
    before.tabIndex === after.tabIndex &&
    before.entry.endpoint === after.entry.endpoint &&
    before.entry.machine === after.entry.machine &&
    before.machine.busy === after.machine.busy
);
