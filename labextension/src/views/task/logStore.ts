/** The lines that a task wrote, the newest of them; however much it writes. No I/O here. */

/** Who wrote a line. */
export type Stream = 'stdout' | 'stderr';

/** One line; it may still grow. */
export interface ILogLine {
  readonly id: number;
  readonly stream: Stream;
  text: string;
}

/** So many lines are kept. */
export const LINES = 100_000;
/** So many characters are kept, of all lines together. */
export const CHARACTERS = 30_000_000;
/** So many characters are kept of one line. */
export const LINE_CHARACTERS = 4_000_000;

/** A ring of lines. A carriage return starts a line again, as a terminal does. */
export class LogStore {
  /** How many lines there are. */
  get length(): number {
    return this._lines.length - this._head;
  }

  /** How many lines were left out, because newer ones came. */
  get dropped(): number {
    return this._dropped;
  }

  /** Return a line, counted from 0. */
  line(index: number): ILogLine | undefined {
    return this._lines[this._head + index];
  }

  /** Return everything that is kept, as text. */
  text(): string {
    return this._lines
      .slice(this._head)
      .map(line => line.text.replace(/\r$/, ''))
      .join('\n');
  }

  /** Take in what a stream wrote. */
  append(stream: Stream, text: string): void {
    let start = 0;
    while (start <= text.length) {
      const end = text.indexOf('\n', start);
      const piece = text.slice(start, end < 0 ? text.length : end);
      if (piece) {
        this._write(stream, piece);
      }
      if (end < 0) {
        break;
      }
      this._finish(stream);
      start = end + 1;
    }
    this._trim();
  }

  private _write(stream: Stream, piece: string): void {
    const line = this._open[stream] ?? this._begin(stream);
    const before = line.text.length;
    if (piece.includes('\r') || line.text.endsWith('\r')) {
      line.text = rewritten(line.text + piece);
    } else if (before < LINE_CHARACTERS) {
      line.text += piece.slice(0, LINE_CHARACTERS - before);
    }
    this._characters += line.text.length - before;
  }

  private _begin(stream: Stream): ILogLine {
    const line: ILogLine = { id: this._next++, stream, text: '' };
    this._open[stream] = line;
    this._lines.push(line);
    return line;
  }

  private _finish(stream: Stream): void {
    const line = this._open[stream] ?? this._begin(stream);
    if (line.text.endsWith('\r')) {
      line.text = line.text.slice(0, -1);
      this._characters -= 1;
    }
    this._open[stream] = undefined;
  }

  /** Leave the oldest lines out; the newest one stays, whatever its length. */
  private _trim(): void {
    while (this.length > 1 && (this.length > LINES || this._characters > CHARACTERS)) {
      const line = this._lines[this._head];
      this._lines[this._head++] = undefined as unknown as ILogLine; // its memory is free before the next copy
      this._characters -= line.text.length;
      this._dropped += 1;
      if (this._open[line.stream] === line) {
        this._open[line.stream] = undefined;
      }
    }
    if (this._head > LINES) {
      this._lines = this._lines.slice(this._head);
      this._head = 0;
    }
  }

  private _lines: ILogLine[] = [];
  private _head = 0;
  private _next = 0;
  private _dropped = 0;
  private _characters = 0;
  private readonly _open: { [stream in Stream]?: ILogLine } = {};
}

/** Return what is seen of a line that was written over; a `\r` at the end stays, it may be part of `\r\n`. */
function rewritten(text: string): string {
  const body = text.replace(/\r+$/, '');
  const seen = body.slice(body.lastIndexOf('\r') + 1);
  return body.length < text.length ? `${seen}\r` : seen;
}
