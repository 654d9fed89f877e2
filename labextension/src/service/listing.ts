/** Lists tasks. No I/O here. */

import type { ITaskPage } from '../tokens';

/** So many of the service's pages are looked through for one that is asked for. */
const PAGES = 10;

/**
 * Return one page of tasks.
 *
 * Where the service looks for a text, it stops after a while even if it has found nothing yet: then it is asked on.
 */
export async function listTasks(
  page: (before: number | null) => Promise<ITaskPage>,
  before: number | null
): Promise<ITaskPage> {
  let found = await page(before);
  for (let pages = 1; pages < PAGES && found.next !== null && found.tasks.length === 0; pages++) {
    found = await page(found.next);
  }
  return found;
}
