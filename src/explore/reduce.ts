import { type Automata } from "./automata.js";
import { type SearchResult } from "./search.js";
export function reducedSearch(automata: Automata, options: unknown): SearchResult {
  throw new Error(String([automata, options]));
}
