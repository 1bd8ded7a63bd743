/** What balancing does to real outcomes: the bundled experts' measured qualities, replayed as traffic. */
import { type ClassId, classId, type ExpertId, expertId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import { readOutcomes } from '../gating/disk-outcomes.js';
import { type Balance, balanced, biasOf, effectiveExperts, MOST_BIAS, type PlannedShares } from './balance.js';

const BUNDLED = new URL('../../../experts/outcomes/bundled.jsonl.gz', import.meta.url).pathname;
/** How much of a prompt's deviation from its class's mean a gate foresees. */
const FORESEEN = 0.3;

interface Prompt {
  readonly task: ClassId;
  readonly y: ReadonlyMap<ExpertId, number>;
}
type Means = ReadonlyMap<ClassId, ReadonlyMap<ExpertId, number>>;

async function prompts(): Promise<readonly Prompt[]> {
  const all: Prompt[] = [];
  for await (const { task = 'other', y } of readOutcomes(BUNDLED)) {
    all.push({
      task: classId(task),
      y: new Map(Object.entries(y).map(([name, quality]) => [expertId(name), quality])),
    });
  }
  return all;
}

function meansOf(all: readonly Prompt[]): Means {
  const means = new Map<ClassId, Map<ExpertId, number>>();
  for (const task of new Set(all.map((prompt) => prompt.task))) {
    const own = all.filter((prompt) => prompt.task === task);
    const experts = [...(own[0]?.y.keys() ?? [])];
    const mean = (expert: ExpertId): number => own.reduce((sum, { y }) => sum + (y.get(expert) ?? 0), 0) / own.length;
    means.set(task, new Map(experts.map((expert) => [expert, mean(expert)])));
  }
  return means;
}

/** Each class half for its best expert and half for its second best, as where one device cannot serve it all. */
function plan(means: Means): PlannedShares {
  return new Map(
    [...means].map(([task, own]) => {
      const best = [...own].sort((a, b) => b[1] - a[1]).slice(0, 2);
      return [task, new Map(best.map(([expert]) => [expert, 0.5]))];
    }),
  );
}

/** Mean over classes of the effective number of experts, and mean quality of what was chosen. */
function replay(
  all: readonly Prompt[],
  means: Means,
  isBalanced: boolean,
): { readonly effective: number; readonly quality: number } {
  const random = new SeededRandom(3);
  const planned = plan(means);
  const used = new Map<ClassId, Map<ExpertId, number>>();
  const rounds = 4 * all.length;
  let balance: Balance = new Map();
  let quality = 0;
  for (let round = 0; round < rounds; round++) {
    const { task, y } = all[Math.floor(random.uniform() * all.length)] ?? { task: classId('other'), y: new Map() };
    const valueOf = ([expert, truth]: readonly [ExpertId, number]): number => {
      const mean = means.get(task)?.get(expert) ?? 0;
      return mean + FORESEEN * (truth - mean) + (isBalanced ? biasOf(balance, task, expert) : 0);
    };
    const best = [...y].reduce((one, other) => (valueOf(other) > valueOf(one) ? other : one));
    const own = used.get(task) ?? new Map<ExpertId, number>();
    used.set(task, own.set(best[0], (own.get(best[0]) ?? 0) + 1));
    quality += best[1];
    balance = balanced(balance, task, best[0], planned);
  }
  const effective = [...used.values()].reduce((sum, own) => sum + effectiveExperts(own.values()), 0) / used.size;
  return { effective, quality: quality / rounds };
}

describe('balancing the bundled outcomes', () => {
  it('uses more experts of each class, for less quality than its bias may move', async () => {
    const all = await prompts();
    const means = meansOf(all);
    const without = replay(all, means, false);
    const balancing = replay(all, means, true);
    console.info(
      `effective experts of a class ${without.effective.toFixed(2)} -> ${balancing.effective.toFixed(2)}, ` +
        `mean quality ${without.quality.toFixed(4)} -> ${balancing.quality.toFixed(4)}`,
    );
    expect(balancing.effective).toBeGreaterThan(1.1 * without.effective);
    expect(without.quality - balancing.quality).toBeLessThan(MOST_BIAS / 2);
  });
});
