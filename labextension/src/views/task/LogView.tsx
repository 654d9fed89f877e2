import { caretDownIcon, copyIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ActionButton } from '../shared/ActionButton';
import { copy } from '../shared/actions';
import { useView } from '../shared/context';
import { useWindow } from '../shared/useWindow';
import { LogLine } from './LogLine';
import type { ILogLine } from './logStore';
import type { TaskModel } from './model';
import { useFollowing, useGrowth } from './useLog';

/** Height of a line in pixels; the style sheet says the same. */
const LINE = 18;
/** Above and below the lines, and room for a scrollbar. */
const PADDING = 18;

/** What the task writes, as it writes it; only the lines on the screen are in the page. */
export function LogView(props: { model: TaskModel }): React.ReactElement {
  const { model } = props;
  const { log } = model;
  const view = useView();
  const { trans } = view;
  const scroller = React.useRef<HTMLDivElement>(null);
  useGrowth(model);
  const following = useFollowing(scroller);
  const seen = useWindow(scroller, log.length, LINE);
  const lines: ILogLine[] = [];
  for (let index = seen.first; index < seen.end; index++) {
    const line = log.line(index);
    if (line !== undefined) {
      lines.push(line);
    }
  }
  return (
    <div className="fxl-Log">
      <div className="fxl-Log-bar">
        <span>{trans._n('%1 line', '%1 lines', log.length, log.length)}</span>
        {log.dropped > 0 && <span>{trans.__('%1 earlier ones are not kept here', log.dropped)}</span>}
        <span className="fxl-Toolbar-gap" />
        {!following.isFollowing && (
          <ActionButton
            icon={caretDownIcon}
            label={trans.__('Go to the end and stay there')}
            text={trans.__('Follow')}
            onAct={following.follow}
          />
        )}
        <ActionButton icon={copyIcon} label={trans.__('Copy the log')} onAct={() => copy(view, log.text())} />
      </div>
      <div
        className="fxl-Log-scroller"
        ref={scroller}
        tabIndex={0}
        role="region"
        aria-label={trans.__('Log')}
        style={{ height: `min(${log.length * LINE + PADDING}px, max(300px, 62vh))` }}
        onScroll={() => {
          seen.onScroll();
          following.scrolled();
        }}
      >
        <div className="fxl-Log-lines" style={{ height: log.length * LINE }}>
          <div style={{ transform: `translateY(${seen.first * LINE}px)` }}>
            {lines.map(line => (
              <LogLine key={line.id} line={line} text={line.text} />
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}
