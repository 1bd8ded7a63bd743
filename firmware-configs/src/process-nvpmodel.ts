import { execFile } from 'node:child_process';
import { access, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { FleetError } from '@fleetgate/shared/errors';
import { readText } from '@fleetgate/shared/linux-files';

import { saysRestartNeeded } from './nvpmodel.js';

/** A change of mode takes a second or two; the service beside us has as long as this. */
const DEADLINE_MS = 20_000;
const POLL_MS = 100;
/** Where `set-power-mode`, which runs as root, leaves what nvpmodel said. */
const ANSWER = 'run/fleetgate-power-mode/answer';

/** What `nvpmodel -q` says, which needs no privilege; empty where there is none or it fails. */
export async function queryPowerMode(root: string): Promise<string> {
  return (await run(root, ['-q'])).text;
}

/** Sets a power mode. Throws `board.not-permitted`, `board.not-applied`. Never lets the board start anew. */
export async function runNvpmodel(root: string, id: number): Promise<void> {
  const { failure, text } = await run(root, ['-m', String(id)]);
  judge(id, failure, text);
}

/** Sets a power mode through the system's service, which watches `folder` for the number. Throws as `runNvpmodel`. */
export async function askForPowerMode(root: string, folder: string, id: number): Promise<void> {
  const request = join(folder, 'power-mode');
  await writeFile(`${request}.new`, `${id}\n`);
  await rename(`${request}.new`, request);
  if (!(await isTaken(request))) {
    await rm(request, { force: true });
    throw new FleetError('board.not-permitted', `nobody took the request for power mode ${id} in ${folder}`, {
      hint: 'systemctl enable --now fleetgate-power-mode.path, which firmware-configs/install/linux.sh does',
    });
  }
  const [head = '', ...output] = ((await readText(root, ANSWER)) ?? '').split('\n');
  judge(id, head === `${id} 0` ? undefined : `the answer is "${head}"`, output.join('\n'));
}

/** The service removes the request once it has written its answer. */
async function isTaken(request: string): Promise<boolean> {
  for (let waited = 0; waited < DEADLINE_MS; waited += POLL_MS) {
    const isThere = await access(request).then(
      () => true,
      () => false,
    );
    if (!isThere) return true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return false;
}

function judge(id: number, failure: string | undefined, text: string): void {
  if (saysRestartNeeded(text)) {
    throw new FleetError('board.not-applied', `power mode ${id} takes a restart of the board`, {
      hint: `choose a time for it, then: sudo nvpmodel -m ${id}, and answer YES`,
    });
  }
  if (failure === undefined) return;
  if (/permission|root|sudo/i.test(text)) {
    throw new FleetError('board.not-permitted', `nvpmodel -m ${id} needs root`, {
      hint: 'run as root, or install fleetgate-power-mode.path (firmware-configs/systemd)',
    });
  }
  throw new FleetError('board.not-applied', `nvpmodel -m ${id}: ${failure}: ${text.trim().slice(-300)}`);
}

interface Outcome {
  readonly failure: string | undefined;
  /** Of both outputs: nvpmodel warns on either. */
  readonly text: string;
}

/** Its standard input is closed: asked whether the board may start anew, nvpmodel hears no. */
function run(root: string, args: readonly string[]): Promise<Outcome> {
  const options = { timeout: DEADLINE_MS, killSignal: 'SIGKILL', maxBuffer: 1 << 20 } as const;
  return new Promise((resolve) => {
    const child = execFile(join(root, 'usr/sbin/nvpmodel'), [...args], options, (cause, stdout, stderr) => {
      resolve({ failure: cause?.message, text: `${stdout}\n${stderr}` });
    });
    child.stdin?.end();
  });
}
