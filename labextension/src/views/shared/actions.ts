/** What people do with tasks, the same from every view. */

import { Clipboard, Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { FuncXError } from '../../tokens';
import type { IViewHost } from './context';

/** So many tasks are cancelled with one request. */
const AT_ONCE = 1000;

/** Return what went wrong, and what to do about it. */
export function explain(error: unknown): string {
  if (error instanceof FuncXError) {
    return [error.message, error.problem.try].filter(Boolean).join(' ');
  }
  return error instanceof Error ? error.message : String(error);
}

/** Do something; a failure is told in a notification. */
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    Notification.error(explain(error), { autoClose: 8000 });
    return undefined;
  }
}

/** Run a command of another part of the extension, if that part is there. */
export function execute(host: IViewHost, command: string, args: ReadonlyPartialJSONObject): void {
  if (host.commands.hasCommand(command)) {
    void attempt(() => host.commands.execute(command, args));
  }
}

/** Cancel tasks; several at once are asked about, one is if the settings say so. */
export async function cancelTasks(host: IViewHost, taskIds: readonly string[]): Promise<void> {
  const { commands, funcx, trans } = host;
  if (taskIds.length === 1 && commands.hasCommand('funcx:cancel-task')) {
    execute(host, 'funcx:cancel-task', { task_id: taskIds[0] });
  } else if (taskIds.length && (await isSure(trans, taskIds.length))) {
    for (let first = 0; first < taskIds.length; first += AT_ONCE) {
      await attempt(() => funcx.cancel(taskIds.slice(first, first + AT_ONCE)));
    }
  }
}

async function isSure(trans: TranslationBundle, count: number): Promise<boolean> {
  const answer = await showDialog({
    title: trans._n('Cancel %1 task?', 'Cancel %1 tasks?', count, count),
    body: trans.__('What they have computed is lost.'),
    buttons: [Dialog.cancelButton({ label: trans.__('Keep') }), Dialog.warnButton({ label: trans.__('Cancel') })],
    defaultButton: 0
  });
  return answer.button.accept;
}

/** Run the calls of tasks again, and show the new task if it is one. */
export async function retryTasks(host: IViewHost, taskIds: readonly string[]): Promise<void> {
  for (const taskId of taskIds) {
    const fresh = await attempt(() => host.funcx.retry(taskId));
    if (fresh === undefined) {
      return;
    }
    if (taskIds.length === 1) {
      host.views.openTask(fresh);
    }
  }
}

/** Put text into the system's clipboard and say so. */
export function copy(host: IViewHost, text: string): void {
  Clipboard.copyToSystem(text);
  Notification.emit(host.trans.__('Copied'), 'success', { autoClose: 1500 });
}

/** Put text into the notebook's cell. */
export function insertCode(host: IViewHost, text: string): void {
  execute(host, 'funcx:insert-code', { text });
}

/** Open a dashboard, of one endpoint if one is given. */
export function openDashboard(host: IViewHost, name: string, endpoint?: string): void {
  execute(host, 'funcx:open-dashboard', endpoint === undefined ? { name } : { name, endpoint });
}
