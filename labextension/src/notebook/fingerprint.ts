/** Whether a cell is still the one that ran. The kernel computes the same (`page/display.py`). */

import { bodyOf } from './magicLine';

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) {
    value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  }
  return value;
});

/** Return size and CRC-32 of a text without the space around it: enough to see an edit. */
export function fingerprint(text: string): string {
  const bytes = new TextEncoder().encode(text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ''));
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum = TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  }
  return `${bytes.length}:${((sum ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0')}`;
}

/** What an output's metadata tell of the cell it came from. */
export interface IOrigin {
  readonly source: string;
  readonly inputs: readonly string[];
}

/** Return what an output's metadata tell of its cell; null if they tell nothing. */
export function originIn(metadata: unknown): IOrigin | null {
  const { source, inputs } = (metadata ?? {}) as { source?: unknown; inputs?: unknown };
  if (typeof source !== 'string') {
    return null;
  }
  const names = Array.isArray(inputs) ? inputs.filter(name => typeof name === 'string') : [];
  return { source, inputs: names };
}

/** A cell as far as staleness needs it. */
export interface ICellText {
  readonly source: string;
  /** When this page saw it run, counted on; 0 if it did not. */
  readonly turn: number;
}

/** Whether a cell was edited since it gave an output; its `%%funcx` line does not count. */
export function isEdited(origin: IOrigin, source: string): boolean {
  return fingerprint(bodyOf(source)) !== origin.source;
}

/**
 * Return the inputs that may have changed: a cell above ran again, and assigns the name. Cells below do not
 * count: who runs a notebook from top to bottom may use a name anew.
 *
 * @param cells - The cells above the one that gave the output.
 * @param turn - When this page saw the cell run that gave the output.
 */
export function changedInputs(origin: IOrigin, cells: Iterable<ICellText>, turn: number): string[] {
  const later = [...cells].filter(cell => cell.turn > turn);
  return origin.inputs.filter(name => later.some(cell => assigns(cell.source, name)));
}

function assigns(source: string, name: string): boolean {
  const word = name.replace(/[^\p{L}\p{N}_]/gu, '');
  const patterns = [`^${word}\\s*(?::[^=\\n]+)?(?:[-+*/%@&|^]|//|\\*\\*|<<|>>)?=(?!=)`, `^(?:async\\s+)?(?:def|class)\\s+${word}\\b`];
  return word !== '' && patterns.some(pattern => new RegExp(pattern, 'mu').test(source));
}
