/** Creates a prediction of a picture and watches it, as any page would. The API's address is the parameter `api`. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { PredictionService, PredictionStatus } from "../../../gen/auspex/v1/prediction_pb.ts";

const parameters = new URLSearchParams(location.search);
const baseUrl = parameters.get("api") ?? location.origin;
const model = parameters.get("model") ?? "auspex/mobilenet";

const STATES = Object.entries(PredictionStatus);

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${id}`);
  return found;
}

const picture = element("picture", HTMLInputElement);
const protocol = element("protocol", HTMLSelectElement);
const states = element("states", HTMLOListElement);
const label = element("label", HTMLOutputElement);
const failure = element("error", HTMLParagraphElement);

async function classify(file: File): Promise<void> {
  const transport =
    protocol.value === "connect" ? createConnectTransport({ baseUrl }) : createGrpcWebTransport({ baseUrl });
  const client = createClient(PredictionService, transport);
  const image = new Uint8Array(await file.arrayBuffer());
  const { prediction } = await client.createPrediction({ model, files: { image } });
  for await (const { prediction: state } of client.watchPrediction({ id: prediction?.id ?? "" })) {
    if (state === undefined) continue;
    const item = document.createElement("li");
    item.textContent = STATES.find(([, value]) => value === state.status)?.[0] ?? "";
    states.append(item);
    const probabilities = state.output?.probabilities;
    if (Array.isArray(probabilities)) label.value = JSON.stringify(probabilities[0]);
    if (state.error) failure.textContent = state.error.message;
  }
}

element("form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = picture.files ?? [];
  states.replaceChildren();
  label.value = "";
  failure.textContent = "";
  if (file === undefined) return;
  classify(file).catch((error: unknown) => {
    const { code, rawMessage } = ConnectError.from(error);
    failure.textContent = `${Code[code]}: ${rawMessage}`;
  });
});
