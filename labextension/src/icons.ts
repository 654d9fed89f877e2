/** The extension's icons; the class `jp-icon3` in the drawings makes them follow the theme. */

import { LabIcon } from '@jupyterlab/ui-components';

import dashboard from '../style/icons/dashboard.svg';
import endpoint from '../style/icons/endpoint.svg';
import logo from '../style/icons/logo.svg';
import retry from '../style/icons/retry.svg';
import runRemote from '../style/icons/run-remote.svg';
import task from '../style/icons/task.svg';
import tasks from '../style/icons/tasks.svg';

/** The extension itself. */
export const logoIcon = new LabIcon({ name: 'funcx:logo', svgstr: logo });
/** A place where tasks run. */
export const endpointIcon = new LabIcon({ name: 'funcx:endpoint', svgstr: endpoint });
/** One task. */
export const taskIcon = new LabIcon({ name: 'funcx:task', svgstr: task });
/** The table of tasks. */
export const tasksIcon = new LabIcon({ name: 'funcx:tasks', svgstr: tasks });
/** A live plot. */
export const dashboardIcon = new LabIcon({ name: 'funcx:dashboard', svgstr: dashboard });
/** Run a cell somewhere else. */
export const runRemoteIcon = new LabIcon({ name: 'funcx:run-remote', svgstr: runRemote });
/** Run the same call again. */
export const retryIcon = new LabIcon({ name: 'funcx:retry', svgstr: retry });
