import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import { anOrinNano, aRaspberryPi, type BoardTree } from './board-tree.fixture.js';
import { filesBelow, FOLDER, type Outcome, run } from './device-scripts.fixture.js';

const folders: string[] = [];
const kept = <T extends { readonly root: string }>(tree: T): T => (folders.push(tree.root), tree);
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('install/linux.sh', () => {
  /** A tree with the program in its place, as a link. */
  function machine(tree: BoardTree): BoardTree {
    kept(tree);
    for (const [target, path] of [
      [process.execPath, 'usr/bin/node'],
      [dirname(FOLDER), 'opt/fleetgate'],
    ] as const) {
      mkdirSync(dirname(join(tree.root, path)), { recursive: true });
      symlinkSync(target, join(tree.root, path));
    }
    tree.write('/etc/group', 'root:x:0:\nvideo:x:44:pi\n');
    return tree;
  }
  const install = (tree: BoardTree, args: readonly string[]): Promise<Outcome> => {
    const [what = '', ...options] = args;
    return run(join(FOLDER, 'install/linux.sh'), [what, '--root', tree.root, ...options]);
  };
  const AGENT = ['agent', '--controller', 'http://10.0.0.1:8080', '--name', 'kitchen-pi'];

  it('makes a Raspberry Pi an agent, twice the same, and takes it away again', async () => {
    const tree = machine(aRaspberryPi());
    tree.write('/keys.pem', 'KEYS\n');
    const before = filesBelow(tree.root);
    const keys = ['--release-keys', join(tree.root, 'keys.pem')];
    const first = await install(tree, [...AGENT, '--token', 'fgj_abc', ...keys, '--', '--engine', 'http']);
    expect(first).toMatchObject({
      code: 0,
      output: expect.stringContaining('+ systemctl enable --now fleetgate-agent') as string,
    });
    expect(filesBelow(tree.root).filter((file) => !before.includes(file))).toEqual([
      '600 /etc/fleetgate/join-token.env',
      '644 /etc/fleetgate/agent.env',
      '644 /etc/fleetgate/release-keys.pem',
      '644 /etc/systemd/system/fleetgate-agent.service',
      '644 /etc/systemd/system/fleetgate-agent.service.d/groups.conf',
      '644 /usr/lib/sysusers.d/fleetgate.conf',
    ]);
    expect(tree.read('/etc/fleetgate/agent.env')).toBe(
      'FLEETGATE_CONTROLLER=http://10.0.0.1:8080\nFLEETGATE_NAME=kitchen-pi\nFLEETGATE_AGENT_OPTIONS=--release-keys /etc/fleetgate/release-keys.pem --engine http',
    );
    expect(tree.read('/etc/systemd/system/fleetgate-agent.service.d/groups.conf')).toContain(
      'SupplementaryGroups=video',
    );
    const again = filesBelow(tree.root);
    expect((await install(tree, AGENT)).code).toBe(0);
    expect(filesBelow(tree.root)).toEqual(again);
    expect((await install(tree, ['remove'])).code).toBe(0);
    expect(filesBelow(tree.root)).toEqual(before);
  });

  it('gives a Jetson the service for power modes, and a controller none of it', async () => {
    const tree = machine(anOrinNano());
    const agent = await install(tree, AGENT);
    expect(agent.output).toContain('+ systemctl enable --now fleetgate-power-mode.path');
    expect(existsSync(join(tree.root, 'etc/systemd/system/fleetgate-power-mode.service'))).toBe(true);
    const controller = await install(machine(aRaspberryPi()), ['controller', '--', '--host', '0.0.0.0']);
    expect(controller.output).not.toContain('power-mode');
  });

  it.each([
    [
      'a name that would be another setting',
      ['agent', '--controller', 'http://c', '--name', 'a\nLD_PRELOAD=x'],
      /--name: expected/,
    ],
    ['no controller', ['agent', '--name', 'a'], /--controller: expected/],
    ['an option without its value', ['agent', '--name'], /--name: expected a value/],
    ['an unknown option', ['agent', '--host', 'x'], /unknown option --host/],
    ['nothing to do', ['upgrade'], /expected agent, controller or remove/],
  ])('refuses %s and writes nothing', async (_, args, reason) => {
    const tree = machine(aRaspberryPi());
    const before = filesBelow(tree.root);
    const { code, output } = await install(tree, args);
    expect(code).toBe(2);
    expect(output).toMatch(reason);
    expect(filesBelow(tree.root)).toEqual(before);
  });

  it('says what is missing where Fleetgate is not built', async () => {
    const tree = machine(aRaspberryPi());
    rmSync(join(tree.root, 'opt/fleetgate'));
    expect((await install(tree, AGENT)).output).toContain('hint: cd /opt/fleetgate && npm run setup');
  });
});

