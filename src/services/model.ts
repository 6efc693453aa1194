/** The operations on models, versions and aliases. The models folder is the truth; this file only asks for it. */
import type { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import { isOutsideId, type ModelVersion, mayPublish, mayUse, parseModelRef } from "../domain/model.ts";
import type { Principal } from "../domain/principal.ts";
import type { ModelRegistry } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";
import type { Operations } from "./call.ts";
import { modelVersionMessage, timeMessage } from "./message.ts";
import type { ModelDirectory } from "./model-directory.ts";
import { decodePageToken, encodePageToken } from "./page-token.ts";
import { stableUuid } from "./stable-uuid.ts";
import { type Limits, validate } from "./validation.ts";

const PAGE_SIZE_DEFAULT = 50;

export interface ModelOptions {
  readonly store: Store;
  readonly models: ModelRegistry;
  readonly directory: ModelDirectory;
  readonly limits: Limits;
}

const fullName = ({ owner, name }: ModelVersion) => `${owner}/${name}`;

export function createModelOperations(options: ModelOptions): Operations<typeof ModelService> {
  const { store, models, directory, limits } = options;

  /** Visible versions by `owner/name`, in the registry's order: names rising, versions falling. */
  function visible(principal: Principal): Map<string, ModelVersion[]> {
    const groups = Map.groupBy(models.list(), fullName);
    for (const [key, [first]] of groups) if (first && !mayUse(principal, first.owner)) groups.delete(key);
    return groups;
  }

  function versionsOf(principal: Principal, model: string): ModelVersion[] {
    const versions = visible(principal).get(model);
    if (!versions) throw new AuspexError("not_found", `model ${model} does not exist`);
    return versions;
  }

  function versionOf(principal: Principal, model: string, number: number): ModelVersion {
    const found = versionsOf(principal, model).find(({ version }) => version === number);
    if (!found) throw new AuspexError("not_found", `model ${model} has no version ${number}`);
    return found;
  }

  async function uuidOf(principal: Principal, model: string): Promise<string> {
    return (await store.trainings.model(principal.name, model))?.id ?? stableUuid("model", model);
  }

  async function versionMessage(principal: Principal, version: ModelVersion) {
    return modelVersionMessage(version, await uuidOf(principal, fullName(version)));
  }

  async function modelMessage(
    principal: Principal,
    model: string,
    versions: readonly ModelVersion[],
    counts: ReadonlyMap<string, number>,
  ) {
    const latest = versions.find(({ state }) => state.kind === "ready");
    const described = latest ?? versions[0];
    return {
      name: model,
      task: described?.manifest?.task ?? "",
      description: described?.manifest?.description ?? "",
      latestVersion: latest && (await versionMessage(principal, latest)),
      predictionsCount: BigInt(counts.get(model) ?? 0),
      createTime: timeMessage(Math.min(...versions.map(({ createdAt }) => createdAt))),
    };
  }

  function ownName(principal: Principal, field: string, name: string): { owner: string; name: string } {
    const ref = parseModelRef(name);
    if (!ref || !mayPublish(principal, ref.owner)) {
      throw new AuspexError("permission_denied", `${field} ${name} is not under an owner name of yours`);
    }
    return ref;
  }

  return {
    async listModels(request, { principal }) {
      validate(request, limits);
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const after = decodePageToken(request.pageToken)?.key ?? "";
      const names = [...visible(principal)].filter(
        ([name]) => name > after && (request.owner === "" || name.startsWith(`${request.owner}/`)),
      );
      const page = names.slice(0, size);
      const last = page.at(-1);
      const counts = await store.predictions.countByModel(principal.name);
      return {
        models: await Promise.all(
          page.map(([name, versions]) => modelMessage(principal, name, versions, counts)),
        ),
        nextPageToken:
          last && names.length > size ? encodePageToken({ direction: "after", key: last[0] }) : "",
      };
    },

    async getModel(request, { principal }) {
      validate(request, limits);
      const versions = versionsOf(principal, request.name);
      const counts = await store.predictions.countByModel(principal.name);
      return { model: await modelMessage(principal, request.name, versions, counts) };
    },

    async listModelVersions(request, { principal }) {
      validate(request, limits);
      const versions = versionsOf(principal, request.model);
      const uuid = await uuidOf(principal, request.model);
      return { versions: versions.map((version) => modelVersionMessage(version, uuid)) };
    },

    async getModelVersion(request, { principal }) {
      validate(request, limits);
      return {
        version: await versionMessage(principal, versionOf(principal, request.model, request.version)),
      };
    },

    async publishModelVersion(request, { principal, signal }) {
      validate(request, limits);
      const { owner, name } = ownName(principal, "model", request.model);
      const version = await models.publish({ owner, name, files: request.files, signal });
      return { version: await versionMessage(principal, version) };
    },

    async deleteModelVersion(request, { principal }) {
      validate(request, limits);
      const { owner, name } = versionOf(principal, request.model, request.version);
      ownName(principal, "model", request.model);
      await models.remove(owner, name, request.version);
      return {};
    },

    async setModelAlias(request, { principal }) {
      validate(request, limits);
      // An outside id is the caller's own in any case; a name must not be taken for another owner's model.
      if (!isOutsideId(request.alias)) ownName(principal, "alias", request.alias);
      if (visible(principal).has(request.alias)) {
        throw invalidArgument({ field: "alias", reason: "conflict", description: "is the name of a model" });
      }
      const target = await directory.resolve(principal, request.model);
      const suffix = request.model.includes(":") ? `:${target.version}` : "";
      const row = { alias: request.alias, target: `${fullName(target)}${suffix}` };
      await store.aliases.set({ ...row, principal: principal.name });
      return { alias: { alias: row.alias, model: row.target } };
    },

    async listModelAliases(_request, { principal }) {
      const rows = await store.aliases.list(principal.name);
      return { aliases: rows.map(({ alias, target }) => ({ alias, model: target })) };
    },

    async deleteModelAlias(request, { principal }) {
      validate(request, limits);
      if (!(await store.aliases.delete(principal.name, request.alias))) {
        throw new AuspexError("not_found", `alias ${request.alias} does not exist`);
      }
      return {};
    },
  };
}
