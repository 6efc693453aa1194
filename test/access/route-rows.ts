/** How every route of the dialects is called well, and for whom it is. */
import { type Audience, PIXEL } from "./rpcs.ts";
import { BASE_MODEL, type Things } from "./things.ts";

/** What a call of a route has besides its method and path. */
export interface Sent {
  /** In the place of the path's parameters; those that are in it alone need no other. */
  readonly params?: Readonly<Record<string, string>>;
  /** After the `?`. */
  readonly query?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  /** Texts, and files as bytes. */
  readonly form?: Readonly<Record<string, string | Buffer<ArrayBuffer>>>;
}

export interface RouteRow {
  readonly audience: Audience;
  /** Each way in which it can name what is somebody's; one that names nothing is for whoever calls. */
  readonly calls: readonly ((of: Things) => Sent)[];
  /** What it is called with is gone afterwards. */
  readonly destroys?: true;
  /** Says the same of every flow to those who need a key first. */
  readonly hides?: true;
}

const principal = (...calls: RouteRow["calls"]): RouteRow => ({ audience: "principal", calls });
const ending = (...calls: RouteRow["calls"]): RouteRow => ({ ...principal(...calls), destroys: true });
const asker = (...calls: RouteRow["calls"]): RouteRow => ({ audience: "asker", calls });
const anybody = (...calls: RouteRow["calls"]): RouteRow => ({ audience: "anybody", calls });

const picture = Buffer.from(PIXEL, "base64");
const uri = `data:image/png;base64,${PIXEL}`;
const nothingNamed = (): Sent => ({});

const prediction = ({ prediction: prediction_id }: Things): Sent => ({ params: { prediction_id } });
const modelParams = ({ model }: Things) => {
  const [model_owner = "", model_name = ""] = model.split("/");
  return { model_owner, model_name, number: "1" };
};
const model = (of: Things): Sent => ({ params: modelParams(of) });
const predictBy = (of: Things): Sent => ({ ...model(of), json: { input: { image: uri } } });

const WRIFTAI: Readonly<Record<string, RouteRow>> = {
  "GET /predictions": principal(nothingNamed),
  "POST /predictions": principal(
    (of) => ({ json: { model: of.model, input: { image: uri } } }),
    ({ image }) => ({ json: { model: BASE_MODEL, input: { image } } }),
  ),
  "POST /models/:model_owner/:model_name/predictions": principal(predictBy),
  "POST /models/:model_owner/:model_name/versions/:number/predictions": principal(predictBy),
  "GET /predictions/:prediction_id": principal(prediction),
  "POST /predictions/:prediction_id/cancel": principal(prediction),
  "GET /predictions/:prediction_id/events": principal(prediction),
  "GET /models": principal(nothingNamed),
  "GET /models/:model_owner": principal((of) => ({
    params: { model_owner: modelParams(of).model_owner },
  })),
  "GET /models/:model_owner/:model_name": principal(model),
  "GET /models/:model_owner/:model_name/versions": principal(model),
  "GET /models/:model_owner/:model_name/versions/:number": principal(model),
};

const ofModel = ({ modelId }: Things): Sent => ({ params: { modelId } });
const ofDataset = ({ dataset: datasetId }: Things): Sent => ({ params: { datasetId } });
const ofExample = ({ dataset: datasetId, example: exampleId }: Things): Sent => ({
  params: { datasetId, exampleId },
});
const zipByUrl = { path: "https://pictures.invalid/a.zip", type: "image" };
const unserved = principal(nothingNamed);

const EINSTEIN_VISION: Readonly<Record<string, RouteRow>> = {
  "POST /oauth2/token": anybody(() => ({
    form: { grant_type: "refresh_token", refresh_token: "A".repeat(43) },
  })),
  "GET /apiusage": principal(nothingNamed),
  "GET /vision/datasets": principal(nothingNamed),
  "POST /vision/datasets": principal(() => ({ form: { name: "new", type: "image" } })),
  "POST /vision/datasets/upload": principal(() => ({ form: zipByUrl })),
  "POST /vision/datasets/upload/sync": principal(() => ({ form: zipByUrl })),
  "GET /vision/datasets/:datasetId": principal(ofDataset),
  "POST /vision/datasets/:datasetId/labels": principal((of) => ({
    ...ofDataset(of),
    form: { name: "more" },
  })),
  "GET /vision/datasets/:datasetId/labels/:labelId": principal(({ dataset: datasetId, label: labelId }) => ({
    params: { datasetId, labelId },
  })),
  "POST /vision/datasets/:datasetId/examples": principal((of) => ({
    ...ofDataset(of),
    form: { name: "a.png", labelId: of.label, data: picture },
  })),
  "GET /vision/datasets/:datasetId/examples": principal(ofDataset),
  "GET /vision/datasets/:datasetId/examples/:exampleId": principal(ofExample),
  "GET /vision/examples": principal(({ label: labelId }) => ({ query: { labelId } })),
  "GET /vision/deletion/:deletionId": principal(({ deletionId }) => ({ params: { deletionId } })),
  "GET /vision/train/:modelId": principal(ofModel),
  "GET /vision/datasets/:datasetId/models": principal(ofDataset),
  "GET /vision/models/:modelId": principal(ofModel),
  "GET /vision/models/:modelId/lc": principal(ofModel),
  "POST /vision/predict": principal(({ modelId }) => ({ form: { modelId, sampleContent: picture } })),
  "POST /vision/detect": principal(({ modelId }) => ({ form: { modelId, sampleContent: picture } })),
  "POST /vision/feedback": principal(({ modelId }) => ({
    form: { modelId, expectedLabel: "circle", data: picture },
  })),
  "POST /vision/train": principal(({ dataset: datasetId }) => ({ form: { datasetId, name: "again" } })),
  "POST /vision/retrain": principal(({ modelId }) => ({ form: { modelId } })),
  "PUT /vision/datasets/:datasetId/upload": principal((of) => ({
    ...ofDataset(of),
    form: { path: zipByUrl.path },
  })),
  "PUT /vision/bulkfeedback": unserved,
  "POST /vision/ocr": unserved,
  "GET /language/*": unserved,
  "POST /language/*": unserved,
  "PUT /language/*": unserved,
  "DELETE /language/*": unserved,
  "DELETE /vision/models/:modelId": ending(ofModel),
  "DELETE /vision/datasets/:datasetId/examples/:exampleId": ending(ofExample),
  "DELETE /vision/datasets/:datasetId": ending(ofDataset),
  "DELETE /oauth2/tokens/:token": ending(({ refreshToken: token }) => ({ params: { token } })),
};

