/** The endpoints that are configured on the Jupyter server's machine. */

import * as React from 'react';

import type { IMachineEndpoint } from '../../tokens';
import { attempt } from '../shared/actions';
import { useView } from '../shared/context';

/** What `useMachine` gives. */
export interface IMachine {
  readonly endpoints: readonly IMachineEndpoint[];
  /** Names of those that are being started or stopped. */
  readonly busy: ReadonlySet<string>;
  start(name: string): void;
  stop(name: string): void;
}

/**
 * Read the machine's endpoints again whenever `occasion` changes.
 *
 * A server that cannot tell them has none to start: that is no error here.
 */
export function useMachine(occasion: string): IMachine {
  const { funcx, isShown } = useView();
  const [endpoints, setEndpoints] = React.useState<readonly IMachineEndpoint[]>([]);
  const [busy, setBusy] = React.useState<ReadonlySet<string>>(new Set());
  const read = async () => {
    setEndpoints(await funcx.machineEndpoints().catch(() => []));
  };
  React.useEffect(() => {
    if (isShown && funcx.status.state !== 'no-extension') {
      void read();
    }
  }, [occasion, isShown]);
  const doing = async (name: string, work: () => Promise<void>) => {
    setBusy(names => new Set([...names, name]));
    await attempt(work);
    await read();
    setBusy(names => new Set([...names].filter(other => other !== name)));
  };
  return {
    endpoints,
    busy,
    start: name => void doing(name, () => funcx.startEndpoint(name)),
    stop: name => void doing(name, () => funcx.stopEndpoint(name))
  };
}
