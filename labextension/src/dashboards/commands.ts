/** Commands that open dashboards. */

import { InputDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import { dashboardIcon } from '../icons';
import { readDashboard, titles } from './catalogue';
import type { IPlace } from './catalogue';
import type { DashboardPanes } from './panes';

/** Id of the command that shows one dashboard. */
export const OPEN_DASHBOARD = 'funcx:open-dashboard';
/** Id of the command that shows several, each at its place. */
export const OPEN_LAYOUT = 'funcx:open-dashboards-layout';

/** Add the commands. */
export function addCommands(
  commands: CommandRegistry,
  panes: DashboardPanes,
  layout: () => readonly IPlace[],
  trans: TranslationBundle
): void {
  const names = titles(trans);
  commands.addCommand(OPEN_DASHBOARD, {
    label: args => {
      const title = names.get(String(args.name ?? ''));
      return title === undefined ? trans.__('Open Dashboard…') : trans.__('Dashboard: %1', title);
    },
    caption: trans.__('Show a live dashboard of the hub service'),
    icon: dashboardIcon,
    isEnabled: () => true,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          name: { type: 'string', enum: [...names.keys()], description: 'Which; without it you choose one.' },
          endpoint: { type: 'string', description: 'Show only this endpoint, by name or id.' },
          theme: { type: 'string', enum: ['light', 'dark'], description: "Colours; the page's if left out." }
        }
      }
    },
    execute: async args => {
      const dashboard = readDashboard(args) ?? (await choose(names, trans));
      return dashboard === null ? undefined : panes.open(dashboard);
    }
  });
  commands.addCommand(OPEN_LAYOUT, {
    label: trans.__('Dashboards'),
    caption: trans.__('Show the dashboards of the default layout, which the settings hold'),
    icon: dashboardIcon,
    isEnabled: () => true,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => panes.openAll(layout())
  });
}

async function choose(names: ReadonlyMap<string, string>, trans: TranslationBundle): Promise<{ name: string } | null> {
  const all = [...names];
  const { value } = await InputDialog.getItem({
    title: trans.__('Which dashboard?'),
    items: all.map(([, title]) => title)
  });
  const found = all.find(([, title]) => title === value);
  return found === undefined ? null : { name: found[0] };
}
