// Reads a page as strictly as XML, so that what a browser would mend is found.

const VOID = new Set(["meta", "link", "br", "!doctype"]);

/** An element, with its attributes and its text without that of children. */
export interface Element {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly parent: Element | null;
}

/** Elements of a page in their order; throws at a tag that is not closed, closed twice, or no tag. */
export function elementsOf(page: string): Element[] {
  const elements: Element[] = [];
  let open: Element | null = null;
  let end = 0;
  // The style element holds text in which > and & mean nothing.
  const text = page.replace(/<style>[^<]*<\/style>/, "<style></style>");
  for (const tag of text.matchAll(/<(\/?)([a-z!][a-z0-9]*)((?:\s+[^\s=>"]+(?:="[^"<]*")?)*)\s*(\/?)>/gi)) {
    const between = text.slice(end, tag.index);
    if (/[<>]|&(?!(amp|lt|gt|quot|#39);)/.test(between)) throw new Error(`not text: ${between}`);
    end = tag.index + tag[0].length;
    const name = tag[2]!.toLowerCase();
    if (tag[1] === "/") {
      if (open?.name !== name) throw new Error(`</${name}> ends <${open?.name}>`);
      open = open.parent;
      continue;
    }
    const attributes = new Map<string, string>();
    for (const [, key, value = ""] of tag[3]!.matchAll(/([^\s="]+)(?:="([^"]*)")?/g)) {
      if (attributes.has(key!)) throw new Error(`${key} twice in <${name}>`);
      attributes.set(key!, value);
    }
    const element: Element = { name, attributes, parent: open };
    elements.push(element);
    if (!VOID.has(name) && tag[4] !== "/") open = element;
  }
  if (open) throw new Error(`<${open.name}> is not ended`);
  if (/\S/.test(text.slice(end))) throw new Error("text behind the end");
  return elements;
}
