import { FleetError } from '@fleetgate/shared/errors';
import { Controller, Get, Inject, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { type LiveClient, LiveFeed } from './live-feed.js';

/** The live feed as server-sent events. */
@Controller('api/v1')
export class FeedController {
  constructor(@Inject(LiveFeed) private readonly feed: LiveFeed) {}

  @Get('events')
  events(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    const { raw } = reply;
    const client: LiveClient = {
      write: (frame) => raw.write(frame),
      pendingBytes: () => raw.writableLength,
      close: () => raw.destroy(),
    };
    if (this.feed.size >= LiveFeed.MOST_CLIENTS) {
      throw new FleetError('dispatch.no-capacity', 'too many clients follow the live feed', {
        retryable: true,
        hint: 'close some dashboards',
      });
    }
    // From here on the stream is ours: nobody may send or time it out.
    reply.hijack();
    raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      connection: 'keep-alive',
    });
    request.raw.socket.setNoDelay(true);
    raw.on('close', () => this.feed.remove(client));
    this.feed.add(client);
  }
}
