import type { FeedbackAnswer } from '@fleetgate/shared/api/operations';
import { type Command, InvalidArgumentError } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { printJson, printLine } from './output.js';

interface FeedbackOptions extends ConnectOptions {
  readonly json?: boolean;
}

export function registerFeedback(program: Command): void {
  withConnection(
    program
      .command('feedback')
      .description('rate an answer: the gate learns which expert is good at what')
      .argument('<request-id>', 'as `fleetgate requests` lists it')
      .argument('<rating>', 'up, down, or a score from 0 to 1', ratingArgument),
  ).action(rate);
}

async function rate(id: string, rating: 'up' | 'down' | number, options: FeedbackOptions): Promise<void> {
  const answer = await new ApiClient(options).post<FeedbackAnswer>('/v1/feedback', {
    request_id: id,
    ...(typeof rating === 'number' ? { score: rating } : { rating }),
  });
  if (options.json === true) return printJson(answer);
  const { expert, replaced, request_id: request, value } = answer;
  printLine(`${request}: ${value} for ${expert}${replaced ? ', in place of the earlier rating' : ''}`);
}

function ratingArgument(text: string): 'up' | 'down' | number {
  if (text === 'up' || text === 'down') return text;
  const score = Number(text);
  if (text.trim() === '' || !(score >= 0 && score <= 1)) {
    throw new InvalidArgumentError('expected up, down, or a number from 0 to 1.');
  }
  return score;
}
