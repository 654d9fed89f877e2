/** What the parts of the extension share: the facts of the hub service, and the token `IFuncX`. */

import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

/** The states of a task, in the order of its life. */
export type TaskState =
  | 'received'
  | 'waiting-for-ep'
  | 'waiting-for-nodes'
  | 'waiting-for-launch'
  | 'running'
  | 'success'
  | 'failed'
  | 'cancelled'
  | 'expired';

/** Why a task failed, in words. */
export interface ITaskError {
  readonly code: string;
  readonly message: string;
  /** The exception's type, or `''`. */
  readonly type: string;
  readonly traceback: string;
}

/** One task, as `GET /v3/tasks/{id}` tells it. Times are Unix seconds. */
export interface ITask {
  readonly task_id: string;
  readonly task_group_id: string;
  readonly function_id: string;
  readonly function_name: string;
  readonly endpoint_id: string;
  readonly endpoint_name: string;
  readonly owner?: string;
  readonly state: TaskState;
  readonly reason: string;
  readonly label: string | null;
  /** `[first, count, total]` of a map's items. */
  readonly items: readonly [number, number, number] | null;
  readonly received: number;
  readonly started: number | null;
  readonly ended: number | null;
  readonly attempts: number;
  readonly error: ITaskError | null;
  readonly worker: { readonly [fact: string]: unknown };
  readonly code_hash: string;
  readonly input_hash: string;
  readonly reused_from: string | null;
  readonly saved_s: number | null;
  readonly repeats: string | null;
  readonly session?: string | null;
  readonly memo?: boolean;
}

/** One endpoint, as `GET /v3/endpoints` lists it. */
export interface IEndpoint {
  readonly endpoint_id: string;
  readonly name: string;
  readonly owner?: string;
  /** Whether somebody else shares it with the user. */
  readonly shared?: boolean;
  readonly shared_with?: readonly string[];
  /** `online`, `offline` and so on. */
  readonly status: string;
  /** Unix seconds at which it came into this state. */
  readonly since?: number | null;
  readonly reason?: string;
  readonly queue?: { readonly waiting: number; readonly running: number };
  readonly workers?: { readonly busy: number; readonly idle: number; readonly pending: number } | null;
  readonly blocks?: { readonly [state: string]: number } | null;
}

/** One registered function. */
export interface IFunction {
  readonly function_id: string;
  readonly name: string;
  /** Unix seconds. */
  readonly created: number;
  readonly [fact: string]: unknown;
}

/** An entry of a task's log. */
export interface ITaskEvent {
  /** Unix seconds. */
  readonly time: number;
  readonly kind: 'stdout' | 'stderr' | 'display' | 'update_display' | 'clear' | 'progress' | 'state' | 'error';
  readonly data: unknown;
}

/** What is wrong, and what to do, in words. */
export interface IProblem {
  readonly code: string;
  readonly message: string;
  readonly try: string;
}

/** How the connection to the hub service is. */
export interface IServiceStatus {
  /** `connecting` at first; `no-extension` when the Jupyter server lacks the server extension. */
  readonly state: 'connecting' | 'online' | 'offline' | 'no-extension';
  readonly user: string | null;
  readonly service: string;
  readonly mode: 'standalone' | 'jupyterhub' | null;
  readonly readOnly: boolean;
  readonly dashboards: boolean;
  readonly problem: IProblem | null;
}

/** An endpoint that is configured on the Jupyter server's machine. */
export interface IMachineEndpoint {
  readonly name: string;
  readonly state: 'running' | 'stopped';
  readonly endpoint_id: string | null;
}

/** What to list: all filters hold together. */
export interface ITaskQuery {
  readonly states?: readonly TaskState[];
  /** Name or id. */
  readonly endpoint?: string;
  readonly group?: string;
  /** Part of a label or function name. */
  readonly text?: string;
  readonly limit?: number;
  /** `next` of the page before. */
  readonly before?: number;
}

