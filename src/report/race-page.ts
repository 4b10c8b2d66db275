/** Style and script of the race page: plain text that never holds anything of an execution. */

export const STYLE = `
:root{color-scheme:light dark;--bg:#fbfbf8;--panel:#fff;--ink:#1c2024;--dim:#656d76;--line:#dcdfe3;--accent:#0b62c4;
--bad:#c21f2b;--bad-bg:#fdeced;--window:#f6d98c55;--started:#f2b94455;--page:#8a3ab9;--translation:#0a7d76;--guest:#1d5fbf;
--access:#b4560b;--read:#8b949e;--lock:#4a5560;--arrow:#0b62c4;--mono:ui-monospace,"SF Mono","Cascadia Mono","DejaVu Sans Mono",Menlo,monospace}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--panel:#1b1f25;--ink:#e3e7ec;--dim:#929ca8;--line:#313842;
--accent:#69b0ff;--bad:#ff7b81;--bad-bg:#3a1c20;--window:#d9a62722;--started:#d9a6273d;--page:#cf9bf0;--translation:#56c9bf;
--guest:#82b4ff;--access:#f0a35e;--read:#7d8793;--lock:#a9b4c0;--arrow:#69b0ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif}
header{padding:22px 28px 14px}
h1{font-size:21px;line-height:1.3;margin:0 0 4px;font-weight:650;letter-spacing:-.01em}
h1 .bad{color:var(--bad)}
.facts{color:var(--dim);margin:0;display:flex;flex-wrap:wrap;gap:2px 18px}
.facts b{font-weight:600;color:var(--ink)}
.says{margin:14px 0 0;padding:10px 14px;border-left:4px solid var(--bad);background:var(--bad-bg);border-radius:0 6px 6px 0}
main{display:flex;align-items:flex-start;gap:26px;padding:6px 28px 20px}
.time{position:relative;flex:1 1 auto;min-width:0}
.grid{display:grid;column-gap:52px;row-gap:5px;position:relative}
.row,.head{display:contents}
.head>*{position:sticky;top:0;background:var(--bg);z-index:4;padding:8px 4px 6px;border-bottom:2px solid var(--line);font-weight:650}
.head .kind{color:var(--dim);font-weight:400}
.step,.place{font:12px/1.5 var(--mono);color:var(--dim);align-self:center;position:relative;z-index:2}
.step{text-align:right;margin-right:-34px}.place{margin-left:-30px}.head>:first-child{margin-right:-34px}.head>:last-child{margin-left:-30px}.place{overflow-wrap:anywhere}
.lane{border-left:1px solid var(--line);z-index:0;margin-left:-7px}
.ev{font:13px/1.45 var(--mono);text-align:left;color:inherit;background:var(--panel);border:1px solid var(--line);border-left:4px solid var(--tone,var(--line));
border-radius:6px;padding:4px 9px;position:relative;z-index:2;cursor:pointer;width:100%;overflow-wrap:anywhere}
.w{white-space:nowrap}
.ev:hover{border-color:var(--accent);border-left-color:var(--tone,var(--line))}
.ev:focus-visible{outline:3px solid var(--accent);outline-offset:1px}
.ev.now{box-shadow:0 0 0 2px var(--accent)}
.ev.later{opacity:.42}
.read{--tone:var(--read)}.access{--tone:var(--access)}.window-ev{--tone:#d9a627}.page{--tone:var(--page)}
.translation{--tone:var(--translation)}.guest{--tone:var(--guest)}.lock{--tone:var(--lock)}.quiet{--tone:var(--line);color:var(--dim)}
.end{--tone:var(--bad);background:var(--bad-bg);color:var(--bad);font-weight:650;cursor:default}
.switch{font:12px/1.4 var(--mono);color:var(--dim);display:flex;align-items:center;gap:10px;margin:5px 0;position:relative;z-index:2}
.switch::after{content:"";flex:1;border-top:1px dashed var(--dim);opacity:.6}
.shade{border-radius:8px;z-index:1;pointer-events:none;margin:-3px -8px}
.shade.start{background:var(--window)}.shade.open{background:var(--started)}
.shade span{position:absolute;font-size:11px;color:var(--dim)}
svg.arrows{position:absolute;inset:0;width:100%;height:100%;pointer-events:none;z-index:1;overflow:visible}
svg.arrows path{fill:none;stroke:var(--arrow);stroke-width:1.5;opacity:.55}
svg.arrows path.on{opacity:1;stroke-width:2.5}
svg.arrows .tip{fill:var(--arrow)}
aside{position:sticky;top:14px;flex:0 0 350px;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:14px 16px;max-height:calc(100vh - 28px);overflow:auto}
aside h2{font-size:12px;margin:15px 0 4px;color:var(--dim);font-weight:650;text-transform:uppercase;letter-spacing:.06em}
label{font-weight:650;display:block}
input[type=range]{width:100%;accent-color:var(--accent);margin:6px 0 2px}
#detail{font:13px/1.5 var(--mono);min-height:6.2em;overflow-wrap:anywhere;margin:6px 0 0}
#detail .where{color:var(--dim)}
table{border-collapse:collapse;width:100%;font:13px/1.5 var(--mono)}
th,td{padding:2px 6px;text-align:left;border-top:1px solid var(--line);font-weight:400;vertical-align:top;overflow-wrap:anywhere}
td{width:52%}td.new{background:color-mix(in srgb,var(--accent) 18%,transparent);font-weight:650}
td.free{color:var(--bad)}
.none{color:var(--dim)}
footer{padding:6px 28px 34px}
summary{cursor:pointer;font-weight:600}
pre{font:12.5px/1.45 var(--mono);overflow:auto;background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
kbd,code{font:13px var(--mono)}
.keys{color:var(--dim);font-size:13px;margin:4px 0 0}
.js{display:none}.scripted .js{display:block}
@media (max-width:1000px){main{flex-direction:column}aside{position:static;flex:none;width:100%;max-height:none}
.grid{column-gap:26px}.step,.head>:first-child{margin-right:-14px}.place,.head>:last-child{margin-left:-10px}header,main,footer{padding-left:14px;padding-right:14px}}
@media print{aside,.keys{display:none}.ev.later{opacity:1}}
`;

