/* The mask view: which outputs of a layer are predicted to matter, and which really do.
 *
 * A frame holds 1 bit per output, row-major over (channel, row, column), most significant bit first; the true mask comes along
 * only when the layer changed. Three levels of zoom share one canvas: all channels, one channel, single outputs.
 *
 * Class of an output = predicted + 2 * true: 0 skipped, 1 wasted, 2 false skip, 3 kept. */

const WORDS = ["skipped", "wasted", "false skips", "kept"];
const KEYS = ["skipped", "wasted", "false_skips", "kept"];
const MEANING = ["zero, not computed", "computed, but zero", "needed, but skipped", "needed and computed"];
const LEGEND_ORDER = [3, 0, 2, 1];
/* Okabe-Ito: the computed is blue, the missed vermillion, the rest recedes into the page. */
export const PALETTES = {
	light: { colours: ["#e3e6ea", "#56b4e9", "#d55e00", "#0072b2"], cue: "#1b1b1b", line: "#00000022" },
	dark: { colours: ["#30353d", "#66bdf0", "#ff7a1f", "#0f7abf"], cue: "#101010", line: "#ffffff22" },
};
/* Outputs that share a dot are drawn in their mean colour, errors over it and stronger than their share: a lone false
 * skip among many could not be seen from the back of a room. */
const EMPHASIS = { wasted: 1.5, falseSkip: 3, least: 0.35 };
const CUE_SIZE = 6; // CSS pixels per output from which cues can be told apart
const PIXEL_SIZE = 26; // CSS pixels per output from which its arithmetic is the subject
const LARGEST_SIZE = 72;
const SIDE = 314; // CSS pixels of the legend and its gap
const WIDE = 740; // from here on the legend stands beside the picture
const PROBE_PATIENCE = 1000; // ms after which a lost probe reply is given up

/* ---- bits to classes ---- */

const NIBBLES = new Uint32Array(256); // four classes, as bytes, for four predicted and four true bits
for (let i = 0; i < 256; i++) {
	for (let b = 0; b < 4; b++) {
		NIBBLES[i] |= (((i >> (7 - b)) & 1) | (((i >> (3 - b)) & 1) << 1)) << (8 * b);
	}
}

/** One class per byte for `count` outputs; `reuse` may be an earlier result. */
export function classify(predicted, truth, count, reuse) {
	const n = (count + 7) >> 3;
	const buffer = reuse && reuse.buffer.byteLength === 8 * n ? reuse.buffer : new ArrayBuffer(8 * n);
	const words = new Uint32Array(buffer);
	for (let i = 0, w = 0; i < n; i++) {
		const p = predicted[i];
		const t = truth[i];
		words[w++] = NIBBLES[(p & 240) | (t >> 4)];
		words[w++] = NIBBLES[((p & 15) << 4) | (t & 15)];
	}
	return new Uint8Array(buffer, 0, count);
}

/* ---- painting: `image` is {pixels: Uint32Array, width, height} ---- */

for (const palette of Object.values(PALETTES)) {
	palette.rgb = palette.colours.map(rgb);
}

/** Area average of one plane in a smaller w x h box at (x, y). */
function paintSmaller(image, classes, start, P, Q, x, y, w, h, colours, mode) {
	const target = new Uint16Array(Q);
	for (let c = 0; c < Q; c++) target[c] = floor((c * w) / Q) << 2;
	const counts = new Uint32Array(4 * w);
	const [zero, wasted, missed, kept] = colours;
	const [none, full] = [word(zero), word(kept)];
	const fromWasted = mode === "predicted";
	let row = 0;
	for (let v = 0; v < h; v++) {
		counts.fill(0);
		const end = ceil(((v + 1) * P) / h);
		for (; row < end; row++) {
			let i = start + row * Q;
			for (let c = 0; c < Q; c++) counts[target[c] | classes[i++]]++;
		}
		let o = (y + v) * image.width + x;
		for (let k = 0; k < 4 * w; k += 4) {
			let b = counts[k + 1];
			let c = counts[k + 2];
			let d = counts[k + 3];
			const all = counts[k] + b + c + d;
			if (mode !== "difference") {
				d += fromWasted ? b : c;
				b = c = 0;
			}
			if (d === all) image.pixels[o++] = full;
			else if (!(b | c | d)) image.pixels[o++] = none;
			else {
				const blue = d / (all - b - c || 1);
				const sky = min(1, (b * EMPHASIS.wasted) / all);
				const red = c && min(1, max(EMPHASIS.least, (c * EMPHASIS.falseSkip) / all));
				let colour = 255;
				for (let i = 2; i >= 0; i--) {
					let value = zero[i] + blue * (kept[i] - zero[i]);
					value += sky * (wasted[i] - value);
					colour = (colour << 8) | (value + red * (missed[i] - value));
				}
				image.pixels[o++] = colour >>> 0;
			}
		}
	}
}

