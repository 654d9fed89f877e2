/** Tells what changed in one go, at most so often. */

const INTERVAL_MS = 250;

/** Gathers ids; tells the first at once and others together. */
export class Gatherer {
  constructor(private readonly _tell: (ids: readonly string[]) => void) {}

  /** Take ids in. */
  add(ids: readonly string[]): void {
    for (const id of ids) {
      this._ids.add(id);
    }
    if (this._ids.size > 0 && this._timer === null) {
      const wait = Math.max(0, this._told + INTERVAL_MS - Date.now());
      this._timer = setTimeout(() => this._flush(), wait);
    }
  }

  private _flush(): void {
    this._timer = null;
    this._told = Date.now();
    const ids = [...this._ids];
    this._ids.clear();
    this._tell(ids);
  }

  private readonly _ids = new Set<string>();
  private _timer: ReturnType<typeof setTimeout> | null = null;
  private _told = 0;
}
