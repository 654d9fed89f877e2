/** The one `IFuncX` of a page. */

import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import { DisposableDelegate } from '@lumino/disposable';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

import type {
  IEndpoint,
  IFollower,
  IFuncX,
  IFunction,
  IMachineEndpoint,
  IServiceStatus,
  ITask,
  ITaskPage,
  ITaskQuery
} from '../tokens';
import { TaskBook } from './book';
import { Connection } from './connection';
import type { Document, ITranslate, WatchMessage } from './documents';
import { readEndpoint, readFunction } from './documents';
import { Followers } from './followers';
import { Gatherer } from './gatherer';
import { listTasks } from './listing';
import { Reload } from './reload';
import { Rest } from './rest';

const UNKNOWN: IServiceStatus = {
  state: 'connecting',
  user: null,
  service: '',
  mode: null,
  readOnly: false,
  dashboards: false,
  problem: null
};

/** Tasks, endpoints and functions of the hub service, kept up to date. */
export class FuncX implements IFuncX {
  constructor(settings: ServerConnection.ISettings, trans: ITranslate) {
    this._rest = new Rest(settings, trans);
    this._followers = new Followers(this._rest, command => this.connection.say(command));
    this._reload = new Reload(this._rest, this._book, changed => this._changed.add(changed));
    this.connection = new Connection(this._rest, {
      status: status => this._setStatus(status),
      message: message => this._hear(message),
      opened: () => this._followers.opened(),
      closed: () => {
        this._followers.closed();
        this._reload.closed();
      },
      poll: () => this._poll()
    });
  }

  /** The connection; not part of `IFuncX`. */
  readonly connection: Connection;

  readonly statusChanged: Signal<IFuncX, IServiceStatus> = new Signal(this);
  readonly endpointsChanged: Signal<IFuncX, void> = new Signal(this);
  readonly tasksChanged: Signal<IFuncX, readonly string[]> = new Signal(this);
  readonly countsChanged: Signal<IFuncX, void> = new Signal(this);

  get status(): IServiceStatus {
    return this._status;
  }

  get endpoints(): readonly IEndpoint[] {
    return this._endpoints;
  }

  get tasks(): ReadonlyMap<string, ITask> {
    return this._book.tasks;
  }

  get counts(): { readonly [state: string]: number } {
    return this._counts;
  }

  refresh(): Promise<void> {
    return this.connection.restart();
  }

  async task(taskId: string): Promise<ITask> {
    const task = await this._rest.task(taskId);
    this._changed.add(this._book.merge([task], false));
    return this._book.tasks.get(task.task_id) ?? task;
  }

  async listTasks(query: ITaskQuery): Promise<ITaskPage> {
    const page = await listTasks(before => this._rest.tasks({ ...query, before }), query.before ?? null);
    this._changed.add(this._book.merge(page.tasks, false));
    return page;
  }

  async listFunctions(): Promise<readonly IFunction[]> {
    const answer = await this._rest.get<{ functions: Document[] }>('api/v3/functions');
    return answer.functions.map(readFunction);
  }

  follow(taskId: string, after: number, follower: IFollower): IDisposable {
    const leave = this._followers.add(taskId, after, follower);
    return new DisposableDelegate(leave);
  }

  async cancel(taskIds: readonly string[]): Promise<readonly string[]> {
    return taskIds.length ? this._rest.cancel(taskIds) : [];
  }

  retry(taskId: string): Promise<string> {
    return this._rest.retry(taskId);
  }

  inputs(taskId: string): ReturnType<IFuncX['inputs']> {
    return this._rest.inputs(taskId);
  }

  machineEndpoints(): Promise<readonly IMachineEndpoint[]> {
    return this._rest.machineEndpoints();
  }

  startEndpoint(name: string): Promise<void> {
    return this._rest.machine(name, 'start');
  }

  stopEndpoint(name: string): Promise<void> {
    return this._rest.machine(name, 'stop');
  }

  async setNotebookEndpoint(path: string, endpoint: string | null): Promise<void> {
    await this._rest.send('PUT', 'notebooks', { path, default_endpoint: endpoint });
  }

  dashboardUrl(name: string, options: { theme: 'light' | 'dark'; endpoint?: string }): string {
    const query = { theme: options.theme, ...(options.endpoint ? { endpoint: options.endpoint } : {}) };
    return this._rest.address(`dash/${encodeURIComponent(name)}`) + URLExt.objectToQueryString(query);
  }

  private _setStatus(status: Partial<IServiceStatus>): void {
    const given = Object.entries(status).filter(([, value]) => value !== undefined);
    const next = { ...this._status, ...Object.fromEntries(given) };
    if (JSON.stringify(next) !== JSON.stringify(this._status)) {
      this._status = next;
      this.statusChanged.emit(next);
    }
  }

  private _hear(message: WatchMessage): void {
    switch (message.type) {
      case 'hello':
        this._reload.expectFirst();
        this._setStatus({ user: message.user, readOnly: Boolean(message.read_only) });
        break;
      case 'endpoints':
        this._setEndpoints(message.endpoints);
        break;
      case 'counts':
        this._setCounts(message.tasks);
        break;
      case 'tasks':
        this._changed.add(this._book.merge(message.tasks, true));
        this._reload.heard(message.tasks);
        break;
      case 'gone':
        this._changed.add(this._book.forget(message.task_ids));
        break;
      case 'reload':
        this._reload.ask();
        break;
      case 'events':
        this._followers.told(message.task_id, message.events, message.ended);
        break;
      case 'error':
        this._followers.failed(message);
        break;
    }
  }

  private async _poll(): Promise<void> {
    const { endpoints, counts } = await this._rest.overview();
    this._setEndpoints(endpoints);
    this._setCounts(counts);
    await this._reload.now();
    await this._followers.ask();
  }

  private _setEndpoints(documents: readonly Document[]): void {
    const endpoints = documents.map(readEndpoint);
    if (JSON.stringify(endpoints) !== JSON.stringify(this._endpoints)) {
      this._endpoints = endpoints;
      this.endpointsChanged.emit();
    }
  }

  private _setCounts(counts: { readonly [state: string]: number }): void {
    this._counts = counts;
    this.countsChanged.emit();
  }

  private readonly _rest: Rest;
  private readonly _book = new TaskBook();
  private readonly _changed = new Gatherer(ids => this.tasksChanged.emit(ids));
  private readonly _followers: Followers;
  private readonly _reload: Reload;
  private _status = UNKNOWN;
  private _endpoints: readonly IEndpoint[] = [];
  private _counts: { readonly [state: string]: number } = {};
}
