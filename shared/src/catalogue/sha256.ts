import { z } from 'zod';

export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'a sha256 is 64 hexadecimal digits in lower case');
