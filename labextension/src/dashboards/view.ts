/** One dashboard: a frame with the service's page, or words that say why there is none. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { IFrame } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import type { IFuncX } from '../tokens';
import type { IDashboard } from './catalogue';
import type { Theme } from './theme';

/** What the views stand on. */
export interface IDashboardHost {
  readonly funcx: IFuncX;
  readonly theme: Theme;
  readonly trans: TranslationBundle;
}

/** Shows one dashboard; its page rests while it is hidden. */
export class DashboardView extends Widget {
  /**
   * @param title - What the frame is called, for screen readers.
   */
  constructor(
    private readonly _host: IDashboardHost,
    readonly dashboard: IDashboard,
    title: string
  ) {
    super();
    this.addClass('fxl-dashboard');
    this._problem.addClass('fxl-dashboard-problem');
    this._problem.node.setAttribute('role', 'status');
    // The page needs its scripts and, for its socket, its origin; the form chooses an endpoint, a plot can be saved.
    this._frame = new IFrame({
      sandbox: ['allow-scripts', 'allow-same-origin', 'allow-forms', 'allow-downloads'],
      loading: 'lazy'
    });
    this._element.title = title;
    this._element.addEventListener('load', () => this._tell());
    const layout = (this.layout = new PanelLayout());
    layout.addWidget(this._problem);
    layout.addWidget(this._frame);
    _host.funcx.statusChanged.connect(this._update, this);
    _host.theme.changed.connect(this._recolour, this);
    this._update();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._host.funcx.statusChanged.disconnect(this._update, this);
    this._host.theme.changed.disconnect(this._recolour, this);
    super.dispose();
  }

  /** Read the page anew. */
  reload(): void {
    this._shown = '';
    this._update();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._tell();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._tell();
  }

  private get _element(): HTMLIFrameElement {
    return this._frame.node.querySelector('iframe')!;
  }

  /** Show the page if there is one, else why there is none. */
  private _update(): void {
    const { state, dashboards } = this._host.funcx.status;
    const works = state === 'online' && dashboards;
    // Once shown, a page tells itself that it lost the service, and comes back by itself.
    const stays = this._shown !== '' && state !== 'online';
    this._frame.setHidden(!works && !stays);
    this._problem.setHidden(works || stays);
    if (works && this._shown === '') {
      this._load();
    } else if (works && this._wasAway) {
      this._load();
    } else if (!works && !stays) {
      this._explain();
    }
    this._wasAway = !works;
  }

  private _recolour(): void {
    if (this._shown !== '' && this.dashboard.theme === undefined) {
      this._load();
    }
  }

  private _load(): void {
    const { name, endpoint, theme } = this.dashboard;
    const chosen = this._chosenEndpoint() ?? endpoint;
    const address = this._host.funcx.dashboardUrl(name, {
      theme: theme ?? this._host.theme.shade,
      ...(chosen ? { endpoint: chosen } : {})
    });
    this._shown = address;
    this._element.style.colorScheme = theme ?? this._host.theme.shade;
    this._frame.url = address;
  }

  /** The endpoint that was chosen in the page itself; undefined if there is no page to ask. */
  private _chosenEndpoint(): string | undefined {
    try {
      const search = this._shown === '' ? '' : this._element.contentWindow?.location.search;
      return search ? (new URLSearchParams(search).get('endpoint') ?? undefined) : undefined;
    } catch {
      return undefined;
    }
  }

  private _explain(): void {
    const { problem, state } = this._host.funcx.status;
    const { trans } = this._host;
    const words =
      state === 'connecting'
        ? [trans.__('Connecting to the hub service…')]
        : state === 'online'
          ? [
              trans.__('This hub service shows no dashboards.'),
              trans.__("They need bokeh where the service runs: pip install 'funcx-lab[lab]'")
            ]
          : [problem?.message ?? trans.__('The hub service does not answer.'), problem?.try ?? ''];
    this._problem.node.replaceChildren(
      ...words.filter(Boolean).map(text => {
        const line = document.createElement('p');
        line.textContent = text;
        return line;
      })
    );
  }

  /** Tell the page whether anybody can see it. */
  private _tell(): void {
    if (this._shown !== '') {
      const type = this.isVisible ? 'funcx:resume' : 'funcx:pause';
      this._element.contentWindow?.postMessage({ type }, window.location.origin);
    }
  }

  private readonly _frame: IFrame;
  private readonly _problem = new Widget();
  private _shown = '';
  private _wasAway = false;
}
