/** What a page does next about its connection, decided from what happened. No I/O here. */

import { backoff } from './backoff';

/** What to do next. */
export type Step =
  /** Ask for the status after so many milliseconds. */
  | { readonly do: 'check'; readonly after: number }
  /** Open the watch. */
  | { readonly do: 'open' }
  /** Ask for everything with requests, the next time after so many milliseconds. */
  | { readonly do: 'poll'; readonly after: number }
  /** Nothing, until the page is seen or somebody asks. */
  | { readonly do: 'rest' };

/** So often in a row the watch may fail to open before requests replace it. */
const REFUSALS = 2;
/** With requests instead of the watch: so often they are made, and so many of them until the watch is tried again. */
export const POLL_MS = 5000;
const POLLS = 24;
/** A watch that was open for less than this many milliseconds counts as a failure. */
const SHORT_MS = 10_000;

/** The course of one page's connection. */
export class Course {
  /** @param chance - Returns a random number from 0 to 1. */
  constructor(private readonly chance: () => number) {}

  /** How often requests are made when they replace the watch, in milliseconds. */
  pollMs = POLL_MS;

  /** The status says that the service is well. */
  well(): Step {
    this._failures = 0;
    if (this._refusals < REFUSALS) {
      return { do: 'open' };
    }
    this._polls += 1;
    if (this._polls > POLLS) {
      this._polls = 0;
      return { do: 'open' };
    }
    return { do: 'poll', after: this.pollMs };
  }

  /** The status says that it is not, or there was no answer. */
  ill(hidden: boolean): Step {
    this._failures += 1;
    return hidden ? { do: 'rest' } : { do: 'check', after: backoff(this._failures, this.chance()) };
  }

  /** The server extension is missing: that does not change while the page is open. */
  missing(): Step {
    return { do: 'rest' };
  }

  /** The watch said hello. */
  greeted(): void {
    this._refusals = 0;
    this._polls = 0;
  }

  /** The watch was closed after so many milliseconds; `greeted` tells whether it had been open. */
  closed(greeted: boolean, livedMs: number, hidden: boolean): Step {
    if (!greeted) {
      this._refusals += 1;
    }
    this._short = greeted && livedMs >= SHORT_MS ? 0 : this._short + 1;
    if (hidden) {
      return { do: 'rest' };
    }
    return { do: 'check', after: backoff(this._short, this.chance()) };
  }

  /** The page is seen again, or somebody asked: do not wait any longer. */
  wake(): Step {
    this._failures = 0;
    return { do: 'check', after: 0 };
  }

  private _failures = 0;
  private _refusals = 0;
  private _polls = 0;
  private _short = 0;
}
