/** From texts to the numbers of their tokens, as the tokenizer in a model's folder has it. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { TextSpec } from "../../domain/model.ts";
import { BadModel } from "./runtime.ts";

/** Four times what the largest published vocabularies take, of a quarter of a million tokens. */
export const TOKENIZER_BYTES_MAX = 64 * 1024 ** 2;

/** Shows what the tokenizer puts around a text. */
const SAMPLE = "text";

export interface Tokenizer {
  /**
   * The tokens of a text with those around it, `maxTokens` at most.
   * @throws Error when the tokenizer cannot read it
   */
  encode(text: string): readonly number[];
}

/** @throws BadModel with what is wrong with the file */
export async function readTokenizer(
  folder: string,
  { tokenizer: file, maxTokens }: TextSpec,
): Promise<Tokenizer> {
  const json = await readJson(folder, file);
  // Imported with the first model of texts, which most workers may never see.
  const library = await import("@huggingface/tokenizers");
  try {
    const tokenizer = new library.Tokenizer(json, {});
    const numbersOf = (text: string, isWhole: boolean): number[] =>
      tokenizer.encode(text, { add_special_tokens: isWhole }).ids;
    const { before, after } = around(numbersOf(SAMPLE, false), numbersOf(SAMPLE, true));
    const room = maxTokens - before.length - after.length;
    if (room < 1)
      throw new Error(
        `it puts ${maxTokens - room} tokens around a text, where ${maxTokens} are allowed in all`,
      );
    return {
      encode: (text) => checked([...before, ...numbersOf(text, false).slice(0, room), ...after]),
    };
  } catch (error) {
    throw new BadModel(
      `the tokenizer ${file} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

async function readJson(folder: string, file: string): Promise<object> {
  const path = join(folder, file);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) throw new BadModel(`the tokenizer ${file} is missing`);
  if (found.size > TOKENIZER_BYTES_MAX)
    throw new BadModel(
      `the tokenizer ${file} has ${found.size} bytes; at most ${TOKENIZER_BYTES_MAX} are allowed`,
    );
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof value === "object" && value !== null) return value;
  } catch (error) {
    throw new BadModel(
      `the tokenizer ${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  throw new BadModel(`the tokenizer ${file} is not a JSON object`);
}

interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** What of a whole encoding is not the text's own. A long text is cut within it. */
function around(own: readonly number[], whole: readonly number[]): Around {
  if (own.length === 0) throw new Error(`it finds no tokens in "${SAMPLE}"`);
  const at = whole.findIndex((_, start) => own.every((id, i) => whole[start + i] === id));
  if (at < 0) throw new Error("it changes a text's tokens when it puts others around them");
  return { before: whole.slice(0, at), after: whole.slice(at + own.length) };
}

const TOKEN_MAX = 2 ** 31 - 1;

function checked(ids: readonly number[]): readonly number[] {
  if (ids.length === 0) throw new Error("the tokenizer finds no tokens in it");
  if (ids.every((id) => Number.isInteger(id) && id >= 0 && id <= TOKEN_MAX)) return ids;
  throw new Error("the tokenizer has no number for one of its tokens");
}