export const SCRIPT = `
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("race").textContent);
  document.documentElement.classList.add("scripted");
  const slider = document.getElementById("slider");
  const detail = document.getElementById("detail");
  const cards = [...document.querySelectorAll("button.ev")];
  const cells = data.state.map((row, i) => document.getElementById("s" + i));
  const svg = document.querySelector("svg.arrows");
  const grid = document.querySelector(".grid");
  const paths = [];
  const GAP = parseFloat(getComputedStyle(grid).columnGap);

  const stateAt = (row, index) => {
    let value = row.initial;
    for (const [at, next] of row.changes) { if (at > index) break; value = next; }
    return value;
  };
  const add = (parent, text, name) => {
    const node = document.createElement("div");
    node.textContent = text;
    if (name) node.className = name;
    parent.append(node);
  };
  function show(k, scroll) {
    const line = data.lines[k];
    const before = k > 0 ? data.lines[k - 1].index : -1;
    slider.value = String(k);
    slider.setAttribute("aria-valuetext", "step " + line.step + ", " + line.actor + ": " + line.text);
    cards.forEach((card, i) => {
      card.classList.toggle("now", i === k);
      card.classList.toggle("later", i > k);
      if (i === k) card.setAttribute("aria-current", "step"); else card.removeAttribute("aria-current");
    });
    detail.replaceChildren();
    add(detail, "step " + line.step + "  " + line.actor, "where");
    add(detail, line.text);
    add(detail, line.place, "where");
    for (const more of line.more) add(detail, more);
    data.state.forEach((row, i) => {
      const value = stateAt(row, line.index);
      cells[i].textContent = value === "" ? "none" : value;
      cells[i].className = (value !== stateAt(row, before) ? "new " : "") + (/^free/.test(value) ? "free" : value === "" ? "none" : "");
    });
    paths.forEach(({ path, from, to }) => path.classList.toggle("on", from === k || to === k));
    if (scroll) cards[k].scrollIntoView({ block: "nearest" });
  }
  function draw() {
    svg.replaceChildren();
    paths.length = 0;
    const origin = svg.getBoundingClientRect();
    const make = (name, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      svg.append(node);
      return node;
    };
    const marker = make("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto", markerUnits: "userSpaceOnUse" });
    const tip = document.createElementNS("http://www.w3.org/2000/svg", "path");
    tip.setAttribute("d", "M0 0L8 4L0 8z");
    tip.setAttribute("class", "tip");
    tip.style.stroke = "none";
    tip.style.opacity = "1";
    marker.append(tip);
    // A track of its own for every arrow, in the gap beside the earlier access; between cards it runs below them.
    const sides = new Map();
    const arrows = data.conflicts.map(({ from, to }) => {
      const a = cards[from].getBoundingClientRect(), b = cards[to].getBoundingClientRect();
      const right = b.left > a.left;
      const lane = cards[from].closest("[data-lane]").getBoundingClientRect();
      const edge = right ? lane.right : lane.left;
      const key = Math.round(right ? edge : edge - GAP);
      const track = sides.get(key) || 0;
      sides.set(key, track + 1);
      return { from, to, a, b, right, key, track };
    });
    for (const { from, to, a, b, right, key, track } of arrows) {
      const x1 = (right ? a.right : a.left) - origin.left, y1 = a.top + a.height / 2 - origin.top + (track % 3) * 3 - 3;
      const x2 = (right ? b.left : b.right) - origin.left, y2 = b.top + b.height / 2 - origin.top + (track % 3) * 3 - 3;
      const x = key - origin.left + 7 + ((GAP - 18) * (track + 1)) / (sides.get(key) + 1);
      const turn = Math.min(6, Math.abs(y2 - y1) / 2) * Math.sign(y2 - y1);
      const side = right ? 5 : -5;
      const path = make("path", { d: "M" + x1 + " " + y1 + "H" + (x - side) + "Q" + x + " " + y1 + " " + x + " " + (y1 + turn) +
        "V" + (y2 - turn) + "Q" + x + " " + y2 + " " + (x + side) + " " + y2 + "H" + x2, "marker-end": "url(#tip)" });
      paths.push({ path, from, to });
    }
    show(Number(slider.value));
  }
  const hover = (k, on) => paths.forEach(({ path, from, to }) => {
    if (from === k || to === k) path.classList.toggle("on", on || Number(slider.value) === from || Number(slider.value) === to);
  });
  cards.forEach((card, k) => {
    card.addEventListener("click", () => show(k));
    card.addEventListener("mouseenter", () => hover(k, true));
    card.addEventListener("mouseleave", () => hover(k, false));
    card.addEventListener("focus", () => hover(k, true));
    card.addEventListener("blur", () => hover(k, false));
  });
  slider.addEventListener("input", () => show(Number(slider.value), true));
  const KEYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  document.addEventListener("keydown", (event) => {
    const by = KEYS[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("pre, summary")) return;
    event.preventDefault();
    show(Math.min(cards.length - 1, Math.max(0, Number(slider.value) + by)), true);
  });
  draw();
  new ResizeObserver(draw).observe(grid);
})();
`;
