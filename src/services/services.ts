/** All that transports see of the floors below them. */
import type { AccountService } from "../../gen/auspex/v1/account_pb.ts";
import type { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import type { DatasetService, FeedbackService } from "../../gen/auspex/v1/dataset_pb.ts";
import type { ImageService } from "../../gen/auspex/v1/image_pb.ts";
import type { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import type { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import type { TrainingService } from "../../gen/auspex/v1/training_pb.ts";
import type { Principal } from "../domain/principal.ts";
import type { Operations } from "./call.ts";
import type { FileLinks } from "./file-link.ts";

export interface Services {
  readonly predictions: Operations<typeof PredictionService>;
  readonly models: Operations<typeof ModelService>;
  readonly images: Operations<typeof ImageService>;
  readonly datasets: Operations<typeof DatasetService>;
  readonly feedback: Operations<typeof FeedbackService>;
  readonly trainings: Operations<typeof TrainingService>;
  readonly accounts: Operations<typeof AccountService>;
  readonly chatflows: Operations<typeof ChatflowService>;
  /** Links to pictures of examples. */
  readonly files: FileLinks;
  /**
   * The principal of a bearer token (without the word "Bearer"); undefined for none sent: an API key, an access token
   * of AccountService, or a JWT that a user's or an account's secret has signed. Rejects with `unauthenticated`. An
   * open server answers its one principal whatever is sent.
   */
  authenticate(token: string | undefined): Promise<Principal>;
  /**
   * The same for operations that are for whoever may ask a chatflow: a flow's key stands for the flow's principal and
   * that flow alone, and none sent for nobody (on an open server, for its one principal). A key that is not valid, or
   * not any more, is refused here, also where none is needed.
   */
  authenticateAsker(token: string | undefined): Promise<Principal>;
  /**
   * Whether that principal may ask the chatflow at all, before what it asks is read. Rejects as the operations do, with
   * `unauthenticated` or `not_found`.
   */
  admitAsker(chatflow: string, principal: Principal): Promise<void>;
  /**
   * A user's or a secret's JWT anew, with the same claims and four hours ahead, for a dialect that answers one with
   * every call, and whom it stands for. An open server cannot know who signed, and signs by itself; there too it must
   * be well-formed and not expired. Rejects with `unauthenticated`.
   */
  renewToken(token: string): Promise<{ readonly principal: Principal; readonly token: string }>;
  /** Where a principal stands with its creation rate; undefined when there is no limit. Costs nothing of it. */
  rateLimit(principal: Principal): RateLimitState | undefined;
  readonly health: Health;
  /** The text of /metrics (Prometheus exposition format) and its content type. */
  metrics(): Promise<{ readonly text: string; readonly contentType: string }>;
}

export interface RateLimitState {
  /** Creations per second. */
  readonly limit: number;
  readonly remaining: number;
  /** When `remaining` is whole again: seconds since the epoch. */
  readonly resetAt: number;
}

export interface Health {
  /** False before the first start is complete, without live workers, and from the first moment of shutting down. */
  serving(): boolean;
  /** Why not, for a person; "" while serving. */
  reason(): string;
  /** Answers the unsubscribe. */
  onChange(listener: () => void): () => void;
}
