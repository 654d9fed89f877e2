/** Dashboards as panes of the main area: each once, dragged where the user wants them, restored with the layout. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { DockLayout } from '@lumino/widgets';

import { dashboardIcon } from '../icons';
import { titles } from './catalogue';
import type { IDashboard, IPlace } from './catalogue';
import { OPEN_DASHBOARD } from './commands';
import { DashboardView } from './view';
import type { IDashboardHost } from './view';

type Pane = MainAreaWidget<DashboardView>;

/** Opens and finds the panes. */
export class DashboardPanes {
  constructor(
    private readonly _shell: JupyterFrontEnd.IShell,
    private readonly _host: IDashboardHost
  ) {}

  /** Show a dashboard; where, if it is not shown yet, `options` may say. */
  open(dashboard: IDashboard, options: { mode?: DockLayout.InsertMode; ref?: string } = {}): Pane {
    const id = paneId(dashboard);
    const pane = this._tracker.find(each => each.id === id) ?? this._make(dashboard, id);
    if (!pane.isAttached) {
      this._shell.add(pane, 'main', { ...options, type: 'Dashboard' });
    }
    this._shell.activateById(id);
    return pane;
  }

  /** Open the panes of a layout that are not open, each at its place. */
  openAll(places: readonly IPlace[]): void {
    const opened = new Map<string, Pane>();
    for (const { name, mode, ref } of places) {
      const beside = ref === undefined ? undefined : opened.get(ref);
      opened.set(name, this.open({ name }, { mode: beside || ref === undefined ? mode : 'tab-after', ref: beside?.id }));
    }
    const first = places.length > 0 ? opened.get(places[0].name) : undefined;
    if (first !== undefined) {
      this._shell.activateById(first.id);
    }
  }

  /** Let the layout keep what is open. */
  restore(restorer: ILayoutRestorer): void {
    void restorer.restore(this._tracker, {
      command: OPEN_DASHBOARD,
      args: ({ content: { dashboard } }) => ({ ...dashboard }),
      name: pane => pane.id
    });
  }

  private _make(dashboard: IDashboard, id: string): Pane {
    const { trans } = this._host;
    const title = titles(trans).get(dashboard.name) ?? dashboard.name;
    const label = dashboard.endpoint ? `${title} · ${dashboard.endpoint}` : title;
    const content = new DashboardView(this._host, dashboard, trans.__('Dashboard: %1', label));
    const pane = new MainAreaWidget({ content });
    pane.id = id;
    pane.title.label = label;
    pane.title.caption = trans.__('Dashboard of the hub service: %1', label);
    pane.title.icon = dashboardIcon;
    pane.title.closable = true;
    pane.toolbar.hide();
    void this._tracker.add(pane);
    return pane;
  }

  private readonly _tracker = new WidgetTracker<Pane>({ namespace: 'funcx-dashboard' });
}

function paneId({ name, endpoint, theme }: IDashboard): string {
  return ['fxl-dashboard', name, endpoint, theme].filter(Boolean).join('-').replace(/[^\w-]/g, '_');
}