/** One plane at `scale` >= 1 dots per output, its corner at (x, y), as far as the image goes. */
function paintLarger(image, classes, start, P, Q, x, y, scale, packed) {
	const [left, top] = [max(x, 0), max(y, 0)];
	const right = min(x + floor(Q * scale), image.width);
	const bottom = min(y + floor(P * scale), image.height);
	if (right <= left) return;
	const column = new Uint16Array(right - left);
	for (let u = left; u < right; u++) column[u - left] = floor((u - x) / scale);
	let last = -1;
	for (let v = top; v < bottom; v++) {
		const row = floor((v - y) / scale);
		const o = v * image.width + left;
		if (row === last) image.pixels.copyWithin(o, o - image.width, o - image.width + right - left);
		else for (let u = 0; u < column.length; u++) image.pixels[o + u] = packed[classes[start + row * Q + column[u]]];
		last = row;
	}
}

/* ---- words and numbers ---- */

const exact = (v) => (Number.isInteger(v) ? minus(whole(v)) : real(v));

const swatch = (k) =>
	`<svg viewBox="0 0 16 16" aria-hidden="true"><rect x=".5" y=".5" width="15" height="15" fill="var(--c${k})"/><path d="${
		["", "M1 15L15 1", "M3 3L13 13M13 3L3 13", ""][k]}"/></svg>`;
/* What a class counts as in a mode: single masks know only kept and skipped. */
const shownAs = (k, mode) => (mode === "difference" ? k : (mode === "predicted" ? k & 1 : k >> 1) ? 3 : 0);

const HELP = {
	mosaic: "Click a channel, or choose one by arrow keys and Enter. In small pictures errors are drawn stronger than their share.",
	channel: "Point at an output, or use the arrow keys. Enter or + shows single outputs, Escape all channels.",
	pixel: "Arrow keys move, + and \u2212 zoom, Escape shows the whole channel.",
};

