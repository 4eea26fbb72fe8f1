// The console, live: events name the parts of the page that changed, each is fetched and its leaf
// nodes are changed in place. Nothing here is needed to read or to act.

const main = document.getElementById("main");
const gone = document.getElementById("gone");
const title = document.title.replace(/^\(\d+ %\) /, "");

// ---- fetch and replace a fragment
const same = (a, b) => a.nodeName === b.nodeName && (a.dataset?.key ?? "") === (b.dataset?.key ?? "");
const holdsFocus = (node) => document.activeElement !== document.body && node.contains(document.activeElement);

function attributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    // What a person opened or typed stays; `open` and `value` are theirs.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function forward(old, fresh) {
  // Progress never runs backwards when more turns up to be done.
  if (old.position > fresh.position) fresh.value = old.position * fresh.max;
}

function morph(old, fresh) {
  if (old.nodeType === 3) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeType !== 1 || (old === document.activeElement && "value" in old)) return;
  if (old.nodeName === "PROGRESS" && fresh.hasAttribute("value")) forward(old, fresh);
  attributes(old, fresh);
  const keyed = new Map([...old.children].filter((c) => c.dataset.key).map((c) => [c.dataset.key, c]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const mate = next.dataset?.key ? keyed.get(next.dataset.key) : at;
    if (mate && same(mate, next)) {
      if (mate !== at) old.insertBefore(mate, at);
      at = mate.nextSibling;
      morph(mate, next);
    } else {
      old.insertBefore(next, at);
    }
  }
  while (at) {
    const stale = at;
    at = at.nextSibling;
    if (!holdsFocus(stale)) stale.remove();
  }
}

async function refresh(name) {
  const target = document.querySelector(`[data-fragment="${name}"]`);
  if (!target) return;
  const address = `${main.dataset.fragments}${name}?on=${encodeURIComponent(location.pathname)}`;
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (answer.status === 401) location.reload();
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = target.cloneNode(false);
  fresh.append(...page.body.childNodes);
  morph(target, fresh);
  if (name === "head") announce(target.querySelector("[data-say]"));
}

const waiting = new Set();
let busy = false;

async function drain() {
  if (busy) return;
  busy = true;
  while (waiting.size) {
    const [name] = waiting;
    waiting.delete(name);
    try { await refresh(name); } catch { /* the event stream tells when the server is back */ }
    await new Promise((done) => setTimeout(done, 150));
  }
  busy = false;
}

// ---- say what changed
let said = main.querySelector("[data-say]")?.dataset.say, quarter = 0, last = 0;

function announce(next) {
  const percent = next?.dataset.percent;
  document.title = percent === undefined ? title : `(${percent} %) ${title}`;
  const reached = percent === undefined ? quarter : Math.floor(percent / 25);
  if (!next || (next.dataset.say === said && reached <= quarter)) return;
  if (next.dataset.say === said && Date.now() - last < 5000) return;
  [said, quarter, last] = [next.dataset.say, reached, Date.now()];
  const status = document.getElementById("announce");
  status.textContent = percent === undefined ? said : `${said} ${percent} percent.`;
}

// ---- listen
function listen(after) {
  let number = after;
  const stream = new EventSource(`${main.dataset.live}?after=${number}`);
  stream.addEventListener("changed", (event) => {
    number = event.lastEventId;
    for (const name of event.data.split(" ")) waiting.add(name);
    drain();
  });
  stream.addEventListener("progress", () => { waiting.add("sources"); waiting.add("head"); drain(); });
  stream.addEventListener("open", () => { gone.hidden = true; });
  stream.addEventListener("error", () => {
    if (gone.hidden) {
      const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      gone.textContent = `The bridge has not answered since ${time}. This page goes on by itself when it returns.`;
      // A stream that ends in order comes back at once: only a real absence is told.
      setTimeout(() => { gone.hidden = stream.readyState === EventSource.OPEN; }, 4000);
    }
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => listen(number), 3000);
  });
  addEventListener("pagehide", () => stream.close(), { once: true });
}

if (main.dataset.live) listen(main.dataset.after);

// ---- lists: filter and sort -----------------------------------------------------------------

for (const field of document.querySelectorAll("[data-filter]")) {
  field.closest("[hidden]").hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of document.querySelectorAll(`${field.dataset.filter} tbody tr`)) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

function sort(head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[head.cellIndex].dataset.sort ?? row.cells[head.cellIndex].textContent.trim();
  const body = head.closest("table").tBodies[0];
  const rows = [...body.rows].sort((a, b) => value(a).localeCompare(value(b), undefined, { numeric: true }));
  body.append(...(down ? rows.reverse() : rows));
}

for (const head of document.querySelectorAll("[data-sortable] thead th:not([data-nosort])")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head));
  head.append(button);
}

// ---- small things
for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.closest("details").querySelector("pre").textContent);
  button.textContent = "Copied";
});

let leaving = false;
const draft = document.querySelector("[data-unsaved]");
draft?.addEventListener("submit", (event) => { leaving = !("keep" in (event.submitter?.dataset ?? {})); });
addEventListener("beforeunload", (event) => {
  const text = draft?.querySelector("textarea");
  if (text && !leaving && text.value !== text.defaultValue) event.preventDefault();
});

// ---- keys
const keys = document.getElementById("keys"), off = document.getElementById("keys-off");
const button = document.getElementById("keys-button");
off.checked = localStorage.getItem("keys") === "off";
off.addEventListener("change", () => localStorage.setItem("keys", off.checked ? "off" : "on"));
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => keys.showModal());
}

function step(by) {
  const links = [...document.querySelectorAll("[data-row] a[href]")].filter((a) => a.closest("[data-row]").querySelector("a[href]") === a && a.offsetParent);
  const here = links.findIndex((link) => link.closest("[data-row]").contains(document.activeElement));
  links[Math.min(Math.max(here + by, 0), links.length - 1)]?.focus();
}

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (typing || off.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = {
    "/": () => document.getElementById("q")?.focus(),
    "?": () => keys.showModal(),
    j: () => step(1),
    k: () => step(-1),
    o: () => document.activeElement.closest("[data-row]")?.querySelector("a[href]")?.click(),
  };
  if (!acts[event.key]) return;
  event.preventDefault();
  acts[event.key]();
});
