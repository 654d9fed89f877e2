/** Lets people move the panel's sections to another side panel. */

import type { IMovableSectionSource, ISectionEntry } from '@jupyterlab/apputils';
import type { SidePanel } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';
import { AccordionPanel } from '@lumino/widgets';

/** The sections of a side panel. */
export class SectionSource implements IMovableSectionSource {
  constructor(private readonly _panel: SidePanel) {}

  get sectionAdded(): ISignal<this, ISectionEntry> {
    return this._sectionAdded;
  }

  get accordionPanel(): AccordionPanel | null {
    return this._panel.content instanceof AccordionPanel ? this._panel.content : null;
  }

  getSections(): ReadonlyArray<ISectionEntry> {
    const titles = this.accordionPanel?.titles ?? [];
    return this._panel.widgets.map((widget, index) => ({ id: widget.id, titleNode: titles[index], widget }));
  }

  removeSectionById(sectionId: string): Widget | null {
    const section = this._panel.widgets.find(widget => widget.id === sectionId) ?? null;
    if (section !== null) {
      section.parent = null;
    }
    return section;
  }

  reinsertSection(widget: Widget): void {
    this._panel.addWidget(widget);
    this._sectionAdded.emit(this.getSections().find(entry => entry.widget === widget)!);
  }

  private readonly _sectionAdded = new Signal<this, ISectionEntry>(this);
}
