/* What the delivery log gains with scripts: times in the reader's zone, keys, and news without a push. All of it works
   without. Rows never move by themselves: what is new is counted, and shown when asked for. */
"use strict";
(() => {
  const root = document.querySelector(".courier-log");
  if (!root) return;
  const all = (selector, inside = root) => [...inside.querySelectorAll(selector)];
  const one = (selector, inside = root) => inside.querySelector(selector);
  const { list, live, state, message } = root.dataset;

  // A browser may forbid storage: then nothing is remembered.
  const keep = (store, name, value) => { try { window[store].setItem(name, value); } catch { /* nothing to do */ } };
  const kept = (store, name) => { try { return window[store].getItem(name); } catch { return null; } };

  /* Times */
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const path = new URL(list, location.href).pathname;
  // The server reads dates of a search in this zone.
  if (zone) {
    document.cookie = `courier_tz=${encodeURIComponent(zone)}; Path=${path}; SameSite=Lax${location.protocol === "https:" ? "; Secure" : ""}`;
  }
  const format = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone });
  const distance = (seconds) => {
    const size = Math.abs(seconds);
    const [length, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]].find(([least]) => size >= least) || [1, "second"];
    if (size < 5) return seconds > 0 ? "in a moment" : "just now";
    const count = Math.floor(size / length);
    const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return seconds > 0 ? `in ${words}` : `${words} ago`;
  };
  const tell = (inside) => {
    for (const time of all("time[datetime]", inside)) {
      const moment = new Date(time.dateTime);
      const words = `${format.format(moment)} ${zone}`;
      time.title = words;
      time.textContent = "exact" in time.dataset ? words : distance(Math.round((moment - Date.now()) / 1000));
    }
  };
  tell(root);
  setInterval(() => { if (!document.hidden) tell(root); }, 30000);

  /* News */
  const table = one(".courier-messages");
  const status = one("[data-live-status]");
  const pause = one("[data-live-pause]");
  // A row says whose it is by where its link leads.
  const idOf = (row) => one(".courier-c-to a", row).pathname.split("/").pop();
  const rows = () => all("tbody tr[data-state]");
  const PAUSED = "courier-paused";
  const STEP = 5000; // milliseconds
  let tag = "", delay = STEP, timer = 0, stopped = false;

  const say = (words, action, changed = "") => {
    if (status.dataset.said === words + changed) return;
    status.dataset.said = words + changed;
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = action;
    const rest = document.createElement("span");
    rest.className = "courier-hidden";
    rest.textContent = changed;
    status.replaceChildren(...(words ? [`${words} – `, link] : []), rest);
  };

  const compare = (fresh) => {
    if (message) {
      const row = fresh.get(message);
      if (row && row.dataset.state !== state) say("This has changed", "reload");
      return;
    }
    const shown = rows(), ids = new Set(shown.map((row) => idOf(row)));
    let changed = 0;
    for (const row of shown) {
      const next = fresh.get(idOf(row));
      if (!next || next.dataset.state === row.dataset.state) continue;
      row.dataset.state = next.dataset.state;
      // The recipient's link and the check box stay: focus and choice may be on them.
      for (const name of ["status", "subject", "attempts", "note"]) {
        one(`.courier-c-${name}`, row).replaceWith(one(`.courier-c-${name}`, next));
      }
      tell(row);
      changed += 1;
    }
    const oldest = shown.length ? idOf(shown[shown.length - 1]) : "";
    const count = root.dataset.first === undefined ? 0
      : [...fresh.keys()].filter((id) => !ids.has(id) && id > oldest).length;
    say(count ? `${count} new` : "", "show", changed ? ` ${changed} updated` : "");
  };

  const look = async () => {
    const url = new URL(live, location.href);
    if (!message) {
      // What is still on its way may leave the filter; it is asked for by its id.
      const moving = rows().filter((row) => /^(queued|processing)/.test(row.dataset.state)).slice(0, 80);
      if (moving.length) url.searchParams.set("watch", moving.map((row) => idOf(row).replaceAll("-", "")).join("."));
    }
    try {
      const answer = await fetch(url, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store", credentials: "same-origin" });
      if ([401, 403, 404].includes(answer.status) || answer.redirected) { stopped = true; return; }
      if (!answer.ok && answer.status !== 304) throw new Error(answer.status);
      delay = STEP;
      if (answer.status === 304) return;
      tag = answer.headers.get("ETag") || "";
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      compare(new Map(all("tr[data-state]", page).map((row) => [idOf(row), row])));
    } catch {
      delay = Math.min(delay * 2, 60000);
    }
  };
  const isPaused = () => kept("localStorage", PAUSED) === "1";
  const next = () => {
    clearTimeout(timer);
    if (stopped || document.hidden || isPaused()) return;
    timer = setTimeout(async () => { await look(); next(); }, delay);
  };
  const showPause = () => {
    pause.textContent = isPaused() ? "Resume updates" : "Pause updates";
  };
  const togglePause = () => {
    keep("localStorage", PAUSED, isPaused() ? "0" : "1");
    showPause();
    next();
  };
  if (live && status && pause) {
    pause.hidden = false;
    pause.addEventListener("click", togglePause);
    document.addEventListener("visibilitychange", () => { delay = STEP; next(); });
    showPause();
    next();
  }

  /* Selection */
  const everything = one("[data-pick-all]");
  if (everything) {
    everything.hidden = false;
    everything.addEventListener("change", () => {
      for (const box of all("tbody .courier-c-pick input")) box.checked = everything.checked;
    });
  }

  /* Questions: without scripts each is a disclosure */
  const ask = (asked) => {
    const body = asked.lastElementChild, dialog = document.createElement("dialog"), not = one("[data-ask-not]", body);
    dialog.setAttribute("aria-labelledby", one("h2", body).id);
    dialog.append(body);
    root.append(dialog);
    not.hidden = false;
    not.onclick = () => dialog.close();
    dialog.onclose = () => { asked.append(body); dialog.remove(); };
    dialog.showModal();
  };
  for (const asked of all("[data-ask]")) {
    one("summary", asked).addEventListener("click", (event) => { event.preventDefault(); ask(asked); });
  }

  /* Keys */
  const OFF = "courier-keys-off", ROW = "courier-row", LIST = "courier-list", BACK = "courier-back";
  const help = one("[data-keys]"), button = one("[data-keys-open]"), choice = one("[data-keys-on]");
  const openHelp = () => { if (!help.open) help.showModal(); };
  if (help && button && choice) {
    button.hidden = false;
    button.addEventListener("click", openHelp);
    choice.checked = kept("localStorage", OFF) !== "1";
    choice.addEventListener("change", () => keep("localStorage", OFF, choice.checked ? "0" : "1"));
  }
  const links = () => rows().map((row) => one(".courier-c-to a", row));
  const here = () => links().findIndex((link) => link.closest("tr").contains(document.activeElement));
  const move = (step) => {
    const found = links(), at = here();
    const target = found[at < 0 ? 0 : Math.min(Math.max(at + step, 0), found.length - 1)];
    target?.focus();
    target?.closest("tr").scrollIntoView({ block: "nearest" });
  };
  const leave = () => {
    if (!message) return;
    keep("sessionStorage", BACK, "1");
    location.assign(kept("sessionStorage", LIST) || list);
  };
  const resend = () => {
    const row = rows()[here()], asked = one("#courier-resend");
    if (row) location.assign(`${one(".courier-c-to a", row).href}#courier-resend`);
    else if (asked) ask(asked);
  };
  const KEYS = {
    "/": () => one("input[type=search]")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    x: () => one(".courier-c-pick input", rows()[here()] || document.createElement("p"))?.click(),
    r: resend,
    "?": openHelp,
    ".": () => pause && togglePause(),
    Escape: leave,
  };
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]") || kept("localStorage", OFF) === "1") return;
    if (target.matches?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]")) {
      if (key === "Escape") target.blur();
      return;
    }
    if (!Object.hasOwn(KEYS, key)) return;
    if (key !== "Escape" || message) event.preventDefault();
    KEYS[key]();
  });
  if (table) {
    keep("sessionStorage", LIST, location.href);
    for (const link of links()) link.addEventListener("click", () => keep("sessionStorage", ROW, idOf(link.closest("tr"))));
    if (kept("sessionStorage", BACK) === "1") {
      links().find((link) => idOf(link.closest("tr")) === kept("sessionStorage", ROW))?.focus();
    }
    keep("sessionStorage", BACK, "0");
  }
  if (message && location.hash === "#courier-resend") resend();
})();
