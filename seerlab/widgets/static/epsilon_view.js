/* The epsilon view: all feature maps of a network, a row of them per layer, and which lie within epsilon of zero in a run.
 *
 * A frame carries 1 bit per map, in the order of execution, most significant bit first, and the values of the map that is
 * open. Thumbnails of all maps, the bits of those pruned without any epsilon, the epsilon that prunes each map, and the picture come
 * once per picture and mode (`base`). A map that enters the band fades; maps are repainted one by one while they do.
 *
 * A frame is a run of the network, which takes a large one half a second. Until the run at the present epsilon is there, the view takes
 * a first look by itself: which maps of the network as it is lie within epsilon. That is the run's answer but for what pruning changes in
 * the maps behind; what only a run can say is left open meanwhile.
 *
 * State of a map = pruned + 2 * pruned at epsilon 0: 0 kept, 1 pruned by epsilon, 2 came back, 3 zero anyway. */

export const PALETTES = {
	light: { ramp: ["#f2f5f8", "#9cc4e4", "#2f7fbf", "#0b3c78"], zero: "#d5d8dd", added: "#fbe3b8", line: "#c77f00", back: "#c43d00", curve: "#0072b2", grid: "#00000026" },
	dark: { ramp: ["#20262e", "#2b5f8f", "#5aa7dd", "#d8efff"], zero: "#3c424b", added: "#332b1a", line: "#e6a832", back: "#ff7a3c", curve: "#66bdf0", grid: "#ffffff2e" },
};
/* In v1 a map that is pruned at epsilon 0 is zero; in v2 one value in a hundred may be another. */
const STATES = { v1: ["kept", "pruned by \u03b5", "came back", "zero anyway"], v2: ["kept", "pruned by \u03b5", "came back", "even at \u03b5 0"] };
const MEANING = ["loaded by the next layer", "within \u03b5 in this run", "pruned at \u03b5 0, not in this run", "pruned at \u03b5 0 too"];
const LEGEND_ORDER = [0, 1, 3, 2];
const POSITIONS = 200; // steps of the slider
const FADE = 280; // ms
const BEGUN = 0.4; // of a fade is over when it is seen first: a move must show at once
const FADING_MOST = 600; // maps; more of them change without fading, which would take longer than a frame
const OPEN_AFTER = 150; // ms without a run until what only the run can say is left open: a shorter gap would flicker
const SLACK = Math.fround(1e-6); // the rule of "v2"
const FAINT = 0.14; // of a faded map is still seen
const MARKED = 0.55; // strength of the stroke over a faded map: it must not draw the eye from what is kept
const SEND_EVERY = 50; // ms between two values of a slider that is dragged
const WIDE = 860; // CSS pixels from which the side stands beside the maps
const SIDE = 316;
const PICTURE = 560; // CSS pixels that all rows share, if each then has at least
const LEAST_ROW = 30;
const TIGHT_ROW = 20; // with more than MANY layers
const MANY = 40;
const HIGHEST_ROW = 84;
const TWO_LINES = 40; // CSS pixels of a row in which two lines of text fit
const HATCHED = 8; // CSS pixels of a map from which its state is marked by a stroke as well
const NAME = 13; // CSS pixels of a layer's name
const DOTS = "\u2026"; // in place of what is not known yet
const BYTES = 4; // of a value as this package stores it

/* ---- words ---- */

const megabytes = (values) => {
	const n = values * BYTES;
	return n >= 1e6 ? `${(n / 1e6).toPrecision(3)} MB` : n >= 1e3 ? `${(n / 1e3).toPrecision(3)} kB` : `${n} B`;
};
const maps = (n) => `${whole(n)} ${n === 1 ? "map" : "maps"}`;
/** Bits of a message, one per map. */
export function unpacked(packed, count) {
	const bits = new Uint8Array(count);
	for (let i = 0; i < count; i++) bits[i] = (packed[i >> 3] >> (7 - (i & 7))) & 1;
	return bits;
}

/** Whether the rule of a mode prunes a map whose smallest pruning epsilon is `size`; in single precision, as the kernel does. */
export function within(size, epsilon, mode) {
	const edge = Math.fround(epsilon);
	return mode === "v1" ? size <= edge : Math.fround(size - edge) < SLACK;
}

/** Rows of cells, one per layer: as large as fits in width x height dots. */
export function cells(count, aspect, width, height) {
	let best = { size: 0 };
	for (let lines = 1; lines <= count; lines++) {
		const columns = ceil(count / lines);
		const size = min(height / lines, width / (columns * aspect));
		if (size > best.size) best = { lines, columns, size };
		else if (size < 0.5 * best.size) break;
	}
	const h = max(1, floor(best.size));
	return { ...best, stepX: max(1, floor(best.size * aspect)), stepY: h };
}

