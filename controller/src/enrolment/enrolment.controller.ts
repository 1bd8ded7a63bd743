import type { EnrolAnswer } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { deviceIdSchema } from '@fleetgate/shared/ids';
import { Body, Controller, Delete, HttpCode, Inject, Param, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { Enrolment, mqttUrlFor } from './enrolment.js';

/** Where devices find the broker, and the name of their fleet. */
export class FleetAddress {
  constructor(
    readonly fleet: string,
    readonly mqttUrl: string,
    /** An external broker's address is given as it is; ours is given by the host that the device has reached. */
    readonly kind: 'embedded' | 'external',
  ) {}
}

@Controller('api/v1')
export class EnrolmentController {
  constructor(
    @Inject(Enrolment) private readonly enrolment: Enrolment,
    @Inject(FleetAddress) private readonly address: FleetAddress,
  ) {}

  @Post('enrol')
  @HttpCode(201)
  async enrol(@Body() body: unknown, @Req() request: FastifyRequest): Promise<EnrolAnswer> {
    const { deviceId, secret } = await this.enrolment.enrol(body, request.ip);
    const { fleet, mqttUrl, kind } = this.address;
    return {
      fleet,
      deviceId,
      mqttUrl: kind === 'external' ? mqttUrl : mqttUrlFor(request.headers.host, mqttUrl),
      secret,
    };
  }

  @Delete('devices/:id')
  @HttpCode(204)
  async remove(@Param('id') id: string): Promise<void> {
    const name = deviceIdSchema.safeParse(id);
    if (!name.success) throw new FleetError('device.unknown', `there is no device named ${JSON.stringify(id)}`);
    await this.enrolment.remove(name.data);
  }
}
