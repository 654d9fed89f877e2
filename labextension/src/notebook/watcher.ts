/** What the cards of a page share, so that hundreds of them stay cheap: who is seen, whose task changed, the time. */

import type { IFuncX, ITask } from '../tokens';

/** So many tasks are asked for at the same time. */
const AT_ONCE = 4;
/** A card is prepared when it comes this close to what is seen. */
const MARGIN = '300px';

/** One card, as the others and the service see it. */
export interface IWatched {
  readonly node: HTMLElement;
  /** The task that is shown, or `''`. */
  readonly taskId: string;
  /** It came into view, or left it. */
  seen(isSeen: boolean): void;
  /** Its task may have changed. */
  changed(): void;
  /** A second has passed. */
  tick(): void;
}

/** Tells cards what concerns them. */
export class Watcher {
  constructor(private readonly _funcx: IFuncX) {
    _funcx.tasksChanged.connect((_, taskIds) => {
      const changed = new Set(taskIds);
      this._cards.forEach(card => changed.has(card.taskId) && card.changed());
    });
    _funcx.statusChanged.connect(() => this._cards.forEach(card => card.changed()));
    _funcx.endpointsChanged.connect(() => this._cards.forEach(card => card.changed()));
  }

  /** Watch for a card from now on. */
  add(card: IWatched): void {
    this._byNode.set(card.node, card);
    this._observer.observe(card.node);
  }

  /** Leave a card alone. */
  remove(card: IWatched): void {
    this._observer.unobserve(card.node);
    this._byNode.delete(card.node);
    this._set(card, false);
  }

  /**
   * Return a task that a card shows, asking for it if the page has not heard of it.
   *
   * @throws FuncXError if there is none, or nobody can tell.
   */
  async task(taskId: string): Promise<ITask> {
    const known = this._funcx.tasks.get(taskId);
    if (known) {
      return known;
    }
    let asked = this._asked.get(taskId);
    if (!asked) {
      asked = this._turn(() => this._funcx.task(taskId)).finally(() => this._asked.delete(taskId));
      this._asked.set(taskId, asked);
    }
    return asked;
  }

  private async _turn<T>(ask: () => Promise<T>): Promise<T> {
    if (this._asking >= AT_ONCE) {
      await new Promise<void>(resolve => this._waiting.push(resolve));
    }
    this._asking += 1;
    try {
      return await ask();
    } finally {
      this._asking -= 1;
      this._waiting.shift()?.();
    }
  }

  private _see(entries: readonly IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const card = this._byNode.get(entry.target);
      if (card) {
        this._set(card, entry.isIntersecting);
      }
    }
  }

  private _set(card: IWatched, isSeen: boolean): void {
    if (isSeen === this._cards.has(card)) {
      return;
    }
    if (isSeen) {
      this._cards.add(card);
    } else {
      this._cards.delete(card);
    }
    if (this._cards.size && !this._timer) {
      this._timer = window.setInterval(() => this._cards.forEach(each => each.tick()), 1000);
    } else if (!this._cards.size) {
      window.clearInterval(this._timer);
      this._timer = 0;
    }
    card.seen(isSeen);
  }

  /** Those that can be seen. */
  private readonly _cards = new Set<IWatched>();
  private readonly _byNode = new WeakMap<Element, IWatched>();
  private readonly _asked = new Map<string, Promise<ITask>>();
  private readonly _waiting: Array<() => void> = [];
  private readonly _observer = new IntersectionObserver(entries => this._see(entries), { rootMargin: MARGIN });
  private _asking = 0;
  private _timer = 0;
}
