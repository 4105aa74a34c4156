/* What every canvas view shares: the page around its canvas, frames from the kernel, size, theme, keys, words and colours.
 *
 * An anywidget module cannot import a neighbour, so this file is joined as text before a view's own (`module` in _assets.py), which
 * uses what is declared here and declares none of these names again. A view is
 *
 *   export const PALETTES = { light: { ... }, dark: { ... } };         // whatever its painting needs, once per theme
 *   function render({ model, el }) {
 *     const view = canvasView({ model, el, kind: "seer-bits", palettes: PALETTES,
 *       html: ({ stage, help, uid }) => `<header><div class="title"></div></header><div class="body">${stage}</div>${help}` });
 *     const side = view.find(".side");
 *     ...
 *     return view.start({                                              // all but `draw` and `height` may be left out
 *       unpack: (message, buffers) => ({ ...message, bits: bytes(buffers[0]) }),  // null: unusable, ask for the frame again
 *       take(frame, before) {},      // `view.frame` is new from now on; `before` was the last one, or null
 *       draw(width, height) {},      // paint `view.frame` on `view.pen` (device pixels), and say it in words; also after a resize
 *       shown() {},                  // a new frame was drawn and confirmed
 *       height: (width, narrow) => 300,          // CSS pixels of the stage; `narrow`: below `wide`
 *       wide: 740,                               // CSS pixels from which the side stands beside the stage (class "narrow" below)
 *       recolour(palette, dark) {},              // the theme changed; a drawing follows by itself
 *       key: (event) => true,                    // a plain key on the canvas; true: it was taken
 *       moves: ["bits"],             // traits that ask for another frame: a frame passed by already is shown only while they move
 *       traits: { bits: view.schedule },         // what happens when a trait changes
 *       messages: { figures(message, buffers) {} },   // other kinds of custom messages
 *       stop() {},                               // timers of its own
 *     });
 *   }
 *   export default { render };
 *
 * `view` has: `root`, `stage`, `canvas`, `pen`, `uid`, `find(selector)`, `frame`, `dots` (device pixels per CSS pixel), `palette`,
 * `dark`, `schedule()` (draw in the next animation frame), `listen(target, event, handler, options)` (until the view goes),
 * `save(trait, value)`, `at(event)` ([x, y] in device pixels of the canvas), `say(text)` (the canvas's accessible name),
 * `fill(box, html)` (writes only what changed), `look(property)` (computed style of the root), `script(points, align)` (font and
 * colour of the page), `outline(x, y, w, h)` (white within black, visible on every colour).
 *
 * Handles for tests: `canvas[data-frame]` counts the frames drawn, role "alert" holds the error, role "status" the busy mark. */

const { abs, ceil, floor, log10, max, min, round, sqrt } = Math;
const GONE = "The kernel has ended: this is the last picture. To go on, run the cell again.";
const BUSY_AFTER = 150; // ms: shorter waits would only flicker
const HELD_FOR = 60; // ms: longer than between two steps of a key held down

/* ---- bytes ---- */

