/** Pictures by a signed link, for whoever has it: `/files/{id}?exp&sig`. */
import type { FastifyInstance } from "fastify";
import type { Services } from "../services/services.ts";
import { goneSignal } from "./gone-signal.ts";

export function registerFiles(scope: FastifyInstance, { files }: Services): void {
  scope.get<{ Params: { id: string }; Querystring: Record<string, string | string[] | undefined> }>(
    "/files/:id",
    { exposeHeadRoute: false },
    async ({ params, query }, reply) => {
      const text = (name: string) => (typeof query[name] === "string" ? query[name] : "");
      const link = { id: params.id, exp: text("exp"), sig: text("sig") };
      const { mediaType, bytes, seconds } = await files.open(link, goneSignal(reply));
      return (
        reply
          .type(mediaType)
          .header("cache-control", `private, max-age=${seconds}`)
          // Somebody uploaded it: it is shown as the picture that it was found to be, or not at all.
          .header("x-content-type-options", "nosniff")
          .header("content-security-policy", "default-src 'none'; sandbox")
          .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
      );
    },
  );
}
