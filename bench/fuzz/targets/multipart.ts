/** Bodies of multipart/form-data: `readMultipart`. The first line is the Content-Type. */
import { BadForm, PARTS_MAX, readMultipart } from "../../../src/transports/multipart.ts";
import { headed, holds, unlessRejected } from "../target.ts";

export const claim =
  "A body is refused as `BadForm`, or gives parts that are no longer than it, and that read the same when they are written anew.";

const FRESH = "the-fuzzers-own-boundary";

const isRefusal = (error: unknown): boolean => error instanceof BadForm;

export async function fuzz(data: Buffer): Promise<void> {
  const { head, rest } = headed(data);
  const parts = await unlessRejected(isRefusal, () => readMultipart(head, rest));
  if (!parts) return;
  holds(parts.length <= PARTS_MAX, "there are more parts than are allowed");
  const total = parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
  holds(total <= rest.length, "the parts are longer than the body");
  // Names with what a header has to quote are each client's own affair.
  if (parts.length === 0 || rest.includes(FRESH) || !parts.every(({ name }) => /^[a-z0-9]+$/i.test(name)))
    return;
  const body = Buffer.concat(
    parts.flatMap(({ name, bytes }) => [
      Buffer.from(`--${FRESH}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n`),
      bytes,
      Buffer.from("\r\n"),
    ]),
  );
  const again = await readMultipart(
    `multipart/form-data; boundary=${FRESH}`,
    Buffer.concat([body, Buffer.from(`--${FRESH}--\r\n`)]),
  );
  holds(again.length === parts.length, "written anew there are as many parts");
  for (const [i, { name, bytes }] of parts.entries()) {
    holds(again[i]?.name === name && bytes.equals(again[i].bytes), "written anew a part is the same");
  }
}

const PART = '--b\r\nContent-Disposition: form-data; name="modelId"\r\n\r\nx\r\n';
const FILE =
  '--b\r\nContent-Disposition: form-data; name="data"; filename="a.zip"\r\nContent-Type: application/zip\r\n\r\nPK\r\n';

export const seeds = (): readonly string[] => [
  `multipart/form-data; boundary=b\n${PART}--b--\r\n`,
  `multipart/form-data; charset="UTF-8"; boundary="b"\n${PART}${FILE}--b----b--`,
  `multipart/form-data; boundary=b\n${PART}--b--\r\nepilogue`,
  `multipart/form-data\n${FILE}`,
];

export const words = [
  "\r\n--b",
  "--b--",
  "\r\n\r\n",
  "Content-Disposition: form-data; ",
  'name="',
  "filename*=UTF-8''%",
  "Content-Type: ",
  "Content-Transfer-Encoding: base64",
  "multipart/mixed; boundary=c",
];
