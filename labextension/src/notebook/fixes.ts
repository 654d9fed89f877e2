/** What one edit of a cell's line can do about an error. Facts in, edits out. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IEndpoint } from '../tokens';
import { endpointOf, optionOf, withEndpoint, withNames, withOption } from './magicLine';

/** One remedy: the cell, edited where the user can see it, is run again. */
export interface IFix {
  readonly label: string;
  readonly edit: (source: string) => string;
}

/** An error as far as remedies need it. */
export interface IFault {
  readonly code: string;
  readonly type?: string;
  readonly message?: string;
  readonly details?: { readonly [fact: string]: unknown };
}

/** What a remedy may look at. */
export interface IPlace {
  readonly source: string;
  readonly endpoints: readonly IEndpoint[];
  /** Name of the endpoint where it happened. */
  readonly endpoint: string;
  readonly trans: TranslationBundle;
}

/** So many other endpoints are offered. */
const OFFERED = 3;
const NAME = /^[^\W\d]\w*$/u;
const REQUIREMENT = /^[A-Za-z0-9][\w.-]*$/;
const SECONDS: { readonly [unit: string]: number } = { s: 1, m: 60, h: 3600, d: 86400 };

type Remedy = (fault: IFault, place: IPlace) => IFix[];

const REMEDIES: { readonly [code: string]: Remedy } = {
  ENV_MISMATCH: (fault, place) => [
    ...names(fault.details?.others).slice(0, OFFERED).map(name => elsewhere(name, place.trans)),
    {
      label: place.trans.__('Send it all the same'),
      edit: source => withOption(source, ['--no-check'], null)
    }
  ],
  CANNOT_SERIALIZE: (fault, { trans }) => leaveOut(names([fault.details?.name]), trans),
  USAGE_ERROR: (fault, { trans }) => {
    const large = names(fault.details?.large);
    const all = names(String(fault.details?.include ?? '').split(','));
    const send = { label: trans.__('Send %1', large.join(', ')), edit: including(all) };
    return large.length ? [send, ...leaveOut(large.slice(0, 1), trans)] : [];
  },
  WALLTIME_REACHED: (_, place) => longer(place, '--timeout', 600),
  TASK_EXPIRED: (_, place) => longer(place, '--ttl', 7200),
  RESULT_TOO_LARGE: (_, { trans }) => [
    {
      label: trans.__('Bring nothing back'),
      edit: source => withOption(source, ['-o', '--out'], 'none')
    }
  ],
  WORKER_LOST: (_, place) => [...others(place), again(place.trans)],
  LOST_UNKNOWN: (_, place) => [again(place.trans), ...others(place)],
  TASK_FAILED: (fault, place) => missing(fault, place),
  REQUIREMENTS_REFUSED: (_, place) => others(place),
  REQUIREMENTS_FAILED: (_, place) => others(place)
};

/** Return what can be done about an error by editing the cell's line; nothing if that is not known. */
export function fixesFor(fault: IFault, place: IPlace): readonly IFix[] {
  return Object.hasOwn(REMEDIES, fault.code) ? REMEDIES[fault.code](fault, place) : [];
}

function elsewhere(name: string, trans: TranslationBundle): IFix {
  return { label: trans.__('Run on %1', name), edit: source => withEndpoint(source, name) };
}

function others({ source, endpoints, endpoint, trans }: IPlace): IFix[] {
  const here = endpoint || endpointOf(source);
  const online = endpoints.filter(each => each.status === 'online' && each.name !== here);
  return online.slice(0, OFFERED).map(each => elsewhere(each.name, trans));
}

function again(trans: TranslationBundle): IFix {
  return {
    label: trans.__('Run again, up to 2 times more'),
    edit: source => withOption(source, ['--retries'], '2')
  };
}

function leaveOut(left: readonly string[], trans: TranslationBundle): IFix[] {
  return left.map(name => ({
    label: trans.__('Run without sending %1', name),
    edit: (source: string) => withNames(source, ['-x', '--exclude'], [name])
  }));
}

function including(all: readonly string[]): (source: string) => string {
  return source => withOption(source, ['-i', '--in'], all.join(','));
}

function longer({ source, trans }: IPlace, option: string, usual: number): IFix[] {
  const known = seconds(optionOf(source, [option]) ?? '');
  const value = duration(known ? known * 2 : usual);
  return [
    {
      label: trans.__('Run with %1', `${option} ${value}`),
      edit: text => withOption(text, [option], value)
    }
  ];
}

function missing(fault: IFault, place: IPlace): IFix[] {
  const module = /No module named '([^']+)'/.exec(fault.message ?? '')?.[1].split('.')[0] ?? '';
  if (fault.type !== 'ModuleNotFoundError' || !REQUIREMENT.test(module)) {
    return [];
  }
  const install = {
    label: place.trans.__('Run with --requires %1', module),
    edit: (source: string) => withNames(source, ['--requires'], [module])
  };
  return [install, ...others(place)];
}

/** Return those of the values that are Python names or names of endpoints, as text. */
function names(values: unknown): string[] {
  const list = Array.isArray(values) ? values : [];
  return list.filter(
    (value): value is string => typeof value === 'string' && (NAME.test(value) || /^[\w.@-]{1,128}$/.test(value))
  );
}

function seconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text.trim());
  return match ? Number(match[1]) * (SECONDS[match[2]] ?? 1) : 0;
}

function duration(value: number): string {
  const unit = ['d', 'h', 'm'].find(each => value % SECONDS[each] === 0 && value >= SECONDS[each]);
  return unit ? `${value / SECONDS[unit]}${unit}` : `${Math.ceil(value)}s`;
}
