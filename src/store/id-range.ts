/** Where a page of ids begins that follows no other page. Ids are UUIDs and names of files: letters, digits, dashes. */
export const BEFORE_ALL_IDS = "";
export const AFTER_ALL_IDS = "\u{10ffff}";

/** The end of a page that comes next in the direction. */
export function firstEdge(descending: boolean): string {
  return descending ? AFTER_ALL_IDS : BEFORE_ALL_IDS;
}
