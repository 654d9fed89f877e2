import * as React from 'react';

/** A sentence in an empty section that says how it fills. */
export function Hint(props: { children: React.ReactNode }): React.ReactElement {
  return <p className="fxl-Hint">{props.children}</p>;
}
