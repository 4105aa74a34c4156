/* The granularity view: a weight as a grid of kernels, rows are filters, columns their input channels.
 *
 * A frame holds one bit per grain, in the grains' order; the weights come along once per layer, as float32, or for a large one as signed
 * bytes, 127 standing for `scale`. A grain spans `grain` = [filters, kernels, kernel rows, kernel columns]; everything else follows from that. Figures come as HTML. */

/* Orange and blue: two signs that every kind of colour vision tells apart. Pruned weights recede into the page. */
export const PALETTES = {
	light: { positive: "#005c9e", negative: "#be4a00", small: "#dee2e6", pruned: "#fafafb", line: "#1b1b1b", bar: "#5f6368" },
	dark: { positive: "#63b8ff", negative: "#ff9a52", small: "#3a4049", pruned: "#1b1e23", line: "#f2f2f2", bar: "#a8adb5" },
};
const GHOST = 0.14; // share of its colour that a pruned weight keeps: where something was can be seen, not read as kept
const GRANULARITIES = ["fine", "vector", "kernel", "filter", "2:4", "block"];
const FIXED = "2:4";
const CELLS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 26, 34, 44, 58]; // CSS pixels of a weight, step by step
const FIRST_CELLS = [4, 3]; // show single weights from the back of a room; a larger weight is shown in part, if possible with all channels
const VALUE_FROM = 34; // CSS pixels of a weight from which its value is written in it
const EDGE = 6; // CSS pixels around the grid: room for the mark of the current grain and for the bars
const OUTLINE_FROM = 5; // CSS pixels of the shorter side of a grain from which kept grains are outlined
const SIDE = 344; // CSS pixels of the column beside the picture, and its gap
const WIDE = 760;
const SEND_EVERY = 50; // ms between two values of a slider that is dragged
const PROBE_PATIENCE = 1000; // ms after which a lost answer is given up

/** Cells between the corners of two neighbouring kernels, in dots. */
export const gapOf = (cell, R, S) => (R * S > 1 ? (cell >= 3 ? max(1, round(cell / 3)) : 0) : cell >= 6 ? 1 : 0);

/** Number of the grain a weight belongs to. */
export function grainAt([, C, R, S], [gk, gc, gr, gs], k, c, r, s) {
	const [nc, nr, ns] = [ceil(C / gc), ceil(R / gr), ceil(S / gs)];
	return ((floor(k / gk) * nc + floor(c / gc)) * nr + floor(r / gr)) * ns + floor(s / gs);
}

/** First weight and extent of a grain: [k, c, r, s, K, C, R, S], cut off by the edge of the weight. */
export function grainBox([K, C, R, S], [gk, gc, gr, gs], number) {
	const [nc, nr, ns] = [ceil(C / gc), ceil(R / gr), ceil(S / gs)];
	const s = (number % ns) * gs;
	const r = (floor(number / ns) % nr) * gr;
	const c = (floor(number / (ns * nr)) % nc) * gc;
	const k = floor(number / (ns * nr * nc)) * gk;
	return [k, c, r, s, min(gk, K - k), min(gc, C - c), min(gr, R - r), min(gs, S - s)];
}

/** Colours of the codes -127..127, of kept and of pruned weights, as pixels. */
export function colourTables(palette) {
	const [small, gone] = [rgb(palette.small), rgb(palette.pruned)];
	const kept = new Uint32Array(256);
	const pruned = new Uint32Array(256);
	for (let code = -128; code < 128; code++) {
		const colour = mix(small, rgb(code < 0 ? palette.negative : palette.positive), min(1, abs(code) / 127));
		kept[code & 255] = word(colour);
		pruned[code & 255] = word(mix(gone, colour, GHOST));
	}
	return { kept, pruned };
}

