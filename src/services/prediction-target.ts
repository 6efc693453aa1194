/** What a prediction is to be of: a version of a model, or a question to a version of a chatflow. */
import type { CreatePredictionRequest } from "../../gen/auspex/v1/prediction_pb.ts";
import type { Chatflow } from "../domain/chatflow.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import { type ModelRef, type ModelVersion, parseModelRef } from "../domain/model.ts";
import { CHATFLOW_OWNER } from "../domain/principal.ts";
import type { ChatflowStore } from "../store/chatflow-store.ts";
import type { CallContext } from "./call.ts";
import type { ChatflowAccess } from "./chatflow-access.ts";
import type { AnswerIntake } from "./flow/answer-intake.ts";
import { type Asked, askedOfInput } from "./flow/asked.ts";
import type { ModelDirectory } from "./model-directory.ts";

/** `unresolved`: why there is no such thing, where that is to be seen in the prediction. */
export type Target =
  | { readonly kind: "model"; readonly version: ModelVersion }
  | { readonly kind: "flow"; readonly flow: Chatflow; readonly asked: Asked }
  | { readonly kind: "unresolved"; readonly error: AuspexError };

export interface TargetOptions {
  readonly directory: ModelDirectory;
  readonly access: ChatflowAccess;
  readonly intake: AnswerIntake;
  readonly chatflows: Pick<ChatflowStore, "definition">;
}

/**
 * With the caller's rights. Rejects as `ModelDirectory` and `ChatflowAccess` do unless the request defers that, and
 * always with `invalid_argument`: for a question that the flow does not take, or a task that was not asked for.
 */
export type ResolveTarget = (
  request: CreatePredictionRequest,
  /** `flowRef` of the request's model. */
  flow: ModelRef | undefined,
  call: CallContext,
) => Promise<Target>;

export function createTargetResolver({ directory, access, intake, chatflows }: TargetOptions): ResolveTarget {
  /** The creator's flow, at the version that is asked for, and the question in the input. */
  async function resolveFlow(
    request: CreatePredictionRequest,
    { name, version }: ModelRef,
    call: CallContext,
  ): Promise<Target> {
    const latest = await access.owned(name, call);
    const definition =
      version === undefined ? latest.definition : await chatflows.definition(latest.id, version);
    if (!definition) throw new AuspexError("not_found", `chatflow ${name} has no version ${version}`);
    const flow = { ...latest, definition, version: version ?? latest.version };
    const asked = intake.accept(
      flow,
      (field) => `input.${field}`,
      (complain) => {
        for (const [field, given] of Object.entries({ files: request.files, tensors: request.tensors })) {
          if (Object.keys(given).length > 0)
            complain(field, "unsupported", "are not for chatflows; files go into input.uploads");
        }
        return askedOfInput(request.input ?? {}, complain);
      },
    );
    return { kind: "flow", flow, asked };
  }

  const resolve: ResolveTarget = async (request, flow, call) => {
    try {
      if (flow) return await resolveFlow(request, flow, call);
      return { kind: "model", version: await directory.resolve(call.principal, request.model) };
    } catch (error) {
      if (request.deferResolution && error instanceof AuspexError && error.code !== "invalid_argument")
        return { kind: "unresolved", error };
      throw error;
    }
  };

  return async (request, flow, call) => {
    const target = await resolve(request, flow, call);
    refuseOtherTask(request, target);
    return target;
  };
}

/** The reference, when it is one to a chatflow. */
export function flowRef(model: string): ModelRef | undefined {
  const ref = parseModelRef(model);
  return ref?.owner === CHATFLOW_OWNER ? ref : undefined;
}

function refuseOtherTask({ tasks }: CreatePredictionRequest, target: Target): void {
  if (tasks.length === 0 || target.kind === "unresolved") return;
  const task = target.kind === "model" ? target.version.manifest?.task : undefined;
  if (task !== undefined && tasks.includes(task)) return;
  const description = task
    ? `must include ${task}, which is the model's task`
    : "must be empty: tasks are of models, and a chatflow has none";
  throw invalidArgument({ field: "tasks", reason: "task", description });
}

/** The prediction's `version`: 0 for what was not resolved. */
export function versionOf(target: Target): number {
  if (target.kind === "model") return target.version.version;
  return target.kind === "flow" ? target.flow.version : 0;
}
