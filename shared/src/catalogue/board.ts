import { z } from 'zod';

import { boardIdSchema } from '../ids.js';

const source = z.string().min(1);
/** A figure and where it was read; never a guess without saying so. */
const sourced = (value: z.ZodNumber) => z.object({ value, source }).strict();

/**
 * A board profile: static facts of a hardware type, `firmware-configs/boards/<id>.yaml`.
 *
 * Seed values for planning before a device has measured itself, and for the power model of devices without sensors.
 */
export const boardProfileSchema = z
  .object({
    schema: z.literal('fleetgate-board/1'),
    id: boardIdSchema,
    title: z.string().min(1),
    kind: z.enum(['jetson', 'raspberry-pi', 'phone', 'linux']),
    arch: z.array(z.enum(['arm64', 'x64'])).min(1),
    /** How a running machine is recognised as this board; all that are given must hold. Order of files breaks no tie: the most specific (most conditions) wins. */
    detect: z
      .object({
        /** Regular expression on /proc/device-tree/model. */
        deviceTreeModel: z.string().optional(),
        /** Regular expression on /proc/device-tree/compatible. */
        deviceTreeCompatible: z.string().optional(),
        /** Termux sets PREFIX to a path that holds com.termux. */
        termux: z.boolean().optional(),
        arch: z.enum(['arm64', 'x64']).optional(),
        /** Memory of the machine, inclusive bounds. */
        memoryAtLeastBytes: z.number().positive().optional(),
        memoryAtMostBytes: z.number().positive().optional(),
      })
      .strict(),
    memoryBytes: sourced(z.number().positive()),
    /** Memory kept for the system and everything else. */
    reservedBytes: z.number().nonnegative(),
    /** Variants that may be resident at once (engine contexts), whatever the memory says. */
    slots: z.number().int().positive(),
    /** Threads of the inference engine; the agent lowers it to the cores that are there. */
    engineThreads: z.number().int().positive(),
    /** Whole-board power at rest, under inference load, and in standby (nothing resident), watts. */
    power: z
      .object({
        idleW: sourced(z.number().positive()),
        loadW: sourced(z.number().positive()),
        standbyW: sourced(z.number().nonnegative()),
      })
      .strict(),
    /** Bandwidth that decoding is bound by, bytes per second: predicts tokens/s of a variant before it was measured. */
    decodeBandwidthBytesPerS: sourced(z.number().positive()),
    powerModes: z
      .array(
        z
          .object({
            id: z.number().int().nonnegative(),
            name: z.string(),
            default: z.boolean().optional(),
            notes: z.string().optional(),
          })
          .strict(),
      )
      .default([]),
    /** Sensor adapters to try, best first. `modelled` (power from this profile and utilisation) is always the last resort. */
    sensors: z.array(
      z.enum([
        'jetson-ina3221',
        'jetson-tegrastats',
        'raspberry-pi-pmic',
        'raspberry-pi-vcgencmd',
        'termux-battery',
        'linux-rapl',
        'linux-battery',
        'linux-thermal',
      ]),
    ),
    /** Temperature at which the board throttles, degrees Celsius. */
    throttleC: sourced(z.number()).optional(),
    notes: z.array(z.string()).default([]),
  })
  .strict();
export type BoardProfile = z.infer<typeof boardProfileSchema>;