/** One page of tasks, newest first. */
export interface ITaskPage {
  readonly tasks: readonly ITask[];
  /** Where the next page begins; null behind the last one. */
  readonly next: number | null;
}

/** Receives a task's log. */
export interface IFollower {
  /** Entries with their sequence numbers, each once and in order. */
  events(entries: ReadonlyArray<readonly [number, ITaskEvent]>, ended: boolean): void;
  /** The log cannot be read. */
  failed?(problem: IProblem): void;
}

/** The hub service as the browser sees it; one for all views of a page. */
export interface IFuncX {
  readonly status: IServiceStatus;
  readonly statusChanged: ISignal<IFuncX, IServiceStatus>;

  /** The user's endpoints and those shared with them. */
  readonly endpoints: readonly IEndpoint[];
  readonly endpointsChanged: ISignal<IFuncX, void>;

  /** Every task that this page has heard of, by id: live ones, the newest ended ones, and what was asked for. */
  readonly tasks: ReadonlyMap<string, ITask>;
  /** Tells the ids that are new, changed or gone; at most 4 times a second. */
  readonly tasksChanged: ISignal<IFuncX, readonly string[]>;

  /** How many of the user's tasks are in which state, all of them. */
  readonly counts: { readonly [state: string]: number };
  readonly countsChanged: ISignal<IFuncX, void>;

  /** Connect again and read everything again. */
  refresh(): Promise<void>;
  /** Return one task. @throws FuncXError if there is none. */
  task(taskId: string): Promise<ITask>;
  listTasks(query: ITaskQuery): Promise<ITaskPage>;
  listFunctions(): Promise<readonly IFunction[]>;
  /** Follow a task's log behind `after` until disposed; survives a lost connection without gap or repetition. */
  follow(taskId: string, after: number, follower: IFollower): IDisposable;
  /** Return the ids that are cancelled now; the others had ended. */
  cancel(taskIds: readonly string[]): Promise<readonly string[]>;
  /** Run the same call again; return the new task's id. */
  retry(taskId: string): Promise<string>;
  /** What a task was given, by name and size in bytes, and its function's source if it is known. */
  inputs(taskId: string): Promise<{
    inputs: ReadonlyArray<{ name: string; size: number; type?: string }>;
    source: string | null;
  }>;

  /** Endpoints configured on the Jupyter server's machine. */
  machineEndpoints(): Promise<readonly IMachineEndpoint[]>;
  startEndpoint(name: string): Promise<void>;
  stopEndpoint(name: string): Promise<void>;

  /** Tell kernels of the notebook at `path` (contents path) its default endpoint. */
  setNotebookEndpoint(path: string, endpoint: string | null): Promise<void>;
  /** Address of a dashboard on the Jupyter server. */
  dashboardUrl(name: string, options: { theme: 'light' | 'dark'; endpoint?: string }): string;
}

/** The hub service, for any plugin that wants to show or do something with tasks. */
export const IFuncX = new Token<IFuncX>(
  'funcx-lab:IFuncX',
  'Tasks, endpoints and functions of the funcx-lab hub service, and what happens to them.'
);

/** Shows tasks; provided by the views. */
export interface IFuncXViews {
  /** Show one task in the main area. */
  openTask(taskId: string): void;
  /** Show the task table. */
  openTasks(query?: ITaskQuery): void;
}

/** Opens the views of tasks. */
export const IFuncXViews = new Token<IFuncXViews>('funcx-lab:IFuncXViews', 'Opens task views and the task table.');

/** What the service or the server extension refused, in words. */
export class FuncXError extends Error {
  constructor(readonly problem: IProblem) {
    super(problem.message);
  }
}

/** MIME type of a task in an output. */
export const TASK_MIME = 'application/vnd.funcx.task.v1+json';
/** MIME type of a dashboard in an output. */
export const DASHBOARD_MIME = 'application/vnd.funcx.dashboard.v1+json';

/** States that a task does not leave. */
export const FINAL_STATES: ReadonlySet<TaskState> = new Set(['success', 'failed', 'cancelled', 'expired']);
