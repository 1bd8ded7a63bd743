import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { messageOf } from '@fleetgate/shared/errors';

import { watchUse } from './linux-process-use.js';
import { cbcAnswer, glpsolAnswer, type PeerAnswer } from './peer-answers.js';
import { gapOf, provenStatus, type SolverRun } from './solver-run.js';

export const PEERS = ['cbc', 'glpsol'] as const;
export type Peer = (typeof PEERS)[number];

export interface PeerLimits {
  readonly timeLimitS: number;
  /** Relative gap at which to stop. */
  readonly gap: number;
}

/** A solver that does not keep its own limit is killed this much later. */
const GRACE_S = 15;
/** The end of a log is enough. */
const LONGEST_OUTPUT = 2 ** 20;

/**
 * Runs an installed solver on a free MPS file that minimises the negated objective. Undefined when the program is not
 * there. Aborting `signal` kills it.
 */
export async function runPeer(
  peer: Peer,
  mpsFile: string,
  limits: PeerLimits,
  signal: AbortSignal,
): Promise<SolverRun | undefined> {
  const started = performance.now();
  const child = spawn(peer, argumentsOf(peer, mpsFile, limits), { stdio: ['ignore', 'pipe', 'ignore'] });
  const use = watchUse(child.pid ?? -1);
  const kill = () => child.kill('SIGKILL');
  const timer = setTimeout(kill, (limits.timeLimitS + GRACE_S) * 1000);
  signal.addEventListener('abort', kill, { once: true });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-LONGEST_OUTPUT)));
  try {
    await once(child, 'close');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${peer} did not start: ${messageOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', kill);
    use.stop();
  }
  signal.throwIfAborted();
  return { ...turned(peer, answerOf(peer, output)), wallS: (performance.now() - started) / 1000, ...use.stop() };
}

function argumentsOf(peer: Peer, mpsFile: string, { timeLimitS, gap }: PeerLimits): readonly string[] {
  switch (peer) {
    case 'cbc':
      return [mpsFile, '-sec', String(timeLimitS), '-timeMode', 'elapsed', '-ratio', String(gap), '-solve', '-quit'];
    case 'glpsol':
      return ['--freemps', mpsFile, '--tmlim', String(Math.ceil(timeLimitS)), '--mipgap', String(gap)];
  }
}

function answerOf(peer: Peer, output: string): PeerAnswer {
  switch (peer) {
    case 'cbc':
      return cbcAnswer(output);
    case 'glpsol':
      return glpsolAnswer(output);
  }
}

/** Back from the minimisation of the negated objective. */
function turned(solver: Peer, answer: PeerAnswer) {
  const negated = (value: number | null) => (value === null ? null : -value);
  const [objective, bound] = [negated(answer.objective), negated(answer.bound)];
  const gap = gapOf(objective, bound);
  return { solver, status: provenStatus(answer.status, gap), objective, bound, nodes: answer.nodes, gap };
}
