/** JSON Web Tokens made by hand, so that the server's own library is not asked whether it agrees with itself. */
import { createHmac, createSign, generateKeyPairSync, type KeyObject } from "node:crypto";

type Claims = Readonly<Record<string, unknown>>;

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function hs256(claims: Claims, secret: string, header: Claims = { typ: "JWT", alg: "HS256" }): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

export function rs256(
  claims: Claims,
  privateKey: KeyObject,
  header: Claims = { alg: "RS256", typ: "JWT" },
): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${createSign("RSA-SHA256").update(signed).sign(privateKey, "base64url")}`;
}

/** Header and claims, whoever signed. */
export function decodeJwt(token: string): { readonly header: Claims; readonly claims: Claims } {
  const [header = "", claims = ""] = token.split(".");
  const decode = (part: string): Claims => JSON.parse(Buffer.from(part, "base64url").toString());
  return { header: decode(header), claims: decode(claims) };
}

export interface KeyPair {
  readonly privateKey: KeyObject;
  /** PEM. */
  readonly publicKey: string;
}

export function keyPair(modulusLength = 2048): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength });
  return { privateKey, publicKey: publicKey.export({ type: "spki", format: "pem" }).toString() };
}

/** Seconds since the epoch. */
export const nowS = (): number => Math.floor(Date.now() / 1000);
