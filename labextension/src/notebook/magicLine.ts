/** Edits of a cell's `%%funcx` line, as a person would make them. Text in, text out. */

const MAGIC = /^(\s*%%funcx)(?=\s|$)([^\n]*)/;
const WORD = /"(?:\\.|[^"\\])*"|'[^']*'|(?:\\.|[^\s"'])+/g;

/** Options that stand alone; every other one takes the word behind it. */
const FLAGS: ReadonlySet<string> = new Set([
  ...['-b', '--bg', '-w', '--wait', '-q', '--quiet', '-h', '--help', '--shell', '--no-check', '--at-most-once'],
  ...['--memo', '--fresh', '--local', '--no-stream', '--no-raise', '--dry-run']
]);

/** Whether a cell runs at an endpoint. */
export function isRemote(source: string): boolean {
  return MAGIC.test(source);
}

/** Return the part of a cell that is sent: without its `%%funcx` line. */
export function bodyOf(source: string): string {
  return source.replace(MAGIC, '');
}

/** Return the cell with a `%%funcx` line in front, if it has none. */
export function remote(source: string): string {
  return isRemote(source) ? source : `%%funcx\n${source}`;
}

/** Return the cell with an endpoint named on its line, in place of any other. */
export function withEndpoint(source: string, endpoint: string): string {
  return edit(source, words => {
    const rest = without(words, '-e', '--endpoint');
    const place = rest.findIndex((_, index) => isPositional(rest, index));
    return [quoted(endpoint), ...rest.filter((_, index) => index !== place)];
  });
}

/** Return the cell with an option on its line; `value` replaces what the option had. */
export function withOption(source: string, names: readonly string[], value: string | null): string {
  return edit(source, words => {
    const rest = without(words, ...names);
    return [...rest, names[0], ...(value === null ? [] : [quoted(value)])];
  });
}

/** Return the cell with one more name in an option that takes a list. */
export function withNames(source: string, names: readonly string[], added: readonly string[]): string {
  const known = (optionOf(source, names) ?? '').split(',').map(name => name.trim());
  const all = [...known.filter(Boolean), ...added.filter(name => !known.includes(name))];
  return withOption(source, names, all.join(','));
}

/** Return the value of an option on the cell's line; null if it is not there. */
export function optionOf(source: string, names: readonly string[]): string | null {
  const words = wordsOf(source);
  for (const [index, word] of words.entries()) {
    const [name, value] = split(word);
    if (names.includes(name)) {
      return unquoted(value ?? words[index + 1] ?? '');
    }
  }
  return null;
}

/** Return the endpoint that the cell's line names; `''` if it names none. */
export function endpointOf(source: string): string {
  const words = wordsOf(source);
  const place = words.findIndex((_, index) => isPositional(words, index));
  return place < 0 ? (optionOf(source, ['-e', '--endpoint']) ?? '') : unquoted(words[place]);
}

function edit(source: string, change: (words: string[]) => string[]): string {
  return remote(source).replace(MAGIC, (_, magic: string, line: string) =>
    // A replacing function: what `$` means in a replacing text does not matter.
    [magic, ...change(line.match(WORD) ?? [])].join(' ')
  );
}

function wordsOf(source: string): string[] {
  return MAGIC.exec(source)?.[2].match(WORD) ?? [];
}

function without(words: readonly string[], ...names: string[]): string[] {
  const rest: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const [name, value] = split(words[index]);
    if (!names.includes(name)) {
      rest.push(words[index]);
    } else if (value === null && !FLAGS.has(name)) {
      index += 1;
    }
  }
  return rest;
}

/** Whether a word is neither an option nor an option's value. */
function isPositional(words: readonly string[], index: number): boolean {
  if (words[index].startsWith('-')) {
    return false;
  }
  const before = index ? split(words[index - 1]) : null;
  if (before === null || !before[0].startsWith('-')) {
    return !index || !words[index - 1].endsWith(',');
  }
  return before[1] !== null || FLAGS.has(before[0]);
}

function split(word: string): [string, string | null] {
  const place = word.startsWith('--') ? word.indexOf('=') : -1;
  return place < 0 ? [word, null] : [word.slice(0, place), word.slice(place + 1)];
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'"'"'`)}'`;
}

function unquoted(word: string): string {
  return word.replace(/^(["'])(.*)\1$/, '$2');
}