function render({ model, el }) {
	const button = (name, sign, key) => `<button type="button" aria-label="${name}" title="${name} (${key})">${sign}</button>`;
	const view = canvasView({
		model, el, kind: "seer-grain", palettes: PALETTES,
		html: ({ stage, help }) => `<header><div class="title"></div>
<label>Granularity <select aria-label="Granularity">${GRANULARITIES.map((g) => `<option>${g}</option>`).join("")}</select></label>
<label>Sparsity <input type="range" aria-label="Sparsity" min="0" max="1" step="0.01"><output></output></label></header>
<p class="cost" aria-live="polite"></p>
<div class="body"><div class="main">${stage}<div class="steps">${button("Zoom out", "&#8722;", "-")}${button("Zoom in", "+", "+")}${button("Whole weight", "whole weight", "Escape")}<span class="place"></span></div></div>
<div class="side"><div class="legend"></div><div class="read" aria-live="polite"></div></div></div>
<div class="figures"></div>${help}`,
	});
	const { root, pen, canvas, find, listen, save, schedule, fill } = view;
	const [title, cost, place, legend, read, figuresBox, help] = [".title", ".cost", ".place", ".legend", ".read", ".figures", ".help"].map(find);
	const [select, slider, number] = ["select", "input", "output"].map(find);
	const [zoomOut, zoomIn, whole_] = root.querySelectorAll("button");
	const sheet = document.createElement("canvas"); // one dot per weight, reduced when drawn
	let tables = colourTables(PALETTES.light);
	let codes = null; // of the drawn filters, -127 to 127
	let values = null; // the weights themselves, where they are small enough to travel
	let cell = 0; // dots of a weight; a fraction where several share a dot
	let zoom = null; // index into CELLS that was asked for; null: chosen by size, -1: the whole weight
	let top = 0; // first filter on screen
	let left = 0; // first input channel
	let cursor = [0, 0, 0, 0]; // weight under the keyboard: k, c, r, s
	let figures = null;
	let answer = null; // of the kernel, about one grain
	let asked = null; // id of the question underway
	let askedAt = 0;
	let questions = 0;
	let sendTimer = 0;
	let wanted = null;
	let drag = null;
	let grid = null; // how the picture lies: {step: [x, y], gap, rows, columns}

	const bit = (n) => (view.frame.bits[n >> 3] >> (7 - (n & 7))) & 1;
	const current = () => grainAt(view.frame.shape, view.frame.grain, ...cursor);
	const drawnShape = () => [view.frame.drawn, ...view.frame.shape.slice(1)];

	/* -- layout -- */

	function arrange(width, height) {
		const [K, C, R, S] = drawnShape();
		const edge = EDGE * view.dots;
		const [w, h] = [width - 2 * edge, height - 2 * edge];
		const sizes = CELLS.map((c) => round(c * view.dots));
		const across = (size) => C * (S * size + gapOf(size, R, S)) - gapOf(size, R, S) <= w;
		const down = (size) => K * (R * size + gapOf(size, R, S)) - gapOf(size, R, S) <= h;
		const largest = sizes.filter((size) => across(size) && down(size)).pop();
		const first = FIRST_CELLS.map((c) => round(c * view.dots));
		if (zoom === null) cell = largest >= first[0] ? largest : first.find(across) || first[0];
		else if (zoom < 0) cell = largest || min(w / (C * S), h / (K * R));
		else cell = sizes[zoom];
		const gap = gapOf(cell, R, S);
		const step = [S * cell + gap, R * cell + gap];
		const columns = min(C, max(1, floor((w + gap) / step[0])));
		const rows = min(K, max(1, floor((h + gap) / step[1])));
		top = max(0, min(top, K - rows));
		left = max(0, min(left, C - columns));
		grid = { step, gap, rows, columns, largest: largest || 0, x: edge + max(0, (w - columns * step[0] + gap) >> 1), y: edge + max(0, (h - rows * step[1] + gap) >> 1) };
	}

	const boxOf = ([k, c, r, s, nk, nc, nr, ns]) => [
		grid.x + (c - left) * grid.step[0] + s * cell,
		grid.y + (k - top) * grid.step[1] + r * cell,
		(nc - 1) * grid.step[0] + (nc > 1 ? view.frame.shape[3] : ns) * cell,
		(nk - 1) * grid.step[1] + (nk > 1 ? view.frame.shape[2] : nr) * cell,
	];

	/* -- drawing -- */

	function draw(w, h) {
		arrange(w, h);
		pen.clearRect(0, 0, w, h);
		if (cell >= 1) cells(w, h);
		else overview();
		pen.save();
		pen.beginPath();
		const room = EDGE * view.dots;
		pen.rect(grid.x - room, grid.y - room, grid.columns * grid.step[0] + 2 * room, grid.rows * grid.step[1] + 2 * room);
		pen.clip();
		outlines();
		if (values && cell >= VALUE_FROM * view.dots) numbersInCells();
		view.outline(...boxOf(grainBox(view.frame.shape, view.frame.grain, current())));
		pen.restore();
		bars(w, h);
		describe();
		ask();
	}

	/** Every weight a square of whole dots. */
	function cells(w, h) {
		const { shape: [, C, R, S], grain } = view.frame;
		const image = new ImageData(w, h);
		const pixels = new Uint32Array(image.data.buffer);
		for (let k = top; k < top + grid.rows; k++) {
			for (let r = 0; r < R; r++) {
				const y = grid.y + (k - top) * grid.step[1] + r * cell;
				const start = y * w;
				for (let c = left; c < left + grid.columns; c++) {
					let x = grid.x + (c - left) * grid.step[0];
					for (let s = 0; s < S; s++, x += cell) {
						const code = codes[((k * C + c) * R + r) * S + s] & 255;
						const colour = (bit(grainAt(view.frame.shape, grain, k, c, r, s)) ? tables.kept : tables.pruned)[code];
						pixels.fill(colour, start + x, start + min(x + cell, w));
					}
				}
				for (let row = 1; row < cell && y + row < h; row++) pixels.copyWithin((y + row) * w, start, start + w);
			}
		}
		pen.putImageData(image, 0, 0);
	}

	/** Several weights to a dot: their mean. */
	function overview() {
		const { shape: [, C, R, S], drawn: K, grain } = view.frame;
		if (sheet.width !== C * S || sheet.height !== K * R) [sheet.width, sheet.height] = [C * S, K * R];
		const image = new ImageData(C * S, K * R);
		const pixels = new Uint32Array(image.data.buffer);
		for (let k = 0, i = 0; k < K; k++) {
			for (let c = 0; c < C; c++) {
				for (let r = 0; r < R; r++) {
					for (let s = 0; s < S; s++, i++) {
						const table = bit(grainAt(view.frame.shape, grain, k, c, r, s)) ? tables.kept : tables.pruned;
						pixels[(k * R + r) * C * S + c * S + s] = table[codes[i] & 255];
					}
				}
			}
		}
		sheet.getContext("2d").putImageData(image, 0, 0);
		pen.imageSmoothingEnabled = true;
		pen.imageSmoothingQuality = "high";
		pen.drawImage(sheet, grid.x, grid.y, C * S * cell, K * R * cell);
	}

	/** Kept grains in one thin line each, where there is room for it. */
	function outlines() {
		const { shape, grain } = view.frame;
		const spans = boxOf([0, 0, 0, 0, ...grain]);
		if (min(spans[2], spans[3]) < OUTLINE_FROM * view.dots || cell < 2) return;
		const [gk, gc, gr, gs] = grain;
		pen.strokeStyle = view.palette.line;
		pen.lineWidth = max(1, round(0.75 * view.dots));
		const inset = pen.lineWidth / 2;
		pen.beginPath();
		for (let k = top - (top % gk); k < top + grid.rows; k += gk) {
			for (let c = left - (left % gc); c < left + grid.columns; c += gc) {
				for (let r = 0; r < shape[2]; r += gr) {
					for (let s = 0; s < shape[3]; s += gs) {
						const n = grainAt(shape, grain, k, c, r, s);
						if (!bit(n)) continue;
						const [x, y, w, h] = boxOf(grainBox(shape, grain, n));
						pen.rect(x + inset, y + inset, w - 2 * inset, h - 2 * inset);
					}
				}
			}
		}
		pen.globalAlpha = 0.55;
		pen.stroke();
		pen.globalAlpha = 1;
	}

	function numbersInCells() {
		const { shape: [, C, R, S], grain } = view.frame;
		view.script(cell / view.dots / 3.4, "center");
		pen.textBaseline = "middle";
		const base = [tables.kept, tables.pruned];
		for (let k = top; k < top + grid.rows; k++) {
			for (let c = left; c < left + grid.columns; c++) {
				for (let r = 0; r < R; r++) {
					for (let s = 0; s < S; s++) {
						const i = ((k * C + c) * R + r) * S + s;
						const kept = bit(grainAt(view.frame.shape, grain, k, c, r, s));
						const colour = base[kept ? 0 : 1][codes[i] & 255];
						pen.fillStyle = kept ? ink([colour & 255, (colour >> 8) & 255, (colour >> 16) & 255]) : view.look("--soft");
						const [x, y] = boxOf([k, c, r, s, 1, 1, 1, 1]);
						pen.fillText(short(Number(values[i].toPrecision(2))), x + cell / 2, y + cell / 2 + 1, 0.9 * cell);
					}
				}
			}
		}
	}

	/** Which part of a larger weight is on screen: a bar at the bottom and one at the right. */
	function bars(w, h) {
		const [K, C] = drawnShape();
		const thick = 3 * view.dots;
		pen.fillStyle = view.palette.bar;
		if (grid.columns < C) pen.fillRect((left / C) * w, h - thick, (grid.columns / C) * w, thick);
		if (grid.rows < K) pen.fillRect(w - thick, (top / K) * h, thick, (grid.rows / K) * h);
	}

	/* -- words -- */

	function describe() {
		const { heading, facts, shape, granularity, grains, kept, density, scale, drawn } = view.frame;
		title.innerHTML = `${escaped(heading)} <small>${facts}</small>`;
		title.title = title.textContent;
		select.value = model.get("granularity");
		if (wanted === null) slider.value = model.get("sparsity");
		slider.disabled = granularity === FIXED;
		number.textContent = granularity === FIXED ? `fixed: ${round(100 * (1 - density))} %` : `${round(100 * view.frame.sparsity)} %`;
		const n = current();
		const range = (name, first, count, all) => `${name} ${first}${count > 1 ? `\u2013${first + count - 1}` : ""} of ${all}`;
		const cut = drawn < shape[0] ? ` (the first ${drawn} filters are drawn)` : "";
		place.textContent = `${range("filters", top, grid.rows, shape[0])}, ${range("channels", left, grid.columns, shape[1])}${cut}`;
		fill(legend, `<table><caption>${whole(kept)} of ${whole(grains)} grains kept</caption></table><div class="ramp"><i></i><span>\u2212${short(scale)}</span><span>0</span><span>+${short(scale)}</span></div><p><i class="gone"></i> pruned, pale <span class="soft">(density ${share(density)})</span></p>`);
		const words = grainWords(n);
		fill(read, words.html);
		view.say(`Weights of ${heading}, ${facts}; ${granularity}, ${whole(kept)} of ${whole(grains)} grains kept; ${words.text}`);
		fill(help, "Arrow keys walk from grain to grain, + and \u2212 zoom, Escape shows the whole weight, Page Up and Page Down turn to other filters; drag to move a larger weight.");
		const sizes = CELLS.map((c) => round(c * view.dots));
		zoomOut.disabled = whole_.disabled = zoom === -1 || cell <= grid.largest;
		zoomIn.disabled = cell >= sizes.at(-1);
		if (figures) {
			fill(figuresBox, figures.html);
			fill(cost, figures.cost);
			const same = figures.layer === view.frame.layer && figures.granularity === granularity && figures.sparsity === view.frame.sparsity;
			figuresBox.classList.toggle("old", !same);
			cost.classList.toggle("old", !same);
		}
	}

	function grainWords(n) {
		const { shape, grain, granularity } = view.frame;
		const [k, c, r, s, nk, nc, nr, ns] = grainBox(shape, grain, n);
		const part = (name, first, count, all) => (count >= all ? "" : `${name} ${first}${count > 1 ? `\u2013${first + count - 1}` : ""}`);
		const where = [part("filter", k, nk, shape[0]), part("channel", c, nc, shape[1]), part("row", r, nr, shape[2]), part("column", s, ns, shape[3])].filter(Boolean).join(", ");
		const state = bit(n) ? "kept" : "pruned";
		let text = `grain ${whole(n)}${where ? `: ${where}` : ""}; ${state}`;
		let html = `<p><b>Grain ${whole(n)}</b> of ${whole(view.frame.grains)} <span class="${state}">${state}</span></p><p>${where || "the whole weight"}</p>`;
		const told = answer && answer.number === n && answer.key === keyOf() ? answer : null;
		const rows = [];
		const line = ns > 1 ? ns : nc; // as in the kernel, or as the channels lie
		for (let i = 0; i < told?.weights.length; i += line) rows.push(told.weights.slice(i, i + line).map(short).join("  "));
		html += `<p>salience \u03a3|w| ${told ? `<b>${short(told.salience)}</b>` : "\u2026"}</p><p class="soft">${told ? `${whole(told.rank)} grains have less${granularity === FIXED ? "" : `; ${whole(view.frame.grains - view.frame.kept)} are pruned`}` : "\u00a0"}</p><pre>${rows.join("\n")}${told && told.size > told.weights.length ? `\n\u2026 ${whole(told.size)} weights` : ""}</pre>`;
		if (told) text += `; salience ${short(told.salience)}`;
		return { html, text };
	}

	/* -- one grain -- */

	const keyOf = () => `${view.frame.layer}/${view.frame.granularity}/${view.frame.sparsity}`;

	function ask() {
		const n = current();
		if (answer && answer.number === n && answer.key === keyOf()) return;
		if (asked && performance.now() - askedAt < PROBE_PATIENCE) return;
		asked = { id: `${view.uid}/${++questions}`, number: n, key: keyOf() };
		askedAt = performance.now();
		model.send({ kind: "probe", id: asked.id, number: n });
	}

	function answered(message) {
		if (!asked || message.id !== asked.id) return;
		if (message.number === asked.number) answer = { ...message, key: asked.key };
		const lost = message.number === undefined;
		asked = null;
		if (!lost) schedule();
	}

	/* -- moving -- */

	function bringIntoView() {
		const [k, c, , , nk, nc] = grainBox(view.frame.shape, view.frame.grain, current());
		if (k < top) top = k;
		else if (k + min(nk, grid.rows) > top + grid.rows) top = k + min(nk, grid.rows) - grid.rows;
		if (nc >= grid.columns) return; // a whole filter is wider than the stage: the channels on screen stay
		if (c < left) left = c;
		else if (c + nc > left + grid.columns) left = c + nc - grid.columns;
	}

	/** From one grain to the next, across the edges of kernels. */
	function walk([down, right]) {
		const [K, C, R, S] = drawnShape();
		const [gk, gc, gr, gs] = view.frame.grain;
		const along = (major, minor, size, span, count, all, by) => {
			const start = major * size + minor;
			const extent = span > 1 || count >= size ? span * size : count;
			const to = floor(start / extent) * extent + by * extent;
			return to >= 0 && to < all * size ? [floor(to / size), to % size] : [major, minor];
		};
		let [k, c, r, s] = cursor;
		if (down) [k, r] = along(k, r, R, gk, gr, K, down);
		if (right) [c, s] = along(c, s, S, gc, gs, C, right);
		cursor = [k, c, r, s];
		bringIntoView();
		schedule();
	}

	function enlarge(by) {
		const sizes = CELLS.map((c) => round(c * view.dots));
		const at = by > 0 ? sizes.findIndex((size) => size > cell) : sizes.findLastIndex((size) => size < cell);
		zoom = at < 0 ? (by > 0 ? sizes.length - 1 : -1) : at;
		if (by < 0 && sizes[at] <= grid.largest) zoom = -1;
		const before = [grid.rows, grid.columns];
		arrange(canvas.width, canvas.height);
		/* The selected grain stays on screen, in the middle if the picture grew around it. */
		const [k, c] = cursor;
		if (before[0] !== grid.rows) top = k - (grid.rows >> 1);
		if (before[1] !== grid.columns) left = c - (grid.columns >> 1);
		schedule();
	}

	function entire() {
		zoom = -1;
		schedule();
	}

	function turn(pages) {
		top += pages * grid.rows;
		cursor[0] = max(0, min(view.frame.drawn - 1, cursor[0] + pages * grid.rows));
		schedule();
	}

	function key(event) {
		const arrow = ARROWS[event.key];
		if (arrow) walk(arrow);
		else if (event.key === "+" || event.key === "=" || event.key === "Enter") enlarge(1);
		else if (event.key === "-") enlarge(-1);
		else if (event.key === "Escape") entire();
		else if (event.key === "PageDown") turn(1);
		else if (event.key === "PageUp") turn(-1);
		else if (event.key === "Home") [cursor, top, left] = [[0, 0, 0, 0], 0, 0];
		else return false;
		schedule();
		return true;
	}

	function weightAt(event) {
		const [x, y] = view.at(event);
		const [R, S] = view.frame.shape.slice(2);
		const [c, k] = [floor((x - grid.x) / grid.step[0]), floor((y - grid.y) / grid.step[1])];
		if (c < 0 || k < 0 || c >= grid.columns || k >= grid.rows) return null;
		const [s, r] = [floor((x - grid.x - c * grid.step[0]) / cell), floor((y - grid.y - k * grid.step[1]) / cell)];
		return [k + top, c + left, min(r, R - 1), min(s, S - 1)];
	}

	function moved(event) {
		if (!view.frame) return;
		if (drag && event.buttons) {
			const [x, y] = view.at(event);
			const before = [top, left];
			[top, left] = [drag.top - round((y - drag.y) / grid.step[1]), drag.left - round((x - drag.x) / grid.step[0])];
			if (top !== before[0] || left !== before[1]) schedule();
			return;
		}
		drag = null;
		const found = weightAt(event);
		if (!found || found.every((v, i) => v === cursor[i])) return;
		cursor = found;
		schedule();
	}

	function pressed(event) {
		if (!view.frame) return;
		const [x, y] = view.at(event);
		drag = { x, y, top, left };
		const found = weightAt(event);
		if (found) cursor = found;
		schedule();
	}

	/* -- controls -- */

	function sendSparsity() {
		sendTimer = 0;
		if (wanted === null) return;
		save("sparsity", wanted);
		wanted = null;
		sendTimer = setTimeout(sendSparsity, SEND_EVERY);
	}

	listen(canvas, "pointermove", moved);
	listen(canvas, "pointerdown", pressed);
	listen(zoomOut, "click", () => view.frame && enlarge(-1));
	listen(zoomIn, "click", () => view.frame && enlarge(1));
	listen(whole_, "click", entire);
	listen(select, "change", () => save("granularity", select.value));
	listen(slider, "input", () => {
		wanted = Number(slider.value);
		if (!sendTimer) sendSparsity();
	});
	listen(slider, "change", () => {
		clearTimeout(sendTimer);
		sendSparsity();
	});
	select.value = model.get("granularity");
	slider.value = model.get("sparsity");

	return view.start({
		unpack(message, buffers) {
			if (message.weights) {
				values = message.exact ? numbers(buffers[1], "float32") : null;
				codes = values ? Int8Array.from(values, (v) => round(max(-127, min(127, (127 * v) / (message.scale || 1))))) : new Int8Array(bytes(buffers[1]).slice().buffer);
			} else if (!codes || !view.known || view.known !== message.layer) return null; // weights of another layer: ask again
			view.known = message.layer;
			return { ...message, bits: bytes(buffers[0]) };
		},
		take(frame, before) {
			if (before && before.layer === frame.layer) return;
			[cursor, top, left, zoom, answer] = [[0, 0, 0, 0], 0, 0, null, null];
		},
		draw,
		height: (width, narrow) => max(260, min(480, (narrow ? width : width - SIDE) * 0.62)),
		wide: WIDE,
		recolour(palette) {
			tables = colourTables(palette);
			for (const [name, value] of Object.entries(palette)) root.style.setProperty(`--${name}`, value);
		},
		key,
		traits: { granularity: schedule, sparsity: schedule },
		messages: {
			figures(message) {
				figures = message;
				schedule();
			},
			probe: answered,
		},
		stop: () => clearTimeout(sendTimer),
	});
}

export default { render };
