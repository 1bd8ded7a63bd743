import { describe, expect, it } from 'vitest';

import { expertNameOf, parseSource, pickModelFile, type RepositoryFile } from './source-reference.js';

describe('parseSource', () => {
  it.each([
    ['hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M', { repo: 'Qwen/Qwen2.5-0.5B-Instruct-GGUF', quantisation: 'Q4_K_M' }],
    ['hf:org/repo', { repo: 'org/repo', quantisation: undefined }],
    ['hf.co/org/repo:Q8_0', { repo: 'org/repo', quantisation: 'Q8_0' }],
    ['https://huggingface.co/org/repo', { repo: 'org/repo', quantisation: undefined }],
  ])('reads %s', (text, expected) => {
    expect(parseSource(text)).toEqual({ kind: 'hugging-face', ...expected });
  });

  it('reads addresses and paths of files', () => {
    const url = 'https://huggingface.co/org/repo/resolve/main/Model%20A.gguf';
    expect(parseSource(url)).toEqual({ kind: 'url', url, fileName: 'Model A.gguf' });
    expect(parseSource('/models/a.gguf')).toEqual({ kind: 'file', path: '/models/a.gguf' });
  });

  it.each([
    '',
    'model.gguf',
    'hf:',
    'hf:only-one',
    'hf:../..:x',
    'https://host/file.bin',
    'https://host/%zz.gguf',
    'ftp://host/a.gguf',
    'file:///a',
  ])('refuses %j with a hint', (text) => {
    expect(() => parseSource(text)).toThrow(expect.objectContaining({ code: 'request.invalid' }));
  });
});

describe('pickModelFile', () => {
  const files = (...paths: readonly string[]): readonly RepositoryFile[] =>
    paths.map((path) => ({ path, size: 1, sha256: undefined }));

  it('finds the quantisation as a whole word, in any case', () => {
    const list = files('m-q4_k_s.gguf', 'm-Q4_K_M.gguf', 'm-IQ4_K.gguf', 'README.md');
    expect(pickModelFile(list, 'r', 'q4_k_m').path).toBe('m-Q4_K_M.gguf');
    expect(() => pickModelFile(list, 'r', 'Q4_K')).toThrow(/it has m-IQ4_K.gguf, m-Q4_K_M.gguf, m-q4_k_s.gguf/);
  });

  it('prefers Q4_K_M when none is named, else the first model, never a projector', () => {
    expect(pickModelFile(files('a-mmproj-F16.gguf', 'b-Q8_0.gguf', 'b-Q4_K_M.gguf'), 'r', undefined).path).toBe(
      'b-Q4_K_M.gguf',
    );
    expect(pickModelFile(files('a-mmproj-F16.gguf', 'b-Q8_0.gguf'), 'r', undefined).path).toBe('b-Q8_0.gguf');
    expect(() => pickModelFile(files('config.json'), 'r', undefined)).toThrow(/no .gguf file/);
  });

  it('says that a model in several files cannot be used', () => {
    expect(() => pickModelFile(files('m-Q8_0-00001-of-00003.gguf'), 'r', 'Q8_0')).toThrow(
      expect.objectContaining({ code: 'gguf.unsupported' }),
    );
  });
});

it('names experts after their files', () => {
  expect(expertNameOf('Qwen2.5-0.5B-Instruct-Q4_K_M.gguf')).toBe('qwen2.5-0.5b-instruct');
  expect(expertNameOf('math-q8_0.gguf')).toBe('math');
  expect(expertNameOf('__Model (v2)__.GGUF')).toBe('model-v2');
});
