import { describe, expect, it } from 'vitest';

import { gateText, jobOf, type Prompt } from '../prompt.js';
import { conversationOf, type Turn } from './turn.js';

const parameters = { type: 'object', properties: { city: { type: 'string' } } };
const offer = {
  tools: [{ name: 'weather', description: 'Tells it.', parameters }],
  choice: 'auto',
  parallel: false,
} as const;
const call = { id: 'c1', name: 'weather', arguments: '{"city":"Paris"}' };

describe('conversationOf', () => {
  it('leaves a conversation without tools as it is', () => {
    const turns: Turn[] = [
      { role: 'system', text: 'be brief' },
      { role: 'user', text: 'a' },
      { role: 'user', text: 'b' },
      { role: 'assistant', text: 'c', calls: [] },
    ];
    expect(conversationOf(turns, undefined)).toEqual({
      messages: turns.map(({ role, text }) => ({ role, content: text })),
    });
  });

  it('describes tools in the system message, after what the client says there', () => {
    const { messages } = conversationOf(
      [
        { role: 'system', text: 'be brief' },
        { role: 'user', text: 'a' },
      ],
      offer,
    );
    expect(messages).toHaveLength(2);
    expect(messages[0]?.content).toMatch(
      /^be brief\n\nYou can call these tools:\n\{"name":"weather","description":"Tells it\."/,
    );
    expect(conversationOf([{ role: 'user', text: 'a' }], offer).messages.map(({ role }) => role)).toEqual([
      'system',
      'user',
    ]);
  });

  it('writes calls as a model is asked to, and what tools answer as the turn of the user, whose question stays', () => {
    const turns: Turn[] = [
      { role: 'user', text: 'how warm?' },
      { role: 'assistant', text: 'I look.', calls: [call, { ...call, id: 'c2' }] },
      { role: 'tool', callId: 'c1', text: '20' },
      { role: 'tool', callId: 'c9', text: '21' },
    ];
    const conversation = conversationOf(turns, undefined);
    const written = '{"name":"weather","arguments":{"city":"Paris"}}';
    expect(conversation).toEqual({
      messages: [
        { role: 'user', content: 'how warm?' },
        { role: 'assistant', content: `I look.\n[${written},${written}]` },
        { role: 'user', content: 'Result of weather: 20\n\nResult of the call: 21' },
      ],
      question: 'how warm?',
    });
    const input = { kind: 'chat', ...conversation } as const;
    expect(gateText(input)).toBe('how warm?');
    const sampling = { maxTokens: 1, temperature: 0, topP: 1, stop: [] };
    const prompt = { input, sampling } as unknown as Prompt;
    const facts = { jobId: 'job-1', variantId: 'v', timeout: 1, classId: undefined } as unknown as Parameters<
      typeof jobOf
    >[1];
    expect(jobOf(prompt, facts)).not.toHaveProperty('question');
  });
});
