import { z } from 'zod';

/** As long as budgets take them. */
const MOST_NAME_CHARACTERS = 80;

/** Lone surrogates cannot be stored as text, nor control characters shown. */
const UNSHOWABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/** A label of a key or the name of a tenant: any text that can be shown on a line, and stand in an address. */
export const nameField = z
  .string('expected text')
  .min(1, 'expected some text')
  .max(MOST_NAME_CHARACTERS, `expected at most ${MOST_NAME_CHARACTERS} characters`)
  .refine((name) => !UNSHOWABLE.test(name), 'expected no control characters')
  .refine((name) => name.trim() === name, 'expected no space at either end')
  .refine((name) => name !== '.' && name !== '..', 'expected a name that can stand in an address');
