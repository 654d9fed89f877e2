/** The commands of cells and notebooks. */

import { InputDialog } from '@jupyterlab/apputils';
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { NotebookActions } from '@jupyterlab/notebook';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyJSONObject } from '@lumino/coreutils';

import { endpointIcon, runRemoteIcon, taskIcon } from '../icons';
import type { IFuncX } from '../tokens';
import { rewrite, run } from './cells';
import type { Cells } from './cells';
import { endpointOfNotebook, setEndpointOfNotebook } from './defaultEndpoint';
import { offerToLoad } from './loading';
import { endpointOf, remote, withEndpoint } from './magicLine';
import { choices } from './picker';

/** The ids of the commands. */
export const COMMANDS = {
  choose: 'funcx:choose-endpoint',
  run: 'funcx:run-cell-remotely',
  insert: 'funcx:insert-code',
  go: 'funcx:go-to-cell'
} as const;

/** What the commands work on. */
export interface INotebookHost {
  readonly app: JupyterFrontEnd;
  readonly funcx: IFuncX;
  readonly tracker: INotebookTracker;
  readonly cells: Cells;
  readonly trans: TranslationBundle;
}

/** Add the commands; those on cells rest while no notebook is open. */
export function addCommands(host: INotebookHost): void {
  for (const [id, options] of Object.entries({ ...cellCommands(host), ...notebookCommands(host) })) {
    host.app.commands.addCommand(id, options);
  }
}

type Commands = { [id: string]: CommandRegistry.ICommandOptions };

function cellCommands({ app, cells, tracker, trans }: INotebookHost): Commands {
  return {
    [COMMANDS.run]: {
      label: args => (args.isMenu && args.endpoint ? String(args.text ?? args.endpoint) : trans.__('Run Cell Remotely')),
      caption: trans.__('Put %%funcx in front of the cell and run it'),
      icon: args => (args.isMenu ? undefined : runRemoteIcon),
      isEnabled: () => cells.active()?.cell.model.type === 'code',
      describedBy: { args: text('endpoint', trans.__('Name of the endpoint; the cell’s or the notebook’s if left out')) },
      execute: async args => {
        const placed = cells.active();
        if (placed?.cell.model.type !== 'code') {
          return false;
        }
        const asked = String(args.endpoint ?? '');
        rewrite(placed, source => aimed(source, asked, endpointOfNotebook(placed.panel)));
        const hasRun = await run(placed);
        offerToLoad(placed, trans);
        return hasRun;
      }
    },
    [COMMANDS.insert]: {
      label: trans.__('Insert Code into Cell'),
      caption: trans.__('Put text where the cursor is, or into a new cell'),
      icon: runRemoteIcon,
      isEnabled: () => tracker.currentWidget !== null,
      describedBy: { args: text('text', trans.__('What to insert'), true) },
      execute: args => insert({ cells, tracker }, String(args.text ?? ''))
    },
    [COMMANDS.go]: {
      label: trans.__('Go to Cell of Task'),
      caption: trans.__('Show the cell that a task came from, in a notebook that is open'),
      icon: taskIcon,
      isEnabled: args => cells.ofTask(String(args.task_id ?? '')) !== null,
      describedBy: { args: text('task_id', trans.__('Id of the task'), true) },
      execute: async args => {
        const placed = cells.ofTask(String(args.task_id ?? ''));
        await (placed && cells.show(placed, id => app.shell.activateById(id)));
        return placed !== null;
      }
    }
  };
}

function notebookCommands({ funcx, tracker, trans }: INotebookHost): Commands {
  return {
    [COMMANDS.choose]: {
      label: trans.__('Choose Endpoint of Notebook…'),
      caption: trans.__('Where cells with %%funcx run whose line names no endpoint'),
      icon: endpointIcon,
      isEnabled: () => tracker.currentWidget !== null,
      describedBy: { args: text('endpoint', trans.__('Name of the endpoint, or empty for none; asked for if left out')) },
      execute: async args => {
        const panel = tracker.currentWidget;
        if (!panel) {
          return;
        }
        const name = args.endpoint === undefined ? await ask(endpointOfNotebook(panel)) : String(args.endpoint);
        if (name !== null && !panel.isDisposed) {
          setEndpointOfNotebook(panel, name);
        }
      }
    }
  };

  async function ask(current: string): Promise<string | null> {
    const all = choices(funcx, current, trans);
    const answer = await InputDialog.getItem({
      title: trans.__('Endpoint of this notebook'),
      items: all.map(choice => choice.text),
      current: all.findIndex(choice => choice.value === current)
    });
    return answer.button.accept ? (all.find(choice => choice.text === answer.value)?.value ?? null) : null;
  }
}

/** Return a cell as it is to run: at the endpoint that was asked for, else its own, else the notebook's. */
function aimed(source: string, asked: string, usual: string): string {
  const name = asked || endpointOf(source) || usual;
  return name && name !== endpointOf(source) ? withEndpoint(source, name) : remote(source);
}

/** Put text into the active cell where its cursor is; into a new one below if that is no code or has any. */
function insert({ cells, tracker }: Pick<INotebookHost, 'cells' | 'tracker'>, code: string): void {
  const panel = tracker.currentWidget;
  if (!panel) {
    return;
  }
  const editor = cells.active()?.cell.editor;
  if (cells.active()?.cell.model.type !== 'code' || !editor?.replaceSelection) {
    NotebookActions.insertBelow(panel.content);
    NotebookActions.changeCellType(panel.content, 'code');
  }
  const fresh = panel.content.activeCell;
  if (fresh?.editor?.replaceSelection) {
    fresh.editor.replaceSelection(code);
    fresh.editor.focus();
  } else {
    fresh?.model.sharedModel.setSource(code);
  }
}

function text(name: string, description: string, isNeeded = false): ReadonlyJSONObject {
  const properties = { [name]: { type: 'string', description } };
  return { type: 'object', properties, ...(isNeeded ? { required: [name] } : {}) };
}
