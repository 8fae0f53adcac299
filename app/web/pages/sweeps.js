// `/sweeps`: every sweep, newest first.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { poll } from "../live.js";
import { bones, complain, empty, fault } from "../parts/marks.js";
import { sweepTable } from "../parts/sweeps.js";

export async function show(main, { signal, title }) {
  title("Sweeps");
  const holder = h("div", null, bones());
  const next = h("button", { class: "button", type: "button", hidden: true, onclick: () => more().catch(complain) }, "Older sweeps");
  fill(main, h("div", { class: "stack" }, h("h1", null, "Sweeps"), h("section", { class: "card", "aria-label": "Sweeps" }, holder), h("div", null, next)));
  const sweeps = new Map();
  let token = null;

  function draw() {
    next.hidden = !token;
    const newest = [...sweeps.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    if (newest.length) fill(holder, sweepTable(newest));
    else fill(holder, empty("No sweep yet", "A sweep searches over a configuration: it suggests trials, prunes the hopeless and says what the winner is worth.", h("pre", { class: "code" }, "gogooku3 sweep examples/sweep_production.json")));
  }

  async function more() {
    const page = await get("/v1/sweeps", { page_size: 50, page_token: token }, { signal });
    for (const sweep of page.items) sweeps.set(sweep.id, sweep);
    token = page.next_page_token;
    draw();
  }

  await more();
  poll(
    async () => {
      const page = await get("/v1/sweeps", { page_size: 50 }, { signal });
      for (const sweep of page.items) sweeps.set(sweep.id, sweep);
      draw();
    },
    { every: 4000, signal, onProblem: (problem) => !sweeps.size && fill(holder, fault(problem)) },
  );
}
