/** Lists tasks with a filter that the service does not have. No I/O here. */

import type { ITask, ITaskPage, ITaskQuery } from '../tokens';

/** So many pages are looked through for one that is asked for. */
const PAGES = 10;

/** Whether a task's label or function name has `text` in it; upper and lower case are the same. */
export function matches(task: ITask, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  return `${task.label ?? ''}\n${task.function_name}\n${task.task_id}`.toLowerCase().includes(wanted);
}

/** Return one page of tasks, from as many of the service's pages as it takes. */
export async function listTasks(
  page: (before: number | null) => Promise<ITaskPage>,
  query: ITaskQuery
): Promise<ITaskPage> {
  let found = await page(query.before ?? null);
  if (!query.text?.trim()) {
    return found;
  }
  const text = query.text;
  const tasks = found.tasks.filter(task => matches(task, text));
  for (let pages = 1; pages < PAGES && found.next !== null && tasks.length === 0; pages++) {
    found = await page(found.next);
    tasks.push(...found.tasks.filter(task => matches(task, text)));
  }
  return { tasks, next: found.next };
}
