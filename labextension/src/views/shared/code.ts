/** Python that people take into their notebooks. */

import type { IFunction, ITask } from '../../tokens';

/** Return a text as a Python string: JSON's are also Python's. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}

/** Return code that gives the future of a task. */
export function taskCode(task: ITask): string {
  return `client.task(${quoted(task.task_id)})`;
}

/** Return the line that shows a task in a notebook. */
export function attachLine(task: ITask): string {
  return `%funcx attach ${task.task_id}`;
}

/** Return code that calls a registered function; its name stands in a comment. */
export function callCode(entry: IFunction): string {
  // A name comes from anywhere: a line break in it must not become code.
  const name = entry.name.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, ' ');
  return [
    'from funcx_lab import FuncXClient',
    '',
    'client = FuncXClient()',
    `# ${name}: its arguments come first`,
    `task = client.task(client.run(function_id=${quoted(entry.function_id)}))`
  ].join('\n');
}