function render({ model, el }) {
	const radio = (uid, value, text) =>
		`<label><input type="radio" name="${uid}" value="${value}"><span>${text}</span></label>`;
	const view = canvasView({ model, el, kind: "seer-mask", palettes: PALETTES, html: ({ uid, stage, help }) => `<header><div class="title"></div>
<div class="choice" role="radiogroup" aria-label="Mask shown">${radio(uid, "predicted", "Predicted")}${radio(uid, "true", "True")}${radio(uid, "difference", "Difference")}</div>
<div class="zoom"><button type="button" aria-label="Back" title="Back (Escape)">&#8617;</button><button type="button" aria-label="Zoom out" title="Zoom out (-)">&#8722;</button><button type="button" aria-label="Zoom in" title="Zoom in (+)">+</button></div></header>
<div class="body">${stage}
<div class="side"><table class="legend"><tbody>${LEGEND_ORDER.map((k) => `<tr data-class="${k}"><td>${swatch(k)}</td><th scope="row"></th><td></td><td></td></tr>`).join("")}</tbody></table>
<div class="read" aria-live="polite"></div></div></div>${help}` });
	const { root, stage, canvas, pen, schedule, save, listen, outline } = view;
	const [title, side, read, help] = [".title", ".side", ".read", ".help"].map(view.find);
	const [back, zoomOut, zoomIn] = root.querySelectorAll("button");
	const radios = [...root.querySelectorAll("input")];
	const rows = [...root.querySelectorAll(".legend tr")];
	canvas.dataset.level = "mosaic";

	let frame = null; // content of the frame on screen, with .classes
	let truth = null; // {layer, bits}
	let palette = PALETTES.light;
	let image = null;
	let clicked = ""; // level at which a double click began
	let geometry = null;
	let selected = 0; // channel of the keyboard in the mosaic
	let hovered = null; // {channel, row, column} under the pointer
	let zoom = 0; // dots per output; 0: fit the stage
	let centre = null; // [row, column] in the middle of the stage
	let probe = null; // last reply of the kernel
	let asked = null; // id of the probe on its way
	let nextProbe = null;
	let probes = 0;
	let probeTimer = 0;
	let dots = 1; // device pixels per CSS pixel

	const mode = () => model.get("mode");
	const channel = () => {
		const k = model.get("channel");
		return frame && k >= 0 && k < frame.shape[0] ? k : -1;
	};
	const level = () => (channel() < 0 ? "mosaic" : geometry.scale < PIXEL_SIZE * dots ? "channel" : "pixel");
	const pinned = () => {
		const p = model.get("probe");
		return frame && p[0] >= 0 && p[1] >= 0 && p[0] < frame.shape[1] && p[1] < frame.shape[2] ? p : null;
	};
	const middle = () => [frame.shape[1] >> 1, frame.shape[2] >> 1];
	const same = (a, b) => a && b && a.channel === b.channel && a.row === b.row && a.column === b.column;

	/* -- drawing -- */

	function take(next, before) {
		const changed = !before || before.layer !== next.layer;
		const [K, P, Q] = next.shape;
		next.classes = classify(next.predicted, truth.bits, K * P * Q, before && before.classes);
		frame = next;
		if (changed) [zoom, centre, probe, hovered, selected] = [0, null, null, null, min(selected, K - 1)];
	}

	function draw(width, height) {
		dots = view.dots;
		paint(width, height);
		describe();
	}

	function paint(width, height) {
		if (!image || image.width !== width || image.height !== height) {
			const data = new ImageData(width, height);
			image = { data, pixels: new Uint32Array(data.data.buffer), width, height };
		}
		const m = mode();
		const packed = Uint32Array.from([0, 1, 2, 3], (k) => word(palette.rgb[shownAs(k, m)]));
		image.pixels.fill(0); // transparent: the page shows between the tiles
		const [K, P, Q] = frame.shape;
		const plane = (i, x, y, w, h) =>
			geometry.scale < 1
				? paintSmaller(image, frame.classes, i * P * Q, P, Q, x, y, w, h, palette.rgb, m)
				: paintLarger(image, frame.classes, i * P * Q, P, Q, x, y, geometry.scale, packed);
		const k = channel();
		if (k < 0) {
			const gap = round(4 * dots);
			geometry = mosaicLayout(K, P, Q, width, height, gap, round(14 * dots));
			geometry.labelled = geometry.w >= 48 * dots;
			if (!geometry.labelled) geometry = mosaicLayout(K, P, Q, width, height, gap, gap);
			const g = geometry;
			for (let i = 0; i < K; i++) {
				const [x, y] = corner(g, i);
				plane(i, x, y, g.w, g.h);
			}
		} else {
			const fit = min(width / Q, height / P);
			const base = min(snapped(fit), LARGEST_SIZE * dots);
			const scale = zoom > base ? zoom : base;
			const [w, h] = [max(1, floor(Q * scale)), max(1, floor(P * scale))];
			const at = centre || pinned() || middle();
			const place = (size, room, middle) =>
				size <= room ? (room - size) >> 1 : round(min(0, max(room - size, room / 2 - (middle + 0.5) * scale)));
			geometry = { scale, base, w, h, x: place(w, width, at[1]), y: place(h, height, at[0]) };
			plane(k, geometry.x, geometry.y, w, h);
		}
		pen.putImageData(image.data, 0, 0);
		if (m === "difference" && geometry.scale >= CUE_SIZE * dots) cues(width, height);
		if (k < 0) marks();
		else crosshair();
		canvas.dataset.level = level();
	}

	/* Second cue beside colour: a false skip is crossed out, a wasted output is hatched. */
	function cues(width, height) {
		const [K, P, Q] = frame.shape;
		const s = geometry.scale;
		const one = channel();
		const pad = max(1, round(s * 0.2));
		pen.beginPath();
		for (let i = one < 0 ? 0 : one; i < (one < 0 ? K : one + 1); i++) {
			const [x, y] = one < 0 ? corner(geometry, i) : [geometry.x, geometry.y];
			const top = max(0, floor(-y / s));
			const left = max(0, floor(-x / s));
			const [bottom, right] = [min(P, ceil((height - y) / s)), min(Q, ceil((width - x) / s))];
			for (let r = top; r < bottom; r++) {
				for (let c = left; c < right; c++) {
					const kind = frame.classes[(i * P + r) * Q + c];
					if (kind !== 1 && kind !== 2) continue;
					const [a, b, d, e] = [x + c * s + pad, y + r * s + pad, x + (c + 1) * s - pad, y + (r + 1) * s - pad];
					pen.moveTo(a, e);
					pen.lineTo(d, b);
					if (kind === 2) {
						pen.moveTo(a, b);
						pen.lineTo(d, e);
					}
				}
			}
		}
		pen.strokeStyle = palette.cue;
		pen.lineWidth = max(1, s * 0.09);
		pen.stroke();
		if (s < 10 * dots || one < 0) return;
		pen.fillStyle = palette.line;
		const { x, y, w, h } = geometry;
		for (let c = 0; c <= Q; c++) pen.fillRect(x + c * s, max(0, y), 1, min(height, h));
		for (let r = 0; r <= P; r++) pen.fillRect(max(0, x), y + r * s, min(width, w), 1);
	}

	/* Below each tile: its number and its false skips, or a tick as long as its false skips where there is no room. */
	function marks() {
		const g = geometry;
		const K = frame.shape[0];
		const misses = frame.channels.false_skips;
		const most = max(1, ...misses);
		view.script(11, "left");
		const plain = pen.fillStyle;
		pen.textBaseline = "top";
		for (let i = 0; i < K; i++) {
			const [x, y] = corner(g, i);
			if (g.labelled) {
				pen.textAlign = "left";
				pen.fillStyle = plain;
				pen.fillText(i, x, y + g.h + 2 * dots);
				const count = `\u2715${whole(misses[i])}`;
				if (mode() === "difference" && misses[i] && pen.measureText(`${i}  ${count}`).width <= g.w) {
					pen.textAlign = "right";
					pen.fillText(count, x + g.w, y + g.h + 2 * dots);
				}
			} else if (mode() === "difference" && misses[i]) {
				pen.fillStyle = palette.colours[2];
				pen.fillRect(x, y + g.h + 1, max(1, round((g.w * misses[i]) / most)), 2 * dots);
			}
		}
		const [x, y] = corner(g, min(selected, K - 1));
		outline(x, y, g.w, g.h);
	}

	function crosshair() {
		const place = target();
		if (!place) return;
		const { x, y, scale: s } = geometry;
		if (level() === "pixel" && same(probe, place)) {
			pen.setLineDash([5 * dots, 4 * dots]);
			pen.strokeStyle = view.look("color");
			pen.lineWidth = 2 * dots;
			for (const { rows: [r0, r1], columns: [c0, c1] } of probe.windows) pen.strokeRect(x + c0 * s, y + r0 * s, (c1 - c0) * s, (r1 - r0) * s);
			pen.setLineDash([]);
		}
		const size = max(s, 7 * dots); // a ring that can be seen around outputs of a few dots
		const [cx, cy] = [x + (place.column + 0.5) * s, y + (place.row + 0.5) * s];
		outline(cx - size / 2, cy - size / 2, size, size);
	}

	/* -- words beside the picture -- */

	function describe() {
		const [K, P, Q] = frame.shape;
		const k = channel();
		const m = mode();
		const total = k < 0 ? K * P * Q : P * Q;
		const counts = [0, 0, 0, 0];
		KEYS.forEach((name, c) => (counts[shownAs(c, m)] += k < 0 ? frame.counts[name] : frame.channels[name][k]));
		const kinds = LEGEND_ORDER.filter((c) => shownAs(c, m) === c);
		for (const row of rows) {
			const c = Number(row.dataset.class);
			row.classList.toggle("off", !kinds.includes(c));
			const meaning = m === "difference" ? MEANING[c] : `${m === "true" ? "really" : "predicted"} ${c ? "needed" : "zero"}`;
			row.cells[1].innerHTML = `<b>${WORDS[c]}</b><small>${meaning}</small>`;
			row.cells[2].textContent = whole(counts[c]);
			row.cells[3].textContent = share(counts[c] / total);
		}
		const size = `${k < 0 ? "" : `channel ${k} of `}${K} channels of ${P} x ${Q}`;
		const setting = `${frame.bits} bit${frame.bits === 1 ? "" : "s"}${frame.margin ? `, margin ${frame.margin}` : ""}`;
		const heading = frame.heading;
		title.innerHTML = `${escaped(heading)} <small>${size.replace("x", "\u00d7")}, ${setting}</small>`;
		title.title = title.textContent;
		const list = kinds.map((c) => `${whole(counts[c])} ${WORDS[c]}`).join(", ");
		const shown = m === "difference" ? "" : `, ${m} mask`;
		view.say(`Layer ${heading}, ${size}, ${setting}${shown}: ${list}`);
		const now = level();
		help.textContent = HELP[now];
		for (const input of radios) input.checked = input.value === m;
		back.disabled = zoomOut.disabled = now === "mosaic";
		zoomIn.disabled = k >= 0 && geometry.scale >= LARGEST_SIZE * dots;
		readout();
	}

	function readout() {
		const place = target();
		let text;
		if (!frame) text = "";
		else if (channel() < 0) {
			const k = hovered ? hovered.channel : selected;
			const part = LEGEND_ORDER.map((c) => `${whole(frame.channels[KEYS[c]][k])} ${WORDS[c]}`);
			text = `<p><b>Channel ${k}</b></p><p>${part.join(", ")}</p>`;
		} else if (!place) text = `<p class="soft">Point at an output, or press an arrow key, to see its arithmetic.</p>`;
		else if (same(probe, place)) text = arithmetic(probe);
		else return; // the last one stays until the reply is there
		view.fill(read, text);
	}

	function arithmetic(p) {
		const chosen = [`<p>Channel ${p.channel}, row ${p.row}, column ${p.column}</p><p class="verdict">${swatch(p.predicted + 2 * p.true)}<b>${p.verdict}</b></p>
<table class="sums"><tbody>
<tr><th scope="row">Low-bit sum</th><td><b>${exact(p.low_bit_sum)}</b></td><td>\u2248 ${real(p.low_bit_value)}</td></tr>
<tr><th scope="row">Threshold</th><td>${exact(p.threshold)}</td><td></td></tr>
<tr><th scope="row">Full-precision sum</th><td></td><td><b>${real(p.sum)}</b></td></tr></tbody></table>
<p>Prediction: ${p.predicted_word}</p><p>Truth: ${p.true_word}</p>`];
		if (level() === "pixel") {
			const grid = (name, taps, extra, show) =>
				`<table><caption>${name}</caption><tbody>${taps.map((r) => `<tr>${r.map((v) => `<td>${show(v)}</td>`).join("")}</tr>`).join("")}
<tr><td colspan="${taps[0].length}">bias ${show(extra[0])}${extra[1] === null ? "" : `, shortcut ${show(extra[1])}`}</td></tr></tbody></table>`;
			chosen.push(`<div class="taps">${grid("Low-bit, per tap", p.low_bit_taps, [p.low_bit_bias, p.low_bit_shortcut], exact)}${grid("Full, per tap", p.taps, [p.bias, p.shortcut], (v) => minus(v.toFixed(2)))}</div>`);
		}
		return chosen.join("");
	}

	/* -- the probed output -- */

	const target = () => {
		const k = channel();
		if (k < 0) return null;
		if (hovered && hovered.channel === k) return hovered;
		const p = pinned();
		return p && { channel: k, row: p[0], column: p[1] };
	};

	const refreshProbe = () => target() && ask(target());

	function ask(place) {
		nextProbe = place;
		if (asked) return;
		nextProbe = null;
		asked = `${view.uid}-${++probes}`;
		model.send({ kind: "probe", id: asked, channel: place.channel, row: place.row, column: place.column });
		probeTimer = setTimeout(answered, PROBE_PATIENCE);
	}

	function answered() {
		clearTimeout(probeTimer);
		asked = null;
		if (nextProbe) ask(nextProbe);
	}

	function point(row, column) {
		hovered = null;
		const [, P, Q] = frame.shape;
		const { x, y, scale: s } = geometry;
		const place = [max(0, min(P - 1, row)), max(0, min(Q - 1, column))];
		const [cx, cy] = [x + (place[1] + 0.5) * s, y + (place[0] + 0.5) * s];
		if (zoom && (cx < s || cy < s || cx > canvas.width - s || cy > canvas.height - s)) centre = place;
		save("probe", place);
		schedule();
	}

	/* -- levels -- */

	function open(k) {
		selected = k;
		save("channel", k);
	}

	function goTo(size, at) {
		centre = at || (target() ? [target().row, target().column] : centre);
		zoom = max(geometry.base, min(LARGEST_SIZE * dots, round(size)));
		if (zoom <= geometry.base) [zoom, centre] = [0, null];
		schedule();
	}

	function enlarge(at) {
		if (channel() < 0) open(hovered ? hovered.channel : selected);
		else goTo(max(geometry.scale * 1.5, geometry.scale + 1), at);
	}

	function reduce(at) {
		if (channel() < 0) return;
		if (geometry.scale <= geometry.base) up();
		else goTo(geometry.scale / 1.5, at);
	}

	function up() {
		if (channel() < 0) return;
		if (geometry.scale > geometry.base) goTo(0);
		else {
			selected = channel();
			save("channel", -1);
		}
	}

	function deeper() {
		if (channel() < 0) return open(selected);
		if (!target()) point(...middle());
		if (level() !== "pixel") goTo(PIXEL_SIZE * 1.25 * dots);
	}

	function key(event) {
		const step = ARROWS[event.key];
		const k = channel();
		const K = frame.shape[0];
		if (step && k < 0) {
			hovered = null;
			const next = selected + step[0] * geometry.columns + step[1];
			if (next >= 0 && next < K) selected = next;
			schedule();
		} else if (step) {
			const from = pinned();
			if (from) point(from[0] + step[0], from[1] + step[1]);
			else point(...middle());
		} else if (event.key === "PageDown" && k >= 0) open((k + 1) % K);
		else if (event.key === "PageUp" && k >= 0) open((k + K - 1) % K);
		else if (event.key === "Enter") deeper();
		else if (event.key === "Escape") up();
		else if (event.key === "+" || event.key === "=") enlarge();
		else if (event.key === "-") reduce();
		else return false;
		return true;
	}

	/** Channel, row and column at a pointer event, or null beside the picture. */
	function hit(event) {
		if (!frame) return null;
		const [u, v] = view.at(event);
		const g = geometry;
		const [K, P, Q] = frame.shape;
		if (channel() < 0) {
			const i = tileAt(g, K, [u, v]);
			return i < 0 ? null : { channel: i };
		}
		const [row, column] = [floor((v - g.y) / g.scale), floor((u - g.x) / g.scale)];
		return row >= 0 && column >= 0 && row < P && column < Q ? { channel: channel(), row, column } : null;
	}

	function move(event) {
		const place = hit(event);
		if (same(place, hovered) || (!place && !hovered)) return;
		hovered = place;
		if (place && channel() >= 0) ask(place);
		else readout();
		if (channel() >= 0) schedule();
	}

	/* -- messages -- */

	function unpack(message, buffers) {
		if (message.truth) truth = { layer: message.layer, bits: bytes(buffers[1]) };
		return truth && truth.layer === message.layer ? { ...message, predicted: bytes(buffers[0]) } : null;
	}

	function replied(message) {
		if (message.id !== asked) return;
		if (message.low_bit_taps) probe = message;
		answered();
		schedule();
	}

	function moved() {
		if (channel() >= 0) selected = channel();
		schedule();
		refreshProbe();
	}

	function level0() {
		[zoom, centre, hovered] = [0, null, null];
		moved();
	}

	/* -- size and theme -- */

	function height(width, narrow) {
		const room = width - 16 - (narrow ? 0 : SIDE);
		const high = round(max(280, min(640, room * (narrow ? 0.75 : 0.68))));
		side.style.maxHeight = narrow ? "" : `${high}px`;
		return high;
	}

	function recolour(now) {
		palette = now;
		palette.colours.forEach((c, k) => root.style.setProperty(`--c${k}`, c));
		root.style.setProperty("--cue", palette.cue);
	}

	listen(canvas, "pointermove", move);
	listen(canvas, "pointerleave", () => {
		if (!hovered) return;
		hovered = null;
		schedule();
		refreshProbe();
	});
	listen(canvas, "click", (event) => {
		const place = hit(event);
		if (!place) return;
		if (event.detail < 2) clicked = level();
		if (channel() < 0) open(place.channel);
		else if (event.detail < 2) point(place.row, place.column);
	});
	listen(canvas, "dblclick", (event) => {
		const place = hit(event);
		if (clicked === "channel" && place) goTo(PIXEL_SIZE * 1.25 * dots, [place.row, place.column]);
	});
	listen(canvas, "wheel", (event) => {
		if (document.activeElement !== canvas || (channel() < 0 && event.deltaY > 0)) return; // leave the page its scrolling
		event.preventDefault();
		const place = hit(event);
		const at = place && place.row !== undefined ? [place.row, place.column] : null;
		if (event.deltaY < 0) enlarge(at);
		else reduce(at);
	}, { passive: false });
	listen(back, "click", up);
	listen(zoomOut, "click", () => reduce());
	listen(zoomIn, "click", () => enlarge());
	for (const input of radios) listen(input, "change", () => save("mode", input.value));

	for (const input of radios) input.checked = input.value === mode();

	return view.start({
		unpack, take, draw, height, recolour, key,
		wide: WIDE,
		shown: refreshProbe,
		traits: { mode: schedule, channel: level0, probe: moved },
		messages: { probe: replied },
		stop: () => clearTimeout(probeTimer),
	});
}

export default { render };
