import type { Budgets, DeviceView, ListBody, PlanView } from '@fleetgate/shared/api/operations';
import { isFleetError } from '@fleetgate/shared/errors';

import { type BenchReport, figure, type Progress } from './bench-report.js';
import { bitsPerByte, type ScoredAnswer } from './bits-per-byte.js';
import { type BudgetPoint, planEnergyJ, withRoom } from './budget-figures.js';
import { tighterBudgets } from './budget-search.js';
import { perDomain, type ValidationPair } from './disk-validation-pairs.js';
import { meanOf } from './distribution.js';
import { ask, scoreAnswer } from './fleet-client.js';
import type { HttpFleetClient } from './http-fleet-client.js';
import { planAgain, planInForce } from './plan-in-force.js';

const ANSWER_TOKENS = 96;
/** Factors on the energy of a request, tried in turn. */
const ROOMS = [1, 1.1, 1.25] as const;
/** Of each domain, before the first point: about what a class's answer lengths need to be learned. */
const TEACHING_PROMPTS = 12;

/** Of the way from the present energies to the least that a plan can meet. */
const TIGHTER_SHARES = [
  { name: 'half-way', share: 0.5 },
  { name: 'tightest', share: 1 },
] as const;

interface TighterStep {
  readonly name: string;
  /** Undefined when no plan meets any. */
  readonly budgets: () => Promise<Budgets | undefined>;
}

/**
 * Quality against energy, from the running system: the same prompts under the present budgets and under two tighter ones,
 * either for the energy of a request (searched) or for the power of the fleet (`givenPowerW`). Sets budgets, waits until
 * the new plan is in force and loaded, and puts the budgets back at the end, also when it fails or is interrupted.
 */
export async function budgetBench(
  client: HttpFleetClient,
  pairs: readonly ValidationPair[],
  givenPowerW: readonly number[],
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const before = await client.get<Budgets>('/api/v1/budgets');
  const points: BudgetPoint[] = [];
  try {
    await planInForce(client, before, signal);
    progress('budget: a few requests of each domain to learn from');
    const present = await teach(client, before, perDomain(pairs, TEACHING_PROMPTS), signal);
    progress('budget: present budgets');
    points.push(await measure(client, 'present', present, pairs, progress, signal));
    const steps: readonly TighterStep[] =
      givenPowerW.length > 0
        ? givenPowerW.map((watts) => ({
            name: `${watts} W`,
            budgets: () => Promise.resolve({ ...before, fleetPowerW: watts }),
          }))
        : TIGHTER_SHARES.map(({ name, share }) => ({
            name,
            budgets: () => tighterBudgets(client, before, present, share, progress, signal),
          }));
    for (const { name, budgets } of steps) {
      // Searched when its turn comes: what a request costs is known better by then.
      const found = await budgets();
      if (found === undefined) continue;
      progress(`budget: ${name}`);
      points.push(await measure(client, name, await putInForce(client, found, signal), pairs, progress, signal));
    }
  } finally {
    await client.put('/api/v1/budgets', before);
  }
  progress('budget: back to the budgets as they were');
  await planInForce(client, before, signal);
  return report(points, pairs.length);
}

/** The plan under tighter budgets; they get a little more room where costs have moved since they were searched for. */
async function putInForce(client: HttpFleetClient, budgets: Budgets, signal: AbortSignal): Promise<PlanView> {
  let infeasible: unknown;
  for (const room of ROOMS) {
    const wanted = await client.put<Budgets>('/api/v1/budgets', withRoom(budgets, room));
    try {
      return await planInForce(client, wanted, signal);
    } catch (error) {
      if (!isFleetError(error, 'plan.infeasible')) throw error;
      infeasible = error;
    }
  }
  throw infeasible;
}

