/** Floors: processes that do the least that a protocol allows, each of which tells its parent the port over IPC. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export interface Floor extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly pid: number;
}

/** @param file below bench/ */
export async function startFloor(file: string, args: readonly string[]): Promise<Floor> {
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
