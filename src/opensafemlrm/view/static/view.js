"use strict";
// Keys, masks and news. Every page works without it; only keys and single reveals need it.
const by = (selector, root = document) => [...root.querySelectorAll(selector)];

function show(masked, on) {
  masked.classList.toggle("shown", on);
  for (const part of by("pre, img", masked)) part.inert = !on;
  for (const button of by(".unmask", masked)) button.hidden = on;
  const form = document.querySelector("[data-label]");
  if (on && form && !("cut" in form.elements.seen.dataset) && !document.querySelector("[data-must] .masked:not(.shown)")) {
    form.elements.seen.value = "yes";
    for (const button of by("[data-choice]", form)) button.disabled = false;
  }
}

addEventListener("click", (event) => {
  const button = event.target.closest(".unmask");
  if (button) show(button.closest(".masked"), true);
});

function follow(relation) {
  const link = document.querySelector(`link[rel=${relation}]`);
  if (link) location.assign(link.href);
}

function step(by_) {
  const links = by("table.list tbody a");
  const at = links.indexOf(document.activeElement);
  const next = links[Math.max(0, Math.min(links.length - 1, at + by_))];
  if (next) next.focus();
}

function choose(by_) {
  const choices = by("[data-choice]:not([disabled])");
  if (!choices.length) return false;
  const at = choices.indexOf(document.activeElement);
  choices[at < 0 ? (by_ > 0 ? 0 : choices.length - 1) : (at + by_ + choices.length) % choices.length].focus();
  return true;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("[data-label] input") && event.key === "Enter") {
    event.preventDefault(); // a note is not a label
    choose(1);
    return;
  }
  if (event.target.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
  const given = document.querySelector(`[data-label] [data-key="${CSS.escape(event.key)}"]`);
  if (given) {
    event.preventDefault();
    if (!given.disabled) given.click();
    return;
  }
  switch (event.key) {
    case "ArrowUp":
    case "ArrowDown": {
      if (choose(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
      return;
    }
    case "ArrowLeft": return follow("prev");
    case "ArrowRight": return follow("next");
    case "j": return step(1);
    case "k": return step(-1);
    case "/": {
      const search = document.querySelector("input[type=search]");
      if (search) {
        event.preventDefault();
        search.closest("details").open = true;
        search.focus();
      }
      return;
    }
    case "r": {
      const masked = by(".masked");
      const on = masked.some((one) => !one.classList.contains("shown"));
      for (const one of masked) show(one, on);
      return;
    }
    case "?": return document.getElementById("help").showModal();
  }
});

const live = document.querySelector("[data-news]");
if (live) {
  const seen = []; // when, and how many samples there were
  const put = (place, counts) => {
    place.textContent = counts[place.dataset.count].toLocaleString("en");
    place.classList.toggle("zero", !counts[place.dataset.count]);
  };
  new EventSource(live.dataset.news).onmessage = (event) => {
    const counts = JSON.parse(event.data);
    for (const place of by(".counts [data-count]", live)) put(place, counts);
    for (const row of by("[data-cell]", live)) {
      const cell = counts.cells[row.dataset.cell];
      if (cell) for (const place of by("[data-count]", row)) put(place, cell);
    }
    seen.push([Date.now(), counts.n]);
    const since = seen.find(([when]) => when > Date.now() - 60000);
    const minutes = (Date.now() - since[0]) / 60000;
    live.querySelector("[data-pace]").textContent =
      counts.n > since[1] ? ` ${Math.round((counts.n - since[1]) / minutes).toLocaleString("en")} a minute now.` : "";
    live.querySelector(".stale").hidden = seen.length === 1;
  };
}

// On a phone the list comes first; its filters fold away.
if (matchMedia("(max-width: 60rem)").matches) {
  for (const filters of by("details[data-folds]")) filters.open = false;
}
