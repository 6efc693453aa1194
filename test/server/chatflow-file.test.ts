/** Chatflows that are files of the data folder. */
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { expect, onTestFinished, test } from "vitest";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";

const WRONG = "a chatflow's file is wrong; the flow stays as it was";

const flowOf = (name: string, rest: object = {}) =>
  JSON.stringify({ name, definition: { extractive: { sentences: 2 }, ...rest } });

async function dataFolder(): Promise<{ dataDir: string; put(file: string, text: string): Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-test-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const folder = join(dataDir, "chatflows");
  await mkdir(folder, { recursive: true });
  return {
    dataDir,
    async put(file, text) {
      await writeFile(join(dataDir, "aside"), text);
      await rename(join(dataDir, "aside"), join(folder, file));
    },
  };
}

const complaintsOf = (server: TestServer, file: string) =>
  server.log
    .filter((line) => line.msg === WRONG && String(line.file).endsWith(file))
    .map((l) => l.complaints);

test("are there from the first call on, follow their file, and go with it", async () => {
  const { dataDir, put } = await dataFolder();
  await put("help.json", flowOf("Help", { memory: {} }));
  await put("notes.txt", "not a flow");
  let version = 1;
  {
    await using server = await startServer({ dataDir });
    const client = clientOf(server, "grpc", ChatflowService);
    const read = async () => (await client.getChatflow({ id: "help" })).chatflow;
    expect(await read()).toMatchObject({
      id: "help",
      name: "Help",
      version,
      fromFile: true,
      definition: { memory: { window: 10 }, generator: { case: "extractive", value: { sentences: 2 } } },
    });
    for (const call of [
      client.updateChatflow({ id: "help", name: "n" }),
      client.deleteChatflow({ id: "help" }),
    ])
      await expect(call).rejects.toMatchObject({ code: Code.FailedPrecondition });
    await client.createLead({ chatflowId: "help", chatId: "c", name: "kept" });

    await put("help.json", flowOf("Help desk"));
    const renamed = await until(async () => {
      const flow = await read();
      return flow?.name === "Help desk" && flow;
    });
    version = renamed.version;
    expect(version).toBe(2);

    await put("second.json", flowOf("Second"));
    await until(() => client.getChatflow({ id: "second" }).catch(() => undefined));
    expect((await client.listChatflows({})).chatflows.map(({ id }) => id)).toEqual(["second", "help"]);
    await rm(join(dataDir, "chatflows", "second.json"));
    await until(() =>
      client.getChatflow({ id: "second" }).then(
        () => false,
        (error) => error.code === Code.NotFound,
      ),
    );
    await server.terminate();
  }
  await using again = await startServer({ dataDir });
  const client = clientOf(again, "grpc", ChatflowService);
  expect((await client.getChatflow({ id: "help" })).chatflow?.version).toBe(version);
  expect((await client.listLeads({ chatflowId: "help" })).leads).toHaveLength(1);
  expect(complaintsOf(again, ".json")).toEqual([]);
});

test("that are wrong are told with every complaint, and change nothing", async () => {
  const { dataDir, put } = await dataFolder();
  await put("flow.json", flowOf("Right"));
  await put("Bad Name.json", flowOf("Right"));
  await put("new.json", JSON.stringify({ name: "", colour: 1, definition: { memory: { window: 500 } } }));
  await using server = await startServer({ dataDir });
  const client = clientOf(server, "grpc", ChatflowService);
  expect(complaintsOf(server, "new.json")).toEqual([
    [
      "colour: is not one of name, principal, definition",
      "name: is required",
      "definition.memory.window: must be 0 to 100",
      "definition.generator: is required: extractive or openai",
    ],
  ]);
  expect(server.log.filter(({ file }) => String(file).endsWith("Bad Name.json"))).toHaveLength(1);
  expect((await client.listChatflows({})).chatflows.map(({ id }) => id)).toEqual(["flow"]);

  const wrong: [string, RegExp][] = [
    ["{", /^is not JSON/],
    ["[]", /^is not a JSON object$/],
    [JSON.stringify({ name: "n", definition: { extractiv: {} } }), /^definition: .*extractiv/],
    [JSON.stringify({ name: "n", definition: { extractive: {}, openai: {} } }), /^definition: /],
    [
      JSON.stringify({ name: "n", principal: "auspex", definition: { extractive: {} } }),
      /^principal: is not/,
    ],
    [
      JSON.stringify({ name: "n", principal: "acme", definition: { extractive: {} } }),
      /^principal: the flow is/,
    ],
    [`"${"x".repeat(1024 ** 2)}"`, /^has 1048578 bytes; at most 1048576 are allowed$/],
  ];
  for (const [text, complaint] of wrong) {
    const before = complaintsOf(server, "/flow.json").length;
    await put("flow.json", text);
    await until(() => complaintsOf(server, "/flow.json").length > before);
    const [told] = complaintsOf(server, "/flow.json").at(-1) as string[];
    expect(told).toMatch(complaint);
    expect((await client.getChatflow({ id: "flow" })).chatflow).toMatchObject({ name: "Right", version: 1 });
  }
  await put("flow.json", flowOf("Right again"));
  await until(async () => (await client.getChatflow({ id: "flow" })).chatflow?.name === "Right again");
});

test("a folder of definitions cannot take over a flow that a call has made", async () => {
  const { dataDir, put } = await dataFolder();
  await using server = await startServer({ dataDir });
  const client = clientOf(server, "grpc", ChatflowService);
  const { chatflow } = await client.createChatflow({
    name: "called",
    definition: { generator: { case: "extractive", value: {} } },
  });
  const id = chatflow?.id ?? "";
  await put(`${id}.json`, flowOf("filed"));
  await until(() => complaintsOf(server, `${id}.json`).length > 0);
  await rm(join(dataDir, "chatflows", `${id}.json`));
  await put("other.json", flowOf("other"));
  await until(() => client.getChatflow({ id: "other" }).catch(() => undefined));
  expect((await client.getChatflow({ id })).chatflow).toMatchObject({ name: "called", fromFile: false });
});

test("a server with keys wants to be told whose a file is", async () => {
  const { dataDir, put } = await dataFolder();
  await put("nobodys.json", flowOf("n"));
  await put("acmes.json", JSON.stringify({ name: "a", principal: "acme", definition: { extractive: {} } }));
  await using server = await startServer({ dataDir, settings: { API_KEYS: "acme:0123456789abcdef" } });
  expect(complaintsOf(server, "nobodys.json")).toEqual([
    ["principal: is required, for this server is not open"],
  ]);
  const client = clientOf(server, "grpc", ChatflowService, "0123456789abcdef");
  expect((await client.listChatflows({})).chatflows.map(({ id }) => id)).toEqual(["acmes"]);
});
