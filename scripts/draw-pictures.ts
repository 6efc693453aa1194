/** Draws pictures to try training with: `node scripts/draw-pictures.ts shapes.zip square.jpg`. */
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { drawPicture, SHAPES, zipOfShapes } from "../test/pictures.ts";

const HELP = `Draws shapes on noise, a new place and colour for each.

Usage: node scripts/draw-pictures.ts FILE…

  anything.zip   a folder "circle" and a folder "square", 20 pictures in each
  square.jpg     one picture that is in no such zip; likewise ${SHAPES.filter((shape) => shape !== "square").join(", ")}`;

/** Pictures in a folder of the zip; the pictures outside have seeds beyond them. */
const COUNT = 20;
const NEW_SEED = 1000;

async function draw(file: string): Promise<Buffer> {
  const name = basename(file);
  if (name.endsWith(".zip")) return zipOfShapes(["circle", "square"], COUNT);
  const shape = SHAPES.find((known) => name === `${known}.jpg`);
  if (!shape) throw new Error(`${name} is neither a zip nor a shape; --help tells which there are`);
  return drawPicture(shape, NEW_SEED);
}

const files = process.argv.slice(2);
if (files.length === 0 || files.includes("--help")) {
  process.stdout.write(`${HELP}\n`);
} else {
  for (const file of files) await writeFile(file, await draw(file));
}
