import { refreshIcon, tableRowsIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ActionButton } from '../shared/ActionButton';
import { attempt } from '../shared/actions';
import { useView } from '../shared/context';
import { useChanged } from '../shared/hooks';
import { ServiceProblem } from './ServiceProblem';

/** Who is connected to which service, and what to do if nobody is. */
export function ServiceHeader(): React.ReactElement {
  const { funcx, trans, views } = useView();
  useChanged(funcx.statusChanged);
  const { state, user, service, mode, readOnly } = funcx.status;
  const place = mode === 'jupyterhub' ? 'JupyterHub' : service;
  const words = {
    online: [user, place].filter(Boolean).join(' · ') || trans.__('connected'),
    connecting: trans.__('connecting …'),
    offline: trans.__('not connected'),
    'no-extension': trans.__('not installed')
  };
  const text = readOnly && state === 'online' ? `${words[state]} · ${trans.__('read only')}` : words[state];
  return (
    <div className="fxl-Service">
      <div className="fxl-Service-line">
        <span className={state === 'online' ? 'fxl-Dot fxl-mod-online' : 'fxl-Dot'} aria-hidden="true" />
        <span className="fxl-Service-text" title={text} role="status">
          {text}
        </span>
        <ActionButton icon={tableRowsIcon} label={trans.__('Open the task table')} onAct={() => views.openTasks()} />
        <ActionButton
          icon={refreshIcon}
          label={trans.__('Read everything again (F5)')}
          onAct={() => void attempt(() => funcx.refresh())}
        />
      </div>
      {funcx.status.problem && <ServiceProblem problem={funcx.status.problem} />}
    </div>
  );
}
