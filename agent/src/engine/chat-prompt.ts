import { Template } from '@huggingface/jinja';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { ChatMessage } from '@fleetgate/shared/protocol/job';

/** What a model file says of its chat format. */
export interface ChatFormat {
  /** `tokenizer.chat_template`; undefined when the file has none. */
  readonly template: string | undefined;
  readonly bosText: string;
  readonly eosText: string;
}

export interface ChatPrompt {
  readonly text: string;
  /** Stop strings that the format itself needs. */
  readonly stop: readonly string[];
}

/**
 * Renders messages to the text that the model continues with its answer, by the file's own template.
 *
 * A template that refuses a system message gets it joined to the first user message. A file without a template gets
 * the plain form `User: ...\nAssistant:` (`System: ...` first, when there is one), ending at the next `\nUser:`.
 * Throws `request.invalid` when the template refuses the messages, for example their order.
 */
export function renderChat(format: ChatFormat, messages: readonly ChatMessage[]): ChatPrompt {
  if (format.template === undefined) return { text: plain(messages), stop: ['\nUser:'] };
  const template = parsed(format.template);
  try {
    return { text: rendered(template, format, messages), stop: [] };
  } catch (refusal) {
    const joined = withoutSystem(messages);
    if (joined.length < messages.length) {
      try {
        return { text: rendered(template, format, joined), stop: [] };
      } catch {
        // The first refusal is the one to tell.
      }
    }
    throw new FleetError('request.invalid', `messages: the model's chat template refuses them: ${messageOf(refusal)}`, {
      cause: refusal,
    });
  }
}

/**
 * Splits text so that the special tokens spelled in messages are not read as such: each part is to be tokenised alone.
 *
 * `render` is called with the messages guarded; parts joined give its text without guards.
 */
export function guardSpecials(
  messages: readonly ChatMessage[],
  specials: readonly string[],
  render: (messages: readonly ChatMessage[]) => ChatPrompt,
): { readonly parts: readonly string[]; readonly stop: readonly string[] } {
  const spelled = specials.filter(
    (special) => special.length > 1 && messages.some(({ content }) => content.includes(special)),
  );
  if (spelled.length === 0) {
    const { text, stop } = render(messages);
    return { parts: [text], stop };
  }
  const guard = freeCharacter(messages);
  const guarded = messages.map((message) => ({ ...message, content: breakUp(message.content, spelled, guard) }));
  const { text, stop } = render(guarded);
  return { parts: text.split(guard), stop };
}

function breakUp(content: string, specials: readonly string[], guard: string): string {
  let broken = content;
  for (const special of specials) broken = broken.replaceAll(special, special[0] + guard + special.slice(1));
  return broken;
}

/** A private-use character that no message holds. */
function freeCharacter(messages: readonly ChatMessage[]): string {
  for (let code = 0xe000; code < 0xf8ff; code++) {
    const character = String.fromCharCode(code);
    if (messages.every(({ content }) => !content.includes(character))) return character;
  }
  throw new FleetError('request.invalid', 'messages: they hold every private-use character there is');
}

function parsed(template: string): Template {
  try {
    return new Template(template);
  } catch (cause) {
    throw new FleetError('gguf.unsupported', `the model's chat template cannot be parsed: ${messageOf(cause)}`, {
      cause,
      hint: 'use /v1/completions with a raw prompt, or a file with another template',
    });
  }
}

function rendered(template: Template, format: ChatFormat, messages: readonly ChatMessage[]): string {
  return template.render({
    messages: messages.map(({ role, content }) => ({ role, content })),
    bos_token: format.bosText,
    eos_token: format.eosText,
    add_generation_prompt: true,
  });
}

function withoutSystem(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const system = messages.filter(({ role }) => role === 'system').map(({ content }) => content);
  const rest = messages.filter(({ role }) => role !== 'system');
  const [first, ...others] = rest;
  if (first === undefined || system.length === 0) return messages;
  return [{ ...first, content: [...system, first.content].join('\n\n') }, ...others];
}

function plain(messages: readonly ChatMessage[]): string {
  const title = { system: 'System', user: 'User', assistant: 'Assistant', tool: 'Tool' } as const;
  return [...messages.map(({ role, content }) => `${title[role]}: ${content}`), 'Assistant:'].join('\n');
}
