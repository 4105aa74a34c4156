/* The encoding view: a sparse map, the arrays it is stored as, and the convolution replayed from those arrays.
 *
 * A frame is a custom message. With all channels on screen it carries 1 bit per element, row-major over (channel, row,
 * column), most significant bit first. With one channel on screen it carries that channel's values and the arrays its encoder
 * made; nothing else is needed to replay the convolution (encoding_arrays.js, which goes before this file), and nothing else is used. Figures and times follow by themselves. */

/* Overlap: from pale to strong away from the page, in one hue family that every kind of colour vision can order. */
export const PALETTES = {
	light: { ramp: ["#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84"], zero: "#eff1f3", sum: "#3c434c", line: "#00000030", hatch: "#00000038" },
	dark: { ramp: ["#1d5c8f", "#2387b5", "#4fb3c8", "#95d8c8", "#f2f7c0"], zero: "#262b32", sum: "#c3cad3", line: "#ffffff2a", hatch: "#ffffff45" },
};
const FED = "#e69f00"; // outputs the current entry feeds, on every theme
const BELOW = "#cc79a7"; // sums below zero
const DIGIT = 14; // CSS pixels per cell from which the overlap is written in it
const NUMBER = 30; // and from which its value is
const LARGEST = 64;
const SPOKEN = 36; // outputs that can still be listened to
const SIDE = 420; // CSS pixels of the column beside the picture
const WIDE = 860; // from here on it stands beside the picture
const SEND_EVERY = 50; // ms between two values of a slider that is dragged
const PLAY = { slow: 700, fast: 60, total: 30000 }; // ms per entry at most and at least, and for a whole replay
const METHODS = ["im2col", "mec", "cscc", "cpo", "cps", "zvc"];

const HELP = {
	all: "Click a channel, or choose one by arrow keys and Enter, to step through its encoding.",
	one: "Arrow keys step, Home and End go to the first and the last entry, Space plays; + and \u2212 zoom, Escape shows all channels. Click an element for its entry.",
};
/** One colour per pointer type, the ramp stretched over as many as there are. */
export function typeColours(ramp, n) {
	const stops = ramp.map(rgb);
	return Array.from({ length: n }, (_, t) => {
		const at = n > 1 ? (t / (n - 1)) * (stops.length - 1) : 2;
		const i = min(floor(at), stops.length - 2);
		return mix(stops[i], stops[i + 1], at - i);
	});
}

