/** Scheme, host and port under which a client reached the server, e.g. `http://127.0.0.1:8080`. */
import type { FastifyRequest } from "fastify";

/** A host and port as a header may name them: this text goes back out in URLs. */
const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/i;

export function originOf(request: FastifyRequest): string {
  const { localAddress = "localhost", localPort = 0 } = request.raw.socket;
  const own = `${localAddress.includes(":") ? `[${localAddress}]` : localAddress}:${localPort}`;
  return `${request.protocol}://${HOST.test(request.host) ? request.host : own}`;
}
