/* The mask view: which outputs of a layer are predicted to matter, and which really do.
 *
 * A frame holds a mask by blocks of 2 x 4 outputs, shortened (mask_code.py); the true mask comes along only when the layer changed.
 * Three levels of zoom share one canvas: all channels, one channel, and one output, beside whose neighbourhood its arithmetic stands.
 * The traits `zoom`, `channel` and `probe` say where one is; how large a channel is drawn is each view's own. */

const PIXEL_SIZE = 30; // CSS pixels per output beyond which one output, with its arithmetic, is the subject
const LARGEST_SIZE = 72; // of the outputs of a small channel
const FOCUS_SIZE = 36; // of the outputs around the one that is the subject
const FOCUS_GAP = 14; // CSS pixels between them and the arithmetic
const SIDE = 314; // CSS pixels of the legend and its gap
const WIDE = 740; // from here on the legend stands beside the picture
const BACK_AFTER = 700; // ms after which a reader who left the layer, but is here still, sees it again
const PROBE_PATIENCE = 1000; // ms after which a lost probe reply is given up

const HELP = {
	mosaic: "Click a channel, or choose one by arrow keys and Enter. In small pictures errors are drawn stronger than their share.",
	channel: "Click an output, or move by arrow keys; Enter shows its arithmetic, + and \u2212 magnify, Escape leads back to all channels.",
	pixel: "Arrow keys go to the next output, Page Up and Page Down to the next channel, Escape back to the whole channel.",
};

