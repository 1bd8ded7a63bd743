import { z } from 'zod';

import { variantRequestSchema } from '../catalogue/variant-additions.js';
import { BATCH_ENDPOINTS } from '../dispatch/batches/batch.js';
import { keyRequestSchema } from '../access/access-key.js';
import { limitsSchema } from '../access/tenants.js';
import { budgetsSchema } from '../planning/budgets.js';
import { rolloutRequestSchema } from '../rollout/rollout-spec.js';
import { releaseRequestSchema } from './release.controller.js';
import { feedbackSchema } from './feedback-request.js';

interface Operation {
  summary?: string;
  requestBody?: object;
}
type Paths = Record<string, Record<string, Operation> | undefined>;

const enrolSchema = z.object({
  token: z.string(),
  name: z.string(),
  board: z.string(),
  nonce: z.string().optional(),
  csr: z.string().optional(),
});
const renewSchema = z.object({
  deviceId: z.string(),
  csr: z.string(),
  proof: z.object({ certificate: z.string(), signature: z.string() }).optional(),
});
const joinTokenSchema = z.object({ ttlS: z.number().int().optional(), uses: z.number().int().optional() });
const expertSchema = z.object({
  source: z.string(),
  name: z.string().optional(),
  domains: z.array(z.string()).optional(),
});
const answerFields = {
  model: z.string(),
  stream: z.boolean().optional(),
  max_tokens: z.number().int().optional(),
  n: z.number().int().optional(),
  temperature: z.number().optional(),
  grammar: z.string().optional(),
  response_format: z
    .object({
      type: z.enum(['text', 'json_object', 'json_schema']),
      json_schema: z.object({ name: z.string(), schema: z.record(z.string(), z.unknown()) }).optional(),
    })
    .optional(),
};

const toolSchema = z.object({
  name: z.string(),
  description: z.string().optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
});

const chatSchema = z.object({
  ...answerFields,
  messages: z.array(
    z.object({
      role: z.string(),
      content: z.string().nullable(),
      tool_calls: z
        .array(
          z.object({
            id: z.string(),
            type: z.literal('function'),
            function: z.object({ name: z.string(), arguments: z.string() }),
          }),
        )
        .optional(),
      tool_call_id: z.string().optional(),
    }),
  ),
  tools: z.array(z.object({ type: z.literal('function'), function: toolSchema })).optional(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
    ])
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
  logprobs: z.boolean().optional(),
  top_logprobs: z.number().int().optional(),
});

const responsesSchema = z.object({
  model: z.string(),
  input: z.union([z.string(), z.array(z.record(z.string(), z.unknown()))]),
  instructions: z.string().optional(),
  max_output_tokens: z.number().int().optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  stream: z.boolean().optional(),
  text: z
    .object({
      format: z.object({
        type: z.enum(['text', 'json_object', 'json_schema']),
        name: z.string().optional(),
        schema: z.record(z.string(), z.unknown()).optional(),
      }),
    })
    .optional(),
  tools: z.array(z.object({ type: z.literal('function'), ...toolSchema.shape })).optional(),
  tool_choice: z
    .union([z.enum(['none', 'auto', 'required']), z.object({ type: z.literal('function'), name: z.string() })])
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
});

const blocks = z.union([z.string(), z.array(z.record(z.string(), z.unknown()))]);
const countSchema = z.object({
  model: z.string(),
  messages: z.array(z.object({ role: z.enum(['user', 'assistant']), content: blocks })),
  system: blocks.optional(),
  tools: z
    .array(
      z.object({
        name: z.string(),
        description: z.string().optional(),
        input_schema: z.record(z.string(), z.unknown()),
      }),
    )
    .optional(),
  tool_choice: z.object({ type: z.enum(['auto', 'any', 'tool', 'none']), name: z.string().optional() }).optional(),
});
const messagesSchema = countSchema.extend({
  max_tokens: z.number().int(),
  stop_sequences: z.array(z.string()).optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  stream: z.boolean().optional(),
});

