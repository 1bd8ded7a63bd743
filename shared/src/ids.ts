import { z } from 'zod';

export declare const idKind: unique symbol;
export type Id<Kind extends string> = string & { readonly [idKind]: Kind };

export type FleetId = Id<'fleet'>;
/** Name of a device, unique in its fleet; also its MQTT user and topic level. */
export type DeviceId = Id<'device'>;
export type BoardId = Id<'board'>;
export type ExpertId = Id<'expert'>;
export type VariantId = Id<'variant'>;
/** A prompt class: prompts alike enough to be planned for together. */
export type ClassId = Id<'class'>;
export type PlanId = Id<'plan'>;
export type RequestId = Id<'request'>;
export type JobId = Id<'job'>;
/** Name of one of several controllers that serve a fleet together; a topic level. */
export type ReplicaId = Id<'replica'>;

const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;
const nameSchema = <Kind extends string>(what: string) =>
  idSchema<Kind>(
    NAME,
    `a ${what} is 1 to 63 of a-z, 0-9, '.', '_' and '-', starting and ending with a letter or digit`,
  );

/** The kind is a matter of types alone: a transformation would cost every message of a device. */
const idSchema = <Kind extends string>(pattern: RegExp, message?: string) =>
  z.string().regex(pattern, message) as unknown as z.ZodType<Id<Kind>, string>;

export const fleetIdSchema = nameSchema<'fleet'>('fleet name');
export const deviceIdSchema = nameSchema<'device'>('device name');
export const boardIdSchema = nameSchema<'board'>('board id');
export const expertIdSchema = nameSchema<'expert'>('expert name');
export const variantIdSchema = nameSchema<'variant'>('variant name');
export const classIdSchema = nameSchema<'class'>('class name');
export const replicaIdSchema = nameSchema<'replica'>('replica name');

const tokenSchema = <Kind extends string>() => idSchema<Kind>(/^[A-Za-z0-9_-]{1,80}$/);

export const planIdSchema = tokenSchema<'plan'>();
export const requestIdSchema = tokenSchema<'request'>();
export const jobIdSchema = tokenSchema<'job'>();

// For ids that our own code has just made or read back from where it stored them.
export const fleetId = (value: string): FleetId => fleetIdSchema.parse(value);
export const deviceId = (value: string): DeviceId => deviceIdSchema.parse(value);
export const boardId = (value: string): BoardId => boardIdSchema.parse(value);
export const expertId = (value: string): ExpertId => expertIdSchema.parse(value);
export const variantId = (value: string): VariantId => variantIdSchema.parse(value);
export const classId = (value: string): ClassId => classIdSchema.parse(value);
export const planId = (value: string): PlanId => planIdSchema.parse(value);
export const requestId = (value: string): RequestId => requestIdSchema.parse(value);
export const jobId = (value: string): JobId => jobIdSchema.parse(value);
export const replicaId = (value: string): ReplicaId => replicaIdSchema.parse(value);
