import { FleetError } from '@fleetgate/shared/errors';

/** Where the file of a new expert comes from. */
export type SourceReference =
  | { readonly kind: 'hugging-face'; readonly repo: string; readonly quantisation: string | undefined }
  | { readonly kind: 'url'; readonly url: string; readonly fileName: string }
  | { readonly kind: 'file'; readonly path: string };

const REPO = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/**
 * Reads `hf:org/repo[:quantisation]`, `hf.co/org/repo[:quantisation]`, an http(s) address of a .gguf file, or the
 * absolute path of one. Throws `request.invalid` for anything else.
 */
export function parseSource(text: string): SourceReference {
  const hub = /^(?:hf:|(?:https:\/\/)?(?:hf\.co|huggingface\.co)\/)([^:]+?)\/?(?::([\w.-]+))?$/.exec(text);
  const [, repo = '', quantisation] = hub ?? [];
  if (hub !== null && REPO.test(repo)) return { kind: 'hugging-face', repo, quantisation };
  if (/^https?:\/\//.test(text) && URL.canParse(text)) {
    const fileName = decoded(new URL(text).pathname.split('/').at(-1) ?? '');
    if (fileName === undefined) throw invalid(text, 'its last part is not UTF-8');
    if (!/\.gguf$/i.test(fileName)) throw invalid(text, 'expected the address of a .gguf file');
    return { kind: 'url', url: text, fileName };
  }
  if (text.startsWith('/')) return { kind: 'file', path: text };
  throw invalid(text, 'expected hf:org/repo:quantisation, an http(s) address, or an absolute path');
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

function invalid(text: string, what: string): FleetError {
  return new FleetError('request.invalid', `source ${JSON.stringify(text.slice(0, 200))}: ${what}`, {
    hint: 'for example hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M',
    context: { param: 'source' },
  });
}

/** A file of a model repository. */
export interface RepositoryFile {
  readonly path: string;
  readonly size: number | undefined;
  readonly sha256: string | undefined;
}

/** What is taken when nobody says; the usual trade of size against quality. */
const USUAL_QUANTISATION = 'Q4_K_M';

/**
 * The model file that a reference means: the one of that quantisation, else (when none was asked for) Q4_K_M, else the
 * first by name. Throws `artefact.unavailable`, naming what there is, or `gguf.unsupported` for a model in several
 * files.
 */
export function pickModelFile(
  files: readonly RepositoryFile[],
  repo: string,
  quantisation: string | undefined,
): RepositoryFile {
  const models = files
    .filter((file) => /\.gguf$/i.test(file.path) && !/mmproj|(?:^|\/)mtp-/i.test(file.path))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const wanted = quantisation ?? USUAL_QUANTISATION;
  const fits = (file: RepositoryFile): boolean => namesQuantisation(file.path, wanted);
  const picked = models.find(fits) ?? (quantisation === undefined ? models[0] : undefined);
  if (picked === undefined) {
    const names = models.slice(0, 12).map((file) => file.path);
    const there = names.length === 0 ? 'no .gguf file' : names.join(', ');
    throw new FleetError('artefact.unavailable', `${repo} has no .gguf file of ${wanted}; it has ${there}`, {
      hint: 'name one of these quantisations after the colon, or another repository',
    });
  }
  if (/-\d{5}-of-\d{5}\.gguf$/i.test(picked.path)) {
    throw new FleetError('gguf.unsupported', `${picked.path} of ${repo} is one part of a model in several files`, {
      hint: 'choose a quantisation that is one file; models for small devices are',
    });
  }
  return picked;
}

// `Q4_K` must not find `Q4_K_M`: the name has to stand alone.
function namesQuantisation(path: string, quantisation: string): boolean {
  const escaped = quantisation.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`(?:^|[^A-Za-z0-9])${escaped}(?:$|[^A-Za-z0-9_])`, 'i').test(path);
}

/** A name for an expert from the name of its file: `Qwen2.5-0.5B-Instruct-Q4_K_M.gguf` gives `qwen2.5-0.5b-instruct`. */
export function expertNameOf(fileName: string): string {
  return fileName
    .toLowerCase()
    .replace(/\.gguf$/, '')
    .replace(/[-._](?:i?q\d[\w]*|f16|bf16|f32|fp16)$/, '')
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
    .slice(0, 40)
    .replace(/[^a-z0-9]+$/, '');
}
