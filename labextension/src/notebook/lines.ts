/** What a task wrote, as a terminal would show it: one growing text with bounds. No DOM here. */

/** So many characters of a task's text are kept; its view in the main area has all of it. */
const KEPT = 100_000;
/** A line is cut behind so many characters. */
const LONGEST = 4_000;

// Colours and other commands to a terminal: none of them is text.
const COMMANDS = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;

/** Return a text without commands to a terminal. */
export function plain(text: string): string {
  return text.replace(COMMANDS, '');
}

/** Text to which more is added; a carriage return starts its last line again. */
export class Lines {
  /** The text as it is shown. */
  get text(): string {
    return this._done + cut(shown(this._last));
  }

  /** Whether nothing is there. */
  get isEmpty(): boolean {
    return !this._done && !this._last;
  }

  /** Add text. */
  add(text: string): void {
    const lines = (this._last + plain(text)).split('\n');
    this._last = lines.pop() ?? '';
    if (lines.length) {
      this._done += lines.map(line => `${cut(shown(line))}\n`).join('');
    }
    if (this._done.length > KEPT * 1.2) {
      const kept = this._done.slice(-KEPT);
      this._done = `…\n${kept.slice(kept.indexOf('\n') + 1)}`;
    }
    if (this._last.includes('\r')) {
      // What begins the line again is not known yet if the text ends there.
      this._last = shown(this._last) + (this._last.endsWith('\r') ? '\r' : '');
    }
  }

  private _done = '';
  private _last = '';
}

/** Return what is left of a line that was begun again. */
function shown(line: string): string {
  if (!line.includes('\r')) {
    return line;
  }
  const pieces = line.split('\r').filter(Boolean);
  return pieces.length ? pieces[pieces.length - 1] : '';
}

function cut(line: string): string {
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}… (${line.length - LONGEST} more)` : line;
}
