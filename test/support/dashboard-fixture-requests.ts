/** The fixture fleet's requests, with their decision records. */
import type { CandidateView, RequestView } from '@fleetgate/shared/api/operations';
import { SeededRandom } from '@fleetgate/shared/random';

import { DEVICES, EXPERTS, variantOf } from './dashboard-fixture-fleet.js';

export function candidatesFor(chosen: string, random: SeededRandom): readonly CandidateView[] {
  return EXPERTS.map((expert): CandidateView => {
    const device = DEVICES.find((each) => each.hosts.includes(expert.id));
    const isChosen = expert.id === chosen;
    const quality = isChosen
      ? 0.71
      : expert.words === null
        ? 0.55 + 0.1 * random.uniform()
        : 0.3 + 0.2 * random.uniform();
    const energyJ = device === undefined ? null : 2 + device.loadW * 0.4 * random.uniform();
    const excluded = expert.id === 'story' && !isChosen ? 'still being fetched' : null;
    return {
      expertId: expert.id,
      variantId: variantOf(expert.id),
      deviceId: device?.id ?? null,
      quality,
      qualitySd: 0.03 + 0.05 * random.uniform(),
      latencyMs: device === undefined ? null : 24_000 / device.tokensPerS,
      energyJ,
      value: excluded === null && energyJ !== null ? quality - 0.012 * energyJ : null,
      chosen: isChosen,
      excluded,
    };
  });
}

/** The expert that a prompt's words ask for; the small generalist when none do. */
export function chooseExpert(model: string, prompt: string): { readonly expert: string; readonly device: string } {
  const asked = EXPERTS.find((expert) => model === expert.id || model === variantOf(expert.id));
  const expert =
    asked ?? EXPERTS.find((each) => each.words?.test(prompt) === true) ?? EXPERTS.find((e) => e.id === 'moe');
  const id = expert?.id ?? 'generalist';
  return { expert: id, device: DEVICES.find((each) => each.hosts.includes(id))?.id ?? 'jetson' };
}

export function endedRequest(
  id: string,
  receivedAtMs: number,
  prompt: string,
  model: string,
  planId: string,
): RequestView {
  const random = new SeededRandom(Array.from(id).reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7));
  const { expert, device } = chooseExpert(model, prompt);
  const board = DEVICES.find((each) => each.id === device);
  const outputTokens = 24 + Math.floor(90 * random.uniform());
  const latencyMs = (1000 * outputTokens) / (board?.tokensPerS ?? 40) + 90;
  const energyJ = ((board?.loadW ?? 8) - (board?.idleW ?? 3)) * 0.85 * (latencyMs / 1000);
  const predicted = {
    latencyMs: latencyMs * (0.85 + 0.3 * random.uniform()),
    energyJ: energyJ * (0.8 + 0.35 * random.uniform()),
  };
  return {
    id,
    receivedAtMs,
    endedAtMs: receivedAtMs + latencyMs,
    state: 'succeeded',
    endpoint: '/v1/chat/completions',
    model,
    mode: 'auto',
    classId: expert,
    planId,
    promptChars: prompt.length,
    expertId: expert,
    variantId: variantOf(expert),
    deviceId: device,
    attempts: [{ deviceId: device, variantId: variantOf(expert), startedAtMs: receivedAtMs, outcome: 'succeeded' }],
    why: `${expert} is expected to answer best (quality 0.71) and ${device} has it resident with a free slot.`,
    candidates: candidatesFor(expert, random).map((each) => (each.chosen ? { ...each, ...predicted } : each)),
    predicted,
    actual: {
      latencyMs,
      energyJ,
      promptTokens: Math.ceil(prompt.length / 4),
      outputTokens,
      ttftMs: 84,
      energySource: 'modelled',
    },
    finishReason: 'stop',
    error: null,
  };
}
