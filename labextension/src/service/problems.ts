/** What is wrong when the service itself cannot say it, and what to do. No I/O here. */

import type { IProblem } from '../tokens';
import { readObject, readProblem } from './documents';
import type { ITranslate } from './documents';

/** Code of the problem that the Jupyter server lacks our server extension. */
export const NO_EXTENSION = 'NO_EXTENSION';

/** What to type where the Jupyter server runs. */
export const PIP_LINE = 'pip install --upgrade funcx-lab && jupyter server extension enable funcx_lab_labextension';

/** Return the problem of an answer that is an error: the body's own words, if it is one of ours. */
export function problemOf(status: number, body: string, trans: ITranslate): IProblem {
  const document = readObject(body);
  if (document !== null && typeof document.code === 'string') {
    return readProblem(document);
  }
  if (status === 401 || status === 403) {
    return loggedOut(trans);
  }
  return {
    code: `HTTP_${status}`,
    message: trans.__('The Jupyter server answered with error %1.', status),
    try: trans.__('Look at the log of the Jupyter server.')
  };
}

/** Return the problem that the Jupyter server lacks the server extension. */
export function noExtension(trans: ITranslate): IProblem {
  return {
    code: NO_EXTENSION,
    message: trans.__('This Jupyter server lacks the server extension of funcx-lab.'),
    try: trans.__('Where the Jupyter server runs: `%1`. Then restart JupyterLab.', PIP_LINE)
  };
}

/** Return the problem that the browser has to log in to the Jupyter server again. */
export function loggedOut(trans: ITranslate): IProblem {
  return {
    code: 'JUPYTER_LOGIN',
    message: trans.__('The Jupyter server does not know this browser any more.'),
    try: trans.__('Reload the page and log in again.')
  };
}

/** Return the problem that nothing answers at all. */
export function unreachable(trans: ITranslate): IProblem {
  return {
    code: 'JUPYTER_UNREACHABLE',
    message: trans.__('The Jupyter server does not answer.'),
    try: trans.__('Check the network, and that the Jupyter server still runs.')
  };
}
