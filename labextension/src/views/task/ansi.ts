/** Terminal colours as pieces of text with classes; every other escape sequence is left out. No I/O here. */

/** A piece of a line that looks the same throughout. */
export interface IPiece {
  readonly text: string;
  readonly className: string;
}

// An escape sequence: CSI with its parameters and last byte, OSC up to its end, or two characters.
// eslint-disable-next-line no-control-regex
const ESCAPE = /\x1b(?:\[([0-9;:?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\|$)|[@-Z\\-_]?)/g;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;

const COLOURS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

interface IStyle {
  colour: string;
  isBold: boolean;
  isItalic: boolean;
  isUnderlined: boolean;
}

const PLAIN: IStyle = { colour: '', isBold: false, isItalic: false, isUnderlined: false };

function apply(style: IStyle, code: number): IStyle {
  if (code === 0) {
    return PLAIN;
  }
  if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
    return { ...style, colour: COLOURS[code % 10] };
  }
  switch (code) {
    case 1:
      return { ...style, isBold: true };
    case 3:
      return { ...style, isItalic: true };
    case 4:
      return { ...style, isUnderlined: true };
    case 22:
      return { ...style, isBold: false };
    case 23:
      return { ...style, isItalic: false };
    case 24:
      return { ...style, isUnderlined: false };
    case 39:
      return { ...style, colour: '' };
    default:
      return style;
  }
}

function classOf(style: IStyle): string {
  return [
    style.colour && `fxl-ansi-${style.colour}`,
    style.isBold && 'fxl-ansi-bold',
    style.isItalic && 'fxl-ansi-italic',
    style.isUnderlined && 'fxl-ansi-underlined'
  ]
    .filter(Boolean)
    .join(' ');
}

/** Return the colour that follows a 38 or 48 of 256 colours; the first 16 are the terminal's own. */
function takeParameters(style: IStyle, parameters: string): IStyle {
  const codes = parameters.split(/[;:]/).map(Number);
  let result = style;
  for (let index = 0; index < codes.length; index++) {
    const code = codes[index];
    if ((code === 38 || code === 48) && codes[index + 1] === 5) {
      const colour = codes[index + 2];
      if (code === 38) {
        result = { ...result, colour: colour < 16 ? COLOURS[colour % 8] : '' };
      }
      index += 2;
    } else if ((code === 38 || code === 48) && codes[index + 1] === 2) {
      index += 4;
    } else {
      result = apply(result, code);
    }
  }
  return result;
}

/** Return the pieces of a line. */
export function pieces(line: string): IPiece[] {
  if (!line.includes('\x1b')) {
    return [{ text: line.replace(CONTROL, ''), className: '' }];
  }
  const found: IPiece[] = [];
  let style = PLAIN;
  let start = 0;
  const push = (end: number) => {
    const text = line.slice(start, end).replace(CONTROL, '');
    if (text) {
      found.push({ text, className: classOf(style) });
    }
  };
  for (const match of line.matchAll(ESCAPE)) {
    push(match.index);
    start = match.index + match[0].length;
    if (match[2] === 'm') {
      style = takeParameters(style, match[1]);
    }
  }
  push(line.length);
  return found;
}
