/** The toolbar's choice of the endpoint where a notebook's cells run. */

import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import type { IFuncX } from '../tokens';
import { endpointOfNotebook, setEndpointOfNotebook } from './defaultEndpoint';
import type { UsualEndpoint } from './defaultEndpoint';
import { element } from './html';

/** One entry: what it writes, and what it says. */
export interface IChoice {
  readonly value: string;
  readonly text: string;
}

/** Return what can be chosen, the notebook's own endpoint among it though nobody knows it. */
export function choices(funcx: IFuncX, current: string, trans: TranslationBundle, usual = ''): IChoice[] {
  const known = funcx.endpoints.map(({ name, status }) => ({ value: name, text: `${name} · ${status}` }));
  const listed = [
    { value: '', text: usual ? trans.__('default · %1', usual) : trans.__('default endpoint') },
    { value: 'auto', text: trans.__('auto · the best that fits') },
    ...known.sort((a, b) => a.value.localeCompare(b.value))
  ];
  const isListed = listed.some(choice => choice.value === current);
  return isListed ? listed : [...listed, { value: current, text: trans.__('%1 · not known', current) }];
}

/** A `<select>` that shows and sets the notebook's default endpoint. */
export class EndpointPicker extends Widget {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _funcx: IFuncX,
    private readonly _usual: UsualEndpoint,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('fxl-EndpointPicker');
    this._select.setAttribute('aria-label', _trans.__('Endpoint of this notebook'));
    this._select.title = _trans.__('Where cells with %%funcx run whose line names no endpoint');
    this._select.addEventListener('change', () => setEndpointOfNotebook(_panel, this._select.value));
    this.node.append(this._select);
    _funcx.endpointsChanged.connect(this.update, this);
    _usual.changed.connect(this.update, this);
    void _panel.context.ready.then(() => {
      if (!this.isDisposed && !_panel.isDisposed) {
        _panel.context.model.metadataChanged.connect(this.update, this);
        this.update();
      }
    });
  }

  override dispose(): void {
    Signal.clearData(this);
    super.dispose();
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this.update();
  }

  protected override onUpdateRequest(): void {
    const current = this._panel.isDisposed ? '' : endpointOfNotebook(this._panel);
    const all = choices(this._funcx, current, this._trans, this._usual.name);
    const key = JSON.stringify(all);
    if (key !== this._shown) {
      this._shown = key;
      this._select.replaceChildren(...all.map(({ value, text }) => new Option(text, value)));
    }
    this._select.value = current;
    const state = this._funcx.endpoints.find(({ name }) => name === current)?.status;
    this._select.dataset.state = state ?? '';
  }

  private readonly _select = element('select', 'fxl-EndpointPicker-select');
  private _shown = '';
}
