import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FIXTURES = fileURLToPath(new URL('../../test/fixtures/boards/', import.meta.url));
export const ORIN_NANO_TABLE = readFileSync(join(FIXTURES, 'nvpmodel-orin-nano-super.conf'), 'utf8');

/** A folder with the files of a board, of the form that its kernel documents. The caller removes it. */
export class BoardTree {
  readonly root = mkdtempSync(join(tmpdir(), 'fleetgate-board-'));

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8').trim();
  }

  /** cpufreq of a group of cores. */
  cores(policy: string, { governor, capKHz, kHz }: { governor: string; capKHz: number; kHz: readonly number[] }): void {
    const folder = `/sys/devices/system/cpu/cpufreq/${policy}`;
    this.write(`${folder}/scaling_governor`, `${governor}\n`);
    this.write(`${folder}/scaling_available_governors`, 'ondemand performance schedutil \n');
    this.write(`${folder}/scaling_max_freq`, `${capKHz}\n`);
    this.write(`${folder}/cpuinfo_max_freq`, `${kHz.at(-1)}\n`);
    this.write(`${folder}/scaling_available_frequencies`, `${kHz.join(' ')} \n`);
  }
}

/** An Orin Nano in 25W, with a stand-in for nvpmodel. */
export function anOrinNano(): BoardTree {
  const tree = new BoardTree();
  tree.write('/proc/device-tree/model', 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0');
  tree.write(
    '/proc/device-tree/compatible',
    'nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0',
  );
  tree.write('/etc/nvpmodel.conf', ORIN_NANO_TABLE);
  tree.write('/var/lib/nvpmodel/status', 'pmode:0001');
  for (const policy of ['policy0', 'policy4']) {
    tree.cores(policy, { governor: 'schedutil', capKHz: 1344000, kHz: [729600, 960000, 1344000, 1728000] });
  }
  const gpu = '/sys/class/devfreq/17000000.gpu';
  tree.write(`${gpu}/governor`, 'nvhost_podgov\n');
  tree.write(`${gpu}/available_governors`, 'nvhost_podgov userspace performance simple_ondemand\n');
  tree.write(`${gpu}/available_frequencies`, '306000000 408000000 510000000 612000000 918000000 1020000000\n');
  tree.write(`${gpu}/max_freq`, '918000000\n');
  tree.write('/sys/class/devfreq/15340000.vic/governor', 'tegra_wmark\n');
  const nvpmodel = join(tree.root, 'usr/sbin/nvpmodel');
  mkdirSync(dirname(nvpmodel), { recursive: true });
  copyFileSync(join(FIXTURES, 'fake-nvpmodel.sh'), nvpmodel);
  chmodSync(nvpmodel, 0o755);
  return tree;
}

/** A Raspberry Pi 5 with the settings of its firmware. */
export function aRaspberryPi(): BoardTree {
  const tree = new BoardTree();
  tree.write('/proc/device-tree/model', 'Raspberry Pi 5 Model B Rev 1.0\0');
  tree.write('/proc/device-tree/compatible', 'raspberrypi,5-model-b\0brcm,bcm2712\0');
  tree.cores('policy0', { governor: 'ondemand', capKHz: 2400000, kHz: [1500000, 1600000, 1700000, 1800000, 2400000] });
  tree.write('/boot/firmware/config.txt', 'dtparam=audio=on\n[pi5]\narm_freq=2800 # bold\n[all]\ntemp_soft_limit=70\n');
  return tree;
}
