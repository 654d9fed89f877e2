/** The output of `%funcx dashboard`: a dashboard below its cell. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { PanelLayout, Widget } from '@lumino/widgets';

import { readDashboard, titles } from './catalogue';
import { DashboardView } from './view';
import type { IDashboardHost } from './view';

/** Pixels. */
const HEIGHT = { usual: 480, lowest: 120, highest: 4000 };

/** Renders one output. */
export class DashboardOutput extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly _host: IDashboardHost,
    private readonly _mimeType: string
  ) {
    super();
    this.addClass('fxl-dashboard-output');
    this.layout = new PanelLayout();
  }

  /** Show the dashboard that the output names; its facts are checked, for anybody can write a notebook. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const facts = (model.data[this._mimeType] ?? {}) as { readonly [fact: string]: unknown };
    const layout = this.layout as PanelLayout;
    [...layout.widgets].forEach(widget => widget.dispose());
    const dashboard = readDashboard(facts);
    if (dashboard === null) {
      this.node.textContent = this._host.trans.__('This output names no dashboard.');
      return;
    }
    const wanted = Number(facts.height ?? HEIGHT.usual) || HEIGHT.usual;
    this.node.style.height = `${Math.min(HEIGHT.highest, Math.max(HEIGHT.lowest, wanted))}px`;
    const title = titles(this._host.trans).get(dashboard.name) ?? dashboard.name;
    layout.addWidget(new DashboardView(this._host, dashboard, this._host.trans.__('Dashboard: %1', title)));
  }
}
