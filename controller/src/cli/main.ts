import { readFileSync } from 'node:fs';

import { stopQuietlyOnClosedPipe } from '@fleetgate/shared/closed-pipe';
import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import { Command, CommanderError } from 'commander';

import { printError } from './output.js';

type Register = (program: Command) => void;

/** Commands by name and where they are defined. Only the one that is asked for is loaded; for `--help`, all are. */
const COMMANDS: readonly { readonly name: string; readonly load: () => Promise<Register> }[] = [
  { name: 'up', load: async () => (await import('./up.js')).registerUp },
  { name: 'controller', load: async () => (await import('./controller.js')).registerController },
  { name: 'chat', load: async () => (await import('./chat.js')).registerChat },
  { name: 'devices', load: async () => (await import('./devices.js')).registerDevices },
  { name: 'experts', load: async () => (await import('./experts.js')).registerExperts },
  { name: 'plan', load: async () => (await import('./plan.js')).registerPlan },
  { name: 'releases', load: async () => (await import('./releases.js')).registerReleases },
  { name: 'rollouts', load: async () => (await import('./rollouts.js')).registerRollouts },
  { name: 'budget', load: async () => (await import('./budget.js')).registerBudget },
  { name: 'requests', load: async () => (await import('./requests.js')).registerRequests },
  { name: 'feedback', load: async () => (await import('./feedback.js')).registerFeedback },
  { name: 'keys', load: async () => (await import('./keys.js')).registerKeys },
  { name: 'tenants', load: async () => (await import('./tenants.js')).registerTenants },
  { name: 'audit', load: async () => (await import('./audit.js')).registerAudit },
  { name: 'solve', load: async () => (await import('./solve.js')).registerSolve },
  { name: 'gate', load: async () => (await import('./gate.js')).registerGate },
  { name: 'simulate', load: async () => (await import('./simulate.js')).registerSimulate },
  { name: 'bench', load: async () => (await import('./bench.js')).registerBench },
];

/** Commands that run on devices; the `fleetgate` program hands them to the agent before this one starts. */
const AGENT_COMMANDS = [
  ['agent', 'run the agent of one device'],
  ['launch', 'run the agent under a launcher that takes its releases'],
  ['pack-agent', 'pack the agent as the content of a release'],
  ['outcomes', "measure every expert's bits per byte on reference answers"],
  ['board', 'power modes, governors and caps of this board: show, plan and apply settings'],
  ['gguf', 'look into model files; trace, profile, prune, quantise and make mixtures of experts'],
  ['doctor', 'check this machine: sensors, engine, disk, memory, broker, clock'],
] as const;

/**
 * Runs one command line (`argv` without node and program) and answers with its exit status: 0 done, 1 failed, 2 bad
 * input or usage. Prints what there is to say; throws nothing.
 */
export async function runCli(argv: readonly string[]): Promise<number> {
  stopQuietlyOnClosedPipe();
  const form = argv.includes('--json') ? 'json' : 'text';
  try {
    const program = await buildProgram(argv);
    await program.parseAsync([...argv], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    // Commander has said what is wrong, with the usage, where the error is its own.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    printError(error, form);
    return isFleetError(error) && error.kind === 'input' ? 2 : 1;
  }
}

async function buildProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command('fleetgate')
    .description('Collaborative LLM inference on fleets of edge devices, under energy and latency budgets.')
    .version(version(), '-V, --version', 'print the version')
    .exitOverride()
    .showHelpAfterError('(--help shows what is possible)')
    .addHelpText('after', '\nEvery command takes --help. Exit status: 0 done, 1 failed, 2 bad input or usage.');
  const asked = COMMANDS.filter((command) => command.name === argv[0]);
  for (const command of asked.length > 0 ? asked : COMMANDS) (await command.load())(program);
  if (asked.length === 0) for (const [name, description] of AGENT_COMMANDS) addAgentCommand(program, name, description);
  inheritSettings(program);
  return program;
}

function addAgentCommand(program: Command, name: string, description: string): void {
  program
    .command(name)
    .description(description)
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() => {
      throw new FleetError('usage.invalid', `${name}: this program holds only the commands of the controller`, {
        hint: `run it as \`fleetgate ${name}\`, from the root of the installation`,
      });
    });
}

/** Commander hands settings to a subcommand when it is made; ours are made by others. */
function inheritSettings(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    inheritSettings(child);
  }
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version;
}
