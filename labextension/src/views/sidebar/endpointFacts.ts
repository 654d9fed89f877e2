/** What the side panel tells of an endpoint. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IEndpoint, IMachineEndpoint } from '../../tokens';

/** An endpoint of the service, of this machine, or both. */
export interface IEndpointEntry {
  readonly key: string;
  readonly name: string;
  readonly endpoint: IEndpoint | null;
  readonly machine: IMachineEndpoint | null;
}

/** Return the service's endpoints with what is known of them here, and those that only this machine has. */
export function joinEndpoints(
  endpoints: readonly IEndpoint[],
  machine: readonly IMachineEndpoint[]
): readonly IEndpointEntry[] {
  const byId = new Map(machine.map(each => [each.endpoint_id, each]));
  const known = new Set(endpoints.map(each => each.endpoint_id));
  const joined = endpoints.map(endpoint => ({
    key: endpoint.endpoint_id,
    name: endpoint.name,
    endpoint,
    machine: byId.get(endpoint.endpoint_id) ?? null
  }));
  const unknown = machine.filter(each => each.endpoint_id === null || !known.has(each.endpoint_id));
  const only = unknown.map(each => ({ key: `machine:${each.name}`, name: each.name, endpoint: null, machine: each }));
  return [...joined, ...only].sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
}

function rank(entry: IEndpointEntry): number {
  return entry.endpoint?.status === 'online' ? 0 : 1;
}

/** Whether an endpoint takes tasks now. */
export function isOnline(entry: IEndpointEntry): boolean {
  return entry.endpoint?.status === 'online';
}

/** Return an endpoint's state in words. */
export function stateWord(entry: IEndpointEntry, trans: TranslationBundle): string {
  switch (entry.endpoint?.status ?? entry.machine?.state) {
    case 'online':
      return trans.__('online');
    case 'offline':
      return trans.__('offline');
    case 'registered':
      return trans.__('never connected');
    case 'stopped':
      return trans.__('stopped');
    case 'running':
      return trans.__('starting');
    default:
      return entry.endpoint?.status ?? trans.__('unknown');
  }
}

/** Return what its workers do and what waits, in words; `''` if nothing is known. */
export function loadWords(endpoint: IEndpoint, trans: TranslationBundle): string {
  const words = [];
  const { workers, queue } = endpoint;
  if (workers) {
    words.push(trans.__('%1 busy', workers.busy), trans.__('%1 idle', workers.idle));
    if (workers.pending) {
      words.push(trans.__('%1 pending', workers.pending));
    }
  }
  if (queue?.waiting) {
    words.push(trans.__('%1 of yours waiting', queue.waiting));
  }
  return words.join(' · ');
}