/* ---- the view ---- */

function render({ model, el }) {
	const view = canvasView({
		model, el, kind: "seer-eps", palettes: PALETTES,
		html: ({ stage, help, uid }) => `<header><div class="title"></div>
<label class="which" hidden>Picture <select aria-label="Picture"></select></label>
<label>Mode <select aria-label="Mode"><option value="v1">v1: outputs, all values within \u03b5</option><option value="v2">v2: inputs, over 99 % within \u03b5</option></select></label></header>
<div class="control"><div class="axis"><div class="key"></div><input type="range" aria-label="Epsilon" min="0" max="${POSITIONS}" step="1" value="0"></div>
<label class="number"><span aria-hidden="true">\u03b5 =</span> <input type="number" aria-label="Exact value" min="0" step="any"></label></div>
<div class="tiles"><div class="tile answer"></div><div class="tile count"></div><div class="tile loads"><div></div><p></p></div><div class="tile accuracy" hidden></div></div>
<div class="notes" aria-live="polite"></div>
<div class="body"><div class="main"><div class="scroll">${stage}</div></div>
<div class="side"><table class="legend"><tbody>${LEGEND_ORDER.map((k) => `<tr><td><i class="s${k}"></i></td><th scope="row"><span>${STATES.v1[k]}</span><small>${MEANING[k]}</small></th><td></td></tr>`).join("")}</tbody></table>
<div class="open"></div><div class="read" aria-live="polite"></div></div></div>
${help}<details id="${uid}-table"><summary>Table of layers</summary><div class="table"></div></details>`,
	});
	const { find, root, stage, canvas, pen, listen } = view;
	const names = [".title", ".which", ".axis", ".key", ".answer", ".count", ".loads", ".accuracy", ".notes", ".scroll", ".open", ".read", ".help", "details", ".table"];
	const [title, which, axis, keyBox, answer, counted, loads, accuracyBox, notesBox, scroll, openBox, read, help, details, tableBox] = names.map(find);
	const [pictureBox, modeBox] = root.querySelectorAll("header select");
	const [slider, number] = [find("input[type=range]"), find("input[type=number]")];
	const [legendCounts, legendWords] = [".legend td:last-child", ".legend span"].map((part) => [...root.querySelectorAll(part)]);
	// What must stay in sight while the rows scroll.
	for (const part of [find(".busy"), find("[role=alert]")]) find(".main").append(part);
	// Rings over the canvas, so that moving them repaints no map.
	const rings = ["cursor", "opened"].map((name) => {
		const ring = document.createElement("div");
		ring.className = `ring ${name}`;
		stage.append(ring);
		return ring;
	});
	const extra = (parent, name) => {
		const box = document.createElement("canvas");
		box.className = name;
		box.setAttribute("aria-hidden", "true");
		parent.append(box);
		return box;
	};
	const curveBox = document.createElement("canvas");
	curveBox.className = "curve";
	curveBox.setAttribute("role", "img");
	axis.insertBefore(curveBox, slider);
	const mapBox = extra(openBox, "map");
	const histogramBox = extra(openBox, "histogram");

	const charts = epsilonCharts(view, { curve: curveBox, key: keyBox, map: mapBox, histogram: histogramBox });

	let base = null; // layers, zero bits, thumbnails and photo of one picture in one mode
	let curve = null;
	let accuracy = null;
	let notes = null;
	let rows = []; // per layer: place of its row and of its cells
	let atlases = []; // per layer: all its thumbnails, in the colours of the theme
	let states = new Uint8Array(0);
	let faded = new Float32Array(0); // 0 kept .. 1 pruned, as painted
	let fading = { cells: [], from: [], start: 0, frame: 0 };
	let cursor = [0, 0];
	let hovered = null;
	let sendTimer = 0;
	let wanted = null;
	const calm = matchMedia("(prefers-reduced-motion: reduce)");

	const baseKey = (m) => `${m.layer}/${m.picture}/${m.mode}`;
	const at = (m) => view.frame && baseKey(m) === baseKey(view.frame);
	const words = (state) => STATES[view.frame.mode][state];
	const opened = () => (view.frame && view.frame.map ? view.frame.selected : null);
	const index = ([layer, map]) => base.offsets[layer] + map;

	/* -- frames -- */

	function unpack(message, buffers) {
		const parts = buffers.map(bytes);
		if (message.base) {
			const layers = message.base.layers.map(([name, count, height, width, rows, columns]) => ({ name, count, height, width, rows, columns }));
			const offsets = [0];
			for (const layer of layers) offsets.push(offsets[offsets.length - 1] + layer.count);
			const [zero, sizes, thumbnails, photo] = parts.splice(0, 4);
			const total = offsets[layers.length];
			received = { ...message.base, key: baseKey(message), layers, offsets, total, zero: unpacked(zero, total), sizes: numbers(sizes, "float32"), thumbnails, photo: message.base.photo && { size: message.base.photo, dots: photo } };
		}
		if (!received || received.key !== baseKey(message)) return null;
		const pruned = unpacked(parts[0], received.total);
		return { ...message, base: received, states: pruned.map((p, i) => p + 2 * received.zero[i]), values: message.map ? numbers(parts[1], "float32") : null };
	}
	let received = null;

	function take(frame) {
		const fresh = base !== frame.base;
		base = frame.base;
		notes = frame.notes;
		judge();
		if (fresh) {
			atlases = [];
			painted = "";
			faded = Float32Array.from(states, (s) => s & 1);
			stopFading();
			cursor = frame.selected.length ? frame.selected : [0, 0];
			hovered = null;
			if (curve && !at(curve)) curve = null;
			showPhoto();
			resizeStage();
		} else fade();
		if (frame.selected.length) cursor = frame.selected;
	}

	/* -- a run, or a first look -- */

	let epsilon = 0; // of what is on the canvas
	let run = true; // whether that is a run
	let waiting = false; // whether what only a run can say is left open
	let waitTimer = 0;

	function judge() {
		const { frame } = view;
		const now = wanted ?? model.get("epsilon");
		const comes = Number.isFinite(now) && now >= 0 && model.get("mode") === frame.mode && model.get("picture") === frame.picture;
		run = !comes || now === frame.epsilon;
		epsilon = run ? frame.epsilon : now;
		states = run ? frame.states : firstLook(epsilon, frame.mode);
		if (run) [waiting, waitTimer] = [false, clearTimeout(waitTimer)];
		else waitTimer ||= setTimeout(() => {
			waiting = true;
			view.schedule();
		}, OPEN_AFTER);
	}

	function firstLook(epsilon, mode) {
		const key = `${base.key} ${epsilon}`;
		if (look.key === key) return look.states;
		const { sizes, zero } = base;
		const found = new Uint8Array(base.total);
		for (let i = 0; i < found.length; i++) found[i] = within(sizes[i], epsilon, mode) + 2 * zero[i];
		look = { key, states: found };
		return found;
	}
	let look = { key: "", states: null };

	/* Epsilon moved: look at once; the kernel's run follows. */
	function moved() {
		if (!view.frame) return;
		const before = epsilon;
		judge();
		if (epsilon !== before) {
			tally();
			fade();
			looked = true;
		}
		view.schedule();
	}
	let looked = false; // a first look waits to be drawn

	/* Height goes with the number of layers, which no resize tells. */
	function resizeStage() {
		stage.style.height = `${stageHeight()}px`;
		[canvas.width, canvas.height] = [round(stage.clientWidth * view.dots), round(stage.clientHeight * view.dots)];
	}

	const stageHeight = () => {
		if (!base) return PICTURE / 2;
		const n = base.layers.length;
		return n * max(n > MANY ? TIGHT_ROW : LEAST_ROW, min(HIGHEST_ROW, floor(PICTURE / n)));
	};

	/* -- fading -- */

	function fade() {
		const changed = [];
		for (let i = 0; i < states.length; i++) if (faded[i] !== (states[i] & 1)) changed.push(i);
		// Maps whose last fade was cut short may have to be painted in another state.
		const unfinished = fading.cells.filter((i) => faded[i] === (states[i] & 1));
		stopFading();
		const cells = unfinished.length ? [...changed, ...unfinished].sort((a, b) => a - b) : changed;
		if (calm.matches || changed.length > FADING_MOST) {
			fading = { cells, from: cells.map((i) => states[i] & 1), start: 0, frame: 0 };
			step();
		} else if (cells.length) {
			fading = { cells, from: cells.map((i) => faded[i]), start: performance.now() - BEGUN * FADE, frame: requestAnimationFrame(step) };
			canvas.dataset.fading = "true";
		}
	}

	function stopFading() {
		cancelAnimationFrame(fading.frame);
		fading = { cells: [], from: [], start: 0, frame: 0 };
		canvas.dataset.fading = "false";
	}

	function step() {
		const t = min(1, (performance.now() - fading.start) / FADE);
		fading.cells.forEach((i, n) => (faded[i] = fading.from[n] + t * ((states[i] & 1) - fading.from[n])));
		if (rows.length) {
			let layer = 0;
			for (const i of fading.cells) {
				while (i >= base.offsets[layer + 1]) layer++;
				cell(layer, i - base.offsets[layer]);
			}
		}
		if (t < 1) fading.frame = requestAnimationFrame(step);
		else stopFading();
	}

	/* -- painting -- */

	function atlas(layer) {
		if (atlases[layer]) return atlases[layer];
		const { count, rows: r, columns: c } = base.layers[layer];
		const across = ceil(sqrt(count));
		const sheet = document.createElement("canvas");
		[sheet.width, sheet.height] = [across * c, ceil(count / across) * r];
		const image = new ImageData(sheet.width, sheet.height);
		const pixels = new Uint32Array(image.data.buffer);
		let from = base.layers.slice(0, layer).reduce((sum, l) => sum + l.count * l.rows * l.columns, 0);
		for (let k = 0; k < count; k++) {
			const corner = floor(k / across) * r * sheet.width + (k % across) * c;
			for (let y = 0; y < r; y++) for (let x = 0; x < c; x++) pixels[corner + y * sheet.width + x] = ramp[base.thumbnails[from++]];
		}
		sheet.getContext("2d").putImageData(image, 0, 0);
		return (atlases[layer] = { sheet, across, r, c });
	}

	let ramp = new Uint32Array(256);
	function colours(palette) {
		const stops = palette.ramp.map(rgb);
		ramp = Uint32Array.from({ length: 256 }, (_, v) => word(rampColour(stops, v / 255)));
		[atlases, painted] = [[], ""];
		for (const [name, value] of [["zero", palette.zero], ["added", palette.added], ["line", palette.line], ["back", palette.back], ["curve", palette.curve], ["kept", palette.ramp[2]]]) root.style.setProperty(`--${name}`, value);
		drawCurve();
	}

	const size = (layer) => `${layer.count} of ${layer.height}\u00d7${layer.width}`;

	function layout(width, height) {
		const d = view.dots;
		const narrow = root.classList.contains("narrow");
		view.script(NAME, "left");
		const longest = max(...base.layers.flatMap((layer) => [layer.name, size(layer)]).map((text) => pen.measureText(text).width)) + 12 * d;
		const [label, bar] = [min(longest, (narrow ? 96 : 190) * d), (narrow ? 84 : 150) * d];
		const step = height / base.layers.length;
		const pad = max(1, round(min(4 * d, step * 0.07)));
		rows = base.layers.map((layer, i) => {
			const y = round(i * step);
			const h = round((i + 1) * step) - y;
			const grid = cells(layer.count, max(0.5, min(2, layer.width / layer.height)), width - label - bar - 12 * d, h - 2 * pad);
			const gap = grid.stepY >= 10 * d ? round(1.5 * d) : grid.stepY >= 5 * d ? 1 : 0;
			return { ...grid, y, h, left: round(label), top: y + max(pad, (h - grid.lines * grid.stepY) >> 1), w: max(1, grid.stepX - gap), s: max(1, grid.stepY - gap), bar: round(width - bar), barWidth: bar - 4 * d };
		});
	}

	const place = (row, k) => [row.left + (k % row.columns) * row.stepX, row.top + floor(k / row.columns) * row.stepY];

	/** One map: kept, on its way out, or out. */
	function cell(layer, k) {
		const row = rows[layer];
		const [x, y] = place(row, k);
		const state = states[base.offsets[layer] + k];
		const out = faded[base.offsets[layer] + k];
		const { palette } = view;
		pen.globalAlpha = 1;
		pen.fillStyle = state === 3 ? palette.zero : palette.added;
		if (out > 0) pen.fillRect(x, y, row.w, row.s);
		else pen.clearRect(x, y, row.w, row.s);
		if (state !== 3 || out < 1) {
			const { sheet, across, r, c } = atlas(layer);
			pen.globalAlpha = 1 - out * (1 - FAINT);
			pen.imageSmoothingEnabled = c > row.w;
			pen.drawImage(sheet, (k % across) * c, floor(k / across) * r, c, r, x, y, row.w, row.s);
			pen.globalAlpha = 1;
		}
		if (state === 1 && out > 0 && row.s >= HATCHED * view.dots) {
			pen.globalAlpha = out * MARKED;
			stroke(palette.line, max(view.dots, row.s * 0.05), [x + row.w * 0.15, y + row.s * 0.85, x + row.w * 0.85, y + row.s * 0.15]);
			pen.globalAlpha = 1;
		} else if (state === 2) {
			const b = max(1, round(row.s * 0.1));
			pen.strokeStyle = palette.back;
			pen.lineWidth = b;
			pen.strokeRect(x + b / 2, y + b / 2, row.w - b, row.s - b);
		}
	}

	function stroke(colour, line, [a, b, c, d]) {
		pen.strokeStyle = colour;
		pen.lineWidth = line;
		pen.beginPath();
		pen.moveTo(a, b);
		pen.lineTo(c, d);
		pen.stroke();
	}

	function draw() {
		const [width, height] = [canvas.width, canvas.height];
		const look = [base.key, width, height, view.dark].join();
		if (painted !== look) {
			layout(width, height);
			pen.clearRect(0, 0, width, height);
			const [colour, soft, font] = ["color", "--soft", "font-family"].map(view.look);
			script = { colour, soft, font };
			base.layers.forEach((layer, i) => {
				for (let k = 0; k < layer.count; k++) cell(i, k);
				name(i);
			});
			painted = look;
			counts = [];
		}
		// Maps that changed repaint themselves while they fade.
		base.layers.forEach((_, i) => count(i));
		mark();
		describe();
		drawCurve();
		drawOpened();
		Object.assign(canvas.dataset, { epsilon, run });
		if (looked) canvas.dataset.frame = Number(canvas.dataset.frame) + 1;
		looked = false;
	}
	let script = null; // colours and font of the page
	let counts = []; // per layer: the tally that is painted
	let painted = ""; // what the maps on the canvas were painted for

	const fontOf = (points) => `${round(points * view.dots)}px ${script.font}`;

	/** Text in a row; cut at its start, for the end tells layers apart. */
	function put(text, x, y, points, room, soft) {
		pen.textBaseline = "middle";
		pen.textAlign = "left";
		pen.fillStyle = soft ? script.soft : script.colour;
		pen.font = fontOf(points);
		while (text.length > 4 && pen.measureText(text).width > room) text = `\u2026${text.slice(2)}`;
		pen.fillText(text, x, y);
	}

	const twoLines = (row) => row.h >= TWO_LINES * view.dots;

	/** Name and size at the left of a row. */
	function name(i) {
		const d = view.dots;
		const [row, layer] = [rows[i], base.layers[i]];
		const [middle, room] = [row.y + row.h / 2, row.left - 8 * d];
		put(layer.name, 0, twoLines(row) ? middle - 8 * d : middle, NAME, room);
		if (twoLines(row)) put(size(layer), 0, middle + 9 * d, 12, room, true);
	}

	/** Count and bar of the pruned maps at the right of a row, if they changed. */
	function count(i) {
		const d = view.dots;
		const [row, layer] = [rows[i], base.layers[i]];
		const tally = tallies[i];
		if (String(counts[i]) === String(tally)) return;
		counts[i] = tally;
		pen.clearRect(row.bar, row.y, canvas.width - row.bar, row.h);
		const two = twoLines(row);
		const middle = row.y + row.h / 2;
		const thick = two ? 10 * d : min(12 * d, row.h - 8 * d);
		const long = two ? row.barWidth : row.barWidth * 0.42;
		const y = two ? middle + 4 * d : middle - thick / 2;
		const zero = (tally[3] / layer.count) * long;
		const added = (tally[1] / layer.count) * long;
		pen.fillStyle = view.look("--lift");
		pen.fillRect(row.bar, y, long, thick);
		pen.fillStyle = mixed(view.palette.zero);
		pen.fillRect(row.bar, y, zero, thick);
		pen.fillStyle = view.palette.line;
		pen.fillRect(row.bar + zero, y, added, thick);
		const out = tally[1] + tally[3];
		const [x, points] = two ? [row.bar, 13] : [row.bar + long + 6 * d, 12];
		const room = row.bar + row.barWidth - x;
		const numbers = `${whole(out)} of ${whole(layer.count)}`;
		// The number comes first: a tally is shortened from its end, not cut at its start as names are.
		pen.font = fontOf(points);
		const text = two && [`${numbers} pruned`, numbers].find((words) => pen.measureText(words).width <= room);
		put(text || `${whole(out)}/${whole(layer.count)}`, x, two ? middle - 8 * d : middle, points, room);
	}

	/* The grey of a map that is zero anyway, stronger: a bar is thin. */
	const mixed = (colour) => css(mix(rgb(colour), view.dark ? [255, 255, 255] : [0, 0, 0], 0.35));

	function mark() {
		[document.activeElement === canvas && cursor, opened()].forEach((chosen, i) => {
			const row = chosen && rows[chosen[0]];
			rings[i].hidden = !row;
			if (!row) return;
			const [x, y] = place(row, chosen[1]);
			Object.entries({ left: x, top: y, width: row.w, height: row.s }).forEach(([side, dots]) => (rings[i].style[side] = `${dots / view.dots}px`));
		});
	}

	/* -- words beside the maps -- */

	let tallies = []; // per layer: maps in each state
	function tally() {
		tallies = base.layers.map((layer, l) => {
			const found = [0, 0, 0, 0];
			for (let i = base.offsets[l]; i < base.offsets[l + 1]; i++) found[states[i]]++;
			return found;
		});
	}

	function describe() {
		const { figures: f, before, after, mode } = view.frame;
		const side = mode === "v1" ? "output" : "input";
		view.fill(title, `${escaped(model.get("title"))} <small>${base.layers.length} convolutions, ${maps(base.total)} judged at their ${side}s</small>`);
		modeBox.value = model.get("mode");
		which.hidden = base.pictures < 2;
		if (pictureBox.length !== base.pictures) pictureBox.innerHTML = Array.from({ length: base.pictures }, (_, i) => `<option value="${i}">${i + 1} of ${base.pictures}</option>`).join("");
		pictureBox.value = model.get("picture");
		showEpsilon();
		const shown = [0, 1, 2, 3].map((k) => tallies.reduce((sum, t) => sum + t[k], 0));
		const [pruned, saved, values] = [shown[1] + shown[3], sum((layer, t) => (t[1] + t[3]) * layer.height * layer.width), sum((layer) => layer.count * layer.height * layer.width)];
		const back = shown[2] ? `, <b>${maps(shown[2])} came back</b>` : "";
		view.fill(counted, `<h4>Maps pruned</h4><p class="big">${whole(pruned)} <small>of ${whole(base.total)}</small></p><p>${whole(shown[3])} ${words(3)} + ${whole(shown[1])} by \u03b5${back}</p>`);
		view.fill(loads.firstElementChild, `<h4>Loads saved <small>(counted; not a gain in time)</small></h4><p class="big">${share(saved / values)} <small>of ${side} values: ${megabytes(saved)} of ${megabytes(values)}</small></p>`);
		LEGEND_ORDER.forEach((k, row) => {
			view.fill(legendCounts[row], whole(shown[k]));
			view.fill(legendWords[row], words(k));
		});
		if (run || waiting) describeRun(run ? f : null);
		root.classList.toggle("first-look", !run);
		help.textContent = `${view.dark ? "Brighter" : "Darker"}: larger values. Click a map, or move by arrow keys and Enter, to see its values; Page Up and Down change the layer, Escape closes.`;
		const changed = !run ? "; first look, the run follows" : f.class_changed ? `; class changed from ${before.name} to ${after.name}` : "";
		view.say(`${model.get("title")} at ${short(epsilon)}: ${whole(pruned)} of ${maps(base.total)} pruned, ${whole(shown[3])} of them ${words(3)}; ${share(saved / values)} of ${side} values saved${changed}. ${said(cursor)}`);
		showAccuracy();
		readout();
		if (details.open) table();
	}

	const sum = (of) => base.layers.reduce((total, layer, l) => total + of(layer, tallies[l]), 0);

	/** What only a run can say; without one, dots in its place. */
	function describeRun(f) {
		const { before, after, mode } = view.frame;
		const line = (word, name, value) => `<div class="line"><span>${word}</span><b>${name}</b><span>${value}</span></div>`;
		const told = (word, v) => (v ? line(word, escaped(v.name), share(v.probability)) : line(word, "no finite scores", ""));
		const verdict = !f ? `<span class="soft">running the network\u2026</span>` : f.class_changed ? `<b class="changed">\u2717 class changed</b>` : `<span class="soft">\u2713 same class</span>`;
		view.fill(answer.lastElementChild, `<h4>Answer for this picture</h4>${before ? told("without", before) + (f ? told("pruned", after) : line("pruned", DOTS, "")) + verdict : `<p class="soft">The network gives no row of class scores.</p>`}`);
		const saved = (part, values) => (f ? `${share(f[part])}, ${megabytes(f[values])}` : DOTS);
		view.fill(loads.lastElementChild, `${mode === "v1" ? `Input maps not loaded: ${saved("saved_input_share", "saved_input_values")}<br>` : ""}Apart, their weights: ${saved("saved_weight_share", "saved_weights")}`);
		view.fill(notesBox, f ? notes.map((note) => `<p>${escaped(note)}</p>`).join("") : `<p>First look: maps of the network as it is that lie within \u03b5. What pruning changes behind them, the run will show.</p>`);
	}

	const said = (chosen) => `${base.layers[chosen[0]].name}, map ${chosen[1]}: ${words(states[index(chosen)])}`;

	function showEpsilon() {
		const now = wanted ?? model.get("epsilon");
		if (document.activeElement !== slider || wanted === null) slider.value = round(POSITIONS * toPosition(now, base.end));
		slider.setAttribute("aria-valuetext", short(now));
		if (document.activeElement !== number) number.value = now;
	}

	function showPhoto() {
		if (!answer.firstElementChild) answer.innerHTML = `<canvas class="photo" role="img" aria-label="Input of the network"></canvas><div></div>`;
		const box = answer.firstElementChild;
		box.hidden = !base.photo;
		if (!base.photo) return;
		const { size: [h, w], dots } = base.photo;
		[box.width, box.height] = [w, h];
		const image = new ImageData(w, h);
		for (let i = 0; i < w * h; i++) image.data.set([dots[3 * i], dots[3 * i + 1], dots[3 * i + 2], 255], 4 * i);
		box.getContext("2d").putImageData(image, 0, 0);
	}

	function showAccuracy() {
		accuracyBox.hidden = !accuracy;
		if (!accuracy) return;
		const here = at(accuracy) && accuracy.epsilon === epsilon;
		const line = (word, name) => `<div class="line"><span>${word}</span><b>${share(accuracy[`top1_${name}`])}</b><span>${share(accuracy[`top1_${name}_low`])} to ${share(accuracy[`top1_${name}_high`])}</span></div>`;
		const known = !accuracy.pending && here;
		view.fill(accuracyBox, `<h4>Top-1${known ? ` on ${whole(accuracy.accuracy_images)} images, 95 % interval` : ""}</h4>${known ? line("without", "before") + line("pruned", "after") : `<p class="soft">${here ? "measuring\u2026" : "measured when nothing moves"}</p>`}`);
	}

	function readout() {
		const chosen = hovered || (opened() ? null : document.activeElement === canvas ? cursor : null);
		const m = view.frame.map;
		let text = "";
		if (chosen) {
			const l = chosen[0];
			const layer = base.layers[l];
			const [inputs, weights] = [view.frame.inputs, view.frame.weights];
			const t = tallies[l];
			const saved = (t[1] + t[3]) * layer.height * layer.width;
			const part = (pair) => (run ? `${share(pair[0][l] / max(1, pair[1][l]))}, ${megabytes(pair[0][l])}` : DOTS);
			text = `<p><b>${escaped(layer.name)}</b>, map ${chosen[1]}: <b>${words(states[index(chosen)])}</b></p><p>Of this layer ${whole(t[3])} ${words(3)} + ${whole(t[1])} by \u03b5 of ${maps(layer.count)}: ${megabytes(saved)} of ${megabytes(layer.count * layer.height * layer.width)}.</p><p>Its input maps not loaded: ${part(inputs)}; their weights: ${part(weights)}.</p>`;
		} else if (m) text = decision(m);
		else text = `<p class="soft">Point at a map, or press an arrow key on the picture.</p>`;
		view.fill(read, text);
	}

	function decision(m) {
		const total = m.height * m.width;
		const state = view.frame.states[index(view.frame.selected)];
		const rule = view.frame.mode === "v1" ? "All must be" : `More than 99 % must be, at least ${whole(m.least)}`;
		const verdict = state & 1 ? "pruned" : "kept";
		const from = Number.isFinite(m.size) ? `Without pruning before it, it would go from ${short(m.size)} on.` : "";
		return `<p><b>${escaped(m.name)}</b>, map ${view.frame.selected[1]}, ${m.height}\u00d7${m.width}: <b>${words(state)}</b></p>
<p><b>${whole(m.within)} of ${whole(total)}</b> values within \u00b1${short(view.frame.epsilon)} (${share(m.within / total)}). ${rule}: ${verdict}.</p><p class="soft">${from}</p>`;
	}

	function table() {
		const { inputs, weights, mode } = view.frame;
		const head = ["Layer", "Maps", words(3), words(1), words(2), `${mode === "v1" ? "Output" : "Input"} values saved`, "Bytes saved", "Of its input values", "Of its weights (apart)"];
		const body = base.layers.map((layer, l) => {
			const t = tallies[l];
			const saved = (t[1] + t[3]) * layer.height * layer.width;
			const of = (pair) => (run ? share(pair[0][l] / max(1, pair[1][l])) : DOTS);
			return [escaped(layer.name), whole(layer.count), whole(t[3]), whole(t[1]), whole(t[2]), `${share((t[1] + t[3]) / layer.count)}`, megabytes(saved), of(inputs), of(weights)];
		});
		view.fill(tableBox, `<table><thead><tr>${head.map((h) => `<th scope="col">${h}</th>`).join("")}</tr></thead><tbody>${body.map(([name, ...rest]) => `<tr><th scope="row">${name}</th>${rest.map((v) => `<td>${v}</td>`).join("")}</tr>`).join("")}</tbody></table>`);
	}

	/* -- charts -- */

	function drawCurve() {
		if (base && view.frame) charts.drawCurve(base, curve && at(curve) ? curve.points.filter((p) => p[0] <= base.end) : [], epsilon);
	}

	function drawOpened() {
		openBox.hidden = !view.frame.map;
		if (view.frame.map) charts.drawOpened();
	}

	/* -- moving about -- */

	function open(chosen) {
		cursor = chosen;
		view.save("selected", chosen);
		view.schedule();
	}

	function go(layer, map) {
		const l = max(0, min(base.layers.length - 1, layer));
		cursor = [l, max(0, min(base.layers[l].count - 1, map))];
		hovered = null;
		if (opened()) open(cursor);
		reveal();
		view.schedule();
	}

	function reveal() {
		const row = rows[cursor[0]];
		if (!row) return;
		const [top, bottom] = [row.y / view.dots, (row.y + row.h) / view.dots];
		if (top < scroll.scrollTop) scroll.scrollTop = top;
		else if (bottom > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = bottom - scroll.clientHeight;
	}

	function key(event) {
		const arrow = ARROWS[event.key];
		const [layer, map] = cursor;
		const row = rows[layer];
		if (arrow && arrow[1]) go(layer, map + arrow[1]);
		else if (arrow) {
			const line = floor(map / row.columns) + arrow[0];
			if (line >= 0 && line < row.lines) go(layer, map + arrow[0] * row.columns);
			else {
				const next = rows[layer + arrow[0]];
				if (!next) return true;
				// The map of the neighbouring layer that is nearest on the screen.
				const column = min(next.columns - 1, floor(((map % row.columns) * row.stepX) / next.stepX));
				go(layer + arrow[0], column + (arrow[0] < 0 ? (next.lines - 1) * next.columns : 0));
			}
		} else if (event.key === "PageDown") go(layer + 1, 0);
		else if (event.key === "PageUp") go(layer - 1, 0);
		else if (event.key === "Enter") open(cursor);
		else if (event.key === "Escape") open0();
		else return false;
		return true;
	}

	const open0 = () => view.save("selected", []);

	function hit(event) {
		if (!view.frame) return null;
		const [x, y] = view.at(event);
		const l = rows.findIndex((row) => y >= row.y && y < row.y + row.h);
		if (l < 0) return null;
		const row = rows[l];
		const [c, r] = [floor((x - row.left) / row.stepX), floor((y - row.top) / row.stepY)];
		const k = r * row.columns + c;
		return c >= 0 && c < row.columns && r >= 0 && k < base.layers[l].count ? [l, k] : null;
	}

	function send() {
		sendTimer = 0;
		if (wanted === null) return;
		view.save("epsilon", wanted);
		wanted = null;
		moved(); // a saved page takes the nearest that it has
		sendTimer = setTimeout(send, SEND_EVERY);
	}

	listen(slider, "input", () => {
		if (!base) return;
		wanted = atPosition(Number(slider.value) / POSITIONS, base.end);
		moved();
		if (!sendTimer) send();
	});
	listen(slider, "change", () => {
		clearTimeout(sendTimer);
		send();
	});
	listen(number, "change", () => {
		if (number.value !== "" && Number.isFinite(Number(number.value))) view.save("epsilon", Number(number.value));
		else if (view.frame) number.value = view.frame.epsilon;
	});
	listen(modeBox, "change", () => view.save("mode", modeBox.value));
	listen(pictureBox, "change", () => view.save("picture", Number(pictureBox.value)));
	listen(details, "toggle", () => view.frame && details.open && table());
	listen(canvas, "pointermove", (event) => {
		const chosen = hit(event);
		if (String(chosen) === String(hovered)) return;
		hovered = chosen;
		if (view.frame) readout();
	});
	listen(canvas, "pointerleave", () => {
		hovered = null;
		if (view.frame) readout();
	});
	listen(canvas, "click", (event) => {
		const chosen = hit(event);
		hovered = null;
		if (chosen) open(chosen);
	});
	for (const kind of ["focus", "blur"]) listen(canvas, kind, view.schedule);

	return view.start({
		unpack,
		take(frame) {
			take(frame);
			tally();
		},
		draw,
		height: () => stageHeight(),
		wide: WIDE,
		recolour: colours,
		key,
		traits: { title: view.schedule, epsilon: moved, mode: () => (modeBox.value = model.get("mode")) },
		messages: {
			curve(message) {
				curve = message;
				if (view.frame && at(message) && message.epsilon === view.frame.epsilon) notes = message.notes;
				view.schedule();
			},
			accuracy(message) {
				accuracy = message;
				view.schedule();
			},
		},
		stop() {
			clearTimeout(sendTimer);
			clearTimeout(waitTimer);
			stopFading();
		},
	});
}

export default { render };
