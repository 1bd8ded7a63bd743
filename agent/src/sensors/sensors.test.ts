import { readFileSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { loadBoard, loadBoards } from '@fleetgate/firmware-configs/load-board';
import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';

import { androidTermuxBattery } from './android-termux-battery.js';
import { boardSensors } from './board-sensors.js';
import { detectBoard } from './detect-board.js';
import { jetsonIna3221 } from './jetson-ina3221.js';
import { jetsonTegrastats } from './jetson-tegrastats.js';
import { readBoardFacts } from './linux-board-facts.js';
import { linuxBattery } from './linux-power-supply.js';
import { linuxProc } from './linux-proc.js';
import { linuxRapl } from './linux-rapl.js';
import { linuxThermal } from './linux-thermal.js';
import { chooseRails } from './power-rails.js';
import { type CommandRunner, runCommand } from './process-command.js';
import { raspberryPiPmic, raspberryPiVcgencmd } from './raspberry-pi-vcgencmd.js';
import { SensorSet } from './sensor-set.js';
import type { Reading, SensorAdapter } from './sensors.js';
import { parseTegrastats } from './tegrastats.js';
import { parseTermuxStatus } from './termux-status.js';
import { parsePmicPower, parseTemperature, parseThrottled } from './vcgencmd.js';

// Trees and command outputs made after the documented formats: no captures. Captured lines name their source.
const TREES = fileURLToPath(new URL('../../../test/fixtures/sensors/', import.meta.url));
const sample = (name: string): string => readFileSync(`${TREES}commands/${name}`, 'utf8');
const missing: CommandRunner = (command) =>
  Promise.reject(Object.assign(new Error(`spawn ${command} ENOENT`), { code: 'ENOENT' }));
const saying =
  (answers: Readonly<Record<string, string>>): CommandRunner =>
  async (command, args) => {
    const answer = answers[[command, ...args].join(' ')];
    if (answer === undefined) throw new Error(`${command}: command not registered`);
    return answer;
  };

async function readOnce(adapter: SensorAdapter): Promise<Reading | undefined> {
  const reader = await adapter.open();
  return reader?.();
}

describe('Jetson power rails', () => {
  it('reads the total of an Orin Nano, never its children on top', async () => {
    const reading = await readOnce(jetsonIna3221(`${TREES}orin-nano`));
    expect(reading?.powerFrom).toBe('jetson-ina3221 VDD_IN');
    expect(reading?.powerW).toBeCloseTo((5.064 * 1080) / 1000, 6);
  });

  it('sums the rails of an AGX Orin that hang side by side', async () => {
    const reading = await readOnce(jetsonIna3221(`${TREES}agx-orin`));
    expect(reading?.powerFrom).toBe('jetson-ina3221 VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0');
    expect(reading?.powerW).toBeCloseTo(19.088 * 0.128 + 19.112 * 0.024 + 5.032 * 0.672, 6);
  });

  it('reads the milliwatts of JetPack 4', async () => {
    expect(await readOnce(jetsonIna3221(`${TREES}nano-jetpack4`))).toEqual({
      powerW: 2.163,
      powerFrom: 'jetson-ina3221 POM_5V_IN',
    });
  });

  it('is absent elsewhere', async () => {
    expect(await jetsonIna3221(`${TREES}laptop`).open()).toBeUndefined();
    expect(chooseRails(['VDD_GPU_SOC', 'something'])).toBeUndefined();
  });
});

describe('tegrastats', () => {
  it('reads a line of JetPack 6', () => {
    expect(parseTegrastats(sample('tegrastats-jetpack6.txt'))).toEqual({
      powerW: 4.6,
      powerFrom: 'jetson-tegrastats VDD_IN',
      temperatureC: 47.5,
      memoryUsedBytes: 2448 * 1024 * 1024,
      cpuRatio: 8 / 3 / 100,
    });
  });

  it('reads a line of JetPack 4, without units and with the PMIC placeholder', () => {
    expect(parseTegrastats(sample('tegrastats-jetpack4.txt'))).toMatchObject({
      powerW: 1.897,
      powerFrom: 'jetson-tegrastats POM_5V_IN',
      temperatureC: 41,
      cpuRatio: 0.07,
    });
  });

  it('sums the rails of an AGX Orin, without the one below another and the unused channels', () => {
    const rails = 'VDD_GPU_SOC 2400mW/2300mW VDD_CPU_CV 400mW/500mW VIN_SYS_5V0 4000mW/4000mW NC 0mW/0mW';
    const reading = parseTegrastats(`CV0@-256C tj@42.5C ${rails} VDDQ_VDD2_1V8AO 300mW/300mW NC 0mW/0mW`);
    expect(reading).toMatchObject({ powerW: expect.closeTo(6.8, 9) as number, temperatureC: 42.5 });
  });

  // Captured; from the tests of henrygd/beszel, agent/gpu_test.go (MIT).
  it.each([
    [
      'an Orin with six cores and JetPack 6',
      '11-15-2024 08:38:09 RAM 6185/7620MB (lfb 8x2MB) SWAP 851/3810MB (cached 1MB) CPU [15%@729,11%@729,14%@729,13%@729,11%@729,8%@729] EMC_FREQ 43%@2133 GR3D_FREQ 63%@[621] NVDEC off NVJPG off NVJPG1 off VIC off OFA off APE 200 cpu@53.968C soc2@52.437C soc0@50.75C gpu@53.343C tj@53.968C soc1@51.656C VDD_IN 12479mW/12479mW VDD_CPU_GPU_CV 4667mW/4667mW VDD_SOC 2817mW/2817mW',
      { powerW: 12.479, temperatureC: 53.968, memoryUsedBytes: 6185 * 1024 * 1024, cpuRatio: 72 / 6 / 100 },
    ],
    [
      'a TX2 with JetPack 4',
      'RAM 3276/7859MB (lfb 5x4MB) SWAP 1626/12122MB (cached 181MB) CPU [44%@1421,49%@2031,67%@2034,17%@1420,25%@1419,8%@1420] EMC_FREQ 1%@1866 GR3D_FREQ 0%@114 APE 150 MTS fg 1% bg 1% PLL@42.5C MCPU@42.5C PMIC@50C Tboard@38C GPU@39.5C BCPU@42.5C thermal@41.3C Tdiode@39.25C VDD_SYS_GPU 182/182 VDD_SYS_SOC 730/730 VDD_4V0_WIFI 0/0 VDD_IN 5297/5297 VDD_SYS_CPU 1917/1917 VDD_SYS_DDR 1241/1241',
      { powerW: 5.297, temperatureC: 42.5, memoryUsedBytes: 3276 * 1024 * 1024, cpuRatio: 210 / 6 / 100 },
    ],
  ])('reads a line of %s', (_, line, expected) => {
    expect(parseTegrastats(line)).toEqual({ ...expected, powerFrom: 'jetson-tegrastats VDD_IN' });
  });

  it('finds nothing in other text', () => {
    expect(parseTegrastats('hello')).toEqual({});
  });
});

describe('Raspberry Pi', () => {
  it('sums volts times amperes over complete rails and applies the fit', () => {
    const rails = 0.00390372 * 3.644 + 0.122 * 3.31 + 1.11625 * 0.7494498;
    expect(parsePmicPower(sample('pmic_read_adc.txt'))).toBeCloseTo(1.1451 * rails + 0.5879, 9);
    expect(parsePmicPower('error=1 error_msg="Command not registered"')).toBeUndefined();
  });

  it('pairs the channels of a Pi 5 under load by the name of their rail', () => {
    // Captured with four busy cores, four of its rails; from ml-energy/zeus, tests/device/machine/test_rpi.py (Apache-2.0).
    const captured = [
      ' 3V7_WL_SW_A current(0)=0.09368929A',
      '  DDR_VDD2_A current(3)=0.22543980A',
      '  VDD_CORE_A current(7)=6.22421000A',
      '   0V8_AON_A current(16)=0.00305250A',
      ' 3V7_WL_SW_V volt(8)=3.69977600V',
      '  DDR_VDD2_V volt(11)=1.10476100V',
      '  VDD_CORE_V volt(15)=0.86173300V',
      '   0V8_AON_V volt(19)=0.80029220V',
      '     EXT5V_V volt(24)=5.09066000V',
    ];
    const rails = 0.09368929 * 3.699776 + 0.2254398 * 1.104761 + 6.22421 * 0.861733 + 0.0030525 * 0.8002922;
    expect(parsePmicPower(captured.join('\n'))).toBeCloseTo(1.1451 * rails + 0.5879, 9);
  });

  it.each([
    ['throttled=0x0', false],
    ['throttled=0xe0000', false],
    ['throttled=0x50000', false],
    ['throttled=0x50005', true],
    ['nonsense', undefined],
  ])('%s means throttled: %s', (text, expected) => {
    expect(parseThrottled(text)).toBe(expected);
  });

  it('reads the temperature', () => {
    expect(parseTemperature("temp=47.2'C\n")).toBe(47.2);
    expect(parseTemperature('')).toBeUndefined();
  });

  it('has no power on a board whose firmware refuses to tell', async () => {
    const run = saying({ 'vcgencmd get_throttled': 'throttled=0x0', 'vcgencmd measure_temp': "temp=51.0'C" });
    expect(await raspberryPiPmic(run).open()).toBeUndefined();
    expect(await readOnce(raspberryPiVcgencmd(run))).toEqual({ throttled: false, temperatureC: 51 });
  });
});

describe('Termux battery', () => {
  const status = (overrides: object) =>
    JSON.stringify({
      percentage: 81,
      plugged: 'UNPLUGGED',
      temperature: 31.5,
      voltage: 4021,
      current: -823400,
      ...overrides,
    });

  it('takes current times voltage as power while unplugged', () => {
    expect(parseTermuxStatus(sample('termux-unplugged.json'))).toEqual({
      batteryRatio: 0.81,
      onBattery: true,
      temperatureC: 31.5,
      powerW: expect.closeTo(4.021 * 0.8234, 9) as number,
      powerFrom: 'termux-battery current x voltage',
    });
  });

  it.each([
    ['a vendor that gives mA', { current: 823 }, 4.021 * 0.823],
    ['a vendor with the other sign', { current: 823400 }, 4.021 * 0.8234],
    ['a phone that charges', { plugged: 'PLUGGED_AC' }, undefined],
    ['no voltage', { voltage: null }, undefined],
    ['no current', { current: 0 }, undefined],
    ['more than any phone takes', { current: -90_000_000 }, undefined],
    ['a voltage that no cell has', { voltage: 12 }, undefined],
  ])('%s', (_, overrides, power) => {
    const reading = parseTermuxStatus(status(overrides));
    if (power === undefined) expect(reading?.powerW).toBeUndefined();
    else expect(reading?.powerW).toBeCloseTo(power, 9);
    expect(reading?.batteryRatio).toBe(0.81);
  });

  // Termux documents the temperature as a number or text, and its example has null for what the phone does not tell.
  it.each([
    ['text', '22.3', 22.3],
    ['text in a language with commas', '22,3', 22.3],
    ['no number', 'warm', undefined],
    ['null', null, undefined],
    ['unknown to Android', -214748364.8, undefined],
  ])('keeps the rest where the temperature is %s', (_, temperature, expected) => {
    const reading = parseTermuxStatus(status({ temperature, energy: null }));
    expect(reading?.temperatureC).toBe(expected);
    expect(reading).toMatchObject({ batteryRatio: 0.81, powerFrom: 'termux-battery current x voltage' });
  });

  it('keeps the power where the percentage is null', () => {
    const reading = parseTermuxStatus(status({ percentage: null }));
    expect(reading).toMatchObject({ temperatureC: 31.5, powerFrom: 'termux-battery current x voltage' });
    expect(reading).not.toHaveProperty('batteryRatio');
  });

  it('has no power where an older version leaves the voltage out', () => {
    // Captured; from ohmyzsh/ohmyzsh, plugins/battery/battery.plugin.zsh (MIT).
    const captured = { health: 'GOOD', percentage: 93, plugged: 'UNPLUGGED', temperature: 29.0, current: 361816 };
    expect(parseTermuxStatus(JSON.stringify(captured))).toEqual({
      batteryRatio: 0.93,
      onBattery: true,
      temperatureC: 29,
    });
  });

  it('is no reading when it is no JSON', () => {
    expect(parseTermuxStatus('The Termux:API app is not installed')).toBeUndefined();
    expect(parseTermuxStatus('[]')).toBeUndefined();
  });

  it('is asked at most every five seconds', async () => {
    const clock = new ManualClock();
    let asked = 0;
    const run: CommandRunner = async () => (asked++, status({}));
    const reader = await androidTermuxBattery(run, clock).open();
    await reader?.();
    clock.advance(4999);
    await reader?.();
    expect(asked).toBe(1);
    clock.advance(1);
    await reader?.();
    expect(asked).toBe(2);
  });
});

describe('Linux sensors', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'fleetgate-sensors-'));
    await cp(`${TREES}laptop`, root, { recursive: true });
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('average the energy counters over time, past their wrap, without counting cores twice', async () => {
    const clock = new ManualClock();
    const reader = await linuxRapl(root, clock).open();
    expect(await reader?.()).toEqual({});
    clock.advance(2000);
    // package: 328850 uJ to its wrap and 9671150 after it = 10 J; dram: 2 J; core is part of the package.
    await writeFile(join(root, 'sys/class/powercap/intel-rapl:0/energy_uj'), '9671150\n');
    await writeFile(join(root, 'sys/class/powercap/intel-rapl:0:1/energy_uj'), '3000000\n');
    await writeFile(join(root, 'sys/class/powercap/intel-rapl:0:0/energy_uj'), '900000000\n');
    expect((await reader?.())?.powerW).toBeCloseTo(6, 9);
  });

  it('are dropped when their files go away', async () => {
    const reader = await linuxRapl(root, new ManualClock()).open();
    await rm(join(root, 'sys'), { recursive: true });
    await expect(reader?.()).rejects.toThrow(/energy_uj/);
  });

  it('read a battery while it discharges', async () => {
    expect(await readOnce(linuxBattery(root))).toEqual({
      batteryRatio: 0.76,
      onBattery: true,
      powerW: expect.closeTo(11.58 * 0.812, 9) as number,
      powerFrom: 'linux-battery discharge',
    });
    await writeFile(join(root, 'sys/class/power_supply/BAT0/status'), 'Charging\n');
    expect(await readOnce(linuxBattery(root))).toEqual({ batteryRatio: 0.76, onBattery: false });
  });

  it('take the processor zones and leave switched-off ones out', async () => {
    expect(await readOnce(linuxThermal(root))).toEqual({ temperatureC: 61 });
    expect(await readOnce(linuxThermal(`${TREES}orin-nano`))).toEqual({ temperatureC: 48.093 });
  });

  it('count memory that is not available and cores that are busy', async () => {
    const reader = await linuxProc(root).open();
    expect(await reader?.()).toEqual({ memoryUsedBytes: (16315488 - 8157744) * 1024 });
    await writeFile(join(root, 'proc/stat'), 'cpu  1030 50 270 8040 710 0 0 0 0 0\n');
    expect((await reader?.())?.cpuRatio).toBe(0.5);
  });
});

