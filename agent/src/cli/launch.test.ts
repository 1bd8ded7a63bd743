import { Command } from 'commander';
import { afterEach, describe, expect, it } from 'vitest';

import { registerLaunch } from './launch.js';

afterEach(() => {
  process.exitCode = undefined;
});

describe('launch', () => {
  it.each([
    ['--name', 'pi', '--data', '/srv/pi', '--controller', 'http://host:8080', '--threads', '1'],
    ['--controller', 'http://host:8080', '--name', 'pi', '--threads', '1', '--data', '/srv/pi'],
    ['--controller', 'http://host:8080', '--name=pi', '--data=/srv/pi'],
  ])('keeps programs in the folder of the agent, wherever its options stand: %s %s', async (...options) => {
    const argv = ['launch', ...options];
    const given: unknown[] = [];
    const program = new Command().exitOverride();
    registerLaunch(program, argv, (folder, passed) => {
      given.push(folder, passed);
      return Promise.resolve(0);
    });
    await program.parseAsync(argv, { from: 'user' });
    expect(given).toEqual(['/srv/pi', options]);
  });
});