function render({ model, el }) {
	const button = (name, sign, key) => `<button type="button" aria-label="${name}" title="${name} (${key})">${sign}</button>`;
	const view = canvasView({ model, el, kind: "seer-enc", palettes: PALETTES, html: ({ stage, help }) => `<header><div class="title"></div>
<label>Method <select aria-label="Method">${METHODS.map((m) => `<option value="${m}">${NAMES[m]}</option>`).join("")}</select></label>
<label>Channel <select aria-label="Channel"></select></label>
<label>Epsilon <input type="range" aria-label="Epsilon" min="0" value="0" step="any"><output></output></label></header>
<div class="body"><div class="main">${stage}
<div class="steps">${button("First", "|&#9664;", "Home")}${button("Previous", "&#9664;", "Left arrow")}${button("Play", "Play", "Space")}${button("Next", "&#9654;", "Right arrow")}${button("Last", "&#9654;|", "End")}<span class="count"></span>${button("Back", "&#8617; all channels", "Escape")}${button("Zoom out", "&#8722;", "-")}${button("Zoom in", "+", "+")}</div>
<div class="arrays"></div></div>
<div class="side"><div class="legend"></div><div class="read" aria-live="polite"></div><div class="figures"></div><div class="times"></div></div></div>${help}` });
	const { root, canvas, pen, find, schedule, save, listen, outline, look, script, fill } = view;
	const [title, read, help] = [".title", ".read", ".help"].map(find);
	const [legend, arraysBox, figuresBox, timesBox, count, epsilonText] = [".legend", ".arrays", ".figures", ".times", ".count", "output"].map(find);
	const [methodBox, channelBox] = root.querySelectorAll("select");
	const slider = find("input");
	const [first, previous, play, next, last, back, zoomOut, zoomIn] = root.querySelectorAll("button");
	const sheet = document.createElement("canvas"); // one dot per cell, enlarged or reduced when drawn
	const sheetPen = sheet.getContext("2d", { willReadFrequently: true });
	canvas.dataset.level = "mosaic";

	let frame = null; // the frame on screen, with .bits or .values, .arrays and .stream
	let figures = null;
	let timing = null;
	let palette = PALETTES.light;
	let colours = [];
	let geometry = null;
	let selected = 0; // channel of the keyboard in the mosaic
	let zoom = 0; // dots per cell; 0: fit the stage
	let sums = null; // output after the entries 0 .. done
	let done = -1;
	let greatest = 1;
	let playing = 0;
	let sendTimer = 0;
	let wanted = null; // value of the slider that waits to be sent
	let dots = 1; // device pixels per CSS pixel

	const one = () => frame && frame.channel >= 0;
	const entry = () => (one() ? max(0, min(frame.stream.n - 1, model.get("entry"))) : 0);

	/* -- drawing -- */

	function draw(w, h) {
		dots = view.dots;
		colours = typeColours(palette.ramp, frame.kinds);
		colours.forEach((c, t) => {
			root.style.setProperty(`--t${t}`, css(c));
			root.style.setProperty(`--i${t}`, ink(c));
		});
		root.style.setProperty("--zero", palette.zero);
		pen.clearRect(0, 0, w, h);
		pen.textBaseline = "middle";
		if (one()) {
			accumulate();
			channelPicture(w, h);
		} else mosaic(w, h);
		canvas.dataset.level = !one() ? "mosaic" : geometry.s < DIGIT * dots ? "channel" : "entries";
		describe();
	}

	function take(incoming, before) {
		const other = !before || before.layer !== incoming.layer;
		if (other || before.channel !== incoming.channel) zoom = 0;
		if (other) {
			const all = Array.from({ length: incoming.shape[0] }, (_, c) => `<option value="${c}">${c}</option>`);
			channelBox.innerHTML = `<option value="-1">all ${incoming.shape[0]}</option>${all.join("")}`;
		}
		frame = incoming;
		selected = one() ? frame.channel : min(selected, frame.shape[0] - 1);
		done = -1;
		if (!one()) return;
		frame.stream = entries(frame, frame.arrays);
		const all = replay(frame, frame.stream, new Float64Array(frame.outputs[0] * frame.outputs[1]), 0, frame.stream.n - 1);
		greatest = all.reduce((most, v) => max(most, abs(v)), 0) || 1;
	}

	function accumulate() {
		const q = entry();
		if (!sums || done < 0 || q < done) [sums, done] = [new Float64Array(frame.outputs[0] * frame.outputs[1]), -1];
		replay(frame, frame.stream, sums, done + 1, q);
		done = q;
	}

	/** Put rows x columns dots, the colour of each by `colour(index)`, on the sheet. */
	function onSheet(rows, columns, colour) {
		if (sheet.width !== columns || sheet.height !== rows) [sheet.width, sheet.height] = [columns, rows];
		const data = new ImageData(columns, rows);
		const pixels = new Uint32Array(data.data.buffer);
		for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
		sheetPen.putImageData(data, 0, 0);
	}

	function mosaic(w, h) {
		const [C, H, W] = frame.shape;
		const gap = round(4 * dots);
		const g = (geometry = mosaicLayout(C, H, W, w, h - gap, gap, round(14 * dots)));
		if (g.w < 40 * dots) Object.assign(g, mosaicLayout(C, H, W, w, h - gap, gap, 0), { plain: true });
		const zero = word(rgb(palette.zero));
		const words = frame.types.slice(frame.padding[1], frame.padding[1] + W).map((t) => (t < 0 ? zero : word(colours[t])));
		pen.imageSmoothingEnabled = g.scale < 1;
		pen.imageSmoothingQuality = "high";
		script(11, "left");
		for (let c = 0; c < C; c++) {
			const from = c * H * W;
			onSheet(H, W, (i) => ((frame.bits[(from + i) >> 3] >> (7 - ((from + i) & 7))) & 1 ? words[i % W] : zero));
			const [x, y] = corner(g, c);
			pen.drawImage(sheet, x, y, g.w, g.h);
			if (!g.plain) pen.fillText(c, x, y + g.h + 8 * dots);
		}
		const [x, y] = corner(g, selected);
		outline(x, y, g.w, g.h);
	}

	/** One map of cells in a box: colours, grid, and a text per cell where it fits. */
	function panel(box, rows, columns, colour, text, heading) {
		const { x, y, w, h, s, ox, oy } = box;
		const packed = [];
		onSheet(rows, columns, (i) => word((packed[i] = colour(i))));
		script(13, "left");
		pen.fillText(heading, x, y - 12 * dots);
		within(x, y, w, h);
		pen.imageSmoothingEnabled = s < 1;
		pen.drawImage(sheet, x - ox, y - oy, columns * s, rows * s);
		if (s >= 9 * dots) {
			const [r0, r1] = [max(0, floor(oy / s)), min(rows, ceil((oy + h) / s))];
			const [c0, c1] = [max(0, floor(ox / s)), min(columns, ceil((ox + w) / s))];
			pen.fillStyle = palette.line;
			for (let c = c0; c <= c1; c++) pen.fillRect(round(x + c * s - ox), y, 1, h);
			for (let r = r0; r <= r1; r++) pen.fillRect(x, round(y + r * s - oy), w, 1);
			for (let r = r0; r < r1; r++) {
				for (let c = c0; c < c1; c++) {
					const i = r * columns + c;
					pen.fillStyle = ink(packed[i]);
					text(r, c, x + c * s - ox, y + r * s - oy, i);
				}
			}
		}
		pen.restore();
	}

	/** Clip to a box until `pen.restore()`. */
	function within(x, y, w, h) {
		pen.save();
		pen.beginPath();
		pen.rect(x, y, w, h);
		pen.clip();
	}

	/** Text centred at (x, y), made smaller to fit the room. */
	function write(text, x, y, room, height, weight = "") {
		const font = (points) => (pen.font = `${weight} ${points}px ${look("font-family")}`);
		font(height);
		const long = pen.measureText(text).width;
		if (long > room) font((height *= room / long));
		pen.textAlign = "center";
		if (height >= 6 * dots) pen.fillText(text, x, y);
	}

	function channelPicture(w, h) {
		const [Ih, Iw] = frame.padded;
		const [Oh, Ow] = frame.outputs;
		const [Kh, Kw] = frame.kernel;
		const [top, left] = frame.padding;
		const [H, W] = [frame.shape[1], frame.shape[2]];
		const q = entry();
		const empty = !frame.stream.n;
		const at = empty ? 0 : frame.stream.place[q];
		const [row, column] = [floor(at / Iw), at % Iw];
		const feet = [];
		if (!empty) feed(frame, frame.stream, q, (y, x, l, k) => feet.push([y, x, l, k]));
		const [head, gap, edge] = [24 * dots, 34 * dots, 8 * dots];
		const foot = 6 * dots * (min(frame.kinds, 8) + 1); // brackets of the strips
		const kc = max(14 * dots, min(44 * dots, (0.16 * w) / Kw, (h - head - foot) / Kh));
		const roomX = w - Kw * kc - 2 * gap - 2 * edge;
		const roomY = h - head - foot;
		const base = min(snapped(min(roomX / (Iw + Ow), roomY / max(Ih, Oh))), LARGEST * dots);
		const s = max(base, zoom);
		const mapW = min(Iw * s, max((roomX * Iw) / (Iw + Ow), roomX - Ow * s));
		const outW = min(Ow * s, roomX - mapW);
		const scroll = (full, room, place) => (full <= room + 0.5 ? 0 : max(0, min(full - room, (place + 0.5) * s - room / 2)));
		const box = (x, y, w, rows, columns, r, c) => ({ x, y, w, h: min(rows * s, roomY), s, ox: scroll(columns * s, w, c), oy: scroll(rows * s, min(rows * s, roomY), r) });
		const mapH = min(Ih * s, roomY);
		const x0 = max(edge, (w - mapW - outW - Kw * kc - 2 * gap) / 2);
		const y0 = head + max(0, (roomY - max(mapH, Kh * kc)) / 2);
		const map = box(x0, y0, mapW, Ih, Iw, row, column);
		const middle = y0 + mapH / 2;
		const kernel = { x: x0 + mapW + gap, y: max(head, middle - (Kh * kc) / 2), w: Kw * kc, h: Kh * kc, s: kc, ox: 0, oy: 0 };
		const place = feet[0] || [0, 0];
		const out = box(kernel.x + kernel.w + gap, y0, outW, Oh, Ow, place[0], place[1]);
		out.y = max(head, middle - out.h / 2);
		geometry = { s, base, map };
		const zero = rgb(palette.zero);
		const inside = (r, c) => r >= top && c >= left && r < top + H && c < left + W;
		const valueAt = (r, c) => (inside(r, c) ? frame.values[(r - top) * W + c - left] : 0);
		panel(map, Ih, Iw, (i) => {
			const c = i % Iw;
			return valueAt(floor(i / Iw), c) && frame.types[c] >= 0 ? colours[frame.types[c]] : zero;
		}, (r, c, x, y) => {
			const v = valueAt(r, c);
			if (!inside(r, c)) return;
			if (s < NUMBER * dots) {
				if (v && s >= DIGIT * dots) write(frame.types[c] < 0 ? "\u2013" : frame.types[c], x + s / 2, y + s / 2 + 1, s, 0.62 * s);
				return;
			}
			if (!v) pen.fillStyle = look("--soft");
			write(short(v), x + s * (v ? 0.44 : 0.5), y + s * (v ? 0.58 : 0.53), s * 0.78, s * 0.4, v ? "600" : "");
			if (v) write(frame.types[c] < 0 ? "\u2013" : frame.types[c], x + s * 0.84, y + s * 0.2, s * 0.3, s * 0.26);
		}, `Map, channel ${frame.channel}${padded(frame) ? ", padding hatched" : ""}`);
		hatch(map, top, left, H, W);
		const used = new Set(feet.map(([, , l, k]) => l * Kw + k));
		const orange = rgb(FED);
		panel(kernel, Kh, Kw, (i) => (used.has(i) ? orange : zero), (r, c, x, y) => write(short(frame.weights[r][c]), x + kc / 2, y + kc / 2 + 1, kc * 0.84, kc * 0.4), "Kernel");
		const fed = new Set(feet.map(([y, x]) => y * Ow + x));
		const [above, below] = [rgb(palette.sum), rgb(BELOW)];
		panel(out, Oh, Ow, (i) => (fed.has(i) ? orange : mix(zero, sums[i] < 0 ? below : above, 0.75 * min(1, abs(sums[i]) / greatest))), (r, c, x, y, i) => {
			if (s >= 0.8 * NUMBER * dots) write(short(sums[i]), x + s / 2, y + s / 2 + 1, s * 0.86, s * 0.4, fed.has(i) ? "600" : "");
		}, "Output so far");
		script(24, "center");
		pen.fillText("\u2217", kernel.x - gap / 2, middle);
		pen.fillText("=", out.x - gap / 2, middle);
		if (empty) return;
		if (s < 9 * dots && feet.length) {
			const [ys, xs] = [feet.map((p) => p[0]), feet.map((p) => p[1])];
			ring(out, min(...ys), min(...xs), max(...ys) - min(...ys) + 1, max(...xs) - min(...xs) + 1);
		}
		strips(map, feet);
		ring(map, row, column, 1, 1);
	}

	/** Outline of cells, grown to what can be seen. */
	function ring(box, r, c, rows, columns) {
		const [w, h] = [max(columns * box.s, 8 * dots), max(rows * box.s, 8 * dots)];
		const [x, y] = [box.x + (c + columns / 2) * box.s - box.ox - w / 2, box.y + (r + rows / 2) * box.s - box.oy - h / 2];
		if (x + w > box.x - 1 && x < box.x + box.w + 1) outline(x, y, w, h);
	}

	/* Strips of the map whose output columns the entry feeds, as brackets below it. */
	function strips(box, feet) {
		const [Sw, span] = [frame.stride[1], (frame.kernel[1] - 1) * frame.dilation[1] + 1];
		within(box.x - 1, 0, box.w + 2, canvas.height);
		pen.strokeStyle = FED;
		pen.lineWidth = 2 * dots;
		[...new Set(feet.map((p) => p[1]))].slice(0, 8).forEach((x, i) => {
			const [a, b] = [box.x + x * Sw * box.s - box.ox + 1, box.x + (x * Sw + span) * box.s - box.ox - 1];
			const y = box.y + box.h + (6 * i + 9) * dots;
			pen.beginPath();
			pen.moveTo(a, y - 4 * dots);
			pen.lineTo(a, y);
			pen.lineTo(b, y);
			pen.lineTo(b, y - 4 * dots);
			pen.stroke();
		});
		pen.restore();
	}

	function hatch(box, top, left, H, W) {
		if (!padded(frame)) return;
		const { x, y, w, h, s, ox, oy } = box;
		const raw = [x - ox + left * s, y - oy + top * s, W * s, H * s];
		within(x - dots, y - dots, w + 2 * dots, h + 2 * dots);
		pen.strokeStyle = look("color");
		pen.lineWidth = 1.5 * dots;
		pen.strokeRect(...raw);
		pen.beginPath();
		pen.rect(x, y, w, h);
		pen.rect(...raw);
		pen.clip("evenodd");
		pen.beginPath();
		for (let d = -h; d < w; d += 6 * dots) {
			pen.moveTo(x + d, y + h);
			pen.lineTo(x + d + h, y);
		}
		pen.strokeStyle = palette.hatch;
		pen.lineWidth = dots;
		pen.stroke();
		pen.restore();
	}

	/* -- words beside the picture -- */

	function describe() {
		const heading = model.get("title") || frame.name;
		title.innerHTML = `${escaped(heading)} <small>${frame.facts}</small>`;
		title.title = title.textContent;
		methodBox.value = model.get("method");
		channelBox.value = frame.channel;
		slider.max = frame.epsilon_max || 1;
		slider.disabled = !frame.epsilon_max;
		if (wanted === null) slider.value = model.get("epsilon");
		epsilonText.textContent = short(frame.epsilon);
		const n = one() ? frame.stream.n : 0;
		const q = entry();
		const where = one() ? `channel ${frame.channel}, ` : "";
		const position = n ? `; entry ${q + 1} of ${n} of ${NAMES[frame.method]}` : "";
		/* A small output is read out as well. */
		const [Oh, Ow] = frame.outputs;
		const rows = n && Oh * Ow <= SPOKEN ? Array.from({ length: Oh }, (_, y) => Array.from(sums.subarray(y * Ow, (y + 1) * Ow), short).join(" ")) : [];
		const output = rows.length ? `; output so far: ${rows.join(", ")}` : "";
		view.say(`Layer ${heading}, ${where}${frame.facts}: ${frame.words}${position}${output}`);
		help.textContent = one() ? HELP.one : HELP.all;
		first.disabled = previous.disabled = !n || q === 0;
		next.disabled = last.disabled = !n || q === n - 1;
		play.disabled = !n;
		play.textContent = playing ? "Pause" : "Play";
		back.disabled = !one() || frame.shape[0] === 1;
		zoomOut.disabled = !one() || geometry.s <= geometry.base;
		zoomIn.disabled = one() && geometry.s >= LARGEST * dots;
		count.textContent = n ? `entry ${whole(q + 1)} of ${whole(n)}` : one() ? "no entries: the channel is all zero" : "open a channel to step";
		fill(legend, frame.legend);
		const cell = frame.padded[0] * frame.padded[1] > 9999 ? 56 : 44; // CSS pixels: room for the longest position
		root.style.setProperty("--cell", `${cell}px`);
		fill(arraysBox, n ? arrayTables(frame, q, max(6, floor((arraysBox.clientWidth - 60) / cell))) : "");
		fill(read, n ? readout(frame, q) : `<p>${frame.words}</p>`);
		/* Bytes and times come as tables made by the kernel. */
		const here = (x) => x && x.layer === frame.layer && x.epsilon === frame.epsilon;
		if (figures) fill(figuresBox, figures.html);
		figuresBox.classList.toggle("old", !here(figures));
		fill(timesBox, here(timing) && timing.method === frame.method ? timing.html : "Times are measured when nothing moves.");
	}

	/* -- stepping -- */

	function go(q) {
		if (!one() || !frame.stream.n) return;
		save("entry", max(0, min(frame.stream.n - 1, q)));
		schedule();
	}

	function stopPlaying() {
		playing = clearTimeout(playing) || 0;
		read.setAttribute("aria-live", "polite");
		schedule();
	}

	function startPlaying() {
		if (!one() || !frame.stream.n) return;
		if (entry() === frame.stream.n - 1) go(0);
		read.setAttribute("aria-live", "off"); // a reader could not keep up
		const wait = max(PLAY.fast, min(PLAY.slow, PLAY.total / frame.stream.n));
		const stride = max(1, round((frame.stream.n * wait) / PLAY.total)); // a large map is played in leaps
		const tick = () => {
			if (!one() || entry() >= frame.stream.n - 1) return stopPlaying();
			go(entry() + stride);
			playing = setTimeout(tick, wait);
		};
		playing = setTimeout(tick, wait);
		schedule();
	}

	const toggle = () => (playing ? stopPlaying() : startPlaying());
	const step = (by) => {
		if (playing) stopPlaying();
		go(entry() + by);
	};

	function open(c) {
		selected = c;
		save("channel", c);
	}

	function up() {
		if (!one()) return;
		if (geometry.s > geometry.base) enlarge(0);
		else if (frame.shape[0] > 1) save("channel", -1);
	}

	function enlarge(factor) {
		if (!one()) return factor > 1 && open(selected);
		/* From a map of dots straight to cells that can be read. */
		const least = factor > 1 ? (geometry.s < DIGIT * dots ? DIGIT * 1.2 : 0) : 0;
		zoom = max(least * dots, min(LARGEST * dots, geometry.s * factor));
		if (zoom <= geometry.base || (factor < 1 && zoom < DIGIT * dots)) zoom = 0;
		schedule();
	}

	function key(event) {
		const arrows = ARROWS[event.key];
		const C = frame.shape[0];
		if (arrows && !one()) {
			const to = selected + arrows[0] * geometry.columns + arrows[1];
			if (to >= 0 && to < C) selected = to;
			schedule();
		} else if (arrows) step(arrows[0] + arrows[1]);
		else if (event.key === "Home") step(-entry());
		else if (event.key === "End") step(Infinity);
		else if (event.key === " ") toggle();
		else if (event.key === "PageDown" && one()) open((frame.channel + 1) % C);
		else if (event.key === "PageUp" && one()) open((frame.channel + C - 1) % C);
		else if (event.key === "Enter" && !one()) open(selected);
		else if (event.key === "Enter" || event.key === "+" || event.key === "=") enlarge(1.4);
		else if (event.key === "-") enlarge(1 / 1.4);
		else if (event.key === "Escape") up();
		else return false;
		return true;
	}

	function clicked(event) {
		if (!frame) return;
		const [u, v] = view.at(event);
		const g = geometry;
		if (!one()) {
			const i = tileAt(g, frame.shape[0], [u, v]);
			if (i >= 0) open(i);
			return;
		}
		const { x, y, w, h, s, ox, oy } = g.map;
		if (u < x || v < y || u >= x + w || v >= y + h) return;
		const q = frame.stream.place.indexOf(floor((v - y + oy) / s) * frame.padded[1] + floor((u - x + ox) / s));
		if (q >= 0) step(q - entry());
	}

	function unpack(message, buffers) {
		if (message.channel < 0) return { ...message, bits: bytes(buffers[0]) };
		const arrays = message.sizes.map(([name, , dtype], i) => [name, numbers(buffers[i + 1], dtype)]);
		return { ...message, values: numbers(buffers[0], "float32"), arrays: Object.fromEntries(arrays) };
	}

	/* -- controls, size and theme -- */

	function sendEpsilon() {
		sendTimer = 0;
		if (wanted === null) return;
		save("epsilon", wanted);
		wanted = null;
		sendTimer = setTimeout(sendEpsilon, SEND_EVERY);
	}

	listen(canvas, "click", clicked);
	listen(first, "click", () => step(-entry()));
	listen(previous, "click", () => step(-1));
	listen(play, "click", toggle);
	listen(next, "click", () => step(1));
	listen(last, "click", () => step(Infinity));
	listen(back, "click", () => frame.shape[0] > 1 && save("channel", -1));
	listen(zoomOut, "click", () => enlarge(1 / 1.4));
	listen(zoomIn, "click", () => enlarge(1.4));
	listen(methodBox, "change", () => save("method", methodBox.value));
	listen(channelBox, "change", () => save("channel", Number(channelBox.value)));
	listen(slider, "input", () => {
		wanted = Number(slider.value);
		if (!sendTimer) sendEpsilon();
	});
	listen(slider, "change", () => {
		clearTimeout(sendTimer);
		sendEpsilon();
	});

	methodBox.value = model.get("method");

	return view.start({
		unpack, take, draw, key,
		wide: WIDE,
		height: (width, narrow) => max(250, min(520, (width - (narrow ? 16 : SIDE)) * 0.56)),
		recolour: (now) => (palette = now),
		traits: { title: schedule, entry: schedule, method: schedule },
		messages: {
			figures(message) {
				figures = message;
				schedule();
			},
			times(message) {
				timing = message;
				schedule();
			},
		},
		stop() {
			for (const timer of [sendTimer, playing]) clearTimeout(timer);
		},
	});
}

export default { render };