const embeddingsSchema = z.object({
  model: z.string(),
  input: z.union([z.string(), z.array(z.string())]),
  encoding_format: z.enum(['float', 'base64']).optional(),
});

const batchSchema = z.object({
  input_file_id: z.string(),
  endpoint: z.enum(BATCH_ENDPOINTS),
  completion_window: z.string(),
  metadata: z.record(z.string(), z.string()).optional(),
});

const completionSchema = z.object({ ...answerFields, prompt: z.string(), logprobs: z.number().int().optional() });

/** What each operation does, and what it takes where that is not in its address. */
const OPERATIONS: readonly (readonly [method: string, path: string, summary: string, body?: z.ZodType])[] = [
  ['post', '/v1/chat/completions', 'Answer a conversation (OpenAI)', chatSchema],
  ['post', '/v1/completions', 'Continue a text (OpenAI)', completionSchema],
  ['post', '/v1/responses', 'Answer a conversation (OpenAI, nothing kept)', responsesSchema],
  ['post', '/v1/messages', 'Answer a conversation (Anthropic)', messagesSchema],
  ['post', '/v1/messages/count_tokens', 'About how many tokens a conversation has (Anthropic)', countSchema],
  ['post', '/v1/embeddings', 'Texts as vectors (OpenAI)', embeddingsSchema],
  ['post', '/v1/files', 'Send a file of requests, as a form (OpenAI)'],
  ['get', '/v1/files', 'Files of requests and answers (OpenAI)'],
  ['get', '/v1/files/{id}', 'One file (OpenAI)'],
  ['get', '/v1/files/{id}/content', 'Its lines (OpenAI)'],
  ['delete', '/v1/files/{id}', 'Delete a file (OpenAI)'],
  ['post', '/v1/batches', 'Answer the requests of a file when there is room (OpenAI)', batchSchema],
  ['get', '/v1/batches', 'Batches, newest first (OpenAI)'],
  ['get', '/v1/batches/{id}', 'One batch (OpenAI)'],
  ['post', '/v1/batches/{id}/cancel', 'Stop a batch (OpenAI)'],
  ['get', '/v1/models', 'Models that may be asked for (OpenAI)'],
  ['get', '/v1/models/{id}', 'One model (OpenAI)'],
  ['post', '/v1/feedback', 'Rate an answer; the gate learns from it', feedbackSchema],
  ['get', '/healthz', 'Whether the process answers'],
  ['get', '/readyz', 'Whether a prompt can be answered'],
  ['get', '/metrics', 'Metrics for Prometheus'],
  ['post', '/api/v1/enrol', 'Let a device into the fleet', enrolSchema],
  ['post', '/api/v1/enrol/renew', 'Renew the certificate of a device', renewSchema],
  ['get', '/api/v1/enrolments', 'Devices that wait to be let in'],
  ['post', '/api/v1/enrolments/{name}/approve', 'Let in a device that waits'],
  ['post', '/api/v1/enrolments/{name}/deny', 'Turn away a device that waits'],
  ['post', '/api/v1/join-tokens', 'Make a join token; it is shown once', joinTokenSchema],
  ['get', '/api/v1/join-tokens', 'Join tokens that have not run out'],
  ['delete', '/api/v1/join-tokens/{id}', 'End a join token'],
  ['get', '/api/v1/status', 'One look at everything'],
  ['get', '/api/v1/devices', 'Devices'],
  ['get', '/api/v1/devices/{id}', 'One device'],
  ['delete', '/api/v1/devices/{id}', 'Remove a device and cut it off'],
  ['get', '/api/v1/devices/{id}/credentials', 'By what a device is let in'],
  ['delete', '/api/v1/devices/{id}/credentials', 'Revoke certificate and secret of a device'],
  ['get', '/api/v1/profiles', 'Board profiles'],
  ['get', '/api/v1/twins', 'Desired and reported state of every device'],
  ['get', '/api/v1/proposals', 'Slabs of mixtures that devices could do without, by what they were asked'],
  ['post', '/api/v1/proposals/{id}/accept', 'Make a proposal a variant and roll it out to its class of devices'],
  ['get', '/api/v1/releases', 'What was signed for devices to take'],
  ['post', '/api/v1/releases', 'Take a signed release', releaseRequestSchema],
  ['get', '/api/v1/rollouts', 'Rollouts, newest first'],
  ['post', '/api/v1/rollouts', 'Replace what devices have, wave by wave', rolloutRequestSchema],
  ['get', '/api/v1/rollouts/{id}', 'One rollout, and what was seen of it'],
  ['post', '/api/v1/rollouts/{id}/pause', 'Give it to no more devices'],
  ['post', '/api/v1/rollouts/{id}/resume', 'Go on with a paused one'],
  ['post', '/api/v1/rollouts/{id}/abort', 'Give every device back what it had'],
  ['get', '/api/v1/telemetry', 'One metric of one device over time'],
  ['get', '/api/v1/experts', 'Experts'],
  ['post', '/api/v1/experts', 'Add an expert', expertSchema],
  ['get', '/api/v1/experts/{id}', 'One expert'],
  ['get', '/api/v1/experts/{id}/addition', 'How an expert is being added'],
  ['post', '/api/v1/experts/{id}/enrol', 'Score an expert anew on labelled prompts'],
  ['get', '/api/v1/gate/learning', 'What the gate has learned from use'],
  ['post', '/api/v1/experts/{id}/variants', 'Add a variant made of another one', variantRequestSchema],
  ['get', '/api/v1/variants', 'Variants'],
  ['delete', '/api/v1/variants/{id}', 'Take an added variant away'],
  ['get', '/api/v1/artefacts/{sha256}', 'A model file'],
  ['get', '/api/v1/artefacts/{sha256}/sources', 'Devices that have a model file, and digests of its ranges'],
  ['get', '/api/v1/plans', 'Plans, newest first'],
  ['post', '/api/v1/plans/propose', 'Make a plan without applying it', z.object({ budgets: budgetsSchema.optional() })],
  ['get', '/api/v1/plans/{id}', 'One plan'],
  ['get', '/api/v1/plans/{id}/explain', 'Why a plan is as it is'],
  ['post', '/api/v1/plans/{id}/apply', 'Put a plan in force'],
  ['post', '/api/v1/plans/rollback', 'Put the plan before this one in force again'],
  ['get', '/api/v1/budgets', 'Budgets'],
  ['get', '/api/v1/budgets/burn-down', 'What is used of each budget, and what that makes a joule and a second cost'],
  ['put', '/api/v1/budgets', 'Set budgets', budgetsSchema],
  ['get', '/api/v1/gate', 'The gate: state, qualities by class and expert, costs, drift of the traffic'],
  ['get', '/api/v1/keys', 'API keys, without their secrets (scope admin)'],
  ['post', '/api/v1/keys', 'Make an API key; the answer alone has its text (scope admin)', keyRequestSchema],
  ['delete', '/api/v1/keys/{id}', 'Revoke an API key, at once (scope admin)'],
  ['get', '/api/v1/tenants', 'Tenants that have limits or keys'],
  ['put', '/api/v1/tenants/{name}', 'Set what a tenant may ask within a minute (scope admin)', limitsSchema],
  ['get', '/api/v1/audit', 'Who changed what, newest first (scope admin)'],
  ['get', '/api/v1/requests', 'Decision records, newest first'],
  ['get', '/api/v1/requests/{id}', 'One decision record'],
  ['get', '/api/v1/events', 'Live feed (server-sent events)'],
];

/** An OpenAPI document with what the code does not say by itself: summaries and bodies. Changes the one it is given. */
export function describeOperations(document: { readonly paths: object }): object {
  const paths = document.paths as Paths;
  for (const [method, path, summary, body] of OPERATIONS) {
    const operation = paths[path]?.[method];
    if (operation === undefined) continue;
    operation.summary = summary;
    if (body === undefined) continue;
    const { $schema: _, ...schema } = z.toJSONSchema(body);
    operation.requestBody = { required: true, content: { 'application/json': { schema } } };
  }
  return document;
}
