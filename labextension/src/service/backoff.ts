/** How long to wait before another attempt. No I/O here. */

/** Bounds of the waits, in milliseconds. */
export interface IBackoffOptions {
  readonly first: number;
  readonly limit: number;
}

const USUAL: IBackoffOptions = { first: 1000, limit: 60_000 };

/**
 * Return the wait before attempt number `failures + 1`, in milliseconds.
 *
 * It doubles with every failure. Half of it is left to chance, so that the pages of a service that comes back
 * do not all ask in the same moment.
 *
 * @param failures - How many attempts failed in a row, at least 1.
 * @param chance - A random number from 0 to 1.
 */
export function backoff(failures: number, chance: number, options: IBackoffOptions = USUAL): number {
  const doublings = Math.min(Math.max(0, failures - 1), 30);
  const full = Math.min(options.limit, options.first * 2 ** doublings);
  return full / 2 + (full / 2) * chance;
}
