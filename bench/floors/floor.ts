/** Floors: processes that do the least that a protocol allows, each of which tells its parent the port over IPC. */
import { fork } from "node:child_process";
import { once } from "node:events";
import type { Server } from "node:net";
import { join } from "node:path";

export interface Floor extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly pid: number;
}

/** @param file beside this one */
export async function startFloor(file: string, ...args: readonly string[]): Promise<Floor> {
  const child = fork(join(import.meta.dirname, file), args);
  const exited = once(child, "exit");
  const [{ port }] = (await Promise.race([
    once(child, "message"),
    exited.then(([code]) => Promise.reject(new Error(`${file} exited with ${code}`))),
  ])) as [{ port: number }];
  return {
    address: `127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await exited;
    },
  };
}

/** The last argument's bytes. */
export function answerOf(argv: readonly string[]): Uint8Array {
  return Buffer.from(argv.at(-1) ?? "", "base64");
}

/** In the floor's own process: the port for its parent, and the end with it. */
export function tell(server: Pick<Server, "address">): void {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the floor listens on no port");
  process.on("disconnect", () => process.exit(0));
  process.send?.({ port: address.port });
}

export async function listen(server: Server): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  tell(server);
}
