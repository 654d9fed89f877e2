/** Requests to the Jupyter server's extension, and through it to the hub service. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { FuncXError } from '../tokens';
import type { IMachineEndpoint, IProblem, ITask, ITaskPage, TaskState } from '../tokens';
import type { Document, ITranslate, NumberedEvent } from './documents';
import { loggedOut, noExtension, problemOf, unreachable } from './problems';

/** What the Jupyter server's extension is mounted at, below the server's base URL. */
const ROOT = 'funcx-lab';
/** The service's own limit of a page of tasks. */
export const PAGE = 1000;

/** Codes with which the server extension refuses a browser. */
const REFUSALS: ReadonlySet<string> = new Set(['NOT_AUTHORIZED', 'NOT_AUTHENTICATED', 'JUPYTER_LOGIN']);

type Arguments = { readonly [name: string]: string | number | null | undefined };

/** Asks the server extension; every refusal is a `FuncXError`. */
export class Rest {
  constructor(
    readonly settings: ServerConnection.ISettings,
    private readonly _trans: ITranslate
  ) {}

  /** Return the address of a path below the extension. */
  address(path: string): string {
    return URLExt.join(this.settings.baseUrl, ROOT, path);
  }

  /** Return the address of the watch. */
  watchAddress(): string {
    const { wsUrl, token, appendToken } = this.settings;
    const address = URLExt.join(wsUrl, ROOT, 'api/v3/watch');
    return appendToken && token ? `${address}?token=${encodeURIComponent(token)}` : address;
  }

  /** `GET funcx-lab/status`, which every server extension of ours has. */
  async status(): Promise<Document> {
    try {
      return await this.get('status');
    } catch (error) {
      const { code } = problemIn(error);
      if (code === 'HTTP_404') {
        throw new FuncXError(noExtension(this._trans));
      }
      // This route answers whoever is logged in.
      throw REFUSALS.has(code) ? new FuncXError(loggedOut(this._trans)) : error;
    }
  }

  /** Everything that the watch tells first. */
  async overview(): Promise<{ endpoints: Document[]; counts: Record<string, number> }> {
    const [endpoints, stats] = await Promise.all([
      this.get<{ endpoints: Document[] }>('api/v3/endpoints'),
      this.get<{ tasks: Record<string, number> }>('api/v3/stats')
    ]);
    return { endpoints: endpoints.endpoints, counts: stats.tasks };
  }

  /** One task. */
  task(taskId: string): Promise<ITask> {
    return this.get(`api/v3/tasks/${encodeURIComponent(taskId)}`);
  }

  /** One page of tasks. */
  tasks(query: {
    states?: readonly TaskState[];
    endpoint?: string;
    group?: string;
    text?: string;
    limit?: number;
    before?: number | null;
  }): Promise<ITaskPage> {
    const { states, ...others } = query;
    return this.get('api/v3/tasks', { state: states?.join(','), ...others });
  }

  /** One page of a task's log. */
  events(taskId: string, after: number): Promise<{ events: NumberedEvent[]; ended: boolean }> {
    return this.get(`api/v3/tasks/${encodeURIComponent(taskId)}/events`, { after });
  }

  /** What a task was given. */
  inputs(taskId: string): Promise<{ inputs: Array<{ name: string; size: number }>; source: string | null }> {
    return this.get(`api/v3/tasks/${encodeURIComponent(taskId)}/inputs`);
  }

  /** Cancel tasks; return the ids of those that are cancelled now. */
  async cancel(taskIds: readonly string[]): Promise<readonly string[]> {
    const answer = await this.send<{ cancelled: string[] }>('POST', 'api/v3/tasks/cancel', { task_ids: taskIds });
    return answer.cancelled;
  }

  /** Run the same call again; return the new task's id. */
  async retry(taskId: string): Promise<string> {
    const path = `api/v3/tasks/${encodeURIComponent(taskId)}/retry`;
    return (await this.send<{ task_id: string }>('POST', path, {})).task_id;
  }

  /** Endpoints configured on the Jupyter server's machine. */
  async machineEndpoints(): Promise<readonly IMachineEndpoint[]> {
    return (await this.get<{ endpoints: IMachineEndpoint[] }>('machine/endpoints')).endpoints;
  }

  /** Start or stop one of them. */
  async machine(name: string, verb: 'start' | 'stop'): Promise<void> {
    await this.send('POST', `machine/endpoints/${encodeURIComponent(name)}/${verb}`, {});
  }

  /** `GET` a JSON document. */
  get<T = Document>(path: string, args: Arguments = {}): Promise<T> {
    const given = Object.entries(args).filter(([, value]) => value !== null && value !== undefined && value !== '');
    const query = given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join('&');
    return this._request(query ? `${path}?${query}` : path, { method: 'GET', cache: 'no-store' });
  }

  /** Send a JSON document; return the answer's. */
  send<T = Document>(method: 'POST' | 'PUT' | 'DELETE', path: string, body: unknown): Promise<T> {
    const headers = { 'Content-Type': 'application/json' };
    return this._request(path, { method, headers, body: JSON.stringify(body) });
  }

  private async _request<T>(path: string, init: RequestInit): Promise<T> {
    let response: Response;
    let text: string;
    const [bare, query] = path.split('?', 2);
    const url = this.address(bare) + (query ? `?${query}` : '');
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
      text = await response.text();
    } catch {
      throw new FuncXError(unreachable(this._trans));
    }
    if (!response.ok) {
      throw new FuncXError(problemOf(response.status, text, this._trans));
    }
    try {
      return (text ? JSON.parse(text) : {}) as T;
    } catch {
      // A login page, or a proxy's own page, with status 200.
      throw new FuncXError(loggedOut(this._trans));
    }
  }
}

/** Return what is wrong, in words, whatever was thrown. */
export function problemIn(error: unknown): IProblem {
  if (error instanceof FuncXError) {
    return error.problem;
  }
  return { code: 'PAGE', message: error instanceof Error ? error.message : String(error), try: '' };
}
