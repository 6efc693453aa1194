/** Corrections of what trained models said: examples of the datasets that they were trained from. */
import type { FeedbackService } from "../../gen/auspex/v1/dataset_pb.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import type { Operations } from "./call.ts";
import { exampleMessage } from "./dataset-message.ts";
import { refusal, unknownDataset } from "./dataset-refusal.ts";
import { acceptPicture, type ExampleOptions } from "./example.ts";
import { validate } from "./validation.ts";

export function createFeedbackOperations(options: ExampleOptions): Operations<typeof FeedbackService> {
  const { store, limits, now } = options;
  return {
    async createFeedback(request, { principal, signal }) {
      validate(request, limits);
      const alias = await store.aliases.get(principal.name, request.model);
      const model = await store.trainings.model(principal.name, alias?.target ?? request.model);
      if (!model) throw new AuspexError("not_found", `trained model ${request.model} does not exist`);
      const { datasetId } = model;
      const dataset = await store.datasets.get(principal.name, datasetId);
      if (!dataset) throw unknownDataset(datasetId);
      const label = dataset.labels.find(({ name }) => name === request.expectedLabel);
      if (!label) {
        const description = `must be one of the labels of dataset ${datasetId}`;
        throw invalidArgument({ field: "expected_label", reason: "unknown", description });
      }
      const example = await acceptPicture(options, request.name, request.data, signal);
      const reply = await store.examples.insert({
        principal: principal.name,
        datasetId,
        labelId: label.id,
        source: "feedback",
        example,
        now: now(),
      });
      switch (reply.kind) {
        case "inserted":
        case "found":
          return { example: exampleMessage(reply.example) };
        case "name_taken":
          throw new AuspexError(
            "already_exists",
            `dataset ${datasetId} has a feedback named ${example.name} already`,
          );
        case "unknown_label":
          throw new AuspexError("not_found", `label ${label.id} does not exist`);
        default:
          throw refusal({ kind: reply.kind }, datasetId);
      }
    },
  };
}
