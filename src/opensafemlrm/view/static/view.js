"use strict";
// Keys, masks and news. Every page works without it; only keys and single reveals need it.
const by = (selector, root = document) => [...root.querySelectorAll(selector)];

function show(masked, on) {
  masked.classList.toggle("shown", on);
  for (const part of by("pre, img", masked)) part.inert = !on;
  for (const button of by(".unmask", masked)) button.hidden = on;
  const form = document.querySelector("[data-label]");
  if (on && form && !document.querySelector("main .columns section:last-child > .masked:not(.shown)")) {
    form.elements.seen.value = "yes";
    for (const button of by("button[disabled]", form)) button.disabled = false;
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

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
  const given = document.querySelector(`[data-label] button[data-key="${CSS.escape(event.key)}"]`);
  if (given) {
    event.preventDefault();
    if (!given.disabled) given.click();
    return;
  }
  switch (event.key) {
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
  let first = true;
  new EventSource(live.dataset.news).onmessage = (event) => {
    const counts = JSON.parse(event.data);
    for (const place of by("[data-count]", live)) {
      place.textContent = counts[place.dataset.count].toLocaleString("en");
    }
    live.querySelector(".stale").hidden = first;
    first = false;
  };
}
