import type { DeviceView, ListBody, StatusView, TelemetryBody } from '@fleetgate/shared/api/operations';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { check } from '@fleetgate/shared/check';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { type BoardId, deviceIdSchema } from '@fleetgate/shared/ids';
import { metricSchema } from '@fleetgate/shared/protocol/telemetry';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { Controller, Get, Inject, Param, Query } from '@nestjs/common';
import { z } from 'zod';

import type { Device } from '../fleet/device.js';
import { Fleet } from '../fleet/fleet.js';
import type { TelemetryStore } from '../telemetry/telemetry-store.js';
import { deviceView, telemetryBody } from './read-model.js';

export const BOARDS = Symbol('boards');
export const TELEMETRY_STORE = Symbol('telemetry store');
export const STATUS = Symbol('status');
export const CLOCK = Symbol('clock');

const MINUTE_MS = 60_000;
const MOST_POINTS = 5000;

const telemetryQuery = z
  .object({
    device: deviceIdSchema,
    metric: metricSchema,
    from: z.coerce.number().optional(),
    to: z.coerce.number().optional(),
    step: z.coerce.number().int().positive().optional(),
  })
  .refine(({ from, to }) => from === undefined || to === undefined || from < to, {
    message: 'expected from < to',
    path: ['from'],
  });

/** How one device's desired and reported state compare. */
interface TwinView {
  readonly deviceId: string;
  readonly planId: string | null;
  readonly state: string;
  readonly desiredGeneration: number;
  readonly observedGeneration: number;
  readonly settled: boolean;
}

@Controller('api/v1')
export class FleetController {
  constructor(
    @Inject(Fleet) private readonly fleet: Fleet,
    @Inject(BOARDS) private readonly boards: ReadonlyMap<BoardId, BoardProfile>,
    @Inject(TELEMETRY_STORE) private readonly telemetry: TelemetryStore,
    @Inject(STATUS) private readonly status: () => StatusView,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Get('status')
  getStatus(): StatusView {
    return this.status();
  }

  @Get('devices')
  devices(): ListBody<DeviceView> {
    const byId = [...this.fleet.view.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    return { items: byId.map((device) => deviceView(device, this.boards)) };
  }

  @Get('devices/:id')
  device(@Param('id') id: string): DeviceView {
    return deviceView(this.find(id), this.boards);
  }

  /** Board profiles; `boards` is the older name of the same list. */
  @Get(['profiles', 'boards'])
  profiles(): ListBody<BoardProfile> {
    return { items: [...this.boards.values()] };
  }

  @Get('twins')
  twins(): ListBody<TwinView> {
    return { items: [...this.fleet.view.values()].map(twinView) };
  }

  @Get('telemetry')
  async readTelemetry(@Query() query: unknown): Promise<TelemetryBody> {
    const { device, metric, ...asked } = check(telemetryQuery, query, 'request.invalid', 'query', {
      hint: 'telemetry?device=NAME&metric=powerW, and optionally from, to (Unix ms) and step (ms)',
    });
    this.find(device);
    const to = unixMs(asked.to ?? this.clock.now());
    const from = unixMs(asked.from ?? to - 60 * MINUTE_MS);
    const step = milliseconds(Math.max(1, Math.ceil((asked.step ?? MINUTE_MS) / MINUTE_MS)) * MINUTE_MS);
    const rollups = await this.telemetry.read({ deviceId: device, metric, from, to, step, limit: MOST_POINTS });
    return telemetryBody({ device, metric, step }, rollups);
  }

  private find(id: string): Device {
    const name = deviceIdSchema.safeParse(id);
    const device = name.success ? this.fleet.view.get(name.data) : undefined;
    if (device !== undefined) return device;
    throw new FleetError('device.unknown', `there is no device named ${JSON.stringify(id)}`, {
      hint: '`fleetgate devices` lists all',
    });
  }
}

function twinView({ id, desired, reported }: Device): TwinView {
  return {
    deviceId: id,
    planId: desired?.planId ?? null,
    state: desired?.state ?? 'active',
    desiredGeneration: desired?.generation ?? 0,
    observedGeneration: reported?.observedGeneration ?? 0,
    settled: reported !== undefined && reported.settled && reported.observedGeneration >= (desired?.generation ?? 0),
  };
}
