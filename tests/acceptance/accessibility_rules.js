// What is wrong with a page for those who read it with other means.
() => {
  const wrong = [];
  const say = (rule, el) => wrong.push(`${rule}: ${el.outerHTML.slice(0, 160)}`);
  const shown = (el) => el.checkVisibility({ visibilityProperty: true }) && el.getClientRects().length > 0;
  const all = (what) => [...document.querySelectorAll(what)].filter(shown);
  const text = (el) => el.textContent.trim();
  const name = (el) => {
    const by = el.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    return (el.getAttribute("aria-label") ?? "").trim() || [...(el.labels ?? [])].map(text).join(" ") || text(el);
  };
  if (!document.documentElement.lang) say("no language", document.documentElement);
  if (!document.title.includes(" · Milepost")) say("no title", document.head);
  if (document.querySelectorAll("main").length !== 1) say("one main", document.body);
  const headings = all("h1, h2, h3, h4");
  if (headings.filter((h) => h.tagName === "H1").length !== 1) say("one h1", document.body);
  let level = 0;
  for (const h of headings) {
    const now = Number(h.tagName[1]);
    if (now > level + 1) say("skipped a level of headings", h);
    if (!text(h)) say("empty heading", h);
    level = now;
  }
  const ids = [...document.querySelectorAll("[id]")].map((el) => el.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) say("id twice", document.getElementById(id));
  for (const attribute of ["aria-labelledby", "aria-describedby", "for"])
    for (const el of document.querySelectorAll(`[${attribute}]`))
      for (const id of el.getAttribute(attribute).split(" ").filter(Boolean))
        if (!document.getElementById(id)) say(`${attribute} leads nowhere`, el);
  for (const el of all("a[href], button, summary")) if (!name(el)) say("no name", el);
  for (const el of all("input:not([type=hidden]), select, textarea, progress")) if (!name(el)) say("no label", el);
  for (const el of document.querySelectorAll("fieldset")) if (!el.querySelector("legend")) say("no legend", el);
  for (const el of document.querySelectorAll("nav, [role=region], [role=search]")) if (!name(el)) say("landmark without a name", el);
  for (const el of document.querySelectorAll("table")) {
    if (!el.caption?.textContent.trim()) say("no caption", el);
    for (const th of el.querySelectorAll("th")) if (!th.scope) say("th without scope", th);
    for (const th of el.querySelectorAll("thead th")) if (!text(th) && !th.querySelector("input")) say("empty th", th);
  }
  for (const el of document.querySelectorAll("svg")) if (el.getAttribute("aria-hidden") !== "true") say("picture without text", el);
  for (const el of document.querySelectorAll(".badge")) if (!text(el)) say("a status by colour alone", el);
  for (const el of all("pre, .scroll, .tabs, .failure .message")) {
    const scrolls = el.scrollHeight > el.clientHeight + 1 || el.scrollWidth > el.clientWidth + 1;
    const reachable = el.tabIndex >= 0 || el.querySelector("a, button") || el.closest("[tabindex]:not(main)");
    if (scrolls && /auto|scroll/.test(getComputedStyle(el).overflow) && !reachable) say("scrolls, but not by keys", el);
  }
  for (const el of document.querySelectorAll("[style], style, [onclick], [onload]")) if (el.tagName !== "USE") say("inline", el);
  if (document.documentElement.scrollWidth > innerWidth + 1) say(`wider than the window (${document.documentElement.scrollWidth})`, document.body);
  return wrong;
}
