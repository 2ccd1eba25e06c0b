// Draws the figures of the page's data, shows what a point is, and copies the command behind it.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const toast = document.getElementById("toast");
  const NARROW = 450; // pixels of a plot: below, its legend goes under it
  const MOST_IDS = 8;

  // ---- what stands behind a point: a run (0, 1, ...) or a group of runs (-1, -2, ...)
  function pointOf(number) {
    if (number === undefined || number === null) return null;
    if (number >= 0) {
      const configuration = data.configurations[data.runs.configuration[number]];
      return { title: `run ${data.runs.id[number]}`, text: configuration || "", command: data.runs.command[number] };
    }
    const group = data.groups[-1 - number];
    const ids = group.runs.slice(0, MOST_IDS).map((run) => data.runs.id[run]);
    const more = group.runs.length > MOST_IDS ? ` and ${group.runs.length - MOST_IDS} more` : "";
    const count = group.runs.length === 1 ? "run" : `${group.runs.length} runs`;
    return { title: group.name, text: `${count} ${ids.join(" ")}${more}`, command: group.command };
  }

  // ---- copying
  let hiding = 0;
  function say(words) {
    toast.textContent = words;
    toast.classList.add("shown");
    clearTimeout(hiding);
    hiding = setTimeout(() => toast.classList.remove("shown"), 4000);
  }
  function copyByHand(text) {
    // Pages without a clipboard of their own (plain http) can copy a selection.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "outside";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
  async function copy(text) {
    if (!text) return;
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      done = copyByHand(text);
    }
    say(done ? `copied: ${text}` : text);
  }

  // ---- the box beside the pointer
  function line(name, text) {
    const element = document.createElement(name);
    element.textContent = text;
    return element;
  }
  function number(value) {
    return typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value);
  }
  function showTip(event) {
    const at = event.points[0];
    const found = pointOf(at.customdata);
    if (!found) return;
    const axes = at.fullData && at.xaxis ? [at.xaxis.title.text, at.yaxis.title.text] : ["x", "y"];
    const plain = axes.map((title) => {
      const holder = document.createElement("textarea"); // titles are escaped for the charting library
      holder.innerHTML = title.replace(/</g, "&lt;");
      return holder.value.split(",")[0];
    });
    const half = at.data.error_y?.array?.[at.pointNumber];
    const values = `${plain[0]} = ${number(at.x)}, ${plain[1]} = ${number(at.y)}${half ? ` ± ${number(half)}` : ""}`;
    const command = found.command ? [line("code", found.command), line("small", "click copies the command")] : [];
    tip.replaceChildren(line("b", found.title), line("span", values), line("span", found.text), ...command);
    tip.hidden = false;
    place(event.event);
  }
  function place(event) {
    const room = 14;
    const { width, height } = tip.getBoundingClientRect();
    const left = event.clientX + room + width > innerWidth ? event.clientX - room - width : event.clientX + room;
    const top = event.clientY + room + height > innerHeight ? event.clientY - room - height : event.clientY + room;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  }

  // ---- figures, in the colours of the page
  function colors() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { ink: of("--ink"), grid: of("--grid"), line: of("--line") };
  }
  function themed(axis, theme) {
    return {
      zeroline: false, linecolor: theme.line, showline: true, ticks: "outside", tickcolor: theme.line,
      gridcolor: theme.grid, automargin: true, ...axis, title: { ...axis.title, standoff: 8, font: { size: 13 } },
    };
  }
  function legend(given, under) {
    const where = under ? { orientation: "h", x: 0, y: -0.2, yanchor: "top" } : { x: 1.01, y: 1, yanchor: "top" };
    return { bgcolor: "rgba(0,0,0,0)", font: { size: 12 }, tracegroupgap: 0, ...where,
      title: { ...given?.title, font: { size: 12 } } };
  }
  function layoutOf(layout, under) {
    const theme = colors();
    return {
      ...layout, font: { family: "inherit", size: 12, color: theme.ink }, paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 8, t: 26, b: 44 }, hovermode: "closest", hoverdistance: 24,
      dragmode: "zoom", xaxis: themed(layout.xaxis, theme), yaxis: themed(layout.yaxis, theme),
      modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.line, activecolor: theme.ink }, showlegend: true, legend: legend(layout.legend, under),
    };
  }
  // Buttons are named one by one: the library has others, which send a figure to its makers.
  const OPTIONS = {
    responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "svg" },
  };
  function figureOf(element) {
    const [section, place_] = element.dataset.figure.split(".");
    const figure = data.figures[section][Number(place_)];
    element.under = element.clientWidth < NARROW;
    return [figure.data, layoutOf(figure.layout, element.under), OPTIONS];
  }
  async function draw(element) {
    await Plotly.newPlot(element, ...figureOf(element));
    element.on("plotly_hover", showTip);
    element.on("plotly_unhover", () => { tip.hidden = true; });
    element.on("plotly_click", (event) => {
      const found = pointOf(event.points[0].customdata);
      if (found && found.command) copy(found.command);
    });
  }
  function redraw(which = () => true) {
    for (const element of document.querySelectorAll(".plot.js-plotly-plot")) {
      if (which(element)) Plotly.react(element, ...figureOf(element));
    }
  }

  // Figures are drawn when they come near the window, one after the other: a page of 150 opens like one of 5.
  let queue = Promise.resolve();
  const waiting = new Set(document.querySelectorAll("[data-figure]"));
  const breath = () => new Promise((done) => setTimeout(done)); // the page scrolls and answers meanwhile
  function drawOnce(element) {
    return waiting.delete(element) ? draw(element) : undefined;
  }
  function ready() {
    document.documentElement.dataset.readyMs ??= String(Math.round(performance.now()));
  }
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      queue = queue.then(() => drawOnce(entry.target)).then(breath);
    }
    queue = queue.then(ready);
  }, { rootMargin: "600px" });

  for (const element of document.querySelectorAll("[data-table]")) {
    memcapTable(element, data.tables[element.dataset.table], pointOf, copy);
  }
  if (waiting.size === 0) ready();
  waiting.forEach((element) => near.observe(element));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  // The library fits plots to their width by itself; a legend changes its place.
  addEventListener("resize", () => redraw((element) => element.under !== element.clientWidth < NARROW));
  // Paper is white, and has all figures.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("paper");
    redraw();
    waiting.forEach(drawOnce);
  });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("paper"); redraw(); });
})();
