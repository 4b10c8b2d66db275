import { describe, expect, test } from "vitest";
import { startProgress, type Progress, type ProgressOptions } from "../../src/report/progress.js";

const ESCAPE = "\u001b";

/** A terminal as far as progress needs one: autowrap, line feed, return, cursor up, clear to the end. */
class Terminal {
  readonly isTTY = true;
  readonly writes: string[] = [];
  rows: number | undefined = 10;
  private text = [""];
  private row = 0;
  private column = 0;

  constructor(public columns: number | undefined = 40) {}

  write(text: string): void {
    this.writes.push(text);
    const tokens = text.matchAll(new RegExp(`${ESCAPE}\\[(\\d+)([A-Za-z])|.|\\n|\\r`, "gu"));
    for (const [token, number, command] of tokens) {
      if (command !== undefined) this.obey(command, Number(number));
      else if (token === "\n") this.newLine();
      else if (token === "\r") this.column = 0;
      else this.put(token);
    }
  }

  /** Makes the window narrower as terminals do: lines that no longer fit are continued on the next row. */
  narrow(columns: number): void {
    this.columns = columns;
    const pieces = new RegExp(`.{1,${columns}}`, "gu");
    this.text = this.text.flatMap((line) => line.match(pieces) ?? [""]);
    this.row = this.text.length - 1;
  }

  get screen(): string[] {
    return this.text.slice(0, -1);
  }

  private obey(command: string, number: number): void {
    if (command === "A") this.row = Math.max(0, this.row - number);
    else if (command === "J") {
      this.text.length = this.row + 1;
      this.text[this.row] = this.text[this.row]!.slice(0, this.column);
    } else if (command !== "m") throw new Error(`unexpected control sequence ${command}`);
  }

  private put(character: string): void {
    if (this.column === (this.columns ?? 80)) this.newLine();
    this.text[this.row] = [...this.text[this.row]!].slice(0, this.column).join("") + character;
    this.column++;
  }

  private newLine(): void {
    this.row++;
    this.column = 0;
    this.text[this.row] ??= "";
  }
}

class Clock {
  ms = 1000;
}

function start(terminal: Terminal, clock: Clock, options: ProgressOptions = {}): Progress {
  return startProgress({ stream: terminal, now: () => clock.ms, env: {}, ...options });
}

describe("where there is no terminal", () => {
  test.each<[string, ProgressOptions]>([
    ["a pipe", { env: {} }],
    ["a dumb terminal", { env: { TERM: "dumb" } }],
  ])("%s gets nothing, and no line is made", (name, options) => {
    const writes: string[] = [];
    const stream = { isTTY: name === "a dumb terminal", write: (text: string) => writes.push(text) };
    const progress = startProgress({ ...options, stream });
    progress.update(() => {
      throw new Error("must not be called");
    });
    progress.stop();
    expect(progress.active).toBe(false);
    expect(writes).toEqual([]);
  });
});

describe("on a terminal", () => {
  test("rewrites its lines in place, whether they become more or fewer", () => {
    const terminal = new Terminal();
    const clock = new Clock();
    const progress = start(terminal, clock);
    expect(progress.active).toBe(true);
    expect(terminal.writes).toEqual([]);
    for (const lines of [["vcpu0 1"], ["vcpu0 2", "vcpu1 2", "inv 9"], ["vcpu0 33"], [], ["end"]]) {
      progress.update(() => lines);
      expect(terminal.screen).toEqual(lines);
      clock.ms += 100;
    }
  });

  test("stop clears, keeps what stood above, and ends it", () => {
    const terminal = new Terminal();
    const clock = new Clock();
    terminal.write("a result\n");
    const progress = start(terminal, clock);
    progress.update(() => ["one", "two"]);
    expect(terminal.screen).toEqual(["a result", "one", "two"]);
    progress.stop();
    expect(terminal.screen).toEqual(["a result"]);
    const writes = terminal.writes.length;
    clock.ms += 1000;
    progress.stop();
    progress.update(() => ["late"]);
    expect(terminal.writes).toHaveLength(writes);
  });

  test("stop without any update writes nothing", () => {
    const terminal = new Terminal();
    start(terminal, new Clock()).stop();
    expect(terminal.writes).toEqual([]);
  });

  test("draws at most once in an interval and does not even ask for lines in between", () => {
    const terminal = new Terminal();
    const clock = new Clock();
    const progress = start(terminal, clock, { intervalMs: 50 });
    let asked = 0;
    const update = (): void => progress.update(() => [`${++asked}`]);
    for (let step = 0; step < 100; step++, clock.ms += 10) update();
    expect(asked).toBe(20);
    expect(terminal.writes).toHaveLength(20);
  });

  test("cuts lines to the columns, so that none is wrapped, and lines to the rows", () => {
    const terminal = new Terminal(10);
    terminal.rows = 4;
    const progress = start(terminal, new Clock());
    progress.update(() => ["0123456789abcdef", "\u{1d7ce}".repeat(12), "c", "d", "e"]);
    expect(terminal.screen).toEqual(["012345678", "\u{1d7ce}".repeat(9), "c"]);
  });

  test("assumes 80 by 24 where the terminal does not say", () => {
    const terminal = new Terminal();
    terminal.columns = undefined;
    terminal.rows = undefined;
    start(terminal, new Clock()).update(() => Array.from({ length: 30 }, () => "x".repeat(100)));
    expect(terminal.screen).toEqual(Array.from({ length: 23 }, () => "x".repeat(79)));
  });

  test("a terminal of one row and one column still shows something", () => {
    const terminal = new Terminal(1);
    terminal.rows = 1;
    const clock = new Clock();
    const progress = start(terminal, clock);
    progress.update(() => ["abc", "def"]);
    expect(terminal.screen).toEqual(["a"]);
    progress.stop();
    expect(terminal.screen).toEqual([]);
  });

  test("leaves nothing behind when the terminal became narrower in between", () => {
    const terminal = new Terminal(40);
    const clock = new Clock();
    terminal.write("above\n");
    const progress = start(terminal, clock);
    progress.update(() => ["x".repeat(35), "", "y".repeat(20)]);
    terminal.narrow(10);
    expect(terminal.screen).toHaveLength(1 + 4 + 1 + 2);
    clock.ms += 1000;
    progress.update(() => ["short"]);
    expect(terminal.screen).toEqual(["above", "short"]);
  });

  test("control characters in a line cannot move the cursor", () => {
    const terminal = new Terminal();
    start(terminal, new Clock()).update(() => [`a\n\rb\t${ESCAPE}[2Jc`]);
    expect(terminal.screen).toEqual(["a  b  [2Jc"]);
  });

  test("is dimmed, unless NO_COLOR is set and not empty", () => {
    const drawn = (env: Record<string, string>): string => {
      const terminal = new Terminal();
      start(terminal, new Clock(), { env }).update(() => ["x"]);
      return terminal.writes.join("");
    };
    expect(drawn({})).toBe(`${ESCAPE}[2mx${ESCAPE}[22m\n`);
    expect(drawn({ NO_COLOR: "" })).toBe(drawn({}));
    expect(drawn({ NO_COLOR: "1" })).toBe("x\n");
  });
});