describe('install/termux.sh', () => {
  /** A Termux whose commands write down that they were called. */
  function phone() {
    const root = kept({ root: mkdtempSync(join(tmpdir(), 'fleetgate-phone-')) }).root;
    const env = { PREFIX: join(root, 'com.termux/usr'), HOME: join(root, 'home'), CALLS: join(root, 'calls') };
    const bin = join(env.PREFIX, 'bin');
    mkdirSync(bin, { recursive: true });
    mkdirSync(join(env.PREFIX, 'etc/profile.d'), { recursive: true });
    mkdirSync(env.HOME);
    symlinkSync('/bin/sh', join(bin, 'sh'));
    writeFileSync(env.CALLS, '');
    writeFileSync(join(env.PREFIX, 'etc/profile.d/start-services.sh'), 'echo start-services >>"$CALLS"\n');
    const record = '#!/bin/sh\necho "$(basename "$0") $*" >>"$CALLS"\n';
    for (const name of [
      'pkg',
      'termux-wake-lock',
      'termux-job-scheduler',
      'sv',
      'node',
      'llama-server',
      'svlogd',
      'sleep',
    ]) {
      writeFileSync(join(bin, name), record);
      chmodSync(join(bin, name), 0o755);
    }
    return {
      ...env,
      start: (path: string, args: readonly string[] = []) =>
        run(path, args, { ...env, PATH: `${bin}:${process.env['PATH']}` }),
      calls: () => readFileSync(env.CALLS, 'utf8'),
    };
  }
  const INSTALL = join(FOLDER, 'install/termux.sh');
  const OPTIONS = [
    '--controller',
    'http://10.0.0.1:8080',
    '--name',
    'phone-1',
    '--token',
    'fgj_abc',
    '--variant',
    'math@q8',
  ];

  it('makes services that run, a start at boot and a reviver', async () => {
    const { PREFIX, HOME, start, calls } = phone();
    const model = join(HOME, 'math.gguf');
    writeFileSync(model, 'GGUF');
    expect(await start(INSTALL, [...OPTIONS, '--model', model])).toMatchObject({ code: 0 });
    expect(calls()).toBe('pkg install -y nodejs-lts termux-services termux-api llama-cpp\n');
    expect(filesBelow(PREFIX).filter((file) => /service|fleetgate.env/.test(file))).toEqual([
      '600 /etc/fleetgate.env',
      '644 /etc/profile.d/start-services.sh',
      '755 /var/service/fleetgate-agent/log/run',
      '755 /var/service/fleetgate-agent/run',
      '755 /var/service/fleetgate-engine/log/run',
      '755 /var/service/fleetgate-engine/run',
    ]);
    await start(join(PREFIX, 'var/service/fleetgate-agent/run'));
    expect(calls()).toMatch(/^node \S+fleetgate\.mjs agent --controller http:\/\/10\.0\.0\.1:8080 --name phone-1 /m);
    await start(join(PREFIX, 'var/service/fleetgate-engine/run'));
    expect(calls()).toContain(`llama-server --host 127.0.0.1 --port 8081 --model ${model} --alias math@q8 `);
    await start(join(PREFIX, 'var/service/fleetgate-agent/log/run'));
    expect(calls()).toContain(`svlogd -tt ${PREFIX}/var/log/sv/fleetgate-agent\n`);
    await start(join(HOME, '.termux/boot/fleetgate'));
    expect(calls()).toMatch(
      /termux-wake-lock [^]*start-services\ntermux-job-scheduler .*--period-ms 900000 --persisted true/,
    );
    await start(join(HOME, '.termux/fleetgate-revive'));
    expect(calls()).toMatch(/sv up \S+fleetgate-engine\nsv up \S+fleetgate-agent\n$/);
  });

  it('keeps the token when none is given, and installs no packages when told so', async () => {
    const { PREFIX, start, calls } = phone();
    await start(INSTALL, [...OPTIONS, '--model', '/m.gguf', '--no-packages']);
    const tokenless = OPTIONS.filter((option) => option !== '--token' && option !== 'fgj_abc');
    expect((await start(INSTALL, [...tokenless, '--model', '/m.gguf', '--no-packages'])).code).toBe(0);
    expect(readFileSync(join(PREFIX, 'etc/fleetgate.env'), 'utf8')).toContain('FLEETGATE_JOIN_TOKEN=fgj_abc\n');
    expect(calls()).toBe('');
  });

  it('refuses to run elsewhere', async () => {
    const { code, output } = await run(INSTALL, OPTIONS, { PREFIX: '/usr' });
    expect(code).toBe(2);
    expect(output).toContain('this is not Termux');
  });
});