const KINDS = { int8: Int8Array, int16: Int16Array, int32: Int32Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
/** Bytes of a message buffer, whatever view it comes as. */
export const bytes = (buffer) =>
	buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
/** Numbers of a buffer that may start at any byte of a larger one. */
const numbers = (buffer, dtype) => new KINDS[dtype](bytes(buffer).slice().buffer);

/* ---- words and numbers ---- */

const whole = (n) => n.toLocaleString("en-US");
const share = (part) => `${(100 * part).toFixed(part && part < 0.01 ? 2 : 1)} %`;
const minus = (text) => String(text).replace("-", "\u2212");
const real = (v) => minus(abs(v) >= 1e5 || (v && abs(v) < 1e-3) ? v.toExponential(2) : v.toPrecision(4));
const short = (v) => minus(Number.isInteger(v) && abs(v) < 1e5 ? v : abs(v) >= 1e4 || (v && abs(v) < 1e-3) ? v.toExponential(1) : Number(v.toPrecision(3)));
const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/* ---- colours ---- */

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const mix = (a, b, part) => a.map((v, i) => round(v + part * (b[i] - v)));
const css = (c) => `rgb(${c.join(",")})`;
/** One pixel of an ImageData seen as 32-bit words. */
const word = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const bright = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b;
/** Text that can be read on a colour. */
const ink = (c) => (bright(c) < 140 ? "#fff" : "#101418");

/* ---- layout ---- */

/* Whole multiples look best, unless too small. */
const snapped = (scale) => (scale < 1 || floor(scale) < 0.85 * scale ? scale : floor(scale));

/** Grid of K tiles of P x Q cells in width x height dots, as large as possible; `strip` is free below each tile. */
export function mosaicLayout(K, P, Q, width, height, gap, strip) {
	let best = null;
	for (let columns = 1; columns <= K; columns++) {
		const rows = ceil(K / columns);
		const scale = snapped(min((width - (columns - 1) * gap) / (columns * Q), (height - rows * (gap + strip)) / (rows * P)));
		const spare = columns * rows - K;
		if (!best || scale > best.scale + 1e-9 || (scale > best.scale - 1e-9 && spare < best.spare)) best = { columns, rows, scale, spare };
	}
	const scale = max(best.scale, 1 / max(P, Q));
	const [w, h] = [max(1, floor(Q * scale)), max(1, floor(P * scale))];
	const [stepX, stepY] = [w + gap, h + gap + strip];
	const x = max(0, (width - best.columns * stepX + gap) >> 1);
	const y = max(0, (height - best.rows * stepY + gap) >> 1);
	return { ...best, scale, w, h, stepX, stepY, x, y };
}

/** Corner of tile i. */
const corner = (g, i) => [g.x + (i % g.columns) * g.stepX, g.y + floor(i / g.columns) * g.stepY];

/** Tile of K under a place, or -1. */
function tileAt(g, K, [x, y]) {
	const [c, r] = [floor((x - g.x) / g.stepX), floor((y - g.y) / g.stepY)];
	const i = r * g.columns + c;
	return c >= 0 && c < g.columns && r >= 0 && i < K ? i : -1;
}

/* ---- keys ---- */

/** Rows and columns an arrow key moves by. */
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/* ---- a view ---- */

let views = 0;

function canvasView({ model, el, kind, palettes, html }) {
	const uid = `${kind}-${++views}-${Math.random().toString(36).slice(2, 8)}`;
	const root = document.createElement("div");
	root.className = `seer ${kind}`;
	root.innerHTML = html({
		uid,
		stage: `<div class="stage"><canvas role="img" tabindex="0" aria-label="No picture" aria-describedby="${uid}-help" data-frame="0"></canvas><div class="busy" role="status"></div><div role="alert"></div></div>`,
		help: `<div class="help" id="${uid}-help"></div>`,
	});
	const find = (selector) => root.querySelector(selector);
	const [stage, canvas, busy, alert] = [".stage", "canvas", ".busy", "[role=alert]"].map(find);
	const pen = canvas.getContext("2d", { willReadFrequently: true });
	const stopping = new AbortController();
	const written = new Map();
	let hooks = null;
	let incoming = null; // newest frame that waits for the next animation frame
	let held = null; // frame that a newer setting has passed by: worth showing only if the reader moves on still
	let scheduled = 0;
	let busyTimer = 0;
	let heldTimer = 0;
	let width = 0;
	let gone = false;

	const view = {
		uid, root, stage, canvas, pen, find, frame: null, dots: 1, palette: palettes.light, dark: false,
		listen: (target, name, handler, options) => target.addEventListener(name, handler, { signal: stopping.signal, ...options }),
		schedule() {
			scheduled ||= requestAnimationFrame(() => {
				scheduled = 0;
				draw();
			});
		},
		save(name, value) {
			model.set(name, value);
			model.save_changes();
		},
		at(event) {
			const box = canvas.getBoundingClientRect();
			return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
		},
		say: (text) => canvas.setAttribute("aria-label", text),
		/* Writing the same again would be read out again. */
		fill(box, content) {
			if (written.get(box) !== content) box.innerHTML = content;
			written.set(box, content);
		},
		look: (name) => getComputedStyle(root).getPropertyValue(name),
		script(points, align) {
			pen.fillStyle = view.look("color");
			pen.font = `${round(points * view.dots)}px ${view.look("font-family")}`;
			pen.textAlign = align;
		},
		outline(x, y, w, h) {
			const grow = 2 * view.dots;
			for (const [colour, line] of [["#000", 5], ["#fff", 2]]) {
				pen.strokeStyle = colour;
				pen.lineWidth = line * view.dots;
				pen.strokeRect(x - grow, y - grow, w + 2 * grow, h + 2 * grow);
			}
		},
		start,
	};

	function draw() {
		const begun = performance.now();
		view.dots = window.devicePixelRatio || 1;
		const [w, h] = [round(stage.clientWidth * view.dots), round(stage.clientHeight * view.dots)];
		if (!w || !h) return; // out of sight: the frame stays unconfirmed, so the kernel waits too
		if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
		const arrived = incoming;
		if (arrived) {
			const before = view.frame;
			view.frame = arrived;
			incoming = null;
			hooks.take?.(arrived, before);
		}
		if (!view.frame) return;
		hooks.draw(w, h);
		if (!arrived) return;
		canvas.dataset.frame = Number(canvas.dataset.frame) + 1;
		model.send({ kind: "drawn", seq: arrived.seq, ms: performance.now() - begun });
		hooks.shown?.();
	}

	function receive(message, buffers) {
		const name = message.kind;
		if (name === "frame") {
			const frame = hooks.unpack ? hooks.unpack(message, buffers) : { ...message };
			arrive(message, frame);
		} else if (name === "busy") busyTimer ||= setTimeout(() => (busy.textContent = "computing\u2026"), BUSY_AFTER);
		else if (name === "idle") settled();
		else hooks.messages?.[name]?.(message, buffers);
	}

	function arrive(message, frame) {
		if (!message.busy) settled();
		if (message.seq < (incoming || view.frame || message).seq) return; // a newer one is there
		if (!frame) return model.send({ kind: "ready" });
		release();
		if (message.busy && view.frame && hooks.moves) {
			held = frame;
			heldTimer = setTimeout(pass, HELD_FOR);
		} else accept(frame);
	}

	function release() {
		clearTimeout(heldTimer);
		const frame = held;
		held = null;
		return frame;
	}

	/* The reader stands still: the picture stays until the newest one is there. */
	function pass() {
		model.send({ kind: "drawn", seq: release().seq, ms: 0 });
	}

	function moved() {
		const frame = release();
		if (frame) accept(frame);
	}

	function accept(frame) {
		incoming = frame;
		// At once, for the next picture of the screen: an animation frame would come up to one picture later. An unseen page waits.
		if (document.hidden) view.schedule();
		else draw();
	}

	function settled() {
		busyTimer = clearTimeout(busyTimer);
		busy.textContent = "";
	}

	function showError() {
		const text = gone ? GONE : model.get("error") || "";
		root.classList.toggle("stale", text !== "" && !gone);
		root.classList.toggle("gone", gone);
		if (alert.textContent !== text) alert.textContent = text;
	}

	/* A kernel that ended or began anew knows nothing of this view: what is drawn stays, and nothing moves it. */
	function lost() {
		gone = true;
		settled();
		showError();
	}

	function resize() {
		const now = root.clientWidth;
		if (now && now !== width) {
			if (!width) recolour();
			width = now;
			const narrow = width < (hooks.wide || 0);
			root.classList.toggle("narrow", narrow);
			stage.style.height = `${round(hooks.height(width, narrow))}px`;
		}
		view.schedule();
	}

	function recolour() {
		const page = view.look("background-color").match(/[\d.]+/g);
		if (!page) return; // not on the page yet: its first size calls again
		view.dark = bright(page.map(Number)) < 128;
		view.palette = view.dark ? palettes.dark : palettes.light;
		root.classList.toggle("dark", view.dark);
		hooks.recolour?.(view.palette, view.dark);
		view.schedule();
	}

	function key(event) {
		// A notebook in command mode takes plain keys for itself: "d d" on this widget would delete the cell.
		if (event.ctrlKey || event.metaKey || event.altKey) return;
		event.stopPropagation();
		if (event.target === canvas && view.frame && hooks.key?.(event)) event.preventDefault();
	}

	function start(given) {
		hooks = given;
		/* JupyterLab takes plain keys for itself unless the focused element says otherwise. */
		for (const part of root.querySelectorAll("canvas, button, input, select")) part.dataset.lmSuppressShortcuts = "true";
		view.listen(root, "keydown", key);
		view.listen(canvas, "pointerdown", () => canvas.focus({ preventScroll: true }));
		view.listen(matchMedia("(prefers-color-scheme: dark)"), "change", recolour);
		const events = [["msg:custom", receive], ["change:error", showError], ["comm_live_update", lost]];
		for (const [name, handler] of Object.entries(hooks.traits || {})) events.push([`change:${name}`, handler]);
		for (const name of hooks.moves || []) events.push([`change:${name}`, moved]);
		for (const [name, handler] of events) model.on(name, handler);
		const sizes = new ResizeObserver(resize);
		sizes.observe(root);
		const theme = new MutationObserver(() => requestAnimationFrame(recolour)); // once the new theme's styles apply
		for (const node of [document.body, document.documentElement]) theme.observe(node, { attributes: true });
		el.append(root);
		resize();
		showError();
		model.send({ kind: "ready" });
		return () => {
			stopping.abort();
			for (const [name, handler] of events) model.off(name, handler);
			sizes.disconnect();
			theme.disconnect();
			clearTimeout(busyTimer);
			clearTimeout(heldTimer);
			cancelAnimationFrame(scheduled);
			hooks.stop?.();
			root.remove();
		};
	}

	return view;
}
