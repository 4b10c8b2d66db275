import { describe, expect, test } from "vitest";
import { ERROR_SENTENCES, GuestMmuError, type GuestMmuErrorCode } from "../../src/errors.js";

const codes = Object.keys(ERROR_SENTENCES) as GuestMmuErrorCode[];

describe("GuestMmuError", () => {
  test("is an Error with a code, a hint and a name that survives minified class names", () => {
    const error = new GuestMmuError("SLOT_OVERLAP", { message: "Slot 3 overlaps slot 1.", hint: "Move it." });
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe("GuestMmuError");
    expect(error.code).toBe("SLOT_OVERLAP");
    expect(error.message).toBe("Slot 3 overlaps slot 1.");
    expect(error.hint).toBe("Move it.");
    expect(String(error)).toBe("GuestMmuError: Slot 3 overlaps slot 1.");
    expect(Object.hasOwn(error, "cause")).toBe(false);
  });

  test.each(codes)("%s has a sentence of its own, and it is the default message", (code) => {
    const sentence = ERROR_SENTENCES[code];
    expect(new GuestMmuError(code, { hint: "" }).message).toBe(sentence);
    expect(sentence).toMatch(/^[A-Z].*\.$/);
    expect(codes.filter((other) => ERROR_SENTENCES[other] === sentence)).toEqual([code]);
  });

  test("keeps the cause", () => {
    const cause = new Error("EIO: i/o error");
    expect(new GuestMmuError("TRACE_UNREADABLE", { hint: "", cause }).cause).toBe(cause);
  });

  test("becomes plain JSON and comes back, which a structured clone would not do", () => {
    const error = new GuestMmuError("ABORTED", { message: "m", hint: "h", cause: new Error("why") });
    const plain: unknown = JSON.parse(JSON.stringify(error));
    expect(plain).toEqual({ name: "GuestMmuError", code: "ABORTED", message: "m", hint: "h", cause: "why" });
    const revived = GuestMmuError.fromJSON(structuredClone(error.toJSON()));
    expect(revived).toBeInstanceOf(GuestMmuError);
    expect(revived.toJSON()).toEqual(error.toJSON());
  });

  test("JSON has no cause when there is none", () => {
    expect(Object.keys(new GuestMmuError("ABORTED", { hint: "h" }).toJSON())).toEqual([
      "name",
      "code",
      "message",
      "hint",
    ]);
  });
});
