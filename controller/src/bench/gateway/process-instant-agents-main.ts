/** Entry of a process of instant devices: `controllerUrl joinToken count`. */
import { InstantAgent } from './mqtt-instant-agent.js';
import { ready, words } from './process-server.js';

const [, , controllerUrl = '', joinToken = '', count = '1'] = process.argv;
for (let at = 1; at <= Number(count); at++) {
  await InstantAgent.join(controllerUrl, joinToken, `device-${at}`, words(1));
}
ready(0);