describe('SensorSet', () => {
  it('lets the earlier adapter win, quantity by quantity', async () => {
    const fixed = (reading: Reading): SensorAdapter => ({ name: 'fixed', open: async () => async () => reading });
    const set = new SensorSet(
      [fixed({ powerW: 1, powerFrom: 'a' }), fixed({ powerW: 2, powerFrom: 'b', temperatureC: 40 })],
      new ManualClock(),
      silentLogger,
    );
    expect(await set.read()).toEqual({ powerW: 1, powerFrom: 'a', temperatureC: 40 });
  });

  it('drops a sensor that stopped working, once, and tries it again later', async () => {
    const clock = new ManualClock();
    const warned: string[] = [];
    let works = true;
    const flaky: SensorAdapter = {
      name: 'flaky',
      open: async () => async () => {
        if (!works) throw new Error('gone');
        return { temperatureC: 50 };
      },
    };
    const set = new SensorSet([flaky], clock, { ...silentLogger, warn: (event) => warned.push(event) });
    expect(await set.read()).toEqual({ temperatureC: 50 });
    works = false;
    for (let i = 0; i < 10; i++) expect(await set.read()).toEqual({});
    expect(warned).toEqual(['sensor.dropped']);
    works = true;
    expect(await set.read()).toEqual({});
    clock.advance(5 * 60_000);
    expect(await set.read()).toEqual({ temperatureC: 50 });
  });

  it.each(['raspberry-pi-5', 'jetson-orin-nano', 'android-phone'])(
    'a laptop that plays a %s does not show its own power as the board its',
    async (board) => {
      const machine = { root: `${TREES}laptop`, run: missing, clock: new ManualClock() };
      const reading = await boardSensors(await loadBoard(board), machine, silentLogger).read();
      expect(reading.powerW).toBeUndefined();
      expect(reading.memoryUsedBytes).toBeGreaterThan(0);
    },
  );
});

