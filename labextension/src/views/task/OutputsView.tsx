import { SimplifiedOutputArea } from '@jupyterlab/outputarea';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import { useView } from '../shared/context';
import type { TaskModel } from './model';

/** Figures and tables that the task showed, through the renderers of JupyterLab and never trusted. */
export function OutputsView(props: { model: TaskModel }): React.ReactElement {
  const { rendermime } = useView();
  const host = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const area = new SimplifiedOutputArea({ model: props.model.outputs, rendermime });
    Widget.attach(area, host.current!);
    return () => area.dispose();
  }, [props.model, rendermime]);
  return <div className="fxl-Outputs" ref={host} />;
}
