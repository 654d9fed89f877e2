/** The page's one connection: asks for the status, opens the watch, and does what its course decides. */

import type { IServiceStatus } from '../tokens';
import { Course } from './course';
import type { Step } from './course';
import { readMessage, readStatus } from './documents';
import type { WatchMessage } from './documents';
import { NO_EXTENSION } from './problems';
import { problemIn } from './rest';
import type { Rest } from './rest';

/** The watch has to say hello within this many milliseconds. */
const HELLO_MS = 20_000;
/** While an answer takes longer than so many milliseconds nobody knows how the service is. */
const SLOW_MS = 5000;
/** A hidden page stops listening after this many milliseconds. */
const HIDDEN_MS = 30_000;

/** What the connection tells its owner. */
export interface IListener {
  /** How the service is, as its status or the lack of an answer says. */
  status(status: Partial<IServiceStatus>): void;
  message(message: WatchMessage): void;
  /** The watch is open, or not any more. */
  opened(): void;
  closed(): void;
  /** The watch cannot be had: ask for everything with requests. */
  poll(): Promise<void>;
}

/** Keeps one page connected. */
export class Connection {
  constructor(
    private readonly _rest: Rest,
    private readonly _listener: IListener
  ) {
    document.addEventListener('visibilitychange', () => this._seen());
    window.addEventListener('online', () => this._take(this._course.wake()));
  }

  /** Whether a hidden page listens too: someone wants to be notified. */
  keepsListening = false;

  /** How often requests are made when they replace the watch, in milliseconds. */
  set pollMs(value: number) {
    this._course.pollMs = value;
  }

  /** Connect again from the start; resolves when the service's status is known. */
  async restart(): Promise<void> {
    this._drop();
    this._course.wake();
    await this._check();
  }

  /** Say something on the watch, if it is open. */
  say(command: { readonly type: string }): void {
    if (this._greeted && this._socket?.readyState === WebSocket.OPEN) {
      this._socket.send(JSON.stringify(command));
    }
  }

  private _take(step: Step): void {
    clearTimeout(this._timer);
    if (step.do === 'open') {
      this._open();
    } else if (step.do === 'check') {
      this._timer = window.setTimeout(() => void this._check(), step.after);
    } else if (step.do === 'poll') {
      void this._poll(step.after);
    }
  }

  private async _check(): Promise<void> {
    const turn = ++this._turn;
    clearTimeout(this._timer);
    const slow = window.setTimeout(() => {
      if (turn === this._turn && !this._greeted) {
        this._listener.status({ state: 'connecting' });
      }
    }, SLOW_MS);
    let status: Partial<IServiceStatus>;
    try {
      status = readStatus(await this._rest.status());
    } catch (error) {
      const problem = problemIn(error);
      status = { state: problem.code === NO_EXTENSION ? 'no-extension' : 'offline', problem };
    }
    clearTimeout(slow);
    if (turn !== this._turn) {
      return; // a later check decides
    }
    if (status.state === 'online') {
      this._status = status;
      if (this._socket === null) {
        this._take(this._course.well());
      }
      return;
    }
    this._listener.status(status);
    this._drop();
    this._take(status.state === 'no-extension' ? this._course.missing() : this._course.ill(this._hidden));
  }

  private _open(): void {
    this._drop();
    const socket = new this._rest.settings.WebSocket(this._rest.watchAddress());
    const late = window.setTimeout(() => socket.close(), HELLO_MS);
    let since = 0;
    this._socket = socket;
    socket.onmessage = event => {
      const message = socket === this._socket ? readMessage(event.data) : null;
      if (message?.type === 'hello') {
        clearTimeout(late);
        since = Date.now();
        this._greeted = true;
        this._course.greeted();
        this._listener.status(this._status);
        this._listener.message(message);
        this._listener.opened();
        this._seen();
      } else if (message !== null) {
        this._listener.message(message);
      }
    };
    socket.onclose = () => {
      clearTimeout(late);
      if (socket === this._socket) {
        this._drop();
        this._take(this._course.closed(since > 0, since ? Date.now() - since : 0, this._hidden));
      }
    };
  }

  /** Let the watch go without waiting for its end. */
  private _drop(): void {
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    if (socket !== null) {
      socket.onmessage = socket.onclose = null;
      socket.close();
      this._greeted = this._paused = false;
      this._listener.closed();
    }
  }

  private async _poll(after: number): Promise<void> {
    const turn = ++this._turn;
    try {
      await this._listener.poll();
      this._listener.status(this._status);
    } catch {
      // The check that follows says what is wrong.
    }
    if (turn === this._turn) {
      this._take(this._hidden ? { do: 'rest' } : { do: 'check', after });
    }
  }

  /** The page became visible or hidden. */
  private _seen(): void {
    clearTimeout(this._hiding);
    if (this._hidden) {
      this._hiding = window.setTimeout(() => this._pause(), HIDDEN_MS);
      return;
    }
    if (this._paused) {
      this._paused = false;
      this.say({ type: 'resume' });
    }
    if (this._socket === null && this._turn > 0) {
      this._take(this._course.wake());
    }
  }

  private _pause(): void {
    if (!this._paused && this._greeted) {
      this._paused = true;
      this.say({ type: 'pause' });
    }
  }

  private get _hidden(): boolean {
    return document.visibilityState === 'hidden' && !this.keepsListening;
  }

  private readonly _course = new Course(Math.random);
  private _socket: WebSocket | null = null;
  private _greeted = false;
  /** What the last good status said; told once what it promises is there. */
  private _status: Partial<IServiceStatus> = {};
  private _paused = false;
  private _timer = 0;
  private _hiding = 0;
  /** Counts checks, so that the answer of an old one changes nothing. */
  private _turn = 0;
}