describe('sensor commands', () => {
  it('that are missing mean that the sensor is absent', async () => {
    const run: CommandRunner = (command, args, until) => runCommand(`fleetgate-no-such-${command}`, args, until);
    for (const adapter of [
      raspberryPiPmic(run),
      raspberryPiVcgencmd(run),
      jetsonTegrastats(run),
      androidTermuxBattery(run, new ManualClock()),
    ]) {
      expect(await adapter.open(), adapter.name).toBeUndefined();
    }
  });

  it('that never end are read by their first line and ended', async () => {
    expect(await runCommand('sh', ['-c', 'echo first; exec sleep 60'], 'first-line')).toBe('first');
    await expect(runCommand('sh', ['-c', 'exit 0'], 'first-line')).rejects.toThrow(/without a line/);
    await expect(runCommand('sh', ['-c', 'exit 3'], 'exit')).rejects.toThrow(/sensor command sh/);
  });
});

describe('detecting the board', () => {
  const machines = [
    ['orin-nano', 'arm64', undefined, 'jetson-orin-nano'],
    ['orin-nx', 'arm64', undefined, 'jetson-orin-nx'],
    ['agx-orin', 'arm64', undefined, 'jetson-agx-orin'],
    ['pi5', 'arm64', undefined, 'raspberry-pi-5'],
    ['pi4', 'arm64', undefined, 'raspberry-pi-4'],
    ['laptop', 'arm64', '/data/data/com.termux/files/usr', 'android-phone'],
    ['laptop', 'arm64', undefined, 'linux-arm64'],
    ['laptop', 'x64', undefined, 'linux-x64'],
  ] as const;

  it.each(machines)('%s (%s, PREFIX %s) is a %s', async (tree, arch, prefix, expected) => {
    const facts = { ...(await readBoardFacts(`${TREES}${tree}`, prefix)), arch };
    const boards = [...(await loadBoards()).values()];
    expect(detectBoard(boards, facts)?.id).toBe(expected);
    expect(detectBoard(boards.toReversed(), facts)?.id).toBe(expected);
  });

  it('has no answer for an architecture without a profile', async () => {
    const facts = { ...(await readBoardFacts(`${TREES}laptop`, undefined)), arch: 'riscv64' };
    expect(detectBoard((await loadBoards()).values(), facts)).toBeUndefined();
  });
});
