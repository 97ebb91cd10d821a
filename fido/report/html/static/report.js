"use strict";

/* The report's script: maps drawn at any threshold, and the gallery. It asks no host for anything:
   maps come as scripts of the report's folder, because pages on disk may not read other files. */
const Fido = (() => {
  const LEVELS = 256;
  const MOST_EDGES = 0.3; // share of the pixels that a contour may take
  const EDGES = [null, [0, 0, 0], [255, 255, 255]];
  const KEPT = 150; // photos whose maps stay in memory
  const root = document.body.dataset.root;
  const byId = (id) => document.getElementById(id);
  const photos = new Map(); // name -> promise of {maps, boxes}
  const arrived = new Map(); // name -> function that takes the data

  function add(name, data) {
    const take = arrived.get(name);
    arrived.delete(name);
    if (take) take(data);
  }

  function load(name) {
    if (!photos.has(name)) {
      photos.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `${root}data/${name}.js`;
        script.onerror = () => reject(new Error(`no maps of ${name}`));
        script.onload = () => script.remove();
        arrived.set(name, resolve);
        document.head.append(script);
      }).then(decoded));
      if (photos.size > KEPT) photos.delete(photos.keys().next().value);
    }
    return photos.get(name);
  }

  async function decoded(data) {
    for (const map of data.maps) if (map) await readLevels(map);
    return data;
  }

  /* The levels of a map: the grey values of its picture. A data URI may be read on any page. */
  async function readLevels(map) {
    const picture = new Image();
    picture.src = map.png;
    await picture.decode();
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const pixels = context.getImageData(0, 0, picture.width, picture.height).data;
    map.width = picture.width;
    map.height = picture.height;
    map.levels = new Uint8Array(pixels.length / 4);
    const counts = new Uint32Array(LEVELS);
    for (let i = 0; i < map.levels.length; i++) {
      map.levels[i] = pixels[4 * i];
      counts[map.levels[i]]++;
    }
    map.below = new Uint32Array(LEVELS + 1); // pixels below a level
    for (let k = 0; k < LEVELS; k++) map.below[k + 1] = map.below[k] + counts[k];
    delete map.png;
  }

  const view = { cutBy: "stored", cut: 0.5, colourBy: "value", opacity: 0.6, contour: true, boxes: true };

  /* The level that a region's levels exceed. */
  function cutOf(map) {
    if (view.cutBy === "stored") return map.cut;
    if (view.cutBy === "value") return Math.min(LEVELS - 1, Math.round(view.cut * LEVELS) - 1);
    const most = view.cut * map.levels.length;
    let cut = LEVELS - 1;
    while (cut >= 0 && map.levels.length - map.below[cut] <= most) cut--;
    return cut;
  }

  function thresholdOf(map, cut) {
    if (cut === map.cut) return map.threshold;
    return map.low + ((cut + 1) / LEVELS) * (map.high - map.low);
  }

  const shareAbove = (map, cut) => (map.levels.length - map.below[cut + 1]) / map.levels.length;

  function colourTable(map) {
    const colours = Fido.colours[view.colourBy === "rank" ? "probability" : map.kind];
    const [first, last] = map.colours;
    return Array.from({ length: LEVELS }, (_, k) => {
      const value = map.low + ((k + 0.5) / LEVELS) * (map.high - map.low);
      const rank = (map.below[k] + map.below[k + 1]) / 2 / map.levels.length;
      const at = view.colourBy === "rank" ? rank : (value - first) / (last - first);
      return colours[Math.max(0, Math.min(LEVELS - 1, Math.floor(at * LEVELS)))];
    });
  }

  /* 1 beside the region's edge inside, 2 outside; nothing where a scattered region is all edge. */
  function edgesOf(map, cut) {
    const { width, height, levels } = map;
    const edges = new Uint8Array(levels.length);
    let found = 0;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const inside = levels[i] > cut;
        if ((x > 0 && levels[i - 1] > cut !== inside) || (x + 1 < width && levels[i + 1] > cut !== inside) ||
            (y > 0 && levels[i - width] > cut !== inside) || (y + 1 < height && levels[i + width] > cut !== inside)) {
          edges[i] = inside ? 1 : 2;
          found++;
        }
      }
    }
    return found > MOST_EDGES * levels.length ? edges.fill(0) : edges;
  }

  /* The map in colours, with black and white pixels on both sides of the region's edge. */
  function paint(canvas, map, boxes) {
    const { width, height, levels } = map;
    const cut = cutOf(map);
    const table = colourTable(map);
    const alpha = Math.round(255 * view.opacity);
    const image = new ImageData(width, height);
    const at = image.data;
    const drawn = view.contour && (map.region || view.cutBy !== "stored");
    const edges = drawn ? edgesOf(map, cut) : new Uint8Array(levels.length);
    for (let i = 0; i < levels.length; i++) {
      const [red, green, blue] = edges[i] ? EDGES[edges[i]] : table[levels[i]];
      at[4 * i] = red;
      at[4 * i + 1] = green;
      at[4 * i + 2] = blue;
      at[4 * i + 3] = edges[i] ? 255 : alpha;
    }
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    context.putImageData(image, 0, 0);
    if (view.boxes) {
      for (const [style, line, dash] of [["#000000", 3, []], ["#ffffff", 1.5, [5, 3]]]) {
        context.strokeStyle = style;
        context.lineWidth = line * Math.max(1, width / 300);
        context.setLineDash(dash);
        for (const [x0, y0, x1, y1] of boxes || []) {
          context.strokeRect(x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
        }
      }
    }
    canvas.dataset.cut = cut;
    canvas.dataset.share = shareAbove(map, cut).toFixed(6);
    return cut;
  }

  const percent = (share) => (share === null ? "-" : `${(100 * share).toFixed(1)} %`);
  const number = (value) => (value === null ? "-" : value.toFixed(3));
  const short = (value) => Number(value.toPrecision(4)).toString();
  const cutText = (map, cut) => `threshold ${short(thresholdOf(map, cut))}, region ${percent(shareAbove(map, cut))}`;

  function scaleText(map) {
    if (view.colourBy === "rank") return "percentile among the pixels: 0 to 100 %";
    const kind = { probability: "probability", positive: "value", signed: "signed value" }[map.kind];
    const ends = map.colours.map(short).join(" to ");
    return `${kind}: ${ends}${map.kind === "probability" ? "" : " (up to the 99th percentile)"}`;
  }

  function paintBar(bar, map) {
    const colours = Fido.colours[view.colourBy === "rank" ? "probability" : map.kind];
    const image = new ImageData(LEVELS, 1);
    colours.forEach((colour, k) => image.data.set([...colour, 255], 4 * k));
    bar.getContext("2d").putImageData(image, 0, 0);
  }

  /* The controls of how maps are drawn; `redraw` draws all that is to be seen. */
  function watchControls(redraw) {
    const show = () => {
      byId("cut-by").value = view.cutBy;
      const texts = { stored: "as stored", value: `${short(view.cut)} of the scale`, share: `top ${percent(view.cut)}` };
      byId("cut-shown").textContent = texts[view.cutBy];
      redraw();
    };
    byId("cut").addEventListener("input", () => {
      view.cut = byId("cut").value / 100;
      if (view.cutBy === "stored") view.cutBy = "value";
      show();
    });
    byId("cut-by").addEventListener("change", () => { view.cutBy = byId("cut-by").value; show(); });
    byId("colour-by").addEventListener("change", () => { view.colourBy = byId("colour-by").value; show(); });
    byId("opacity").addEventListener("input", () => { view.opacity = Number(byId("opacity").value); show(); });
    for (const name of ["contour", "boxes"]) {
      byId(name).addEventListener("change", () => { view[name] = byId(name).checked; show(); });
    }
    byId("reset").addEventListener("click", () => {
      view.cutBy = "stored";
      view.cut = 0.5;
      byId("cut").value = 50;
      show();
    });
    byId("map-controls").addEventListener("submit", (event) => event.preventDefault());
  }

  const typing = (event) => ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) ||
    event.ctrlKey || event.altKey || event.metaKey;

  /* The page of a photo: its maps are in the page already, in figures with their number. */
  async function startPhoto() {
    const figures = [...document.querySelectorAll("figure.map")];
    document.addEventListener("keydown", (event) => {
      const link = { ArrowLeft: "before", ArrowRight: "after" }[event.key];
      if (link && !typing(event) && byId(link)) byId(link).click();
    });
    if (!figures.length) return;
    const data = await load(document.body.dataset.photo);
    const redraw = () => {
      for (const figure of figures) {
        const n = Number(figure.dataset.n);
        const map = data.maps[n];
        const cut = paint(figure.querySelector(".layers canvas"), map, data.boxes[n]);
        paintBar(figure.querySelector(".bar"), map);
        figure.querySelector(".scale").textContent = scaleText(map);
        figure.querySelector(".cut").textContent =
          map.region || view.cutBy !== "stored" ? cutText(map, cut) : "";
      }
    };
    watchControls(redraw);
    redraw();
  }

  const ORDER = {
    photo: ["photo", (row) => row.id], area: ["area of the region", (row) => row.area],
    p_original: ["p(class) of the photo", (row) => row.p_original],
    p_kept: ["p(class), region kept", (row) => row.p_kept],
    p_removed: ["p(class), region removed", (row) => row.p_removed],
    target: ["class", (row) => row.target], run: ["method", (row, runs) => runs[row.run].name],
  };

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  const collator = new Intl.Collator(undefined, { numeric: true });

  /* Missing numbers come last in both directions. */
  function compared(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" ? a - b : collator.compare(a, b));
  }

  function open(index) {
    const { runs, results } = index;
    const filters = { run: ["method", (row) => runs[row.run].name], target: ["class", (row) => row.target],
      status: ["result", (row) => row.status] };
    for (const key of Object.keys(runs[0]?.differs ?? {})) {
      if (!key.endsWith("_target_")) filters[`s.${key}`] = [key, (row) => runs[row.run].differs[key]];
    }
    let page = 0, visible = results;
    const state = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
    const chosen = new Map();
    for (const [key, [title, of]] of Object.entries(filters)) {
      const values = [...new Set(results.map(of))].sort(collator.compare);
      if (values.length < 2) continue;
      const select = element("select", { id: `filter-${key}` }, element("option", { value: "", textContent: "all" }));
      values.forEach((value, i) => select.append(element("option", { value: String(i), textContent: value || "(none)" })));
      select.value = state.get(key) ?? "";
      byId("filter-list").append(element("label", {}, `${title} `, select));
      chosen.set(key, () => (select.value === "" ? null : values[select.value]));
      select.addEventListener("change", () => { page = 0; update(); });
    }
    for (const [key, [title]] of Object.entries(ORDER)) byId("sort").append(element("option", { value: key, textContent: title }));
    byId("sort").value = ORDER[state.get("sort")] ? state.get("sort") : "photo";
    byId("search").value = state.get("search") ?? "";
    byId("descending").checked = state.has("descending");
    page = Number(state.get("page") ?? 0);
    for (const id of ["sort", "descending", "page-size"]) byId(id).addEventListener("change", () => { page = 0; update(); });
    byId("search").addEventListener("input", () => { page = 0; update(); });
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("previous").addEventListener("click", () => turn(-1));
    byId("next").addEventListener("click", () => turn(1));
    document.addEventListener("keydown", (event) => {
      if (typing(event)) return;
      if (event.key === "ArrowLeft") turn(-1);
      if (event.key === "ArrowRight") turn(1);
      if (event.key === "/") { event.preventDefault(); byId("search").focus(); }
    });

    const pageSize = () => Number(byId("page-size").value);
    const pages = () => Math.max(1, Math.ceil(visible.length / pageSize()));
    function turn(by) {
      const to = Math.min(pages() - 1, Math.max(0, page + by));
      if (to === page) return;
      page = to;
      update();
    }

    const seen = new IntersectionObserver((changes) => {
      for (const change of changes) {
        change.target.onScreen = change.isIntersecting;
        if (change.isIntersecting) draw(change.target);
      }
    }, { rootMargin: "300px" });

    async function draw(place) {
      const row = place.row;
      const data = await load(row.photo);
      if (!place.isConnected) return;
      const map = data.maps[row.n];
      const cut = paint(place.querySelector("canvas"), map, data.boxes[row.n]);
      place.querySelector("figcaption").textContent =
        map.region || view.cutBy !== "stored" ? cutText(map, cut) : "no region";
    }

    function picture(row, part, text) {
      const image = element("img", { loading: "lazy", src: `thumbs/${row.pictures[part]}`, alt: `${row.id}: ${text}` });
      return element("figure", {}, image, element("figcaption", { textContent: text }));
    }

    function shownRow(row) {
      const link = element("a", { href: `photos/${row.photo}.html#r${row.n}`, textContent: row.id });
      const about = element("div", { className: "about" }, element("h3", {}, link),
        element("div", { textContent: runs[row.run].name }));
      const made = element("article", { className: "row" }, about);
      made.dataset.status = row.status;
      if (!row.pictures.photo) {
        about.append(element("p", { className: "failure", textContent: `${row.status}: ${row.reason}` }));
        return made;
      }
      about.append(element("div", { textContent: `class ${row.target}${row.seed ? `, seed ${row.seed}` : ""}` }),
        element("div", { textContent: `p ${number(row.p_original)}, kept ${number(row.p_kept)}, removed ${number(row.p_removed)}, area ${percent(row.area)}` }));
      const photo = element("img", { loading: "lazy", src: `thumbs/${row.pictures.photo}`, alt: "" });
      const canvas = element("canvas", {});
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Map of ${runs[row.run].name} on ${row.id} for ${row.target}`);
      const map = element("figure", { className: "map" }, element("div", { className: "layers" }, photo, canvas), element("figcaption", {}));
      map.row = row;
      made.append(picture(row, "photo", "photo"), map);
      for (const [part, text] of [["kept", "region kept"], ["removed", "region removed"], ["counterfactual", "counterfactual"]]) {
        if (row.pictures[part]) made.append(picture(row, part, text));
      }
      seen.observe(map);
      return made;
    }

    function update() {
      const search = byId("search").value.toLowerCase();
      const wanted = [...chosen].map(([key, value]) => [filters[key][1], value()]).filter(([, value]) => value !== null);
      const [, order] = ORDER[byId("sort").value];
      const sign = byId("descending").checked ? -1 : 1;
      visible = results
        .filter((row) => row.id.toLowerCase().includes(search) && wanted.every(([of, value]) => of(row) === value))
        .map((row) => [order(row, runs), row])
        .sort(([a], [b]) => compared(a, b, sign))
        .map(([, row]) => row);
      page = Math.max(0, Math.min(page, pages() - 1));
      const size = pageSize();
      const rows = visible.slice(page * size, (page + 1) * size);
      seen.disconnect();
      byId("results").replaceChildren(...rows.map(shownRow));
      const last = page * size + rows.length;
      byId("shown").textContent = visible.length ? `${page * size + 1} to ${last} of ${visible.length}` : "no result matches";
      byId("previous").disabled = page === 0;
      byId("next").disabled = page + 1 >= pages();
      remember();
    }

    /* In the address, so that going back from a photo finds the same page. */
    function remember() {
      const now = new URLSearchParams();
      for (const key of chosen.keys()) if (byId(`filter-${key}`).value) now.set(key, byId(`filter-${key}`).value);
      if (byId("search").value) now.set("search", byId("search").value);
      if (byId("sort").value !== "photo") now.set("sort", byId("sort").value);
      if (byId("descending").checked) now.set("descending", "");
      if (page) now.set("page", page);
      if ([...now].length || state.size) history.replaceState(null, "", `#?${now}`);
    }

    watchControls(() => document.querySelectorAll("#results figure.map").forEach((place) => place.onScreen && draw(place)));
    update();
  }

  return { add, open, startPhoto };
})();

if (document.body.dataset.page === "photo") document.addEventListener("DOMContentLoaded", Fido.startPhoto);
