"use strict";

// Responses: one kind at a time.
const buttons = [...document.querySelectorAll("[data-filter]")];
const responses = [...document.querySelectorAll("#responses .response")];
for (const button of buttons) {
  button.addEventListener("click", () => {
    const kind = button.dataset.filter;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    let shown = 0;
    for (const response of responses) {
      response.hidden = kind !== "all" && response.dataset.kind !== kind;
      shown += response.hidden ? 0 : 1;
    }
    document.getElementById("shown").textContent = `${shown} of ${responses.length} responses shown`;
  });
}

// Tables: those that fit need no box; a box says in words and with shadows that there is more beside it.
for (const box of document.querySelectorAll(".scroll")) {
  const more = document.createElement("p");
  more.className = "more";
  more.hidden = true;
  box.before(more);
  const heads = [...box.querySelectorAll("thead tr:first-child > *")];
  const look = () => {
    const table = box.querySelector("table");
    const fits = table.offsetWidth <= box.clientWidth + 1;
    box.classList.toggle("fits", fits);
    const right = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("beyond-right", !fits && right > 2);
    box.classList.toggle("beyond-left", !fits && box.scrollLeft > 2);
    box.classList.toggle("beyond-down", !fits && box.scrollHeight - box.clientHeight - box.scrollTop > 2);
    more.hidden = fits;
    if (fits || heads.length < 2) return;
    const edge = box.getBoundingClientRect();
    const first = heads[0].getBoundingClientRect().right; // stays where it is
    const seen = heads.slice(1).filter((head) => {
      const place = head.getBoundingClientRect();
      return place.right <= edge.right + 2 && place.left >= Math.min(first, edge.right) - 2;
    });
    const words = `${seen.length} of ${heads.length - 1} columns are in view: scroll sideways`;
    more.textContent = right > 2 ? `${words} →` : `← ${words}`;
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box);
  look();
}

// Curves: the values under the pointer, in place of the last ones. Numbers match WIDTH, LEFT and RIGHT of plots.py.
const WIDTH = 340, LEFT = 40, RIGHT = 10;
for (const figure of document.querySelectorAll("figure[data-points]")) {
  const { x: [first, last], s: series } = JSON.parse(figure.dataset.points);
  const svg = figure.querySelector("svg");
  const cross = svg.querySelector(".cross");
  const unit = figure.querySelector("figcaption span");
  const values = [...figure.querySelectorAll(".ends b")];
  const rest = { unit: unit.textContent, values: values.map((value) => value.textContent) };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    const wanted = first + Math.min(1, Math.max(0, share)) * (last - first);
    let at = first;
    series.forEach((line, i) => {
      let near = 0;
      line.x.forEach((x, j) => { if (Math.abs(x - wanted) < Math.abs(line.x[near] - wanted)) near = j; });
      at = line.x[near];
      values[i].textContent = line.y[near] === null ? "–" : String(line.y[near]);
    });
    const px = LEFT + (at - first) / (last - first || 1) * (WIDTH - LEFT - RIGHT);
    cross.setAttribute("x1", px);
    cross.setAttribute("x2", px);
    figure.classList.add("reading");
    unit.textContent = `at ${at}`;
  });
  svg.addEventListener("pointerleave", () => {
    figure.classList.remove("reading");
    unit.textContent = rest.unit;
    values.forEach((value, i) => { value.textContent = rest.values[i]; });
  });
}
