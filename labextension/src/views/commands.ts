/** Commands that open the views. */

import { InputDialog } from '@jupyterlab/apputils';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { taskIcon, tasksIcon } from '../icons';
import { LOOKS } from '../looks';
import type { IFuncX, IFuncXViews, ITask, ITaskQuery, TaskState } from '../tokens';
import { isAsked } from './table/columns';

/** Id of the command that shows one task. */
export const OPEN_TASK = 'funcx:open-task';
/** Id of the command that shows the task table. */
export const OPEN_TASKS = 'funcx:open-tasks';

/** Return what the task table lists as arguments of its command. */
export function queryArgs(query: ITaskQuery): ReadonlyPartialJSONObject {
  const { states, endpoint, group, text } = query;
  return { ...(states && { states: [...states] }), ...(endpoint && { endpoint }), ...(group && { group }), ...(text && { text }) };
}

/** Return what the arguments ask for; null if they say nothing. */
export function readQuery(args: ReadonlyPartialJSONObject): ITaskQuery | null {
  const text = (name: string) => (typeof args[name] === 'string' ? (args[name] as string) : undefined);
  const states = Array.isArray(args.states) ? args.states.filter(isState) : undefined;
  const query = { states, endpoint: text('endpoint'), group: text('group'), text: text('text') };
  return Object.values(query).some(value => value !== undefined) ? query : null;
}

function isState(value: unknown): value is TaskState {
  return typeof value === 'string' && value in LOOKS;
}

/** Add the commands. */
export function addCommands(commands: CommandRegistry, funcx: IFuncX, views: IFuncXViews, trans: TranslationBundle): void {
  const texts = { type: 'string' };
  commands.addCommand(OPEN_TASKS, {
    label: trans.__('Remote Tasks'),
    caption: trans.__('List your tasks: filter, order, cancel, run again'),
    icon: tasksIcon,
    isEnabled: () => true,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          states: { type: 'array', items: { type: 'string', enum: Object.keys(LOOKS) } },
          endpoint: { ...texts, description: 'Name or id of an endpoint.' },
          group: { ...texts, description: 'Id of a task group.' },
          text: { ...texts, description: 'Part of a name or id.' }
        }
      }
    },
    execute: args => views.openTasks(readQuery(args) ?? undefined)
  });
  commands.addCommand(OPEN_TASK, {
    label: args => (args.task_id ? trans.__('Open Remote Task') : trans.__('Open Remote Task…')),
    caption: trans.__('Show a task: its states, log, outputs, inputs and where it ran'),
    icon: taskIcon,
    isEnabled: () => true,
    describedBy: {
      args: {
        type: 'object',
        properties: { task_id: { ...texts, description: 'The task; without it you are asked for one.' } }
      }
    },
    execute: async args => {
      const taskId = typeof args.task_id === 'string' && args.task_id ? args.task_id : await askForTask(funcx, trans);
      if (taskId !== null) {
        views.openTask(taskId);
      }
    }
  });
}

/** Ask for a task by its id or name; null if none is told. */
async function askForTask(funcx: IFuncX, trans: TranslationBundle): Promise<string | null> {
  const answer = await InputDialog.getText({
    title: trans.__('Open which task?'),
    label: trans.__('Its id, the end of its id, or its name')
  });
  const text = answer.button.accept ? (answer.value ?? '').trim().replace(/^…/, '') : '';
  return text ? (newest(funcx, text) ?? text) : null;
}

function newest(funcx: IFuncX, text: string): string | undefined {
  const found: ITask[] = [...funcx.tasks.values()].filter(task => isAsked(task, { text }));
  return found.sort((one, other) => other.received - one.received)[0]?.task_id;
}
