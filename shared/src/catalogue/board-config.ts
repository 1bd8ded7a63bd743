import { parse } from 'yaml';
import { z } from 'zod';

import { check } from '../check.js';
import { FleetError, messageOf } from '../errors.js';
import { boardIdSchema } from '../ids.js';

const word = z.string().regex(/^[\w.-]{1,40}$/, 'expected 1 to 40 letters, digits, dots, hyphens');

/**
 * Settings of a board: `firmware-configs/configs/<board>/<name>.yaml`, or the content of a `board-config` release.
 *
 * It says what is to be, not what to do; what it does not name is as the board had it before the first one was applied.
 */
export const boardConfigSchema = z
  .object({
    schema: z.literal('fleetgate-board-config/1'),
    /** For example `eco`. */
    name: word,
    /** Boards that it was written for; others refuse it. */
    boards: z.array(boardIdSchema).min(1).max(50),
    /** What it is for, in a sentence. */
    description: z.string().min(1).max(500),
    /** Power modes by the names of the board's own table, best first: the first that the table has is meant. */
    powerModes: z.array(word).min(1).max(5).optional(),
    cpu: z
      .object({ governor: word.optional(), maxKHz: z.number().int().positive().max(100e6).optional() })
      .strict()
      .optional(),
    gpu: z
      .object({ governor: word.optional(), maxHz: z.number().int().positive().max(100e9).optional() })
      .strict()
      .optional(),
    /** The agent spares the board as if it throttled at this temperature, degrees Celsius. */
    thermalCeilingC: z.number().min(40).max(105).optional(),
    /** Where its figures were read. */
    sources: z.array(z.string().min(1).max(500)).min(1).max(20),
  })
  .strict();
export type BoardConfig = z.infer<typeof boardConfigSchema>;

/** Far above any that a person writes; a parser need not see more. */
export const MOST_BOARD_CONFIG_BYTES = 64 * 1024;

/** Parses the settings of a board from YAML. `where` names the file. Throws `board-config.invalid` with every fault. */
export function parseBoardConfig(text: string, where: string): BoardConfig {
  if (text.length > MOST_BOARD_CONFIG_BYTES) {
    const found = `${where}: ${text.length} characters, expected at most ${MOST_BOARD_CONFIG_BYTES}`;
    throw new FleetError('board-config.invalid', found);
  }
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw new FleetError('board-config.invalid', `${where}: not readable as YAML: ${messageOf(cause)}`, { cause });
  }
  return check<BoardConfig>(boardConfigSchema, value, 'board-config.invalid', where, {
    hint: 'firmware-configs/README.md describes every field',
  });
}
