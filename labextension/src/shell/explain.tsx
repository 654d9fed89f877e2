/** Dialogs that say how the connection is, and what to do. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import * as React from 'react';

import type { IProblem, IServiceStatus } from '../tokens';
import type { IShell } from './commands';
import type { IWords } from './words';

/** Say what is wrong and what to do; what is between back quotes can be copied. */
export async function explain(problem: IProblem, words: IWords): Promise<void> {
  await showDialog({
    title: words.__('Remote tasks'),
    body: <Explanation lines={[problem.message, problem.try]} />,
    buttons: [Dialog.okButton({ label: words.__('Close') })]
  });
}

/** Say which service this page uses and as whom, or what is wrong; offer what can be done from here. */
export async function explainService({ funcx, words }: IShell): Promise<void> {
  await funcx.refresh();
  const { problem } = funcx.status;
  const loggedOut = problem?.code === 'JUPYTER_LOGIN';
  const again = loggedOut ? words.__('Log In') : words.__('Try Again');
  const close = Dialog.cancelButton({ label: words.__('Close') });
  const answer = await showDialog({
    title: words.__('Hub service'),
    body: <Explanation lines={problem ? [problem.message, problem.try] : [sentence(funcx.status, words)]} />,
    buttons: problem ? [close, Dialog.okButton({ label: again })] : [close]
  });
  if (!answer.button.accept || problem === null) {
    return;
  }
  if (loggedOut) {
    const next = encodeURIComponent(window.location.pathname + window.location.search);
    window.location.assign(`${URLExt.join(PageConfig.getBaseUrl(), 'login')}?next=${next}`);
  } else {
    await funcx.refresh();
  }
}

function sentence(status: IServiceStatus, words: IWords): string {
  if (status.state !== 'online') {
    return words.__('Connecting to the hub service …');
  }
  const said =
    status.mode === 'jupyterhub'
      ? words.__('You are %1 at the hub service %2, with the login of JupyterHub.', status.user, status.service)
      : words.__('You are %1 at the hub service %2.', status.user, status.service);
  return status.readOnly ? `${said} ${words.__('It takes no new tasks now: its database is only read.')}` : said;
}

function Explanation(props: { lines: readonly string[] }): React.ReactElement {
  const paragraphs = props.lines.filter(Boolean).map(text => (
    <p key={text}>{text.split('`').map((part, index) => (index % 2 ? <code key={index}>{part}</code> : part))}</p>
  ));
  return <div className="fxl-Explanation">{paragraphs}</div>;
}
