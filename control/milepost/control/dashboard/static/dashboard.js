// Everything works without this; it keeps pages up to date and helps with choosing.

const POLL_MS = 3000;

// Live regions: the page is fetched again, and what changed in [data-live] elements is put in place.
// A stream of the run's events, where there is one, says when; else it is asked from time to time.
class Live {
  constructor() {
    this.timer = 0;
    this.busy = false;
    this.again = false;
    this.stream = null;
    this.source = document.querySelector("[data-events][data-open]");
    const times = [...document.querySelectorAll("[data-every]")].map((el) => Number(el.dataset.every));
    this.every = times.length ? Math.min(...times) : this.source ? POLL_MS : 0;
    if (!this.every) return;
    if (this.source) this.listen();
    this.wait();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.refresh();
    });
  }

  listen() {
    this.stream = new EventSource(this.source.dataset.events);
    this.stream.onopen = () => { this.every = 4 * POLL_MS; };
    const changed = () => this.refresh();
    this.stream.onmessage = changed;
    for (const name of ["run", "end", "missed"]) this.stream.addEventListener(name, changed);
    this.stream.onerror = () => {
      // It is not there, or was cut off: the page is asked for instead.
      this.stream.close();
      this.every = POLL_MS;
      this.wait();
    };
  }

  wait() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), this.every);
  }

  async refresh() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    try {
      if (!document.hidden) await this.load();
    } finally {
      this.busy = false;
      if (this.again) { this.again = false; setTimeout(() => this.refresh(), 500); }
      else if (this.every) this.wait();
    }
  }

  async load() {
    let answer;
    try { answer = await fetch(location.href, { headers: { "X-Live": "1" }, redirect: "manual" }); } catch { return; }
    // The session is over: the browser is asked to sign in.
    if (answer.type === "opaqueredirect") location.reload();
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(old.id);
      if (!fresh || old.innerHTML === fresh.innerHTML || inUse(old)) continue;
      const open = [...old.querySelectorAll("details")].map((el) => el.open);
      old.replaceChildren(...fresh.childNodes);
      old.querySelectorAll("details").forEach((el, at) => { if (at < open.length) el.open = open[at]; });
      enhance(old);
    }
    if (!page.querySelector("[data-open], [data-every]")) {
      this.every = 0;
      this.stream?.close();
    }
  }
}

// Nothing is changed under the hands of who reads or chooses there.
function inUse(region) {
  if (region.querySelector("input:checked, details.menu[open]")) return true;
  if (region.contains(document.activeElement)) return true;
  const chosen = getSelection();
  return Boolean(chosen && !chosen.isCollapsed && region.contains(chosen.anchorNode));
}

function enhance(root) {
  const all = root.querySelector("[data-pick-all]");
  if (!all) return;
  all.hidden = false;
  const table = all.closest("table");
  const boxes = () => [...table.querySelectorAll("tbody input[name=run]")];
  const tell = () => {
    const picked = boxes().filter((box) => box.checked).length;
    all.checked = picked > 0 && picked === boxes().length;
    all.indeterminate = picked > 0 && !all.checked;
    const place = document.querySelector("[data-picked]");
    if (place) place.textContent = picked ? ` ${picked}` : "";
  };
  all.addEventListener("change", () => { for (const box of boxes()) box.checked = all.checked; tell(); });
  table.addEventListener("change", tell);
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

enhance(document);
new Live();
