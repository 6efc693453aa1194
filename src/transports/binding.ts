/**
 * Every operation of every service as one flat list, so that a transport binds them all without knowing any. A new
 * service is one line in `bindings`.
 */
import type { DescMessage, DescMethod, DescService, Message, MessageInitShape } from "@bufbuild/protobuf";
import { AccountService } from "../../gen/auspex/v1/account_pb.ts";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { DatasetService, FeedbackService } from "../../gen/auspex/v1/dataset_pb.ts";
import { ImageService } from "../../gen/auspex/v1/image_pb.ts";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { TrainingService } from "../../gen/auspex/v1/training_pb.ts";
import type { Config } from "../config.ts";
import { AuspexError } from "../domain/error.ts";
import { NOBODY, type Principal } from "../domain/principal.ts";
import type { CallContext, Operations } from "../services/call.ts";
import type { Services } from "../services/services.ts";

/**
 * Bytes of a body that nobody vouches for: a token is 8 KiB at most, a rating's comment 16 KiB. As long as those that the
 * budget keeps a part of its own for: sent slowly, others would take the room of callers who may send more.
 */
export const UNVOUCHED_BODY_MAX = 64 * 1024;

/** What an operation answers before it is made a message of the method's output type. */
export type Answer = MessageInitShape<DescMessage>;

export interface UnaryBinding {
  readonly kind: "unary";
  readonly method: DescMethod;
  run(request: Message, call: CallContext): Promise<Answer>;
}

export interface StreamBinding {
  readonly kind: "server_streaming";
  readonly method: DescMethod;
  run(request: Message, call: CallContext): AsyncIterable<Answer>;
}

export type Binding = UnaryBinding | StreamBinding;

export function bindings(services: Services): readonly Binding[] {
  return [
    ...bind(PredictionService, services.predictions),
    ...bind(ModelService, services.models),
    ...bind(ImageService, services.images),
    ...bind(DatasetService, services.datasets),
    ...bind(FeedbackService, services.feedback),
    ...bind(TrainingService, services.trainings),
    ...bind(AccountService, services.accounts),
    ...bind(ChatflowService, services.chatflows),
  ];
}

/** What hands out credentials cannot ask for one. */
const PUBLIC: ReadonlySet<DescMethod> = new Set([AccountService.method.createToken]);

const { method: chatflow } = ChatflowService;

/** For whoever may ask a chatflow; which flow that is stands in the request, so the operations themselves refuse. */
const ASKED: ReadonlySet<DescMethod> = new Set<DescMethod>([
  chatflow.getChatbot,
  chatflow.createAnswer,
  chatflow.streamAnswer,
  chatflow.abortAnswers,
  chatflow.rateMessage,
  chatflow.createLead,
  chatflow.createAttachments,
  chatflow.getChatFile,
]);

/** Of those, the ones whose requests carry no upload. */
const SMALL: ReadonlySet<DescMethod> = new Set<DescMethod>([
  chatflow.getChatbot,
  chatflow.abortAnswers,
  chatflow.rateMessage,
  chatflow.createLead,
  chatflow.getChatFile,
]);

/** Whether its requests are short and may come from anybody. */
export function isSmall(method: DescMethod): boolean {
  return SMALL.has(method);
}

/** Bytes, unpacked, of a message that the caller may send to the method. */
export function mostBytes(
  method: DescMethod,
  caller: Principal,
  { MAX_BODY_BYTES }: Pick<Config, "MAX_BODY_BYTES">,
): number {
  const isAnybodys = isPublic(method) || isSmall(method) || caller.name === NOBODY.name;
  return isAnybodys ? Math.min(UNVOUCHED_BODY_MAX, MAX_BODY_BYTES) : MAX_BODY_BYTES;
}

/** @throws AuspexError `resource_exhausted` for a message of more than `mostBytes` */
export function checkSize(
  bytes: number,
  method: DescMethod,
  caller: Principal,
  config: Pick<Config, "MAX_BODY_BYTES">,
): void {
  const max = mostBytes(method, caller, config);
  if (bytes <= max) return;
  const whose = max < config.MAX_BODY_BYTES && !isPublic(method) && !isSmall(method);
  throw new AuspexError(
    "resource_exhausted",
    `the message has ${bytes} bytes; at most ${max} are allowed${whose ? " without a credential" : ""}`,
  );
}

/** Whether a caller without a credential may call it. */
export function isPublic(method: DescMethod): boolean {
  return PUBLIC.has(method);
}

/**
 * Whom a call of the method works for.
 *
 * @param token as `Services.authenticate` takes it
 */
export function callerOf(
  services: Services,
  method: DescMethod,
  token: string | undefined,
): Promise<Principal> {
  if (isPublic(method)) return Promise.resolve(NOBODY);
  return ASKED.has(method) ? services.authenticateAsker(token) : services.authenticate(token);
}

/** Full names of the services that the bindings belong to. */
export function serviceNames(bound: readonly Binding[]): readonly string[] {
  return [...new Set(bound.map(({ method }) => method.parent.typeName))];
}

/** `package.Service/Method`, as logs show it. */
export function methodName({ method }: Binding): string {
  return `${method.parent.typeName}/${method.name}`;
}

/** `/package.Service/Method`, as requests name it. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function bind<S extends DescService>(service: S, operations: Operations<S>): Binding[] {
  // The one place where per-method types are given up: `Operations` and `service.methods` are two views of one
  // descriptor, so each name has an operation of its own method's types.
  const byName = operations as unknown as Record<string, UnaryBinding["run"] & StreamBinding["run"]>;
  return service.methods.map((method): Binding => {
    const operation = byName[method.localName];
    if (operation === undefined) throw new Error(`${service.typeName}.${method.name} is not implemented`);
    const run = operation.bind(operations) as typeof operation;
    switch (method.methodKind) {
      case "unary":
        return { kind: "unary", method, run };
      case "server_streaming":
        return { kind: "server_streaming", method, run };
      default:
        throw new Error(`${service.typeName}.${method.name}: client streams are not bound to any transport`);
    }
  });
}
