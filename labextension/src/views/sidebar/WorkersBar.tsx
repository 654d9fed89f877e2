import * as React from 'react';

import type { IEndpoint } from '../../tokens';

/** The workers as one thin bar: busy, idle, pending. The words below it say the same. */
export function WorkersBar(props: { workers: NonNullable<IEndpoint['workers']> }): React.ReactElement | null {
  const { busy, idle, pending } = props.workers;
  if (busy + idle + pending === 0) {
    return null;
  }
  return (
    <span className="fxl-Workers" aria-hidden="true">
      <span className="fxl-mod-busy" style={{ flexGrow: busy }} />
      <span className="fxl-mod-idle" style={{ flexGrow: idle }} />
      <span className="fxl-mod-pending" style={{ flexGrow: pending }} />
    </span>
  );
}
