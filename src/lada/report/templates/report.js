"use strict";
(() => {
  // Charts: details under the pointer. The SVG's own title would cover them, so it becomes a label.
  for (const title of document.querySelectorAll("svg > title")) {
    title.parentNode.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  const tip = document.body.appendChild(document.createElement("div"));
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  // A chart of scores has one path for all dots of a kind: the nearest dot to the pointer is told.
  const dots = new Map();
  const dotsOf = (svg) => {
    if (!dots.has(svg)) {
      const paths = [...svg.querySelectorAll("[data-values]")];
      dots.set(svg, paths.flatMap((path) => {
        const values = path.dataset.values.split(" ");
        const places = path.getAttribute("d").match(/M[^a-z]+/g).map((at) => at.slice(1).split(" ").map(Number));
        return places.map(([x, y], i) => ({ x, y, told: `score ${values[i]}: ${path.dataset.told}` }));
      }));
    }
    return dots.get(svg);
  };
  const nearest = (event) => {
    const svg = event.target.closest(".strip svg");
    if (!svg) return undefined;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let [best, least] = [undefined, 10];
    for (const dot of dotsOf(svg)) {
      const distance = Math.hypot(dot.x - at.x, dot.y - at.y);
      if (distance < least) [best, least] = [dot.told, distance];
    }
    return best;
  };
  const point = (event) => {
    const text = event.target.closest("[data-tip]")?.dataset.tip ?? nearest(event);
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, room))}px`;
    tip.style.top = `${event.clientY + 16}px`;
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);

  // A link to a section opens it.
  const open = () => {
    const details = document.getElementById(location.hash.slice(1))?.querySelector(":scope > details");
    if (details) details.open = true;
  };
  window.addEventListener("hashchange", open);
  open();

  // A table with more columns or rows than fit says so.
  const fits = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const told = target.previousElementSibling.classList;
      told.toggle("wide", target.scrollWidth > target.clientWidth + 1);
      told.toggle("tall", target.scrollHeight > target.clientHeight + 1);
    }
  });
  for (const box of document.querySelectorAll(".caption + .scroll")) fits.observe(box);

  // Leaderboards: a heading sorts its table by its column, numbers by the first in a cell; again, the other way.
  for (const heading of document.querySelectorAll(".sortable thead th")) {
    const column = heading.cellIndex;
    const value = (row) => {
      const text = row.cells[column].textContent.trim();
      const figure = parseFloat(text.replace("−", "-"));
      return heading.classList.contains("n") ? (Number.isNaN(figure) ? -Infinity : figure) : text;
    };
    const sort = () => {
      const down = heading.getAttribute("aria-sort") !== "descending";
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = heading.closest("table").tBodies[0];
      const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
      body.append(...[...body.rows].sort((a, b) => (down ? order(b, a) : order(a, b))));
    };
    heading.tabIndex = 0;
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        sort();
      }
    });
  }

  // Many clients: found by name, sorted by a heading, some at a time.
  for (const roster of document.querySelectorAll(".roster")) {
    const { head, words, rows } = JSON.parse(roster.querySelector("script").textContent);
    const [search, output] = [roster.querySelector("input"), roster.querySelector("output")];
    const tbody = roster.querySelector("tbody");
    const thead = roster.querySelector("thead").appendChild(document.createElement("tr"));
    const PAGE = 25;
    let found = rows;
    let first = 0;
    let by = -1;
    let down = false;
    const show = () => {
      tbody.replaceChildren(
        ...found.slice(first, first + PAGE).map((row) => {
          const line = document.createElement("tr");
          row.forEach((value, column) => {
            const cell = line.appendChild(document.createElement(column ? "td" : "th"));
            if (column >= words) cell.className = "n";
            cell.textContent = value === null ? "–" : value;
          });
          return line;
        }),
      );
      const last = Math.min(first + PAGE, found.length);
      output.textContent = found.length ? `${first + 1} to ${last} of ${found.length}` : "none";
      for (const button of roster.querySelectorAll("button")) button.disabled = found.length <= PAGE;
    };
    const find = () => {
      const wanted = search.value.toLowerCase();
      found = rows.filter((row) => row.slice(0, words).some((text) => text.toLowerCase().includes(wanted)));
      if (by >= 0) {
        const value = (row) => (row[by] === null ? -Infinity : row[by]);
        found.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (down ? -1 : 1));
      }
      first = 0;
      show();
    };
    head.forEach((name, column) => {
      const heading = thead.appendChild(document.createElement("th"));
      heading.scope = "col";
      heading.tabIndex = 0;
      heading.textContent = name;
      if (column >= words) heading.className = "n";
      const sort = () => {
        [by, down] = [column, by === column ? !down : column >= words];
        for (const other of thead.cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        find();
      };
      heading.addEventListener("click", sort);
      heading.addEventListener("keydown", (event) => {
        if (event.key === "Enter") sort();
      });
    });
    search.addEventListener("input", find);
    roster.addEventListener("click", (event) => {
      const step = Number(event.target.dataset.step) * PAGE;
      if (!step) return;
      const pages = Math.ceil(found.length / PAGE) * PAGE;
      first = (first + step + pages) % pages;
      show();
    });
    roster.hidden = false;
    show();
  }

  // Samples: one at a time, filtered.
  const browser = document.querySelector(".browser");
  if (!browser) return;
  const samples = [...document.querySelectorAll(".sample")];
  const filters = [...browser.querySelectorAll("select")];
  const output = browser.querySelector("output");
  let found = samples;
  let place = 0;
  const show = () => {
    for (const sample of samples) sample.hidden = sample !== found[place];
    output.textContent = found.length ? `${place + 1} of ${found.length}` : "none";
    for (const button of browser.querySelectorAll("button")) button.disabled = found.length < 2;
  };
  browser.addEventListener("change", () => {
    found = samples.filter((sample) => filters.every((f) => !f.value || sample.dataset[f.dataset.filter] === f.value));
    place = 0;
    show();
  });
  browser.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (!step || !found.length) return;
    place = (place + step + found.length) % found.length;
    show();
  });
  browser.addEventListener("submit", (event) => event.preventDefault());
  document.documentElement.classList.add("js");
  browser.hidden = false;
  show();
})();
