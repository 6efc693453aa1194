/** The flows themselves: create, list, get, update, delete. They are their creator's. */
import { create } from "@bufbuild/protobuf";
import {
  type Chatflow,
  CreateChatflowRequestSchema,
  CreateChatflowResponseSchema,
  DeleteChatflowRequestSchema,
  GetChatflowRequestSchema,
  GetChatflowResponseSchema,
  ListChatflowsRequestSchema,
  ListChatflowsResponseSchema,
  UpdateChatflowRequestSchema,
  UpdateChatflowResponseSchema,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import type { JsonObject } from "../../../domain/payload.ts";
import { readObject } from "./body.ts";
import { type Answer, type Exchange, json, type Route } from "./door.ts";
import { Refused, withFlow } from "./errors.ts";
import { readDefinition, renderChatflow } from "./flow-data.ts";
import { present } from "./render.ts";
import { collect, pathPart, queryOf } from "./request.ts";

export const CHATFLOW_ROUTES: readonly Route[] = [
  { method: "POST", path: "/chatflows", audience: "principal", handle: createFlow },
  { method: "GET", path: "/chatflows", audience: "principal", handle: listFlows },
  {
    method: "GET",
    path: "/chatflows/:id",
    audience: "principal",
    handle: async (exchange) => json(renderChatflow(await readFlow(exchange))),
  },
  { method: "PUT", path: "/chatflows/:id", audience: "principal", handle: updateFlow },
  { method: "DELETE", path: "/chatflows/:id", audience: "principal", handle: deleteFlow },
];

/** The most that a page has. */
const PAGE_SIZE = 100;

async function createFlow({ services, config, request, call }: Exchange): Promise<Answer> {
  const body = await readObject(request, config);
  checkFields(body, undefined);
  const definition = readDefinition(body, config, undefined);
  const message = create(CreateChatflowRequestSchema, {
    name: nameOf(body) ?? "",
    ...(definition && { definition }),
  });
  const answer = create(CreateChatflowResponseSchema, await services.chatflows.createChatflow(message, call));
  return json(renderChatflow(present(answer.chatflow)));
}

async function listFlows({ services, request, call }: Exchange): Promise<Answer> {
  const flows = await collect(queryOf(request), async (pageToken) => {
    const message = create(ListChatflowsRequestSchema, { pageSize: PAGE_SIZE, pageToken });
    const answer = create(ListChatflowsResponseSchema, await services.chatflows.listChatflows(message, call));
    return { items: answer.chatflows, nextPageToken: answer.nextPageToken };
  });
  return json(flows.map(renderChatflow));
}

async function readFlow({ services, request, call }: Exchange): Promise<Chatflow> {
  const id = pathPart(request, "id");
  const message = create(GetChatflowRequestSchema, { id });
  const answer = await withFlow(id, () => services.chatflows.getChatflow(message, call));
  return present(create(GetChatflowResponseSchema, answer).chatflow);
}

/** What the body leaves out stays, as of the version that was read: a change that comes between is not undone. */
async function updateFlow(exchange: Exchange): Promise<Answer> {
  const { services, config, request, call } = exchange;
  const body = await readObject(request, config);
  const flow = await readFlow(exchange);
  checkFields(body, flow);
  const definition = readDefinition(body, config, present(flow.definition));
  const name = nameOf(body);
  if (name === undefined && definition === undefined) return json(renderChatflow(flow));
  const message = create(UpdateChatflowRequestSchema, {
    id: flow.id,
    name: name ?? "",
    ...(definition && { definition }),
    ifVersion: flow.version,
  });
  const answer = await withFlow(flow.id, () => services.chatflows.updateChatflow(message, call));
  return json(renderChatflow(present(create(UpdateChatflowResponseSchema, answer).chatflow)));
}

async function deleteFlow({ services, request, call }: Exchange): Promise<Answer> {
  const id = pathPart(request, "id");
  const message = create(DeleteChatflowRequestSchema, { id });
  await withFlow(id, () => services.chatflows.deleteChatflow(message, call));
  return json({ raw: [], affected: 1 });
}

function nameOf({ name }: JsonObject): string | undefined {
  if (name === undefined || name === null) return undefined;
  if (typeof name !== "string") throw new Refused(400, "name: must be a string");
  return name;
}

/**
 * Fields that would mean something here, and cannot be had: ignored, they would leave a flow open that was meant to
 * be closed, or run as something that it is not. Throws `Refused` 400.
 */
function checkFields({ apikeyid, type }: JsonObject, flow: Chatflow | undefined): void {
  const isOwn = flow?.keys.some(({ id }) => id === apikeyid);
  if (apikeyid !== undefined && apikeyid !== null && apikeyid !== "" && !isOwn) {
    throw new Refused(
      400,
      "apikeyid: is not a key of this flow; ChatflowService.CreateChatflowKey makes one",
    );
  }
  if (type !== undefined && type !== null && type !== "CHATFLOW") {
    throw new Refused(400, "type: must be CHATFLOW; agent flows and assistants are not served");
  }
}
