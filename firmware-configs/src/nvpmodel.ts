/** A power mode of a Jetson, as the board's own table describes it. Numbers and names differ between images of one board. */
export interface PowerMode {
  readonly id: number;
  /** For example `25W`, `MODE_30W`, `MAXN_SUPER`. */
  readonly name: string;
  /** Numbers of the cores that it switches on; undefined where it leaves all as they are. */
  readonly onlineCores: readonly number[] | undefined;
  /** Least of the caps of its CPU clusters; undefined: none. */
  readonly cpuMaxKHz: number | undefined;
  readonly gpuMaxHz: number | undefined;
  readonly memoryMaxHz: number | undefined;
  /** Masks of the parts of the GPU that it switches off, by name. Most boards change them only as they start. */
  readonly gating: ReadonlyMap<string, string>;
}

export interface PowerModeTable {
  readonly modes: readonly PowerMode[];
  /** Number of the mode that the board starts with when none was chosen. */
  readonly defaultId: number | undefined;
}

const MODE = /^<\s*POWER_MODEL\b(?<fields>[^>]*)>/;
const DEFAULT = /^<\s*PM_CONFIG\b[^>]*\bDEFAULT=(\d+)/;

/**
 * Parses `/etc/nvpmodel.conf`: blocks `< POWER_MODEL ID=n NAME=x >`, each line below one `PARAMETER ARGUMENT VALUE`.
 * CPU frequencies are in kHz, those of GPU and memory in Hz; -1 and 0 as a cap mean none. What it does not know it skips:
 * tables of newer boards name more. A mode without a number or name, or whose number came before, is left out.
 */
export function parsePowerModes(text: string): PowerModeTable {
  const modes = new Map<number, PowerMode>();
  let defaultId: number | undefined;
  for (const [head = '', ...settings] of blocksOf(text)) {
    const found = DEFAULT.exec(head)?.[1];
    if (found !== undefined) defaultId = Number(found);
    const fields = MODE.exec(head)?.groups?.['fields'];
    const id = /\bID=(\d{1,3})\b/.exec(fields ?? '')?.[1];
    const name = /\bNAME=([\w.-]{1,40})/.exec(fields ?? '')?.[1];
    if (id === undefined || name === undefined || modes.has(Number(id))) continue;
    modes.set(Number(id), modeOf(Number(id), name, settings));
  }
  return { modes: [...modes.values()].sort((a, b) => a.id - b.id), defaultId };
}

/** A line in angle brackets begins a block. Comments begin with #. */
function blocksOf(text: string): readonly (readonly string[])[] {
  const blocks: string[][] = [];
  for (const line of text.split('\n').map((raw) => raw.replace(/#.*/, '').trim())) {
    if (line.startsWith('<')) blocks.push([line]);
    else if (line !== '') blocks.at(-1)?.push(line);
  }
  return blocks;
}

function modeOf(id: number, name: string, settings: readonly string[]): PowerMode {
  const entries = settings.map((line) => line.split(/\s+/));
  const cap = (parameter: RegExp): number | undefined => {
    const caps = entries
      .filter(([of = '', argument]) => parameter.test(of) && argument === 'MAX_FREQ')
      .map(([, , value]) => Number(value))
      .filter((value) => value > 0);
    return caps.length === 0 ? undefined : Math.min(...caps);
  };
  const cores = entries.filter(([of]) => of === 'CPU_ONLINE');
  const online = cores
    .filter(([, , value]) => value === '1')
    .map(([, core = '']) => Number(core.replace('CORE_', '')))
    .filter(Number.isInteger);
  const gating = entries
    .filter(([of = '']) => of.endsWith('_POWER_GATING'))
    .map(([, mask = '', value = '']) => [mask, value] as const);
  return {
    id,
    name,
    onlineCores: cores.length === 0 ? undefined : online,
    cpuMaxKHz: cap(/^CPU_(?!ONLINE)/),
    gpuMaxHz: cap(/^GPU$/),
    memoryMaxHz: cap(/^EMC$/),
    gating: new Map(gating),
  };
}

/**
 * Number of the mode in force: from `nvpmodel -q` (`NV Power Mode: 25W`, the number on the next line, warnings around
 * them) or from /var/lib/nvpmodel/status (`pmode:0001`). Undefined where the text says neither.
 */
export function parsePowerModeInForce(text: string): number | undefined {
  const found = /NV Power Mode:[^\n]*\n\s*(\d{1,3})\s*$/m.exec(text)?.[1] ?? /^pmode:(\d{1,5})\b/m.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Whether `nvpmodel -m` answered that the board has to start anew, which it asks on its standard input about. */
export const saysRestartNeeded = (text: string): boolean => /reboot required/i.test(text);

/** The mode that `names` mean: the first of them that the table has. `MODE_15W` and `15W` are one name. */
export function powerModeNamed(modes: readonly PowerMode[], names: readonly string[]): PowerMode | undefined {
  for (const name of names) {
    const mode = modes.find((candidate) => plainName(candidate.name) === plainName(name));
    if (mode !== undefined) return mode;
  }
  return undefined;
}

const plainName = (name: string): string => name.toUpperCase().replace(/^MODE_/, '');
