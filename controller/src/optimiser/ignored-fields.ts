import { placementProblemSchema, problemArcSchema, problemClassSchema } from './problem.js';
import { problemDeviceSchema, problemModeSchema, problemSiteSchema, problemVariantSchema } from './problem.js';
import { shownValue } from './shown-value.js';

/** Arcs are all alike: it is enough to look at the first ones. */
const MOST_ENTRIES = 1000;

const BUDGETS = Object.keys(placementProblemSchema.shape.budgets.shape);
const LIKE = Object.keys(problemDeviceSchema.shape.like.unwrap().shape);
const LISTS = {
  classes: problemClassSchema,
  variants: problemVariantSchema,
  devices: problemDeviceSchema,
  sites: problemSiteSchema,
  arcs: problemArcSchema,
} as const;

/**
 * Fields of a sound document that mean nothing here, one sentence for each: a bound whose name is misspelt would otherwise
 * be left out without a word. At the top level anything may be added.
 */
export function ignoredFields(document: unknown): string[] {
  const problem = document as Readonly<Record<string, unknown>>;
  const first = new Map<string, string>();
  const counts = new Map<string, number>();
  const look = (path: string, kind: string, entry: unknown, known: readonly string[]) => {
    if (typeof entry !== 'object' || entry === null) return;
    for (const field of Object.keys(entry)) {
      if (known.includes(field)) continue;
      const name = `${kind}.${field}`;
      if (!first.has(name)) first.set(name, `${path}.${printable(field)}`);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  };
  look('budgets', 'budgets', problem['budgets'], BUDGETS);
  for (const [list, schema] of Object.entries(LISTS)) {
    const known = Object.keys(schema.shape);
    listOf(problem[list]).forEach((entry, i) => look(`${list}.${i}`, list, entry, known));
  }
  listOf(problem['devices']).forEach((entry, d) => {
    const { modes, like } = entry as { readonly modes?: unknown; readonly like?: unknown };
    listOf(modes).forEach((mode, m) =>
      look(`devices.${d}.modes.${m}`, 'modes', mode, Object.keys(problemModeSchema.shape)),
    );
    look(`devices.${d}.like`, 'like', like, LIKE);
  });
  return [...first].map(([name, path]) => {
    const more = (counts.get(name) ?? 1) - 1;
    return `${path}${more === 0 ? '' : ` (and ${more} more)`} is no field of fleet-opt/1 and was ignored.`;
  });
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value.slice(0, MOST_ENTRIES) : []);

/** As it is where it is plain, else escaped. */
const printable = (field: string): string => (/^\w{1,40}$/.test(field) ? field : shownValue(field));
