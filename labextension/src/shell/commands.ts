/** Commands about tasks as a whole: refresh, cancel, run again, attach, and who is logged in. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { logoIcon, retryIcon, taskIcon } from '../icons';
import { clock, LOOKS, short } from '../looks';
import type { ISettings } from '../service/settings';
import { problemIn } from '../service/rest';
import { FINAL_STATES } from '../tokens';
import type { IFuncX, ITask, TaskState } from '../tokens';
import { explain, explainService } from './explain';
import { nameOf } from './words';
import type { IWords } from './words';

/** What the commands stand on. */
export interface IShell {
  readonly app: JupyterFrontEnd;
  readonly funcx: IFuncX;
  readonly words: IWords;
  readonly settings: () => ISettings;
}

const LIVE: readonly TaskState[] = [
  'received',
  'waiting-for-ep',
  'waiting-for-nodes',
  'waiting-for-launch',
  'running'
];
/** So many tasks are offered to choose from, and cancelled with one request. */
const OFFERED = 50;
const AT_ONCE = 1000;

const NO_ARGS = { args: { type: 'object', properties: {} } };
const taskArgs = (what: string, more: ReadonlyPartialJSONObject = {}) => ({
  args: { type: 'object', properties: { task_id: { type: 'string', description: what }, ...more } }
});

/** Add the commands. */
export function addCommands(shell: IShell): void {
  const { app, funcx, words } = shell;
  const online = () => funcx.status.state === 'online';
  // Without the server extension a command stays enabled: it says what is missing when it is first used.
  const usable = () => online() || funcx.status.state === 'no-extension';
  const all: { [id: string]: CommandRegistry.ICommandOptions } = {
    'funcx:refresh': {
      label: words.__('Refresh Remote Tasks'),
      caption: words.__('Connect to the service again and read everything again'),
      icon: refreshIcon,
      isEnabled: () => true,
      describedBy: NO_ARGS,
      execute: () => guarded(shell, () => funcx.refresh())
    },
    'funcx:cancel-task': {
      label: words.__('Cancel Remote Task…'),
      caption: words.__('Cancel a task, also if the kernel is busy or gone'),
      icon: stopIcon,
      isEnabled: args => usable() && (given(args) === null || !isOver(funcx, given(args))),
      describedBy: taskArgs('The task; without it you choose one.', {
        confirm: { type: 'boolean', description: 'Whether to ask first; what the settings say if left out.' }
      }),
      execute: args => guarded(shell, () => cancelTask(shell, args))
    },
    'funcx:cancel-all': {
      label: words.__('Cancel All Remote Tasks…'),
      caption: words.__('Cancel all of your tasks that wait or run'),
      icon: stopIcon,
      isEnabled: () => funcx.status.state === 'no-extension' || (online() && countLive(funcx) > 0),
      describedBy: {
        args: { type: 'object', properties: { confirm: { type: 'boolean', description: 'Whether to ask first.' } } }
      },
      execute: args => guarded(shell, () => cancelAll(shell, args.confirm !== false))
    },
    'funcx:retry-task': {
      label: words.__('Run Remote Task Again…'),
      caption: words.__('Run the same call again: same function, same arguments'),
      icon: retryIcon,
      isEnabled: args => usable() && (given(args) === null || isOver(funcx, given(args)) !== false),
      describedBy: taskArgs('The task; without it you choose one that has ended.'),
      execute: args => guarded(shell, () => retryTask(shell, given(args)))
    },
    'funcx:attach': {
      label: words.__('Attach to Remote Task…'),
      caption: words.__('Show a task of any notebook here, and bring its names back'),
      icon: taskIcon,
      isEnabled: usable,
      describedBy: taskArgs('The task; without it you choose one.'),
      execute: args => guarded(shell, () => attach(shell, given(args)))
    },
    'funcx:login': {
      label: words.__('Hub Service: Who Am I…'),
      caption: words.__('Which hub service this page uses, as whom, and what to do if that does not work'),
      icon: logoIcon,
      isEnabled: () => true,
      describedBy: NO_ARGS,
      execute: () => explainService(shell)
    }
  };
  for (const [id, options] of Object.entries(all)) {
    app.commands.addCommand(id, options);
  }
  // What is shown of them follows what they can do now.
  let live = false;
  funcx.statusChanged.connect(() => Object.keys(all).forEach(id => app.commands.notifyCommandChanged(id)));
  funcx.countsChanged.connect(() => {
    if (live !== countLive(funcx) > 0) {
      live = !live;
      app.commands.notifyCommandChanged('funcx:cancel-all');
    }
  });
}

/** Do something; what goes wrong is shown, and without the server extension a dialog says so. */
async function guarded<T>(shell: IShell, act: () => Promise<T>): Promise<T | null> {
  if (shell.funcx.status.state === 'no-extension' && shell.funcx.status.problem !== null) {
    await explain(shell.funcx.status.problem, shell.words);
    return null;
  }
  try {
    return await act();
  } catch (error) {
    const problem = problemIn(error);
    Notification.error([problem.message, problem.try].filter(Boolean).join(' '), { autoClose: 10_000 });
    return null;
  }
}

