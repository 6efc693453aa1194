/** An upsert is all or nothing: a server that dies in the middle of one leaves no passage of it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { clientOf, startServer, until } from "../harness.ts";

const ROWS = 400;
const rowsOf = (words: string): Uint8Array =>
  new TextEncoder().encode(
    `text\n${Array.from({ length: ROWS }, (_, n) => `${words} ${n} in room ${n % 9}.`).join("\n")}\n`,
  );
const named = (words: string) => [{ name: "rooms.csv", content: rowsOf(words) }];

test("killed while a document is replaced, it is the old document that is there", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-upsert-"));
  try {
    let chatflowId: string;
    {
      await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/minilm" } });
      const flows = clientOf(server, "grpc", ChatflowService);
      const definition = { retriever: {}, generator: { case: "extractive", value: {} } } as const;
      chatflowId = (await flows.createChatflow({ name: "rooms", definition })).chatflow?.id ?? "";
      await flows.upsertDocuments({ chatflowId, documents: named("Chair") });
      const replacing = flows.upsertDocuments({ chatflowId, documents: named("Table"), replace: true });
      const lost = expect(replacing).rejects.toThrow();
      await until(async () => ((await flows.getChatflow({ id: chatflowId })).chatflow?.passages ?? 0) > ROWS);
      await server.kill();
      await lost;
    }
    await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/minilm" } });
    const flows = clientOf(server, "grpc", ChatflowService);
    expect((await flows.getChatflow({ id: chatflowId })).chatflow?.passages).toBe(ROWS);
    const { answer } = await flows.createAnswer({ chatflowId, question: { text: "Table 7 in room 7" } });
    expect(answer?.sourceDocuments.length).toBeGreaterThan(0);
    expect(answer?.sourceDocuments.every(({ text }) => text.startsWith("text: Chair"))).toBe(true);
    expect((await flows.listUpserts({ chatflowId })).upserts.map(({ added }) => added)).toEqual([ROWS]);

    const again = await flows.upsertDocuments({ chatflowId, documents: named("Table"), replace: true });
    expect(again.result).toMatchObject({ added: ROWS, skipped: 0, deleted: ROWS });
    expect((await flows.getChatflow({ id: chatflowId })).chatflow?.passages).toBe(ROWS);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});
