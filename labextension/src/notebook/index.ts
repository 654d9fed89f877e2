/** The notebook's part: outputs of tasks, the toolbar's endpoint, cells that run elsewhere. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { cells } from './cellsPlugin';
import { mime } from './mimePlugin';
import { picker } from './pickerPlugin';

// Each plugin has a type of its own for what it provides.
const plugins: JupyterFrontEndPlugin<any>[] = [mime, picker, cells];

export default plugins;
