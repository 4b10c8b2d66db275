/** Markup whose parts are escaped unless they are markup themselves. */

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as it may stand in HTML, between tags or in an attribute with quotes. */
export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}

/** A piece of a page: tags stand in it as they are. */
export class Markup {
  readonly text: string;
  /** `text` has to be HTML already: `html` makes it so. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a piece of markup: text is escaped; null is nothing. */
export type Content = string | number | bigint | Markup | null | readonly Content[];

function rendered(content: Content): string {
  if (content === null) return "";
  if (content instanceof Markup) return content.text;
  return typeof content === "object" ? content.map(rendered).join("") : escape(String(content));
}

/** A template of HTML: html`<p>${text}</p>` escapes the text. The indentation of the template itself is dropped. */
export function html(tags: TemplateStringsArray, ...contents: Content[]): Markup {
  const parts = tags.map((tag) => tag.replace(/\n\s+/g, "\n"));
  return new Markup(
    parts.map((tag, i) => tag + (i < contents.length ? rendered(contents[i]!) : "")).join(""),
  );
}
