/** What the service's JSON documents mean here. No I/O here. */

import type { IEndpoint, IFunction, IProblem, IServiceStatus, ITask, ITaskEvent } from '../tokens';

/** Translates texts; a bundle of JupyterLab's translator does. */
export interface ITranslate {
  __(text: string, ...values: unknown[]): string;
}

/** A JSON object of which nothing is known yet. */
export type Document = { readonly [name: string]: unknown };

/** A log entry with its sequence number. */
export type NumberedEvent = readonly [number, ITaskEvent];

/** What `/v3/watch` tells. */
export type WatchMessage =
  | { readonly type: 'hello'; readonly user: string; readonly read_only?: boolean }
  | { readonly type: 'endpoints'; readonly endpoints: readonly Document[] }
  | { readonly type: 'counts'; readonly tasks: { readonly [state: string]: number } }
  | { readonly type: 'tasks'; readonly tasks: readonly ITask[] }
  | { readonly type: 'gone'; readonly task_ids: readonly string[] }
  | { readonly type: 'reload' }
  | {
      readonly type: 'events';
      readonly task_id: string;
      readonly events: readonly NumberedEvent[];
      readonly ended: boolean;
    }
  | { readonly type: 'error'; readonly code: string; readonly message: string; readonly task_id?: string };

/** Return the endpoint that a document of `GET /v3/endpoints` describes. */
export function readEndpoint(document: Document): IEndpoint {
  return { ...document, status: document.status ?? document.state } as unknown as IEndpoint;
}

/** Return the function that a document of `GET /v3/functions` describes. */
export function readFunction(document: Document): IFunction {
  const { function_uuid: id, function_name: name } = document;
  return { ...document, function_id: document.function_id ?? id, name: document.name ?? name } as IFunction;
}

/** Return a message of `/v3/watch`, or null if it is none; types that are not known yet come through unread. */
export function readMessage(text: unknown): WatchMessage | null {
  const message = readObject(text);
  return typeof message?.type === 'string' ? (message as unknown as WatchMessage) : null;
}

/** Return the JSON object that a text is, or null. */
export function readObject(text: unknown): Document | null {
  try {
    const value: unknown = JSON.parse(String(text));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Document) : null;
  } catch {
    return null;
  }
}

/** Return what `GET funcx-lab/status` says, as the views know it. */
export function readStatus(document: Document): IServiceStatus {
  const problem = (document.problem as IProblem | null | undefined) ?? null;
  return {
    state: document.ok ? 'online' : 'offline',
    user: (document.user as string | null | undefined) ?? null,
    service: String(document.service ?? ''),
    mode: (document.mode as IServiceStatus['mode'] | undefined) ?? null,
    readOnly: Boolean(document.read_only),
    dashboards: Boolean(document.dashboards),
    problem: problem === null ? null : readProblem(problem as unknown as Document)
  };
}

/** Return the problem that an error body tells. */
export function readProblem(document: Document): IProblem {
  const message = document.message ?? document.reason ?? '';
  return { code: String(document.code ?? ''), message: String(message), try: String(document.try ?? '') };
}
