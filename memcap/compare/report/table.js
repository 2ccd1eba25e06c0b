// A table by column: sorted by its headings, filtered by text or by number, a page of rows at a time.
"use strict";
const memcapTable = (() => {
  const ROWS = 25;
  const FEW = 9; // so many rows are seen at a glance
  const COMPARISON = /^(>=|<=|>|<|=|!=)\s*(-?[\d.]+(?:e[+-]?\d+)?)$/i;
  const RANGE = /^(-?[\d.]+(?:e[+-]?\d+)?)\s*\.\.\s*(-?[\d.]+(?:e[+-]?\d+)?)$/i;

  // ">100", "<=0.1", "=8", "10..20" compare numbers; anything else is a part of the text. Several words: all of them.
  function test(words) {
    const tests = words.trim().split(/\s+/).filter(Boolean).map(testOfWord);
    return (value) => tests.every((one) => one(value));
  }
  function testOfWord(word) {
    const range = RANGE.exec(word);
    if (range) {
      const [low, high] = [Number(range[1]), Number(range[2])];
      return (value) => typeof value === "number" && value >= low && value <= high;
    }
    const found = COMPARISON.exec(word);
    if (found) {
      const bound = Number(found[2]);
      const compare = {
        ">": (v) => v > bound, "<": (v) => v < bound, ">=": (v) => v >= bound,
        "<=": (v) => v <= bound, "=": (v) => v === bound, "!=": (v) => v !== bound,
      }[found[1]];
      return (value) => typeof value === "number" && compare(value);
    }
    const part = word.toLowerCase();
    return (value) => value !== null && String(value).toLowerCase().includes(part);
  }

  function ordered(rows, column, direction) {
    const values = column.values;
    const order = (a, b) => {
      const [left, right] = [values[a], values[b]];
      if (left === null || right === null) return (left === null) - (right === null); // absent ones last
      const sign = column.numeric ? left - right : String(left).localeCompare(String(right), "en", { numeric: true });
      return sign * direction;
    };
    return rows.slice().sort(order);
  }

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  class Table {
    constructor(place, table, pointOf, copy) {
      Object.assign(this, { table, pointOf, copy, page: 0, sorted: null, direction: 1, size: table.rows || ROWS });
      this.length = table.columns.length ? table.columns[0].values.length : 0;
      this.filters = table.columns.map(() => "");
      this.all = "";
      this.body = element("tbody");
      this.count = element("span", { className: "count", role: "status" });
      this.heads = table.columns.map((column, number) => this.heading(column, number));
      const filtering = this.length > FEW;
      const first = table.points ? [element("th", { scope: "col", className: "again" }, "again")] : [];
      const head = element("thead", {}, element("tr", {}, ...first, ...this.heads));
      if (filtering) head.append(this.filterRow());
      place.append(...(filtering ? [this.bar()] : []),
        element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "table" },
          element("table", {}, head, this.body)));
      this.update();
    }
    heading(column, number) {
      const button = element("button", { type: "button" }, column.name);
      button.addEventListener("click", () => this.sort(number));
      return element("th", { scope: "col", className: column.numeric ? "number" : "", ariaSort: "none" }, button);
    }
    filterRow() {
      const cells = this.table.columns.map((column, number) => {
        const input = element("input", {
          type: "search", placeholder: column.numeric ? ">, <, a..b" : "text", ariaLabel: `filter ${column.name}`,
        });
        input.addEventListener("input", () => { this.filters[number] = input.value; this.page = 0; this.update(); });
        return element("td", {}, input);
      });
      return element("tr", { className: "filters" }, ...(this.table.points ? [element("td", { className: "again" })] : []), ...cells);
    }
    bar() {
      const search = element("input", { type: "search", placeholder: "filter all columns", ariaLabel: "filter all columns" });
      search.addEventListener("input", () => { this.all = search.value; this.page = 0; this.update(); });
      this.before = element("button", { type: "button" }, "‹ previous");
      this.after = element("button", { type: "button" }, "next ›");
      this.before.addEventListener("click", () => { this.page -= 1; this.update(); });
      this.after.addEventListener("click", () => { this.page += 1; this.update(); });
      return element("div", { className: "bar" }, search, this.count, this.before, this.after);
    }
    sort(number) {
      this.direction = this.sorted === number ? -this.direction : 1;
      this.sorted = number;
      this.page = 0;
      this.update();
    }
    rows() {
      const columns = this.table.columns;
      const tests = this.filters.map((words, number) => [columns[number].values, words]).filter(([, words]) => words.trim())
        .map(([values, words]) => [values, test(words)]);
      const words = this.all.trim().split(/\s+/).filter(Boolean).map(testOfWord);
      const rows = [];
      for (let row = 0; row < this.length; row += 1) {
        const kept = tests.every(([values, one]) => one(values[row]))
          && words.every((one) => columns.some((column) => one(column.values[row])));
        if (kept) rows.push(row);
      }
      return this.sorted === null ? rows : ordered(rows, columns[this.sorted], this.direction);
    }
    update() {
      const rows = this.rows();
      const pages = Math.max(1, Math.ceil(rows.length / this.size));
      this.page = Math.min(Math.max(this.page, 0), pages - 1);
      const from = this.page * this.size;
      this.body.replaceChildren(...rows.slice(from, from + this.size).map((row) => this.row(row)));
      this.heads.forEach((head, number) => {
        head.ariaSort = this.sorted !== number ? "none" : this.direction > 0 ? "ascending" : "descending";
      });
      const shown = rows.length ? `${from + 1} to ${Math.min(from + this.size, rows.length)} of ` : "";
      const whole = rows.length < this.length ? ` (${this.length} without filter)` : "";
      this.count.textContent = `${shown}${rows.length}${whole}`;
      if (this.before) {
        this.before.disabled = this.page === 0;
        this.after.disabled = this.page >= pages - 1;
        this.before.hidden = this.after.hidden = this.length <= this.size;
      }
    }
    row(number) {
      const cells = this.table.columns.map((column) => {
        const value = column.values[number];
        return element("td", { className: column.numeric ? "number" : "" }, value === null ? "" : String(value));
      });
      if (!this.table.points) return element("tr", {}, ...cells);
      const found = this.pointOf(this.table.points[number]);
      if (!found.command) return element("tr", {}, element("td", { className: "again" }), ...cells);
      const button = element("button", { type: "button", className: "copy", title: found.command }, "copy");
      button.ariaLabel = `copy the command of ${found.title}`;
      button.addEventListener("click", () => this.copy(found.command));
      return element("tr", {}, element("td", { className: "again" }, button), ...cells);
    }
  }
  return (...given) => new Table(...given);
})();
