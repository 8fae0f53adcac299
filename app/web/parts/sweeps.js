// Sweeps in a short table.

import { h } from "../dom.js";
import { ago, duration, moment, signed } from "../format.js";
import { askedOf, badge, progressBar } from "./marks.js";
import { plainTable } from "./table.js";

const ENDED = ["succeeded", "failed", "cancelled", "pruned"];

/** Trials by state, whatever the server counts. */
export function trialCounts(sweep) {
  const counts = sweep.counts ?? {};
  // `waiting` are trials that do not exist yet.
  const ended = ENDED.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  return { counts, ended, total: sweep.n_trials ?? ended };
}

function ends(sweep) {
  if (!sweep.estimated_finish_at) return "–";
  const left = (Date.parse(sweep.estimated_finish_at) - Date.now()) / 1000;
  return left > 0 ? `in ${duration(left)}` : "soon";
}

export function sweepTable(items) {
  return plainTable(
    ["Sweep", "State", "Trials", "Best", "Ends", "Created"],
    items.map((sweep) => {
      const { ended, total } = trialCounts(sweep);
      return [
        h("span", { class: "name" }, h("a", { href: `/sweeps/${sweep.id}` }, sweep.name ?? "unnamed"), h("small", null, sweep.id)),
        badge(sweep.state, askedOf(sweep)),
        progressBar(total ? Math.min(1, ended / total) : null, sweep.state, `${ended}/${total}`),
        signed(sweep.best?.value),
        ends(sweep),
        h("time", { datetime: sweep.created_at, title: moment(sweep.created_at) }, ago(sweep.created_at)),
      ];
    }),
    { numbers: [3, 4, 5], label: "Sweeps" },
  );
}
