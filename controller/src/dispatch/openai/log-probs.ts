import type { TokenChoice } from '@fleetgate/shared/protocol/job';

import type { AnswerKind } from './answers.js';

/** `logprobs` of a choice, as each endpoint has it. `start`: characters of the answer before these tokens. */
export function logProbsOf(kind: AnswerKind, choices: readonly TokenChoice[], start = 0): object {
  return kind === 'chat' ? { content: choices.map(chatToken), refusal: null } : completionTokens(choices, start);
}

function chatToken({ text, logProb, top }: TokenChoice): object {
  return { ...token(text, logProb), top_logprobs: top.map((one) => token(one.text, one.logProb)) };
}

function token(text: string, logProb: number): object {
  return { token: text, logprob: logProb, bytes: [...Buffer.from(text)] };
}

function completionTokens(choices: readonly TokenChoice[], start: number): object {
  let at = start;
  const offsets = choices.map(({ text }) => {
    const offset = at;
    at += text.length;
    return offset;
  });
  return {
    tokens: choices.map(({ text }) => text),
    token_logprobs: choices.map(({ logProb }) => logProb),
    top_logprobs: choices.map(({ top }) => Object.fromEntries(top.map(({ text, logProb }) => [text, logProb]))),
    text_offset: offsets,
  };
}
