/** What the buttons of a card do. */

import type { ICodeCellModel } from '@jupyterlab/cells';
import type * as nbformat from '@jupyterlab/nbformat';

import { TASK_MIME } from '../tokens';
import type { ITask } from '../tokens';
import { attempt } from '../views/shared/actions';
import { isFinal } from '../views/shared/facts';
import { rewrite, run } from './cells';
import type { IPlacedCell } from './cells';
import { fixesFor } from './fixes';
import type { IFault } from './fixes';
import type { ICardHost } from './host';
import { button } from './html';

/** Return the buttons that fit a task as it is: cancel or retry, and open. */
export function taskButtons(
  host: ICardHost,
  task: ITask,
  options: { mayRetry: boolean; retried: (taskId: string) => void }
): HTMLElement[] {
  const { commands, funcx, trans } = host;
  const shown: HTMLElement[] = [];
  if (!isFinal(task) && !funcx.status.readOnly) {
    const cancel = button(trans.__('Cancel'), trans.__('Stop this task at its endpoint'), () => {
      void cancelTask(host, task.task_id);
    });
    shown.push(cancel);
  }
  if (isFinal(task) && options.mayRetry && !funcx.status.readOnly) {
    const retry = button(trans.__('Retry'), trans.__('Run the same call again; the cell stays as it is'), () => {
      retry.disabled = true;
      void attempt(() => funcx.retry(task.task_id)).then(fresh => {
        retry.disabled = false;
        return fresh && options.retried(fresh);
      });
    });
    shown.push(retry);
  }
  if (commands.hasCommand('funcx:open-task')) {
    const open = button(trans.__('Open'), trans.__('Show this task in a tab of its own'), () => {
      void attempt(() => commands.execute('funcx:open-task', { task_id: task.task_id }));
    });
    shown.push(open);
  }
  return shown;
}

/** Cancel a task; the command asks first if the settings say so. */
export async function cancelTask(host: ICardHost, taskId: string): Promise<void> {
  const { commands, funcx } = host;
  await attempt(async () =>
    commands.hasCommand('funcx:cancel-task')
      ? commands.execute('funcx:cancel-task', { task_id: taskId })
      : funcx.cancel([taskId])
  );
}

/** Return a button for each remedy of an error: it edits the cell where everybody sees it, and runs it. */
export function fixButtons(host: ICardHost, placed: IPlacedCell | null, fault: IFault, endpoint: string): HTMLElement[] {
  if (placed === null || host.funcx.status.readOnly) {
    return [];
  }
  const source = placed.cell.model.sharedModel.getSource();
  const place = { source, endpoints: host.funcx.endpoints, endpoint, trans: host.trans };
  return fixesFor(fault, place).map(fix => {
    const line = fix.edit(source).split('\n')[0];
    return button(fix.label, host.trans.__('Changes the line to: %1', line), () => {
      rewrite(placed, fix.edit);
      void run(placed);
    });
  });
}

/** Let the output of a cell that named one task name another; false if there is none. */
export function nameTask(placed: IPlacedCell | null, before: string, after: string): boolean {
  const outputs = (placed?.cell.model as ICodeCellModel | undefined)?.outputs;
  for (let index = 0; index < (outputs?.length ?? 0); index++) {
    const output = outputs!.get(index).toJSON() as nbformat.IDisplayData;
    const facts = output.data?.[TASK_MIME] as { task_id?: unknown } | undefined;
    if (facts?.task_id === before) {
      outputs!.set(index, renamed(output, after));
      return true;
    }
  }
  return false;
}

function renamed(output: nbformat.IDisplayData, taskId: string): nbformat.IDisplayData {
  const facts = { ...(output.data[TASK_MIME] as object), task_id: taskId, state: 'received', reason: '' };
  const told = { ...(output.metadata['funcx'] as object), task_id: taskId } as { [fact: string]: unknown };
  for (const fact of ['state', 'started', 'ended']) {
    delete told[fact];
  }
  return {
    output_type: 'display_data',
    data: { 'text/plain': `<Task ${taskId}>`, 'text/html': `<code>${taskId}</code>`, [TASK_MIME]: facts },
    metadata: { ...output.metadata, funcx: told as nbformat.OutputMetadata }
  };
}
