import { refreshIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { IProblem } from '../../tokens';
import { ActionButton } from '../shared/ActionButton';
import { attempt } from '../shared/actions';
import { useView } from '../shared/context';

/** What is wrong with the service, and what to do. */
export function ServiceProblem(props: { problem: IProblem }): React.ReactElement {
  const { funcx, trans } = useView();
  const [isBusy, setBusy] = React.useState(false);
  const retry = async () => {
    setBusy(true);
    await attempt(() => funcx.refresh());
    setBusy(false);
  };
  return (
    <div className="fxl-Problem" role="alert">
      <p>{props.problem.message}</p>
      {props.problem.try && <p className="fxl-Problem-try">{props.problem.try}</p>}
      <div className="fxl-Problem-foot">
        <ActionButton
          icon={refreshIcon}
          label={trans.__('Connect again')}
          text={isBusy ? trans.__('Connecting …') : trans.__('Try again')}
          isDisabled={isBusy}
          onAct={() => void retry()}
        />
        <code>{props.problem.code}</code>
      </div>
    </div>
  );
}
