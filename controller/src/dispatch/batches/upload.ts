import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { invalid } from '../openai/invalid-field.js';
import { MOST_FILE_BYTES } from './batch.js';
import type { Upload } from './batch-requests.js';

/** Of a form around a file, bytes: its other fields are short. */
export const MOST_FORM_BYTES = MOST_FILE_BYTES + 64 * 1024;

/** The file in a body that is a form (`multipart/form-data`), which has been read whole. Throws `request.invalid`. */
export async function readUpload(contentType: string | undefined, body: unknown): Promise<Upload> {
  if (!(body instanceof Uint8Array) || contentType === undefined) {
    throw new FleetError('request.invalid', 'the body: expected a form with a file', {
      hint: 'send it as multipart/form-data, with the fields purpose and file',
    });
  }
  const form = await formOf(contentType, body);
  const [purpose, file] = [form.get('purpose'), form.get('file')];
  if (file === null || typeof file === 'string') throw invalid('file', 'expected a file');
  return {
    purpose: typeof purpose === 'string' ? purpose : undefined,
    name: file.name,
    content: new Uint8Array(await file.arrayBuffer()),
  };
}

async function formOf(contentType: string, body: Uint8Array): Promise<FormData> {
  try {
    // Node's own reader keeps all of a form in memory, which is bounded here.
    return await new Response(new Uint8Array(body), { headers: { 'content-type': contentType } }).formData();
  } catch (cause) {
    throw new FleetError('request.invalid', `the body: no form that can be read: ${messageOf(cause)}`, { cause });
  }
}