async function cancelTask(shell: IShell, args: ReadonlyPartialJSONObject): Promise<readonly string[]> {
  const { funcx, words } = shell;
  const taskId = given(args) ?? (await choose(shell, words.__('Cancel which task?'), isLive));
  if (taskId === null) {
    return [];
  }
  const ask = typeof args.confirm === 'boolean' ? args.confirm : shell.settings().confirmCancel;
  const task = funcx.tasks.get(taskId);
  const name = task === undefined ? short(taskId) : nameOf(task);
  if (ask && !(await sure(words.__('Cancel %1?', name), words.__('What it has computed is lost.'), words))) {
    return [];
  }
  const cancelled = await funcx.cancel([taskId]);
  if (cancelled.length === 0) {
    Notification.info(words.__('%1 had ended already.', name), { autoClose: 5000 });
  }
  return cancelled;
}

async function cancelAll(shell: IShell, ask: boolean): Promise<readonly string[]> {
  const { funcx, words } = shell;
  const count = countLive(funcx);
  const title = words._n('Cancel %1 task?', 'Cancel %1 tasks?', count, count);
  const text = words.__('All of your tasks that wait or run are cancelled, also those of other notebooks.');
  if (ask && !(await sure(title, text, words))) {
    return [];
  }
  const live: string[] = [];
  for (let before: number | undefined; ; ) {
    const page = await funcx.listTasks({ states: LIVE, limit: AT_ONCE, before });
    live.push(...page.tasks.map(task => task.task_id));
    if (page.next === null) {
      break;
    }
    before = page.next;
  }
  const cancelled: string[] = [];
  for (let first = 0; first < live.length; first += AT_ONCE) {
    cancelled.push(...(await funcx.cancel(live.slice(first, first + AT_ONCE))));
  }
  return cancelled;
}

async function retryTask(shell: IShell, taskId: string | null): Promise<string | null> {
  const { app, funcx, words } = shell;
  const chosen = taskId ?? (await choose(shell, words.__('Run which task again?'), task => !isLive(task)));
  if (chosen === null) {
    return null;
  }
  const again = await funcx.retry(chosen);
  if (app.commands.hasCommand('funcx:open-task')) {
    await app.commands.execute('funcx:open-task', { task_id: again });
  }
  return again;
}

/** Write `%funcx attach` into the notebook if there is one, and show the task otherwise. */
async function attach(shell: IShell, taskId: string | null): Promise<string | null> {
  const { app, words } = shell;
  const chosen = taskId ?? (await choose(shell, words.__('Attach to which task?'), () => true));
  if (chosen === null) {
    return null;
  }
  const text = `%funcx attach ${chosen}`;
  if (app.commands.hasCommand('funcx:insert-code') && app.commands.isEnabled('funcx:insert-code', { text })) {
    await app.commands.execute('funcx:insert-code', { text });
  } else {
    await app.commands.execute('funcx:open-task', { task_id: chosen });
  }
  return chosen;
}

/** Let somebody choose one of the newest tasks of a kind; null if they do not. */
async function choose(shell: IShell, title: string, kind: (task: ITask) => boolean): Promise<string | null> {
  const tasks = [...shell.funcx.tasks.values()].filter(kind);
  tasks.sort((a, b) => b.received - a.received);
  const offered = tasks.slice(0, OFFERED);
  if (offered.length === 0) {
    Notification.info(shell.words.__('There is no such task.'), { autoClose: 5000 });
    return null;
  }
  const items = offered.map(line);
  const answer = await InputDialog.getItem({ title, items });
  return answer.button.accept && answer.value !== null ? offered[items.indexOf(answer.value)].task_id : null;
}

function line(task: ITask): string {
  const took = (task.ended ?? Date.now() / 1000) - task.received;
  const look = LOOKS[task.state];
  return `${look.icon} ${nameOf(task)} · ${task.endpoint_name} · ${look.word} ${clock(took)} · ${short(task.task_id)}`;
}

async function sure(title: string, text: string, words: IWords): Promise<boolean> {
  const yes = Dialog.warnButton({ label: words.__('Yes, Cancel') });
  const buttons = [Dialog.cancelButton({ label: words.__('Keep') }), yes];
  return (await showDialog({ title, body: text, buttons, defaultButton: 0 })).button.accept;
}

function given(args: ReadonlyPartialJSONObject): string | null {
  return typeof args.task_id === 'string' && args.task_id ? args.task_id : null;
}

function isLive(task: ITask): boolean {
  return !FINAL_STATES.has(task.state);
}

/** Whether a task has ended; null if this page has not heard of it. */
function isOver(funcx: IFuncX, taskId: string | null): boolean | null {
  const task = taskId === null ? undefined : funcx.tasks.get(taskId);
  return task === undefined ? null : FINAL_STATES.has(task.state);
}

function countLive(funcx: IFuncX): number {
  return LIVE.reduce((sum, state) => sum + (funcx.counts[state] ?? 0), 0);
}
