import type {
  CredentialsView,
  DeviceTls,
  EnrolAnswer,
  EnrolWaiting,
  RenewAnswer,
} from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { type DeviceId, deviceIdSchema } from '@fleetgate/shared/ids';
import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import type { IssuedCertificate } from '../identity/certificate.js';
import { Enrolment } from './enrolment.js';
import { FleetAddress } from './fleet-address.js';

/** A person looks in that time at the soonest; the device's asking costs little. */
const ASK_AGAIN_AFTER_MS = 3000;

@Controller('api/v1')
export class EnrolmentController {
  constructor(
    @Inject(Enrolment) private readonly enrolment: Enrolment,
    @Inject(FleetAddress) private readonly address: FleetAddress,
  ) {}

  @Post('enrol')
  @HttpCode(201)
  async enrol(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<EnrolAnswer | EnrolWaiting> {
    const outcome = await this.enrolment.enrol(body, request.ip);
    const { deviceId } = outcome;
    if (outcome.kind === 'waiting') {
      reply.status(202);
      return { state: 'waiting', deviceId, retryAfterMs: ASK_AGAIN_AFTER_MS };
    }
    const { fleet } = this.address;
    const { secret, certificate } = outcome;
    const { host } = request.headers;
    if (certificate === undefined) {
      return { fleet, deviceId, mqttUrl: this.address.brokerFor(host, 'secret'), secret };
    }
    const mqttUrl = this.address.brokerFor(host, 'certificate');
    return { fleet, deviceId, mqttUrl, secret, tls: this.#tlsOf(certificate) };
  }

  @Post('enrol/renew')
  @HttpCode(200)
  async renew(@Body() body: unknown, @Req() request: FastifyRequest): Promise<RenewAnswer> {
    const { host, authorization } = request.headers;
    const secret = /^Bearer +[^:\s]+:(\S+)$/i.exec(authorization ?? '')?.[1];
    const { deviceId, certificate } = await this.enrolment.renew(body, secret, request.ip);
    const mqttUrl = this.address.brokerFor(host, 'certificate');
    return { fleet: this.address.fleet, deviceId, mqttUrl, tls: this.#tlsOf(certificate) };
  }

  @Delete('devices/:id')
  @HttpCode(204)
  async remove(@Param('id') id: string): Promise<void> {
    await this.enrolment.remove(nameOf(id));
  }

  @Get('devices/:id/credentials')
  credentials(@Param('id') id: string): CredentialsView {
    return this.enrolment.credentialsOf(nameOf(id));
  }

  /** Revokes certificate and secret; the device stays known until it is removed. */
  @Delete('devices/:id/credentials')
  @HttpCode(204)
  async revoke(@Param('id') id: string): Promise<void> {
    await this.enrolment.revoke(nameOf(id));
  }

  #tlsOf({ pem }: IssuedCertificate): DeviceTls {
    return { certificate: pem, authority: this.enrolment.authorityPem, brokerName: this.address.brokerName };
  }
}

function nameOf(id: string): DeviceId {
  const name = deviceIdSchema.safeParse(id);
  if (!name.success) throw new FleetError('device.unknown', `there is no device named ${JSON.stringify(id)}`);
  return name.data;
}
