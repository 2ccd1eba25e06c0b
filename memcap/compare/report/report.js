// Draws the figures of the page's data, shows what a point is, and copies the command behind it.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const toast = document.getElementById("toast");
  const NARROW = 720; // pixels of the window: below, legends go under the plot
  const MOST_IDS = 8;
  const started = performance.now();

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
    tip.replaceChildren(line("b", found.title), line("span", values), line("span", found.text),
      line("code", found.command), line("small", "click copies the command"));
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
  function legend(given) {
    const under = innerWidth < NARROW;
    const where = under ? { orientation: "h", x: 0, y: -0.28, yanchor: "top" } : { x: 1.01, y: 1, yanchor: "top" };
    return { bgcolor: "rgba(0,0,0,0)", font: { size: 12 }, tracegroupgap: 0, ...where,
      title: { ...given?.title, font: { size: 12 } } };
  }
  function layoutOf(layout) {
    const theme = colors();
    return {
      ...layout, font: { family: "inherit", size: 12, color: theme.ink }, paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 8, t: 8, b: 44 }, hovermode: "closest", hoverdistance: 24,
      dragmode: "zoom", xaxis: themed(layout.xaxis, theme), yaxis: themed(layout.yaxis, theme),
      showlegend: true, legend: legend(layout.legend),
    };
  }
  const OPTIONS = {
    responsive: true, displaylogo: false, scrollZoom: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };
  async function draw(element) {
    const [section, place_] = element.dataset.figure.split(".");
    const figure = data.figures[section][Number(place_)];
    await Plotly.newPlot(element, figure.data, layoutOf(figure.layout), OPTIONS);
    element.on("plotly_hover", showTip);
    element.on("plotly_unhover", () => { tip.hidden = true; });
    element.on("plotly_click", (event) => {
      const found = pointOf(event.points[0].customdata);
      if (found) copy(found.command);
    });
  }
  let narrow = innerWidth < NARROW;
  async function redraw() {
    for (const element of document.querySelectorAll(".plot.js-plotly-plot")) {
      const [section, place_] = element.dataset.figure.split(".");
      const figure = data.figures[section][Number(place_)];
      await Plotly.react(element, figure.data, layoutOf(figure.layout), OPTIONS);
    }
  }

  async function start() {
    for (const element of document.querySelectorAll("[data-table]")) {
      memcapTable(element, data.tables[element.dataset.table], (point) => pointOf(point), copy);
    }
    for (const element of document.querySelectorAll("[data-figure]")) {
      await draw(element);
      await new Promise((done) => setTimeout(done)); // the page scrolls and answers meanwhile
    }
    document.documentElement.dataset.readyMs = String(Math.round(performance.now()));
    document.documentElement.dataset.drawMs = String(Math.round(performance.now() - started));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", () => {
    // The library fits plots to their width by itself; legends change their place.
    if (narrow !== innerWidth < NARROW) redraw();
    narrow = innerWidth < NARROW;
  });
  // Paper is white.
  addEventListener("beforeprint", () => { document.documentElement.classList.add("paper"); redraw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("paper"); redraw(); });
  start();
})();
