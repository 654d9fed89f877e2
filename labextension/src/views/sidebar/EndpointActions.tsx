import { runIcon, stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { dashboardIcon, runRemoteIcon } from '../../icons';
import { ActionButton } from '../shared/ActionButton';
import { execute, openDashboard } from '../shared/actions';
import { useView } from '../shared/context';
import type { IEndpointEntry } from './endpointFacts';
import type { IMachine } from './useMachine';

/** What can be done with an endpoint: use it, see its dashboard, start or stop it on this machine. */
export function EndpointActions(props: { entry: IEndpointEntry; machine: IMachine; tabIndex: number }): React.ReactElement {
  const { entry, tabIndex } = props;
  const view = useView();
  const { funcx, trans } = view;
  const { endpoint } = entry;
  return (
    <span className="fxl-Row-actions">
      {endpoint && (
        <ActionButton
          icon={runRemoteIcon}
          label={trans.__('Use %1 in this notebook', entry.name)}
          tabIndex={tabIndex}
          onAct={() => execute(view, 'funcx:choose-endpoint', { endpoint: entry.name })}
        />
      )}
      {endpoint && funcx.status.dashboards && (
        <ActionButton
          icon={dashboardIcon}
          label={trans.__('Open the dashboard of %1', entry.name)}
          tabIndex={tabIndex}
          onAct={() => openDashboard(view, 'scaling', endpoint.endpoint_id)}
        />
      )}
      {entry.machine && <StartStop name={entry.machine.name} {...props} />}
    </span>
  );
}

function StartStop(props: { name: string; entry: IEndpointEntry; machine: IMachine; tabIndex: number }): React.ReactElement {
  const { name, machine } = props;
  const { trans } = useView();
  const isRunning = props.entry.machine?.state === 'running';
  return (
    <ActionButton
      icon={isRunning ? stopIcon : runIcon}
      label={isRunning ? trans.__('Stop %1 on this machine', name) : trans.__('Start %1 on this machine', name)}
      isDisabled={machine.busy.has(name)}
      tabIndex={props.tabIndex}
      onAct={() => (isRunning ? machine.stop(name) : machine.start(name))}
    />
  );
}