function render({ model, el }) {
	const radio = (uid, value, text) =>
		`<label><input type="radio" name="${uid}" value="${value}"><span>${text}</span></label>`;
	const view = canvasView({ model, el, kind: "seer-mask", palettes: PALETTES, html: ({ uid, stage, help }) => `<header><nav class="title" aria-label="Where you are"></nav>
<div class="choice" role="radiogroup" aria-label="Mask shown">${radio(uid, "predicted", "Predicted")}${radio(uid, "true", "True")}${radio(uid, "difference", "Difference")}</div>
<div class="zoom"><button type="button" aria-label="Zoom out" title="Zoom out (-)">&#8722;</button><button type="button" aria-label="Zoom in" title="Zoom in (+)">+</button></div></header>
<div class="body">${stage}
<div class="side"><table class="legend"><tbody>${LEGEND_ORDER.map((k) => `<tr data-class="${k}"><td>${swatch(k)}</td><th scope="row"></th><td></td><td></td></tr>`).join("")}</tbody></table>
<div class="read" aria-live="polite"></div></div>
<section class="pixel" tabindex="0" data-lm-suppress-shortcuts="true" role="region" aria-label="Arithmetic of one output"></section></div>${help}` });
	const { root, stage, canvas, pen, schedule, save, listen, outline } = view;
	const [title, side, read, help, pixel] = [".title", ".side", ".read", ".help", ".pixel"].map(view.find);
	const [zoomOut, zoomIn] = root.querySelectorAll(".zoom button");
	const figure = pixelFigure(view, pixel);
	const travel = traveller(canvas, pen, settle);
	const radios = [...root.querySelectorAll("input")];
	const rows = [...root.querySelectorAll(".legend tr")];
	canvas.dataset.level = "mosaic";

	let frame = null; // content of the frame on screen, with .map
	let truth = null; // {layer, blocks}
	let palette = PALETTES.light;
	let image = null;
	let clicked = ""; // level at which a double click began
	let away = false; // whether the reader left the layer, outwards
	let late = false; // whether something is to be drawn after a travel
	let geometry = null;
	let selected = 0; // channel of the keyboard in the mosaic
	let hovered = null; // {channel, row, column} under the pointer
	let zoom = 0; // dots per output of a channel; 0: fit the stage
	let centre = null; // [row, column] in the middle of the stage
	let probe = null; // last reply of the kernel
	let asked = null; // id of the probe on its way
	let nextProbe = null;
	let probes = 0;
	let probeTimer = 0;
	let backTimer = 0;
	let dots = 1; // device pixels per CSS pixel

	const mode = () => model.get("mode");
	const channel = () => {
		const k = model.get("channel");
		return frame && k >= 0 && k < frame.shape[0] ? k : -1;
	};
	const level = () => (channel() < 0 ? "mosaic" : model.get("zoom") === "pixel" && pinned() ? "pixel" : "channel");
	const pinned = () => {
		const p = model.get("probe");
		return frame && p[0] >= 0 && p[1] >= 0 && p[0] < frame.shape[1] && p[1] < frame.shape[2] ? p : null;
	};
	const middle = () => [frame.shape[1] >> 1, frame.shape[2] >> 1];
	const same = (a, b) => a && b && a.channel === b.channel && a.row === b.row && a.column === b.column;

	/* -- drawing -- */

	function take(next, before) {
		const changed = !before || before.layer !== next.layer;
		next.map = classify(next.told, next.truth, next.against_truth, next.shape, before?.map);
		frame = next;
		travel.stop();
		if (changed) [geometry, zoom, centre, probe, hovered, selected] = [null, 0, null, null, null, min(selected, next.shape[0] - 1)];
	}

	function draw(width, height) {
		if (travel.moving && canvas.width === geometry?.width && canvas.height === geometry.height && !different(geometry, layout(width, height))) {
			late = true;
			return;
		}
		travel.stop();
		dots = view.dots;
		root.dataset.level = level();
		const [before, now] = [geometry, layout(width, height)];
		const moved = before && before.width === width && before.height === height && different(before, now);
		if (moved) travel.leave();
		geometry = now;
		paint();
		const whole = { x: 0, y: 0, w: width, h: height };
		if (away) {
			away = false;
			travel.leave();
			travel.go(inner(whole), whole, "from");
		} else if (moved) {
			const k = max(before.k, now.k);
			travel.go(boxOf(before, k), boxOf(now, k));
		}
		describe();
	}

	/* What changed while the picture moved. */
	function settle() {
		if (late) schedule();
		late = false;
	}

	/* Whether one is seen to travel between two pictures: not from channel to channel, nor along a channel. */
	const different = (a, b) => (a.k < 0) !== (b.k < 0) || (a.k === b.k && abs(a.scale - b.scale) > 1e-6);
	const boxOf = (g, k) => {
		const [x, y] = g.k < 0 ? corner(g, k) : [g.x, g.y];
		return { x, y, w: g.w, h: g.h };
	};
	const inner = ({ w, h }) => ({ x: 0.4 * w, y: 0.4 * h, w: 0.2 * w, h: 0.2 * h });

	/* Where everything is: `k` is the channel or -1, `scale` the dots per output. */
	function layout(width, height) {
		const [K, P, Q] = frame.shape;
		const k = channel();
		const size = { k, width, height };
		if (k < 0) {
			const gap = round(4 * dots);
			const roomy = mosaicLayout(K, P, Q, width, height, gap, round(14 * dots));
			if (roomy.w >= 48 * dots) return { ...roomy, ...size, labelled: true };
			return { ...mosaicLayout(K, P, Q, width, height, gap, gap), ...size, labelled: false };
		}
		const single = level() === "pixel";
		const [right, bottom] = single ? room(width, height) : [width, height];
		const fit = min(snapped(min(right / Q, bottom / P)), LARGEST_SIZE * dots);
		const scale = single ? max(FOCUS_SIZE * dots, fit) : max(zoom, fit);
		const [w, h] = [max(1, floor(Q * scale)), max(1, floor(P * scale))];
		const at = (single && pinned()) || centre || pinned() || middle();
		const place = (size, room, middle) =>
			size <= room ? (room - size) >> 1 : round(min(0, max(room - size, room / 2 - (middle + 0.5) * scale)));
		return { ...size, scale, fit, w, h, x: place(w, right, at[1]), y: place(h, bottom, at[0]) };
	}

	/* What the arithmetic leaves of the stage. */
	function room(width, height) {
		const gap = FOCUS_GAP * dots;
		const narrow = root.classList.contains("narrow");
		return narrow ? [width, pixel.offsetTop * dots - gap] : [min(width, pixel.offsetLeft * dots - gap), height];
	}

	function paint() {
		const { width, height, scale, k } = geometry;
		if (!image || image.width !== width || image.height !== height) {
			const data = new ImageData(width, height);
			image = { data, pixels: new Uint32Array(data.data.buffer), width, height };
		}
		image.pixels.fill(0); // transparent: the page shows between the tiles
		const channels = k < 0 ? Array.from({ length: frame.shape[0] }, (_, i) => i) : [k];
		for (const i of channels) {
			const { x, y, w, h } = boxOf(geometry, i);
			paintChannel(image, frame.map, i, x, y, w, h, scale, palette, mode(), dots);
		}
		pen.putImageData(image.data, 0, 0);
		if (mode() === "difference" && scale >= CUE_SIZE * dots) cues(channels);
		if (k < 0) marks();
		else crosshair();
		canvas.dataset.level = level();
	}

	/* Second cue beside colour: a false skip is crossed out, a wasted output is hatched. */
	function cues(channels) {
		const { x, y, w, h, k, width, height, scale: s } = geometry;
		pen.beginPath();
		for (const i of channels) {
			const box = boxOf(geometry, i);
			strokes(pen, frame.map, i, box.x, box.y, s, width, height);
		}
		pen.strokeStyle = palette.cue;
		pen.lineWidth = max(1, s * 0.09);
		pen.stroke();
		if (s < 10 * dots || k < 0) return;
		const [, P, Q] = frame.shape;
		pen.fillStyle = palette.line;
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
				if (mode() === "difference" && misses[i] && pen.measureText(`${i}  ${count}  `).width <= g.w) {
					pen.textAlign = "right";
					pen.fillText(count, x + g.w - pen.measureText("  ").width, y + g.h + 2 * dots);
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
			for (const { rows, columns } of probe.windows) {
				const [r, c] = [rows[0], columns[0]];
				pen.strokeRect(x + c * s, y + r * s, (columns.at(-1) + 1 - c) * s, (rows.at(-1) + 1 - r) * s);
			}
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
			view.fill(row.cells[1], `<b>${WORDS[c]}</b><small>${meaning}</small>`);
			view.fill(row.cells[2], whole(counts[c]));
			view.fill(row.cells[3], share(counts[c] / total));
		}
		const size = `${k < 0 ? "" : `channel ${k} of `}${K} channels of ${P} x ${Q}`;
		const setting = `${frame.bits} bit${frame.bits === 1 ? "" : "s"}${frame.margin ? `, margin ${frame.margin}` : ""}`;
		const heading = frame.heading;
		const now = level();
		crumbs(now, `${size.replace("x", "\u00d7")}, ${setting}`);
		const list = kinds.map((c) => counted(c, counts[c])).join(", ");
		const shown = m === "difference" ? "" : `, ${m} mask`;
		const [row, column] = pinned() || [];
		const output = now === "pixel" ? `, output in row ${row}, column ${column}: ${CLASS_WORDS[classAt(frame.map, k, row, column)]}` : "";
		view.say(`Layer ${heading}, ${size}, ${setting}${shown}: ${list}${output}`);
		help.textContent = HELP[now];
		for (const input of radios) input.checked = input.value === m;
		zoomOut.disabled = now === "mosaic" && !model.get("outward");
		zoomIn.disabled = now === "pixel";
		pixel.inert = now !== "pixel";
		readout();
	}

	/* From the outside in: the way out, the layer, the channel, the output. Each but the last is a button that leads back there. */
	function crumbs(now, about) {
		const [row, column] = pinned() || [];
		const steps = [["network", model.get("outward")], ["mosaic", frame.heading]];
		if (now !== "mosaic") steps.push(["channel", `channel ${channel()}`]);
		if (now === "pixel") steps.push(["pixel", `row ${row}, column ${column}`]);
		const last = steps.length - 1;
		const parts = steps.map(([to, text], i) =>
			!text ? "" : i === last ? `<span aria-current="location">${escaped(text)}</span>` : `<button type="button" data-lm-suppress-shortcuts="true" data-to="${to}">${escaped(text)}</button><i aria-hidden="true">\u203a</i>`);
		view.fill(title, `${parts.join("")} <small>${about}</small>`);
	}

	function readout() {
		const place = target();
		let text;
		if (!frame) text = "";
		else if (channel() < 0) {
			const k = hovered ? hovered.channel : selected;
			const part = LEGEND_ORDER.map((c) => counted(c, frame.channels[KEYS[c]][k]));
			text = `<p><b>Channel ${k}</b></p><p>${part.join(", ")}</p>`;
		} else if (!place) text = `<p class="soft">Point at an output, or press an arrow key, to see its arithmetic.</p>`;
		else if (same(probe, place)) {
			text = sums(probe);
			if (level() === "pixel" && probe.arrays) figure.show(probe);
		} else return; // the last one stays until the reply is there
		view.fill(read, text);
	}

	function sums(p) {
		return `<p>Channel ${p.channel}, row ${p.row}, column ${p.column}</p><p class="verdict">${swatch(p.predicted + 2 * p.true)}<b>${p.verdict}</b></p>
<table class="sums"><tbody>
<tr><th scope="row">Low-bit sum</th><td><b>${exact(p.low_bit_sum)}</b></td><td>\u2248 ${real(p.low_bit_value)}</td></tr>
<tr><th scope="row">Threshold</th><td>${exact(p.threshold)}</td><td></td></tr>
<tr><th scope="row">Full-precision sum</th><td></td><td><b>${real(p.sum)}</b></td></tr></tbody></table>
<p>Prediction: ${p.predicted_word}</p><p>Truth: ${p.true_word}</p>`;
	}

	/* -- the probed output -- */

	const target = () => {
		const k = channel();
		if (k < 0) return null;
		if (hovered && hovered.channel === k && level() !== "pixel") return hovered; // one output is the subject there
		const p = pinned();
		return p && { channel: k, row: p[0], column: p[1] };
	};

	const refreshProbe = () => target() && ask(target());

	function ask(place) {
		nextProbe = place;
		if (asked) return;
		nextProbe = null;
		asked = `${view.uid}-${++probes}`;
		model.send({ kind: "probe", id: asked, channel: place.channel, row: place.row, column: place.column, terms: level() === "pixel" });
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

	function put(values) {
		for (const [name, value] of Object.entries(values)) model.set(name, value);
		model.save_changes();
	}

	function open(k) {
		selected = k;
		put({ channel: k, zoom: "channel" });
	}

	function single([row, column]) {
		hovered = null;
		put({ zoom: "pixel", probe: [row, column] });
	}

	/* At least as near as this: dots per output, and what is to be in the middle. */
	function magnify(size, at) {
		centre = at || (target() ? [target().row, target().column] : centre);
		zoom = size;
		if (zoom <= geometry.fit) [zoom, centre] = [0, null];
		schedule();
	}

	const place = () => (target() ? [target().row, target().column] : middle());

	function enlarge(at) {
		const now = level();
		const size = max(geometry.scale * 1.5, geometry.scale + 1);
		if (now === "mosaic") open(hovered ? hovered.channel : selected);
		else if (now === "channel") {
			if (size >= PIXEL_SIZE * dots) single(at || place());
			else magnify(size, at);
		}
	}

	function reduce(at) {
		const now = level();
		if (now === "channel" && geometry.scale > geometry.fit) magnify(geometry.scale / 1.5, at);
		else up();
	}

	function up() {
		const now = level();
		if (now === "mosaic") return leave();
		if (now === "channel") selected = channel();
		[zoom, centre] = [0, null];
		put(now === "pixel" ? { zoom: "channel" } : { channel: -1, zoom: "mosaic" });
		schedule();
	}

	/* Out of the layer: the picture goes away, and whoever put it here turns to what lies around it. */
	function leave() {
		if (!model.get("outward")) return;
		const whole = { x: 0, y: 0, w: canvas.width, h: canvas.height };
		away = true;
		travel.leave();
		travel.go(whole, inner(whole), "to");
		model.send({ kind: "leave" });
		backTimer = setTimeout(schedule, BACK_AFTER); // nobody may have turned to anything
	}

	function deeper() {
		const now = level();
		if (now === "mosaic") open(selected);
		else if (now === "channel") single(place());
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
		} else if (event.key === "PageDown" && k >= 0) save("channel", (k + 1) % K);
		else if (event.key === "PageUp" && k >= 0) save("channel", (k + K - 1) % K);
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
		if (frame && level() === "pixel") return;
		const place = hit(event);
		if (same(place, hovered) || (!place && !hovered)) return;
		hovered = place;
		if (place && channel() >= 0) ask(place);
		else readout();
		if (channel() >= 0) schedule();
	}

	/* -- messages -- */

	function unpack(message, buffers) {
		const [K, P, Q] = message.shape;
		const size = K * ceil(P / 2) * ceil(Q / 4);
		if (message.truth) truth = { layer: message.layer, blocks: inflated(buffers[1], size) };
		if (truth?.layer !== message.layer) return null;
		return { ...message, told: inflated(buffers[0], size), truth: truth.blocks };
	}

	function replied(message, buffers) {
		if (message.id !== asked) return;
		if (message.verdict) {
			const kinds = ["float32", "float32", "int16", "int8"];
			const [inputs, weights, codes, weightCodes] = message.terms ? kinds.map((kind, i) => numbers(buffers[i], kind)) : [];
			probe = { ...message, arrays: message.terms && { inputs, weights, codes, weightCodes } };
		}
		answered();
		if (!travel.moving) schedule();
		else late = true;
		readout();
	}

	function moved() {
		if (channel() >= 0) selected = channel();
		schedule();
		refreshProbe();
	}

	function turned() {
		hovered = null;
		if (level() !== "pixel") [zoom, centre] = [0, null];
		moved();
	}

	/* -- size and theme -- */

	function height(width, narrow) {
		const room = width - 16 - (narrow ? 0 : SIDE);
		const high = round(max(narrow ? 280 : 380, min(640, room * (narrow ? 0.75 : 0.68))));
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
		if (clicked === "channel" && place) single([place.row, place.column]);
	});
	listen(canvas, "wheel", (event) => {
		if (document.activeElement !== canvas || (channel() < 0 && event.deltaY > 0)) return; // leave the page its scrolling
		if (level() === "pixel" && event.deltaY < 0) return;
		event.preventDefault();
		const place = hit(event);
		const at = place && place.row !== undefined ? [place.row, place.column] : null;
		if (event.deltaY < 0) enlarge(at);
		else reduce(at);
	}, { passive: false });
	listen(title, "click", (event) => {
		const to = event.target.dataset.to;
		canvas.focus({ preventScroll: true });
		if (to === "network") leave();
		else if (to === "mosaic") put({ channel: -1, zoom: "mosaic" });
		else if (to === "channel") up();
	});
	listen(zoomOut, "click", () => reduce());
	listen(zoomIn, "click", () => enlarge());
	for (const input of radios) listen(input, "change", () => save("mode", input.value));

	for (const input of radios) input.checked = input.value === mode();

	return view.start({
		unpack, take, draw, height, recolour, key,
		wide: WIDE,
		shown: refreshProbe,
		moves: ["bits", "margin"],
		traits: { mode: schedule, channel: turned, zoom: turned, probe: moved, outward: schedule },
		messages: { probe: replied },
		stop() {
			clearTimeout(probeTimer);
			clearTimeout(backTimer);
			travel.stop();
		},
	});
}

export default { render };
