import { Command, CommanderError } from 'commander';

import { stopQuietlyOnClosedPipe } from '@fleetgate/shared/closed-pipe';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';

import { agentVersion } from '../config/config.js';

type Register = (program: Command, argv: readonly string[]) => void | Promise<void>;

/** Only what is asked for is loaded: a daemon should not carry the other commands in memory. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  agent: async () => (await import('./agent.js')).registerAgent,
  outcomes: async () => (await import('./outcomes.js')).registerOutcomes,
  gguf: async () => (await import('./gguf.js')).registerGguf,
  bench: async () => (await import('./bench.js')).registerBench,
  board: async () => (await import('./board.js')).registerBoard,
  launch: async () => (await import('./launch.js')).registerLaunch,
  'pack-agent': async () => (await import('./pack-agent.js')).registerPackAgent,
  doctor: async () => (await import('./doctor.js')).registerDoctor,
};

/**
 * Runs a command of the agent (`agent`, `launch`, `pack-agent`, `outcomes`, `gguf`, `board`, `doctor`); `argv` is what follows the program's name.
 *
 * Resolves with the exit code: 0 done, 1 failed, 2 bad input or usage. Prints what went wrong, never a stack trace.
 */
export async function runAgentCli(argv: readonly string[]): Promise<number> {
  stopQuietlyOnClosedPipe();
  const program = new Command('fleetgate').version(agentVersion()).exitOverride().allowExcessArguments(false);
  const wanted = COMMANDS[argv[0] ?? ''];
  for (const load of wanted === undefined ? Object.values(COMMANDS) : [wanted]) await (await load())(program, argv);
  // Commands inherit neither: each has to be told not to end the process by itself.
  for (const command of program.commands.flatMap((one) => [one, ...one.commands])) {
    command.exitOverride().allowExcessArguments(false);
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    // Commander has printed its own message by then, and help and version end this way too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return fail(error, argv.includes('--json') ? 'json' : 'text');
  }
}

function fail(error: unknown, form: 'json' | 'text'): number {
  const known = isFleetError(error);
  const code = known ? error.code : 'internal.invariant';
  const hint = known ? error.hint : 'please report this';
  if (form === 'json') {
    process.stdout.write(`${JSON.stringify({ error: { code, message: messageOf(error), hint } })}\n`);
  } else {
    process.stderr.write(`fleetgate: ${messageOf(error)} [${code}]\n${hint === undefined ? '' : `hint: ${hint}\n`}`);
  }
  return known && error.kind === 'input' ? 2 : 1;
}
