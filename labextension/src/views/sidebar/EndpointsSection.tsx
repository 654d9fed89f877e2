import * as React from 'react';

import { useView } from '../shared/context';
import { useChanged } from '../shared/hooks';
import { useRoving } from '../shared/useRoving';
import { joinEndpoints } from './endpointFacts';
import { EndpointRow } from './EndpointRow';
import { Hint } from './Hint';
import { useMachine } from './useMachine';

/** The endpoints that the user may use, and those of this machine. */
export function EndpointsSection(): React.ReactElement {
  const { funcx, trans } = useView();
  useChanged(funcx.endpointsChanged, funcx.statusChanged);
  const states = funcx.endpoints.map(each => `${each.endpoint_id}=${each.status}`).join();
  const machine = useMachine(`${funcx.status.state} ${states}`);
  const entries = joinEndpoints(funcx.endpoints, machine.endpoints);
  const roving = useRoving(entries.map(entry => entry.key));
  if (!entries.length) {
    return <Hint>{trans.__('No endpoint yet. `funcx-endpoint configure NAME` on a cluster makes one.')}</Hint>;
  }
  return (
    <ul className="fxl-Rows" role="list" aria-label={trans.__('Endpoints')} {...roving.list}>
      {entries.map(entry => (
        <EndpointRow key={entry.key} entry={entry} machine={machine} tabIndex={roving.tabIndex(entry.key)} />
      ))}
    </ul>
  );
}
