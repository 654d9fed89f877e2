/** Draws a watch: Bokeh figures whose data come from the kernel, in the colours of the page. */

const LIBRARY = "fxlBokeh";

/** Return BokehJS as the kernel's Bokeh needs it; it is put into the page once. */
async function loadBokeh(model) {
  const reference = model.get("library");
  const library =
    typeof reference === "string"
      ? await model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""))
      : reference;
  const version = library.get("version");
  const there = () => [window.Bokeh, window.Bokeh?.[version]].find(each => each?.version === version);
  if (!there()) {
    const script = document.createElement("script");
    script.dataset[LIBRARY] = version;
    script.textContent = library.get("code");
    document.head.append(script);
  }
  return there();
}

/** Wait until an element stands on the page: Bokeh draws nowhere else. */
async function onPage(element, isWanted) {
  while (!element.isConnected && isWanted()) {
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

/** Return the page's own colours, as the figure's place has them. */
function pageColours(el) {
  const style = getComputedStyle(el);
  const variable = (...names) => names.map(name => style.getPropertyValue(name).trim()).find(Boolean);
  return {
    text: variable("--jp-ui-font-color1", "--vscode-foreground") || style.color,
    grid: variable("--jp-border-color2", "--vscode-editorIndentGuide-background") || "rgba(128,128,128,.3)",
  };
}

/** Give a figure the page's colours; what is behind it shines through. */
function paint(plot, { text, grid }) {
  plot.setv({ background_fill_color: null, border_fill_color: null, outline_line_color: null });
  if ("border_line_color" in plot.properties) {
    plot.setv({ border_line_color: null }); // older versions of Bokeh have none
  }
  for (const part of [...plot.above, ...plot.below, ...plot.left, ...plot.right, ...plot.center]) {
    if (part.type?.endsWith("Axis")) {
      part.setv({
        axis_label_text_color: text,
        major_label_text_color: text,
        axis_line_color: grid,
        major_tick_line_color: text,
        minor_tick_line_color: null,
      });
    } else if (part.type === "Grid") {
      part.setv({ grid_line_color: grid });
    } else if (part.type === "Legend") {
      part.setv({ label_text_color: text, inactive_fill_color: null });
    }
  }
}

/** Return where each state's part of a stack begins and ends. */
function stacked(columns, order) {
  const edges = {};
  let low = null;
  for (const state of order.filter(each => columns[each])) {
    low ??= columns[state].map(() => 0);
    const high = columns[state].map((count, index) => low[index] + count);
    edges[`${state} low`] = low;
    edges[`${state} high`] = high;
    low = high;
  }
  return edges;
}

/** Put new data into a figure; a legend names only the states that there are. */
function fill(plot, columns, order) {
  const source = plot.document.get_model_by_name("rows");
  if (columns.endpoint && plot.y_range.factors) {
    if (plot.y_range.factors.join() !== columns.endpoint.join()) {
      plot.y_range.factors = columns.endpoint;
    }
  }
  source.data = { ...columns, ...stacked(columns, order) };
  for (const legend of plot.above.filter(part => part.type === "Legend")) {
    for (const entry of legend.items) {
      if (entry.name) {
        entry.visible = (columns[entry.name] ?? []).some(count => count > 0);
      }
    }
  }
}

/** Return the counts by endpoint as a table: what a figure tells, for those who do not see it. */
function table(columns, words) {
  const element = document.createElement("table");
  const states = Object.keys(words).filter(state => (columns[state] ?? []).some(count => count > 0));
  element.createCaption().textContent = "Tasks by endpoint and state";
  const head = element.createTHead().insertRow();
  for (const text of ["endpoint", ...states.map(state => words[state])]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  const body = element.createTBody();
  (columns.endpoint ?? []).forEach((endpoint, index) => {
    const row = body.insertRow();
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = endpoint;
    row.append(name);
    for (const state of states) {
      row.insertCell().textContent = columns[state][index];
    }
  });
  return element;
}

function render({ model, el }) {
  const page = crypto.randomUUID?.() ?? String(Math.random());
  const place = document.createElement("div");
  place.className = "fxl-watch-figure";
  place.setAttribute("role", "img");
  el.append(place);
  let shown = null; // the view that is drawn, with its plot
  let drawing = 0;

  const name = () => model.get("views")[model.get("view")];
  const describe = () => place.setAttribute("aria-label", model.get("summary"));

  async function draw() {
    const mine = ++drawing;
    const view = name();
    const item = model.get("items")[view];
    shown?.views?.clear();
    shown = null;
    place.replaceChildren();
    place.setAttribute("role", item ? "img" : "group");
    if (!item) {
      shown = { view };
      update();
      return;
    }
    try {
      const Bokeh = await loadBokeh(model);
      const box = document.createElement("div");
      place.append(box);
      await onPage(place, () => mine === drawing);
      if (mine !== drawing) {
        return;
      }
      // Ids of its own: the same figure may stand on the page twice.
      const views = await Bokeh.embed.embed_item({ ...item, target_id: null }, box);
      if (mine !== drawing) {
        views.clear();
        return;
      }
      const plot = [...views][0].model;
      shown = { view, views, plot };
      paint(plot, pageColours(el));
      update();
    } catch (error) {
      place.textContent = `The figure cannot be drawn here: ${error}. The table and the text below tell the same.`;
    }
  }

  function update() {
    describe();
    if (!shown) {
      return;
    }
    const columns = model.get("columns");
    if (shown.plot) {
      fill(shown.plot, columns[shown.view] ?? {}, model.get("stack"));
    } else {
      place.replaceChildren(table(columns.endpoints ?? {}, model.get("words")));
    }
  }

  const repaint = () => shown?.plot && paint(shown.plot, pageColours(el));
  let later = 0;
  const themes = new MutationObserver(() => {
    repaint();
    clearTimeout(later); // a theme's style sheet may come after its name
    later = setTimeout(repaint, 500);
  });
  const watched = { attributes: true, attributeFilter: ["class", "data-jp-theme-name", "data-jp-theme-light", "style"] };
  themes.observe(document.body, watched);
  themes.observe(document.documentElement, watched);

  const tell = kind => model.send({ kind, page });
  const leave = () => tell("gone");
  window.addEventListener("pagehide", leave);
  const onColumns = () => model.get("is_paused") || document.hidden || update();
  const onPause = () => model.get("is_paused") || update();
  const onVisible = () => document.hidden || model.get("is_paused") || update();
  document.addEventListener("visibilitychange", onVisible);
  model.on("change:columns", onColumns);
  model.on("change:is_paused", onPause);
  model.on("change:view", draw);

  tell("shown");
  void draw(); // not awaited: what is returned here is needed before the figure stands on the page
  return () => {
    model.off("change:columns", onColumns);
    model.off("change:is_paused", onPause);
    model.off("change:view", draw);
    document.removeEventListener("visibilitychange", onVisible);
    window.removeEventListener("pagehide", leave);
    themes.disconnect();
    clearTimeout(later);
    drawing += 1;
    shown?.views?.clear();
    leave();
  };
}

export default { render };