const ofImage = ({ image: id }: Things): Sent => ({ params: { id } });

const EINSTEIN_PREDICTION: Readonly<Record<string, RouteRow>> = {
  "POST /einstein_prediction": principal(
    ({ image: imageId, modelId }) => ({ json: { imageId, modelId } }),
    ({ model: modelId }) => ({ json: { imageId: "01900000-0000-7000-8000-000000000000", modelId } }),
    ({ alias: modelId }) => ({ json: { imageId: "01900000-0000-7000-8000-000000000000", modelId } }),
  ),
  "POST /imports": principal(() => ({
    json: { import_type: "url", url: "https://pictures.invalid/a.png" },
  })),
  "GET /imports/:id": principal(({ imported: id }) => ({ params: { id } })),
  "POST /images": principal(() => ({ form: { image: picture } })),
  "GET /images/:id": principal(ofImage),
};

const ofFlow = ({ chatflow: id }: Things): Sent => ({ params: { id } });
const ofChat = ({ chatflow: chatflowId, chat: chatId }: Things) => ({ chatflowId, chatId });
const shown = (row: RouteRow): RouteRow => ({ ...row, hides: true });
const document = Buffer.from("The wall of the garden is high.");

const STUDIO: Readonly<Record<string, RouteRow>> = {
  "GET /ping": anybody(nothingNamed),
  "POST /prediction/:id": asker(
    (of) => ({ ...ofFlow(of), json: { question: "What colour is the gate?", chatId: of.chat } }),
    (of) => ({
      ...ofFlow(of),
      json: { question: "What colour is the gate?", chatId: of.chat, streaming: true },
    }),
  ),
  "PUT /chatmessage/abort/:chatflowId/:chatId": asker((of) => ({ params: ofChat(of) })),
  "GET /chatflows-streaming/:id": shown(asker(ofFlow)),
  "GET /chatflows-uploads/:id": shown(asker(ofFlow)),
  "GET /public-chatbotConfig/:id": shown(asker(ofFlow)),
  "POST /attachments/:chatflowId/:chatId": asker((of) => ({ params: ofChat(of), form: { files: document } })),
  "GET /get-upload-file": asker((of) => ({ query: { ...ofChat(of), fileName: of.file } })),
  "POST /feedback": asker((of) => ({
    json: { chatflowid: of.chatflow, chatId: of.chat, messageId: of.message, rating: "THUMBS_DOWN" },
  })),
  "PUT /feedback/:id": asker(({ chatflow, rating }) => ({
    params: { id: `${chatflow}.${rating}` },
    json: { content: "changed" },
  })),
  "POST /leads": asker((of) => ({
    json: { chatflowid: of.chatflow, chatId: of.chat, email: "c@example.org" },
  })),
  "POST /chatflows": principal(() => ({
    json: { name: "new", flowData: '{"definition":{"extractive":{}}}' },
  })),
  "GET /chatflows": principal(nothingNamed),
  "GET /chatflows/:id": principal(ofFlow),
  "PUT /chatflows/:id": principal((of) => ({ ...ofFlow(of), json: { name: "newer" } })),
  "POST /vector/upsert/:id": principal((of) => ({ ...ofFlow(of), form: { files: document } })),
  "GET /upsert-history/:id": principal(ofFlow),
  "GET /chatmessage/:id": principal(ofFlow),
  "GET /feedback/:id": principal(ofFlow),
  "GET /leads/:id": principal(ofFlow),
  "DELETE /chatmessage/:id": ending(ofFlow),
  "PATCH /upsert-history": ending(({ upsert }) => ({ json: { ids: [upsert] } })),
  // The upsert is named in the body, the flow in the path.
  "PATCH /upsert-history/:id": ending((of) => ({
    ...ofFlow(of),
    json: { ids: [of.laterUpsert] },
  })),
  "DELETE /chatflows/:id": ending(ofFlow),
};

const under = (dialect: string, rows: Readonly<Record<string, RouteRow>>) =>
  Object.entries(rows).map(([line, row]) => [`${dialect} ${line}`, row] as const);

/** By `MountedRoute.name`. What is destroyed is destroyed in this order. */
export const ROUTE_ROWS: Readonly<Record<string, RouteRow>> = Object.fromEntries([
  ...under("wriftai", WRIFTAI),
  ...under("einstein-prediction", EINSTEIN_PREDICTION),
  ...under("einstein-vision", EINSTEIN_VISION),
  ...under("studio", STUDIO),
]);
