// One dashboard's page: begins its session, keeps the table twin, and says whether anybody sees it.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const toggle = byId("toggle");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  let onScreen = true;
  let asked = true; // what a surrounding page asks for: {type: "funcx:pause"} or {type: "funcx:resume"}
  let facts = null;
  let table = null;

  // A frame in a hidden panel of JupyterLab is not told of it by visibilitychange: it has no boxes then.
  const hasRoom = () => {
    try {
      const frame = window.frameElement;
      if (frame !== null) return frame.getClientRects().length > 0 && window.innerWidth > 0;
    } catch { /* a page of another origin surrounds us */ }
    return window.innerWidth > 0;
  };
  const isSeen = () => document.visibilityState === "visible" && onScreen && asked && hasRoom();

  const say = () => {
    if (facts === null) return;
    const words = [
      isSeen() ? "seen" : "hidden",
      toggle.getAttribute("aria-pressed") === "true" ? "table" : "plot",
      calm.matches ? "calm" : "motion",
      String(-new Date().getTimezoneOffset()),
    ].join(" ");
    if (facts.tags[0] !== words) facts.tags = [words];
  };

  const cell = (kind, text, scope) => {
    const made = document.createElement(kind);
    made.textContent = text;
    if (scope) made.scope = scope;
    return made;
  };
  const showRows = () => {
    const columns = Object.keys(table.data).sort((a, b) => a.slice(1) - b.slice(1)).map((key) => table.data[key]);
    const rows = Array.from(columns[0], (_, n) => {
      const row = document.createElement("tr");
      row.append(cell("th", columns[0][n], "row"), ...columns.slice(1).map((column) => cell("td", column[n])));
      return row;
    });
    byId("rows").replaceChildren(...rows);
  };
  const showState = () => {
    const isEmpty = table.tags.includes("nothing");
    const isTable = toggle.getAttribute("aria-pressed") === "true";
    byId("nothing").hidden = !isEmpty || isTable;
    byId("plot").classList.toggle("away", isEmpty || isTable);
    byId("twin").hidden = !isTable;
  };

  toggle.addEventListener("click", () => {
    const pressed = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(pressed));
    if (table !== null) showState();
    say();
  });
  byId("endpoint").addEventListener("change", (event) => event.target.form.submit());
  document.addEventListener("visibilitychange", say);
  calm.addEventListener("change", say);
  window.addEventListener("message", (event) => {
    const type = event.data?.type;
    if (event.origin !== window.location.origin || !["funcx:pause", "funcx:resume"].includes(type)) return;
    asked = type === "funcx:resume";
    say();
  });
  new IntersectionObserver((entries) => {
    onScreen = entries[entries.length - 1].isIntersecting;
    say();
  }).observe(document.body);
  setInterval(say, 1000);

  const trouble = (text) => {
    byId("trouble").textContent = text;
    byId("trouble").hidden = text === "";
  };
  const begin = async () => {
    const item = JSON.parse(byId("item").textContent);
    const [view] = await Bokeh.embed.embed_items({}, [item]);
    void view;
    const shown = Bokeh.documents[Bokeh.documents.length - 1];
    facts = shown.get_model_by_name("page");
    table = shown.get_model_by_name("table");
    table.properties.data.change.connect(showRows);
    table.properties.tags.change.connect(showState);
    shown.on_event?.("connection_lost", () => trouble("This page lost the hub service. Load it again to go on."));
    showState();
    say();
    document.documentElement.dataset.ready = "yes";
  };
  begin().catch((error) => trouble(`This page could not follow the hub service (${error}). Load it again.`));
})();
