// Small helps for pages that work without it: freshness, charts, questions before something is done.
"use strict";

// What the server writes is told once a few seconds; panels that want it ask again.
function listen() {
  if (!document.querySelector("[hx-trigger*='fresh']")) return;
  const source = new EventSource("/fresh");
  source.addEventListener("fresh", () => {
    if (!document.hidden) htmx.trigger(document.body, "fresh");
  });
}

// Colours come from the style sheet, so that dark and light are its alone.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const formats = {
  "": new Intl.NumberFormat(document.documentElement.lang, { notation: "compact", maximumFractionDigits: 1 }),
  share: new Intl.NumberFormat(document.documentElement.lang, { style: "percent", maximumFractionDigits: 1 }),
};

const spans = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].map(([unit, size]) => ({
  size,
  format: new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 1 }),
}));

function spelled(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "s") {
    const { size, format } = spans.find((each) => Math.abs(value) >= each.size) || spans[spans.length - 1];
    return format.format(value / size);
  }
  return (formats[unit] || formats[""]).format(value);
}

// Round steps of an axis of time: seconds, minutes, hours, days.
const steps = { s: [1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000] };

function draw(canvas) {
  if (canvas.firstChild) return;
  const plot = JSON.parse(canvas.dataset.plot);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const options = {
    width: canvas.clientWidth,
    height: canvas.clientWidth < 480 ? 200 : 260,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    scales: { y: { range: (self, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] } },
    axes: [
      axis,
      { ...axis, size: 70, incrs: steps[plot.unit], values: (self, ticks) => ticks.map((tick) => spelled(tick, plot.unit)) },
    ],
    series: [
      { label: canvas.dataset.time },
      ...plot.series.map((series, place) => ({
        label: series.name,
        stroke: series.edge ? colour("--band") : colour(`--series-${(place % 6) + 1}`),
        width: series.edge ? 0 : 2,
        dash: series.dashed ? [6, 5] : undefined,
        points: { show: !series.edge && !series.dashed && plot.times.length < 40 },
        value: (self, value) => spelled(value, plot.unit),
      })),
    ],
    bands: plot.bands.map(([high, low]) => ({ series: [high + 1, low + 1], fill: colour("--band") })),
  };
  canvas.chart = new uPlot(options, [plot.times, ...plot.series.map((series) => series.values)], canvas);
  // The ends of a band are seen, and need no words of their own.
  const rows = canvas.chart.root.querySelectorAll(".u-series");
  plot.series.forEach((series, place) => { rows[place + 1].hidden = Boolean(series.edge); });
}

const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.chart && target.clientWidth) target.chart.setSize({ width: target.clientWidth, height: target.chart.height });
  }
});

function dress(part) {
  for (const canvas of part.querySelectorAll("[data-plot]")) {
    draw(canvas);
    widths.observe(canvas);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-image]");
  if (!button) return;
  const canvas = button.closest("figure").querySelector("canvas");
  if (!canvas) return;
  const link = document.createElement("a");
  link.href = canvas.toDataURL("image/png");
  link.download = `${button.dataset.image}.png`;
  link.click();
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !window.confirm(question)) event.preventDefault();
});

document.addEventListener("change", (event) => {
  if (event.target.matches("form[data-live] select, form[data-live] input")) event.target.form.requestSubmit();
});

// A part that never came says so; one that is there already stays as it was.
for (const failed of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failed, (event) => {
    const loading = event.target.querySelector(":scope > .loading");
    if (loading) loading.replaceWith(document.getElementById("away").content.cloneNode(true));
  });
}

document.addEventListener("htmx:afterSettle", (event) => dress(event.target));
document.addEventListener("DOMContentLoaded", () => {
  dress(document);
  listen();
});

// A click on a heading sorts by it; once more turns it round.
function number(cell) {
  const text = cell.textContent.replace(/[^\d.,−-]/g, "").replace(/,/g, "");
  return text === "" ? NaN : Number(text);
}

document.addEventListener("click", (event) => {
  const head = event.target.closest(".sortable th");
  if (!head) return;
  const place = [...head.parentElement.children].indexOf(head);
  const body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") !== "descending";
  const order = ([one, another]) => (Number.isNaN(one) || Number.isNaN(another) ? 0 : one - another);
  const rows = [...body.rows].sort((one, another) => {
    const numbers = order([number(one.cells[place]), number(another.cells[place])]);
    const words = one.cells[place].textContent.localeCompare(another.cells[place].textContent);
    return (head.classList.contains("number") ? numbers : words) * (down ? -1 : 1);
  });
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows);
});
