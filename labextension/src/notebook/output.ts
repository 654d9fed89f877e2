/** What an output says of its task, read with care: a notebook comes from anywhere. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';

import { FINAL_STATES, TASK_MIME } from '../tokens';
import type { TaskState } from '../tokens';
import { originIn } from './fingerprint';
import type { IOrigin } from './fingerprint';
import type { IFault } from './fixes';

/** An output with a task. */
export interface IOutput {
  /** `''` if it names none. */
  readonly taskId: string;
  readonly endpoint: string;
  /** A card shows its task; a line stands above outputs that the kernel shows itself. */
  readonly view: 'card' | 'line';
  /** How the task ended, as far as the kernel knew. */
  readonly ended: TaskState | null;
  /** Why nothing was sent. */
  readonly refused: IFault | null;
  readonly origin: IOrigin | null;
}

const ID = /^[\w-]{1,64}$/;

/** Return what an output says. */
export function readOutput(model: IRenderMime.IMimeModel): IOutput {
  const facts = record(model.data[TASK_MIME]);
  const metadata = record(model.metadata['funcx']);
  const taskId = text(facts.task_id);
  const state = text(metadata.state) as TaskState;
  return {
    taskId: ID.test(taskId) ? taskId : '',
    endpoint: text(facts.endpoint),
    view: facts.view === 'line' ? 'line' : 'card',
    ended: FINAL_STATES.has(state) ? state : null,
    refused: faultIn(facts.refused),
    origin: originIn(metadata)
  };
}

function faultIn(value: unknown): IFault | null {
  const { code, details } = record(value);
  return typeof code === 'string' ? { code, details: record(details) } : null;
}

function record(value: unknown): { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null ? (value as { [key: string]: unknown }) : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
