/** Every route that the dialects serve, found by mounting them as the server does. */
import Fastify from "fastify";
import { pino } from "pino";
import { readConfig } from "../../src/config.ts";
import { DIALECTS } from "../../src/doors.ts";
import type { Services } from "../../src/services/services.ts";

export interface MountedRoute {
  /** `studio GET /chatflows/:id`: below the versions and roots under which the dialect serves it. */
  readonly name: string;
  readonly method: string;
  /** As mounted, e.g. `/api/v1/chatflows/:id`. */
  readonly path: string;
}

export async function allRoutes(): Promise<readonly MountedRoute[]> {
  const app = Fastify();
  const found: MountedRoute[] = [];
  for (const { name, prefixes, register } of DIALECTS) {
    for (const prefix of prefixes) {
      app.register(
        async (scope) => {
          scope.addHook("onRoute", ({ method, url }) => {
            const path = url.replace(/(?<=.)\/$/, "");
            const local = path.replace(/^(?:\/api)?\/v[12](?=\/)/, "");
            for (const one of [method].flat())
              found.push({ name: `${name} ${one} ${local}`, method: one, path });
          });
          // Nobody calls what is mounted here, so that no service is ever asked for anything.
          register(scope, {
            services: {} as Services,
            config: readConfig({}),
            log: pino({ enabled: false }),
          });
        },
        { prefix },
      );
    }
  }
  await app.ready();
  await app.close();
  // With a slash at the end a route is mounted once more.
  return [...new Map(found.map((route) => [`${route.method} ${route.path}`, route])).values()];
}