/** Answers that the running system learns lengths and costs from before anything is measured, and a plan made of that. */
async function teach(
  client: HttpFleetClient,
  budgets: Budgets,
  pairs: readonly ValidationPair[],
  signal: AbortSignal,
): Promise<PlanView> {
  for (const { prompt } of pairs) {
    signal.throwIfAborted();
    await ask(client, 'auto', prompt, ANSWER_TOKENS);
  }
  await planAgain(client);
  return planInForce(client, budgets, signal);
}

async function measure(
  client: HttpFleetClient,
  name: string,
  plan: PlanView,
  pairs: readonly ValidationPair[],
  progress: Progress,
  signal: AbortSignal,
): Promise<BudgetPoint> {
  const energies: number[] = [];
  const watts: number[] = [];
  const experts = new Map<string, number>();
  const scored: ScoredAnswer[] = [];
  let tokens = 0;
  for (const [at, pair] of pairs.entries()) {
    signal.throwIfAborted();
    if (at % 10 === 0) progress(`  request ${at + 1} of ${pairs.length}`);
    const answer = await ask(client, 'auto', pair.prompt, ANSWER_TOKENS);
    energies.push(answer.energyJ);
    tokens += answer.outputTokens;
    experts.set(answer.expert, (experts.get(answer.expert) ?? 0) + 1);
    const score = await scoreAnswer(client, answer.expert, pair.prompt, pair.completion);
    if (score !== undefined) scored.push({ domain: pair.domain, ...score });
    const { items } = await client.get<ListBody<DeviceView>>('/api/v1/devices');
    watts.push(items.reduce((sum, device) => sum + (device.last.powerW ?? 0), 0));
  }
  return {
    name,
    planJ: planEnergyJ(plan, [...new Set(pairs.map(({ domain }) => domain))]),
    objective: plan.objective,
    joulesPerRequest: meanOf(energies),
    tokensPerRequest: tokens / Math.max(1, pairs.length),
    bitsPerByte: bitsPerByte(scored).mean,
    reportedW: meanOf(watts),
    placements: plan.placements.length,
    experts: [...experts].sort(([, a], [, b]) => b - a).map(([expert, count]) => `${expert} ${count}`),
  };
}

function report(points: readonly BudgetPoint[], prompts: number): BenchReport {
  const [first] = points;
  const last = points.at(-1);
  const peer = (value: number) => ({ name: 'present budgets', value });
  return {
    name: 'budget',
    figures:
      first === undefined || last === undefined || points.length < 2
        ? []
        : [
            figure(
              'energy above idle per request, tightest budget',
              'J',
              last.joulesPerRequest,
              peer(first.joulesPerRequest),
            ),
            figure('mean bits per byte, tightest budget', 'bit/byte', last.bitsPerByte, peer(first.bitsPerByte)),
            figure('fleet power as reported, tightest budget', 'W', last.reportedW, peer(first.reportedW)),
          ],
    tables: [
      {
        title: 'trade-off: the same prompts under each budget',
        columns: ['budget', 'plan J', 'J/request', 'tokens', 'bit/byte', 'plan points', 'fleet W', 'copies', 'experts'],
        rows: points.map((point) => [
          point.name,
          point.planJ.toFixed(3),
          point.joulesPerRequest.toFixed(3),
          point.tokensPerRequest.toFixed(1),
          point.bitsPerByte.toFixed(3),
          point.objective === null ? '-' : point.objective.toFixed(1),
          point.reportedW.toFixed(2),
          point.placements,
          point.experts.join(', '),
        ]),
      },
    ],
    notes: [
      `${prompts} validation prompts at each point, at most ${ANSWER_TOKENS} tokens each, one at a time`,
      `before the first point, up to ${TEACHING_PROMPTS} requests of each domain were answered and a plan made of what they taught`,
      'plan J: planned energy of a request above idle, mean of the domains; fleet W: sum of what the devices report, mean over the run',
      'bit/byte: reference answers under the expert that was chosen, mean of the domains',
      ...(points.length < 2 ? ['no tighter budget was found that a plan meets'] : []),
    ],
  };
}
