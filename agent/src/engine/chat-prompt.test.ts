import { describe, expect, it } from 'vitest';

import { guardSpecials, renderChat } from './chat-prompt.js';

const format = (template: string | undefined) => ({ template, bosText: '<s>', eosText: '</s>' });
const user = (content: string) => ({ role: 'user' as const, content });
const system = (content: string) => ({ role: 'system' as const, content });
const assistant = (content: string) => ({ role: 'assistant' as const, content });

describe('renderChat', () => {
  it("renders the file's own template with an open answer", () => {
    const template =
      "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}{{ eos_token }}{% endfor %}" +
      '{% if add_generation_prompt %}[assistant]{% endif %}';
    expect(renderChat(format(template), [user(' hi '), assistant('yes')])).toEqual({
      text: '<s>[user] hi</s>[assistant] yes</s>[assistant]',
      stop: [],
    });
  });

  it('joins a system message to the first user message where the template refuses it', () => {
    const template =
      "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" +
      "<{{ m['content'] }}>{% endfor %}";
    expect(renderChat(format(template), [system('be brief'), user('hi')]).text).toBe('<be brief\n\nhi>');
  });

  it('says what the template refuses', () => {
    const template = "{{ raise_exception('roles must alternate') }}";
    expect(() => renderChat(format(template), [user('a'), user('b')])).toThrow(
      expect.objectContaining({ code: 'request.invalid', message: expect.stringContaining('roles must alternate') }),
    );
    expect(() => renderChat(format('{% for %}'), [user('a')])).toThrow(
      expect.objectContaining({ code: 'gguf.unsupported' }),
    );
  });

  it('falls back to plain turns without a template', () => {
    expect(renderChat(format(undefined), [system('be brief'), user('hi'), assistant('yes'), user('why')])).toEqual({
      text: 'System: be brief\nUser: hi\nAssistant: yes\nUser: why\nAssistant:',
      stop: ['\nUser:'],
    });
  });
});

describe('guardSpecials', () => {
  const render = (messages: Parameters<typeof renderChat>[1]) => renderChat(format(undefined), messages);

  it('leaves text without special tokens in one part', () => {
    expect(guardSpecials([user('hi < there')], ['<|end|>', '<'], render).parts).toEqual([
      'User: hi < there\nAssistant:',
    ]);
  });

  it('cuts every special token that a message spells, and nothing else', () => {
    const { parts } = guardSpecials([user('a<|end|>b<|end|>')], ['<|end|>'], render);
    expect(parts.join('')).toBe('User: a<|end|>b<|end|>\nAssistant:');
    for (const part of parts) expect(part).not.toContain('<|end|>');
  });
});
