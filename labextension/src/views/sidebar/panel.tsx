/** The side panel: a header and four sections, as JupyterLab's own panels have them. */

import type { ITranslator } from '@jupyterlab/translation';
import { SidePanel } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import type { AccordionPanel } from '@lumino/widgets';
import * as React from 'react';

import { attempt } from '../shared/actions';
import type { IViewHost } from '../shared/context';
import { View } from '../shared/View';
import { EndpointsSection } from './EndpointsSection';
import { FunctionsSection } from './FunctionsSection';
import { RecentSection } from './RecentSection';
import { RunningSection } from './RunningSection';
import { ServiceHeader } from './ServiceHeader';

/** The side panel. */
export class FuncXPanel extends SidePanel {
  /** `readRecent` tells how many ended tasks are listed. */
  constructor(host: IViewHost, translator: ITranslator, readRecent: () => number) {
    super({ translator });
    this.addClass('fxl-SidePanel');
    this._host = host;
    this.header.addWidget(new View(host, <ServiceHeader />));
    const { trans } = host;
    const sections: Array<[string, string, React.ReactElement]> = [
      ['endpoints', trans.__('Endpoints'), <EndpointsSection />],
      ['running', trans.__('Running'), <RunningSection />],
      ['recent', trans.__('Recent'), <RecentSection readLimit={readRecent} />],
      ['functions', trans.__('Functions'), <FunctionsSection />]
    ];
    for (const [name, label, element] of sections) {
      const section = new View(host, element);
      section.id = `fxl-section-${name}`;
      section.addClass('fxl-Section');
      section.title.label = label;
      this.addWidget(section);
    }
    this._describeTitles();
    (this.content as AccordionPanel).setRelativeSizes([2, 3, 3, 2]);
    this.node.addEventListener('keydown', this);
  }

  /** Handle F5 anywhere in the panel. */
  handleEvent(event: Event): void {
    if (event instanceof KeyboardEvent && event.key === 'F5') {
      event.preventDefault();
      void attempt(() => this._host.funcx.refresh());
    }
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    const find = (selector: string) => this.node.querySelector<HTMLElement>(selector);
    (find('.fxl-Row-main[tabindex="0"]') ?? find('.fxl-Action'))?.focus();
  }

  /** Lumino's titles open and close like buttons; say so to screen readers. */
  private _describeTitles(): void {
    (this.content as AccordionPanel).titles.forEach(title => title.setAttribute('role', 'button'));
  }

  private readonly _host: IViewHost;
}
