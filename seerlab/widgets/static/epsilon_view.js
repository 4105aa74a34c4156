/* The epsilon view: all feature maps of a network, a row of them per layer, and which lie within epsilon of zero in a run.
 *
 * A frame carries 1 bit per map, in the order of execution, most significant bit first, and the values of the map that is
 * open. Thumbnails of all maps, the bits of those pruned without any epsilon, and the picture come once per picture and mode
 * (`base`). A map that enters the band fades; maps are repainted one by one while they do.
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
const BINS = 45;
const BYTES = 4; // of a value as this package stores it

/* ---- words ---- */

const megabytes = (values) => {
	const n = values * BYTES;
	return n >= 1e6 ? `${(n / 1e6).toPrecision(3)} MB` : n >= 1e3 ? `${(n / 1e3).toPrecision(3)} kB` : `${n} B`;
};
const maps = (n) => `${whole(n)} ${n === 1 ? "map" : "maps"}`;
/** Epsilon at a position of the slider, 0..1: its square, for finer steps near 0. */
export const atPosition = (position, end) => Number((end * position * position).toPrecision(3));
const toPosition = (epsilon, end) => min(1, sqrt(max(0, epsilon) / end));

/** Bits of a message, one per map. */
export function unpacked(packed, count) {
	const bits = new Uint8Array(count);
	for (let i = 0; i < count; i++) bits[i] = (packed[i >> 3] >> (7 - (i & 7))) & 1;
	return bits;
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
<div class="tiles"><div class="tile answer"></div><div class="tile count"></div><div class="tile loads"></div><div class="tile accuracy" hidden></div></div>
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
			const [zero, thumbnails, photo] = parts.splice(0, 3);
			const total = offsets[layers.length];
			received = { ...message.base, key: baseKey(message), layers, offsets, total, zero: unpacked(zero, total), thumbnails, photo: message.base.photo && { size: message.base.photo, dots: photo } };
		}
		if (!received || received.key !== baseKey(message)) return null;
		const pruned = unpacked(parts[0], received.total);
		return { ...message, base: received, states: pruned.map((p, i) => p + 2 * received.zero[i]), values: message.map ? numbers(parts[1], "float32") : null };
	}
	let received = null;

	function take(frame) {
		const fresh = base !== frame.base;
		base = frame.base;
		states = frame.states;
		notes = frame.notes;
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
		stopFading();
		if (calm.matches) {
			fading.cells = changed;
			fading.from = changed.map((i) => states[i] & 1);
			step();
		} else if (changed.length) {
			fading = { cells: changed, from: changed.map((i) => faded[i]), start: performance.now(), frame: requestAnimationFrame(step) };
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

	function rampColour(stops, part) {
		const place = part * (stops.length - 1);
		const i = min(floor(place), stops.length - 2);
		return mix(stops[i], stops[i + 1], place - i);
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
			base.layers.forEach((layer, i) => {
				for (let k = 0; k < layer.count; k++) cell(i, k);
			});
			painted = look;
		} else {
			// Maps that changed repaint themselves while they fade.
			pen.clearRect(0, 0, rows[0].left, height);
			pen.clearRect(rows[0].bar, 0, width, height);
		}
		base.layers.forEach((_, i) => label(i));
		mark();
		describe();
		drawCurve();
		drawOpened();
	}
	let painted = ""; // what the maps on the canvas were painted for

	/** Name and size at the left of a row, counts and a bar of the pruned share at its right. */
	function label(i) {
		const d = view.dots;
		const [row, layer] = [rows[i], base.layers[i]];
		const tally = tallies[i];
		const two = row.h >= TWO_LINES * d;
		const middle = row.y + row.h / 2;
		pen.textBaseline = "middle";
		const put = (text, x, y, points, room, soft) => {
			view.script(points, "left");
			if (soft) pen.fillStyle = view.look("--soft");
			while (text.length > 4 && pen.measureText(text).width > room) text = `\u2026${text.slice(2)}`; // the end tells layers apart
			pen.fillText(text, x, y);
		};
		const room = row.left - 8 * d;
		put(layer.name, 0, two ? middle - 8 * d : middle, NAME, room);
		if (two) put(size(layer), 0, middle + 9 * d, 12, room, true);
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
		const text = two ? `${whole(out)} of ${whole(layer.count)} pruned` : `${whole(out)}/${whole(layer.count)}`;
		put(text, two ? row.bar : row.bar + long + 6 * d, two ? middle - 8 * d : middle, two ? 13 : 12, row.barWidth);
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
		const marked = f.class_changed ? `<b class="changed">\u2717 class changed</b>` : `<span class="soft">\u2713 same class</span>`;
		const line = (word, v) => `<div class="line"><span>${word}</span><b>${escaped(v.name)}</b><span>${share(v.probability)}</span></div>`;
		view.fill(answer.lastElementChild, before ? `<h4>Answer for this picture</h4>${line("without", before)}${after ? line("pruned", after) : `<div class="line"><span>pruned</span><b>no finite scores</b></div>`}${marked}` : `<h4>Answer for this picture</h4><p class="soft">The network gives no row of class scores.</p>`);
		const back = f.revived_maps ? `, <b>${maps(f.revived_maps)} came back</b>` : "";
		view.fill(counted, `<h4>Maps pruned</h4><p class="big">${whole(f.pruned_maps)} <small>of ${whole(f.maps)}</small></p><p>${whole(f.zero_maps)} ${words(3)} + ${whole(f.added_maps)} by \u03b5${back}</p>`);
		view.fill(loads, `<h4>Loads saved <small>(counted; not a gain in time)</small></h4><p class="big">${share(f.reduced_share)} <small>of ${side} values: ${megabytes(f.reduced_values)} of ${megabytes(f.values)}</small></p>
<p>${mode === "v1" ? `Input maps not loaded: ${share(f.saved_input_share)}, ${megabytes(f.saved_input_values)}<br>` : ""}Apart, their weights: ${share(f.saved_weight_share)}, ${megabytes(f.saved_weights)}</p>`);
		const shown = [0, 1, 2, 3].map((k) => tallies.reduce((sum, t) => sum + t[k], 0));
		LEGEND_ORDER.forEach((k, row) => {
			view.fill(legendCounts[row], whole(shown[k]));
			view.fill(legendWords[row], words(k));
		});
		view.fill(notesBox, notes.map((note) => `<p>${escaped(note)}</p>`).join(""));
		help.textContent = `${view.dark ? "Brighter" : "Darker"}: larger values. Click a map, or move by arrow keys and Enter, to see its values; Page Up and Down change the layer, Escape closes.`;
		const changed = f.class_changed ? `; class changed from ${before.name} to ${after.name}` : "";
		view.say(`${model.get("title")} at ${short(view.frame.epsilon)}: ${whole(f.pruned_maps)} of ${maps(f.maps)} pruned, ${whole(f.zero_maps)} of them ${words(3)}; ${share(f.reduced_share)} of ${side} values saved${changed}. ${said(cursor)}`);
		showAccuracy();
		readout();
		if (details.open) table();
	}

	const said = (chosen) => `${base.layers[chosen[0]].name}, map ${chosen[1]}: ${words(states[index(chosen)])}`;

	function showEpsilon() {
		const epsilon = wanted ?? view.frame.epsilon;
		if (document.activeElement !== slider || wanted === null) slider.value = round(POSITIONS * toPosition(epsilon, base.end));
		slider.setAttribute("aria-valuetext", short(epsilon));
		if (document.activeElement !== number) number.value = epsilon;
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
		const here = at(accuracy) && accuracy.epsilon === view.frame.epsilon;
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
			const part = (pair) => `${share(pair[0][l] / max(1, pair[1][l]))}, ${megabytes(pair[0][l])}`;
			text = `<p><b>${escaped(layer.name)}</b>, map ${chosen[1]}: <b>${words(states[index(chosen)])}</b></p><p>Of this layer ${whole(t[3])} ${words(3)} + ${whole(t[1])} by \u03b5 of ${maps(layer.count)}: ${megabytes(saved)} of ${megabytes(layer.count * layer.height * layer.width)}.</p><p>Its input maps not loaded: ${part(inputs)}; their weights: ${part(weights)}.</p>`;
		} else if (m) text = decision(m);
		else text = `<p class="soft">Point at a map, or press an arrow key on the picture.</p>`;
		view.fill(read, text);
	}

	function decision(m) {
		const total = m.height * m.width;
		const state = states[index(view.frame.selected)];
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
			const of = (pair) => share(pair[0][l] / max(1, pair[1][l]));
			return [escaped(layer.name), whole(layer.count), whole(t[3]), whole(t[1]), whole(t[2]), `${share((t[1] + t[3]) / layer.count)}`, megabytes(saved), of(inputs), of(weights)];
		});
		view.fill(tableBox, `<table><thead><tr>${head.map((h) => `<th scope="col">${h}</th>`).join("")}</tr></thead><tbody>${body.map(([name, ...rest]) => `<tr><th scope="row">${name}</th>${rest.map((v) => `<td>${v}</td>`).join("")}</tr>`).join("")}</tbody></table>`);
	}

	/* -- the curve over the slider -- */

	/** Size a small canvas to its box; null where it has none. */
	function prepared(box) {
		const [w, h] = [round(box.clientWidth * view.dots), round(box.clientHeight * view.dots)];
		if (!w || !h) return null;
		if (box.width !== w || box.height !== h) [box.width, box.height] = [w, h];
		const ink = box.getContext("2d");
		ink.clearRect(0, 0, w, h);
		return [ink, w, h];
	}

	function drawCurve() {
		if (!base || !view.frame) return;
		const ready = prepared(curveBox);
		if (!ready) return;
		const [ink, w, h] = ready;
		const d = view.dots;
		const [edge, top, foot] = [8 * d, 6 * d, h - 16 * d];
		const x = (epsilon) => edge + toPosition(epsilon, base.end) * (w - 2 * edge);
		const y = (part) => foot - part * (foot - top);
		const { palette, frame } = view;
		ink.font = `${round(11 * d)}px ${view.look("font-family")}`;
		ink.textAlign = "center";
		ink.textBaseline = "bottom";
		ink.fillStyle = view.look("--soft");
		ink.strokeStyle = palette.grid;
		ink.lineWidth = 1;
		let last = -Infinity;
		for (const tick of ticks(base.end)) {
			const place = x(tick);
			if (place - last < 44 * d && tick) continue;
			last = place;
			ink.fillText(short(tick), max(place, 10 * d), h);
			ink.strokeRect(round(place), top, 0, foot - top);
		}
		ink.strokeRect(edge, foot, w - 2 * edge, 0);
		ink.textAlign = "left";
		ink.textBaseline = "top";
		ink.fillText("100 %", edge + 3 * d, top);
		const points = curve && at(curve) ? curve.points.filter((p) => p[0] <= base.end) : [];
		if (points.length > 1) {
			const path = (value) => {
				ink.beginPath();
				points.forEach((p, i) => ink[i ? "lineTo" : "moveTo"](x(p[0]), y(value(p))));
			};
			path((p) => p[1]);
			ink.lineTo(x(points[points.length - 1][0]), foot);
			ink.lineTo(x(points[0][0]), foot);
			ink.globalAlpha = 0.45;
			ink.fillStyle = palette.line;
			ink.fill();
			ink.globalAlpha = 1;
			ink.strokeStyle = palette.line;
			ink.lineWidth = 1.5 * d;
			path((p) => p[1]);
			ink.stroke();
			ink.fillStyle = palette.back;
			points.forEach((p, i) => {
				if (p[3]) return;
				const end = i + 1 < points.length ? x(points[i + 1][0]) : w - edge;
				ink.fillRect(x(p[0]), foot + d, max(2 * d, end - x(p[0])), 3 * d);
			});
			if (points.every((p) => p[2] !== null)) {
				ink.strokeStyle = palette.curve;
				ink.lineWidth = 2 * d;
				path((p) => p[2]);
				ink.stroke();
			}
		}
		const now = round(x(frame.epsilon));
		ink.fillStyle = view.look("color");
		ink.fillRect(now - d, top - 4 * d, 2 * d, foot - top + 4 * d);
		const name = frame.before ? escaped(frame.before.name) : "";
		view.fill(keyBox, `<span><i class="area"></i>values in pruned maps</span>${name ? `<span><i class="curve"></i>probability of ${name}</span><span><i class="other"></i>another class</span>` : ""}<span class="soft">${points.length > 1 ? "" : "the curve follows when nothing moves"}</span>`);
		curveBox.setAttribute("aria-label", points.length > 1 ? spoken(points) : "Curve over the slider, not computed yet");
	}

	function spoken(points) {
		const end = points[points.length - 1];
		const first = points.find((p) => !p[3]);
		return `Share of values in pruned maps: ${share(points[0][1])} at 0, ${share(end[1])} at ${short(end[0])}${first ? `; another class from ${short(first[0])} on` : ""}`;
	}

	/** Round numbers from 0 to the end, 1-2-5. */
	function ticks(end) {
		const found = [0];
		for (let power = 10 ** floor(log10(end) - 3); power <= end; power *= 10) for (const digit of [1, 2, 5]) if (digit * power >= 0.004 * end && digit * power <= end) found.push(Number((digit * power).toPrecision(1)));
		return found;
	}

	/* -- one map, large -- */

	function drawOpened() {
		const { frame, palette } = view;
		openBox.hidden = !frame.map;
		if (!frame.map) return;
		const { height: H, width: W } = frame.map;
		const { values, epsilon } = frame;
		let [low, high, most] = [0, 0, 0];
		for (const v of values) {
			low = min(low, v);
			high = max(high, v);
			most = max(most, abs(v));
		}
		const stops = palette.ramp.map(rgb);
		const [zero, faint, orange] = [rgb(palette.zero), rgb(palette.added), rgb(palette.line)];
		mapBox.style.height = `${round(max(60, min(200, (284 * H) / W)))}px`;
		const sheet = document.createElement("canvas");
		[sheet.width, sheet.height] = [W, H];
		const image = new ImageData(W, H);
		const pixels = new Uint32Array(image.data.buffer);
		values.forEach((v, i) => {
			const size = abs(v);
			pixels[i] = word(size === 0 ? zero : size <= epsilon ? mix(faint, orange, sqrt(size / epsilon)) : rampColour(stops, sqrt(size / (most || 1))));
		});
		sheet.getContext("2d").putImageData(image, 0, 0);
		const ready = prepared(mapBox);
		if (!ready) return;
		const [ink, w, h] = ready;
		const scale = min(w / W, h / H);
		ink.imageSmoothingEnabled = scale < 1;
		ink.drawImage(sheet, (w - scale * W) / 2, (h - scale * H) / 2, scale * W, scale * H);
		histogram(values, low, high);
	}

	function histogram(values, low, high) {
		const ready = prepared(histogramBox);
		if (!ready) return;
		const [ink, w, h] = ready;
		const d = view.dots;
		const { epsilon } = view.frame;
		const reach = max(high, -low, epsilon * 1.15) || 1;
		const [from, to] = [low < 0 ? min(low, -epsilon * 1.15) : -max(0.08 * reach, min(epsilon * 1.15, reach)), max(high, epsilon * 1.15, 0.08 * reach)];
		const counts = new Float64Array(BINS);
		const wide = (to - from) / BINS;
		for (const v of values) counts[max(0, min(BINS - 1, floor((v - from) / wide)))]++;
		const tallest = log10(1 + max(...counts));
		const [top, foot] = [14 * d, h - 15 * d];
		const x = (v) => ((v - from) / (to - from)) * w;
		ink.fillStyle = view.palette.added;
		ink.fillRect(x(-epsilon), top, max(d, x(epsilon) - x(-epsilon)), foot - top);
		counts.forEach((n, i) => {
			if (!n) return;
			const middle = from + (i + 0.5) * wide;
			const tall = (log10(1 + n) / tallest) * (foot - top);
			ink.fillStyle = abs(middle) <= epsilon + wide / 2 && abs(middle) - wide / 2 <= epsilon ? view.palette.line : view.palette.curve;
			ink.fillRect(x(middle - wide / 2), foot - tall, max(1, w / BINS - d), tall);
		});
		ink.fillStyle = view.palette.line;
		for (const edge of [-epsilon, epsilon]) ink.fillRect(x(edge) - d / 2, top, d, foot - top);
		ink.fillStyle = view.look("--soft");
		ink.fillRect(0, foot, w, 1);
		ink.font = `${round(11 * d)}px ${view.look("font-family")}`;
		ink.textBaseline = "bottom";
		for (const [value, align] of [[from, "left"], [to, "right"]]) {
			ink.textAlign = align;
			if (abs(x(value) - x(0)) > 44 * d) ink.fillText(short(Number(value.toPrecision(2))), align === "left" ? 0 : w, h);
		}
		ink.textAlign = "center";
		ink.fillText("0", x(0), h);
		ink.textAlign = "right";
		ink.textBaseline = "top";
		ink.fillText("number of values, logarithmic; shaded: \u00b1\u03b5", w, 0);
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
		sendTimer = setTimeout(send, SEND_EVERY);
	}

	function slid(last) {
		if (!base) return;
		wanted = atPosition(Number(slider.value) / POSITIONS, base.end);
		number.value = wanted;
		slider.setAttribute("aria-valuetext", short(wanted));
		if (last) {
			clearTimeout(sendTimer);
			send();
		} else if (!sendTimer) send();
	}

	listen(slider, "input", () => slid(false));
	listen(slider, "change", () => slid(true));
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
		traits: { title: view.schedule, epsilon: () => view.frame && showEpsilon(), mode: () => (modeBox.value = model.get("mode")) },
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
			stopFading();
		},
	});
}

export default { render };
