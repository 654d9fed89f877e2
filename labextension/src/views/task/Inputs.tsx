import * as React from 'react';

import { formatBytes } from '../../looks';
import { explain } from '../shared/actions';
import { useView } from '../shared/context';

interface IGiven {
  readonly inputs: ReadonlyArray<{ name: string; size: number; type?: string }>;
  readonly source: string | null;
}

/** What the task was given, by name and size, and the source it runs. */
export function Inputs(props: { taskId: string }): React.ReactElement {
  const { funcx, trans } = useView();
  const [given, setGiven] = React.useState<IGiven | null>(null);
  const [problem, setProblem] = React.useState('');
  React.useEffect(() => {
    let isWanted = true;
    funcx.inputs(props.taskId).then(
      answer => isWanted && setGiven(answer),
      error => isWanted && setProblem(explain(error))
    );
    return () => {
      isWanted = false;
    };
  }, [funcx, props.taskId]);
  if (given === null) {
    return <p className="fxl-Hint">{problem || trans.__('reading …')}</p>;
  }
  return (
    <>
      {given.inputs.length ? <InputTable {...given} /> : <p className="fxl-Hint">{trans.__('It was given nothing.')}</p>}
      {given.source && (
        <details className="fxl-Source">
          <summary>{trans.__('Source')}</summary>
          <pre tabIndex={0}>{given.source}</pre>
        </details>
      )}
    </>
  );
}

function InputTable(props: IGiven): React.ReactElement {
  const { trans } = useView();
  return (
    <table className="fxl-Facts">
      <caption className="fxl-mod-unseen">{trans.__('Inputs by name and size')}</caption>
      <colgroup>
        <col className="fxl-Facts-name" />
        <col />
      </colgroup>
      <tbody>
        {props.inputs.map((input, index) => (
          <tr key={index}>
            <th scope="row" title={input.name}>
              {input.name}
            </th>
            <td title={input.type}>{[input.type, formatBytes(input.size)].filter(Boolean).join(' · ')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
