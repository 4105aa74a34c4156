/* The network view: layers from left to right as they ran, a column each.
 *
 * A column is as wide as its layer is heavy (its share of the multiply-adds, but never too narrow to hit), so that an area is work.
 * What fills it is the measure chosen. Below the columns: the bytes each layer moves, the best method of each, and the parts of the
 * network. A frame is JSON alone and holds every layer, with null for what is not worked out yet.
 *
 * Arrow keys move over the layers, Enter or a click opens one: the kernel is told ("open") and sets `selected`. */

export const PALETTES = {
	light: { needed: "#0072b2", idle: "#dfe4ea", missed: "#d55e00", other: "#e69f00", third: "#009e73", quiet: "#8a9099", hatch: "#0000004d", line: "#00000026", cue: "#1b1b1b" },
	dark: { needed: "#2a8fd0", idle: "#39404a", missed: "#ff7a1f", other: "#f0b429", third: "#2bbd92", quiet: "#8d95a0", hatch: "#ffffff4d", line: "#ffffff2e", cue: "#f2f2f2" },
};
const MEASURES = { sparsity: "Sparsity", predictability: "Predictability", traffic: "Traffic", time: "Time" };
const WAYS = { dense: ["dense", "D", "quiet"], seernet: ["SeerNet", "S", "needed"], spl: ["SPL", "P", "other"], drfmp: ["DRFMP", "M", "third"] };
const GUTTER = 58; // CSS pixels of the scale at the left
const LANES = { head: 32, traffic: 34, best: 20, blocks: 20, gap: 8 }; // CSS pixels above and below the columns
const NARROWEST = 4; // CSS pixels of a column that can still be told from its neighbours
const WIDE_SHARE = 0.45; // of the width is dealt out evenly, the rest by work
const RATIOS = [-3, 4]; // powers of two of the time scale: an eighth to sixteen times the dense time
const HELP = "Left and right arrows move over the layers, Page Up and Page Down over the parts, Home and End to the ends; Enter or a click opens a layer.";
const LEGENDS = {
	sparsity: () => [["needed", "needed"], ["idle", "not needed"], ["missed", "needed, but SeerNet (4 bits) drops it"], ["hatch", "nothing discards outputs"]],
	predictability: () => [["needed", "SeerNet, 4 bits"], ["other", "SPL, 80 % of the weights left out"], ["hatch", "not predicted"]],
	traffic: () => [["needed", "input"], ["third", "input in maps of zeros (DRFMP)"], ["quiet", "weights"], ["other", "output"]],
	time: (f) => [["needed", "SeerNet"], ["other", "SPL"], ["third", "DRFMP"], ["cue", f.measured < f.layers.length ? "hollow: counted work, an estimate" : "line: the best dense"]],
};
const TITLES = {
	sparsity: "outputs needed", predictability: "needed outputs dropped", traffic: "bytes moved", time: "time, best dense = 1: below the line faster, above it slower",
};

const size = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} GB` : n >= 1e6 ? `${(n / 1e6).toFixed(2)} MB` : n >= 1e3 ? `${(n / 1e3).toFixed(1)} kB` : `${n} B`);
const work = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} G` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} M` : `${(n / 1e3).toFixed(1)} k`);
const known = (v) => v !== null && v !== undefined;
const part = (v) => (known(v) ? share(v) : "\u2013");
const traffic = (l) => l.bytes[0] + l.bytes[1] + l.bytes[2];

/** Left edge and width of each column: part of the room dealt out evenly, the rest by work. */
export function columns(macs, room) {
	const n = macs.length;
	const even = max(min(NARROWEST, room / n), (WIDE_SHARE * room) / n);
	const rest = max(0, room - n * even);
	const total = macs.reduce((sum, v) => sum + v, 0) || 1;
	let x = 0;
	return macs.map((v) => {
		const w = even + (rest * v) / total;
		x += w;
		return [x - w, w];
	});
}

/** Smallest of 1, 2, 5, 10, ... times a power of ten that is at least `v`. */
export function niceAbove(v) {
	const unit = 10 ** floor(log10(v));
	return unit * [1, 2, 5, 10].find((k) => k * unit >= v * (1 - 1e-9));
}

function render({ model, el }) {
	const view = canvasView({ model, el, kind: "seer-net", palettes: PALETTES, html: ({ stage, help }) => `<header><div class="title"></div>
<label>Measure <select aria-label="Measure">${Object.entries(MEASURES).map(([k, v]) => `<option value="${k}">${v}</option>`).join("")}</select></label></header>
<div class="facts"></div><div class="legend"></div>${stage}<div class="read" aria-live="polite"></div>${help}
<details><summary>All layers as a table</summary><div class="rows"></div></details>` });
	const { root, canvas, pen, find, schedule, save, listen } = view;
	const [title, facts, legend, read, help, details, rows] = [".title", ".facts", ".legend", ".read", ".help", "details", ".rows"].map(find);
	const measureBox = find("select");

	let frame = null;
	let places = []; // left edge and width of each column, in dots
	let at = 0; // layer of the keyboard
	let hovered = -1;
	let dots = 1;

	const measure = () => model.get("measure");
	const current = () => (hovered >= 0 ? hovered : at);
	const colour = (name) => view.palette[name];

	function take(next, before) {
		frame = next;
		if (before && before.layer === next.layer) return;
		const i = next.layers.findIndex((l) => l.name === model.get("selected"));
		[at, hovered] = [max(0, i), -1];
	}

	/* -- drawing -- */

	function draw(width, height) {
		dots = view.dots;
		const left = GUTTER * dots;
		places = columns(frame.layers.map((l) => l.macs), width - left - 4 * dots).map(([x, w]) => [left + x, w]);
		const lanes = Object.fromEntries(Object.entries(LANES).map(([k, v]) => [k, v * dots]));
		const bottom = floor(height - lanes.traffic - lanes.best - lanes.blocks - 3 * lanes.gap);
		const box = { y: round(lanes.head), h: bottom - round(lanes.head) };
		pen.clearRect(0, 0, width, height);
		pen.textBaseline = "middle";
		({ sparsity, predictability, traffic: trafficPicture, time })[measure()]?.(box);
		structure(box);
		let y = bottom + lanes.gap;
		trafficLane(y, lanes.traffic);
		y += lanes.traffic + lanes.gap;
		bestLane(y, lanes.best);
		y += lanes.best + lanes.gap;
		blockLane(y, lanes.blocks, box);
		const chosen = frame.layers.findIndex((l) => l.name === model.get("selected"));
		if (chosen >= 0) mark(chosen, box, colour("missed"));
		frameColumn(at, box);
		describe();
	}

	const gap = (w) => (w > 8 * dots ? 2 * dots : w > 3 * dots ? dots : 0);
	const each = (paint) => frame.layers.forEach((l, i) => paint(l, places[i][0], max(dots, places[i][1] - gap(places[i][1])), i));

	function rect(name, x, y, w, h) {
		pen.fillStyle = colour(name);
		pen.fillRect(x, y, w, h);
	}

	/* What cannot be said: a dashed frame while it is worked out, hatching where there is nothing to say. */
	function pending(x, y, w, h) {
		pen.setLineDash([3 * dots, 3 * dots]);
		pen.strokeStyle = colour("quiet");
		pen.lineWidth = dots;
		pen.strokeRect(x + 0.5 * dots, y + 0.5 * dots, max(0, w - dots), h - dots);
		pen.setLineDash([]);
	}

	function hatched(x, y, w, h) {
		pen.save();
		pen.beginPath();
		pen.rect(x, y, w, h);
		pen.clip();
		pen.beginPath();
		for (let d = -h; d < w; d += 6 * dots) {
			pen.moveTo(x + d, y + h);
			pen.lineTo(x + d + h, y);
		}
		pen.strokeStyle = colour("hatch");
		pen.lineWidth = 1.5 * dots;
		pen.stroke();
		pen.restore();
	}

	/** Scale at the left with lines across, `ticks` as [place 0..1 from below, text]. */
	function scale(box, ticks) {
		for (const [place, text] of ticks) {
			const y = round(box.y + box.h * (1 - place));
			rect("line", GUTTER * dots, y, canvas.width, dots);
			view.script(11, "right");
			pen.fillText(text, (GUTTER - 6) * dots, y);
		}
		view.script(12, "left");
		pen.font = `600 ${pen.font}`;
		pen.fillText(TITLES[measure()], 0, 8 * dots);
	}

	function sparsity(box) {
		scale(box, [[0, "0 %"], [0.5, "50 %"], [1, "100 %"]]);
		each((l, x, w) => {
			if (!l.known) return pending(x, box.y, w, box.h);
			if (!known(l.sparsity)) return hatched(x, box.y, w, box.h);
			rect("idle", x, box.y, w, box.h);
			const needed = round((1 - l.sparsity) * box.h); // whole dots: a thin mark must not be blended away
			const y = box.y + box.h - needed;
			rect("needed", x, y, w, needed);
			const missed = known(l.seernet) && l.seernet[0] > 0 ? max(2 * dots, round(l.seernet[0] * box.h)) : 0;
			rect("missed", x, y, w, min(missed, max(needed, 2 * dots)));
		});
	}

	function predictability(box) {
		const all = frame.layers.flatMap((l) => [l.seernet, l.spl]).filter(known).map((q) => q[0]);
		const most = niceAbove(max(0.01, ...all));
		scale(box, [[0, "0"], [0.5, share(most / 2)], [1, share(most)]]);
		each((l, x, w) => {
			if (!l.known) return pending(x, box.y, w, box.h);
			if (!known(l.seernet) && !known(l.spl)) return hatched(x, box.y, w, box.h);
			const high = (q) => (q[0] / most) * box.h;
			/* Narrow columns share their width: SeerNet is a bar, SPL a bar behind it or a line across. */
			const half = w >= 8 * dots ? w / 2 : w;
			if (known(l.spl)) rect("other", x + w - half, box.y + box.h - high(l.spl), half, half < w ? high(l.spl) : min(2 * dots, high(l.spl)));
			if (known(l.seernet)) rect("needed", x, box.y + box.h - high(l.seernet), half, high(l.seernet));
		});
	}

	function trafficPicture(box) {
		const most = niceAbove(max(...frame.layers.map(traffic)));
		scale(box, [[0, "0"], [0.5, size(most / 2)], [1, size(most)]]);
		each((l, x, w) => {
			let y = box.y + box.h;
			const zero = l.known ? l.zero_in[0] / l.zero_in[1] : 0;
			for (const [name, n] of [["needed", l.bytes[0] * (1 - zero)], ["third", l.bytes[0] * zero], ["quiet", l.bytes[1]], ["other", l.bytes[2]]]) {
				const h = (n / most) * box.h;
				rect(name, x, (y -= h), w, h);
				if (name === "third") hatched(x, y, w, h);
			}
		});
	}

	function time(box) {
		const [low, high] = RATIOS;
		const ticks = Array.from({ length: high - low + 1 }, (_, i) => low + i);
		const place = (ratio) => max(0, min(1, (Math.log2(ratio) - low) / (high - low)));
		scale(box, ticks.map((p) => [place(2 ** p), p < 0 ? `1/${2 ** -p}` : `${2 ** p}\u00d7`]));
		const one = box.y + box.h * (1 - place(1));
		rect("cue", GUTTER * dots, one - dots, canvas.width, 2 * dots);
		each((l, x, w) => {
			if (!l.choice) return pending(x, box.y, w, box.h);
			const ways = Object.entries(l.choice.ratios).filter(([way]) => way !== "dense");
			if (!ways.length) return hatched(x, box.y, w, box.h);
			ways.forEach(([way, ratio], i) => {
				const wide = w >= 12 * dots ? w / ways.length : w;
				const left = w >= 12 * dots ? x + i * wide : x;
				const y = box.y + box.h * (1 - place(ratio));
				const name = WAYS[way][2];
				if (l.choice.measured) {
					pen.globalAlpha = 0.35;
					rect(name, left, min(y, one), wide, abs(one - y));
					pen.globalAlpha = 1;
					rect(name, left, y - 2 * dots, wide, 4 * dots);
				} else {
					pen.strokeStyle = colour(name);
					pen.lineWidth = 1.5 * dots;
					pen.strokeRect(left + dots, y - 2 * dots, max(dots, wide - 2 * dots), 4 * dots);
				}
			});
		});
	}

	/* Layers that read the same map hang from one bracket; a shortcut that is added is a plus. */
	function structure(box) {
		const y = box.y - 5 * dots;
		pen.strokeStyle = view.look("color");
		pen.lineWidth = 1.5 * dots;
		const last = new Map();
		frame.layers.forEach((l, i) => {
			const from = last.get(l.branch);
			last.set(l.branch, i);
			const [a, b] = [from, i].map((k) => known(k) && places[k][0] + (places[k][1] - gap(places[k][1])) / 2);
			if (known(from)) {
				pen.beginPath();
				pen.moveTo(a, box.y);
				pen.lineTo(a, y);
				pen.lineTo(b, y);
				pen.lineTo(b, box.y);
				pen.stroke();
			}
			if (l.adds) {
				const [r, u] = [min(4 * dots, places[i][1] / 2), y - 4 * dots];
				pen.beginPath();
				pen.moveTo(b - r, u);
				pen.lineTo(b + r, u);
				pen.moveTo(b, u - r);
				pen.lineTo(b, u + r);
				pen.stroke();
			}
		});
	}

	function laneName(text, y, h) {
		view.script(11, "right");
		pen.fillText(text, (GUTTER - 6) * dots, y + h / 2);
	}

	function trafficLane(y, h) {
		const most = max(...frame.layers.map(traffic));
		laneName("bytes", y, h);
		pen.fillStyle = colour("idle");
		pen.beginPath();
		pen.moveTo(places[0][0], y + h);
		const top = (l) => y + h - (traffic(l) / most) * (h - 2 * dots);
		frame.layers.forEach((l, i) => {
			pen.lineTo(places[i][0], top(l));
			pen.lineTo(places[i][0] + places[i][1], top(l));
		});
		const end = places[places.length - 1];
		pen.lineTo(end[0] + end[1], y + h);
		pen.fill();
		pen.beginPath();
		frame.layers.forEach((l, i) => {
			pen.lineTo(places[i][0], top(l));
			pen.lineTo(places[i][0] + places[i][1], top(l));
		});
		pen.strokeStyle = colour("cue");
		pen.lineWidth = 1.5 * dots;
		pen.stroke();
	}

	/* Neighbours with the same best method share a badge; one that is measured is filled, an estimate is a frame. */
	function bestLane(y, h) {
		laneName("best", y, h);
		const layers = frame.layers;
		for (let i = 0; i < layers.length; ) {
			const { choice } = layers[i];
			let j = i + 1;
			while (j < layers.length && choice && layers[j].choice && layers[j].choice.way === choice.way && layers[j].choice.measured === choice.measured) j++;
			const x = places[i][0];
			const w = max(dots, places[j - 1][0] + places[j - 1][1] - gap(places[j - 1][1]) - x);
			i = j;
			if (!choice) {
				pending(x, y, w, h);
				continue;
			}
			const [name, letter, tint] = WAYS[choice.way];
			pen.fillStyle = pen.strokeStyle = colour(tint);
			pen.lineWidth = 2 * dots;
			if (choice.measured) pen.fillRect(x, y, w, h);
			else pen.strokeRect(x + dots, y + dots, max(dots, w - 2 * dots), h - 2 * dots);
			view.script(11, "center");
			if (choice.measured) pen.fillStyle = ink(rgb(colour(tint)));
			const text = [name, letter].find((t) => pen.measureText(t).width + 6 * dots <= w);
			if (text) pen.fillText(text, x + w / 2, y + h / 2 + dots);
		}
	}

	function blockLane(y, h, box) {
		const layers = frame.layers;
		let free = 0; // where the last name ended
		for (let i = 0; i < layers.length; ) {
			let j = i + 1;
			while (j < layers.length && layers[j].block === layers[i].block) j++;
			const x = places[i][0];
			const w = places[j - 1][0] + places[j - 1][1] - x;
			const name = layers[i].block;
			if (i) rect("line", x - gap(places[i - 1][1]) / 2 - dots / 2, box.y, dots, y + h - box.y);
			if (name) {
				rect("quiet", x, y, max(dots, w - 2 * dots), 2 * dots);
				view.script(11, "left");
				const short = name.split(".").pop();
				const text = [name, short].find((t) => pen.measureText(t).width <= w - 3 * dots && x >= free);
				if (text) {
					pen.fillText(text, x, y + 11 * dots);
					free = x + pen.measureText(text).width;
				}
			}
			i = j;
		}
	}

	function frameColumn(i, box) {
		const [x, w] = places[i];
		view.outline(x + dots, box.y + dots, max(2 * dots, w - gap(w) - 2 * dots), box.h - 2 * dots);
	}

	/* The layer that is open has a triangle under its column. */
	function mark(i, box, tint) {
		const x = places[i][0] + (places[i][1] - gap(places[i][1])) / 2;
		const y = box.y + box.h + 2 * dots;
		pen.fillStyle = tint;
		pen.beginPath();
		pen.moveTo(x, y);
		pen.lineTo(x - 6 * dots, y + 7 * dots);
		pen.lineTo(x + 6 * dots, y + 7 * dots);
		pen.fill();
	}

	/* -- words -- */

	function describe() {
		const { layers, total } = frame;
		const done = layers.filter((l) => l.known).length;
		const timed = measure() === "time" && frame.measured < layers.length ? `, ${frame.measured} measured` : "";
		const progress = done < layers.length || timed ? `${done} of ${layers.length} layers${timed}` : `${layers.length} layers`;
		const said = `${progress}, ${work(total.macs)} multiply-adds, ${size(total.bytes)} moved; ${share(total.idle)} of the work is for outputs that are not needed`;
		view.fill(title, escaped(frame.title));
		title.title = frame.title;
		view.fill(facts, said);
		if (measureBox.value !== measure()) measureBox.value = measure();
		help.textContent = HELP;
		const items = LEGENDS[measure()](frame).map(([name, text]) => `<span><i class="${name}"></i>${text}</span>`);
		const badges = Object.values(WAYS).map(([name, letter, tint]) => `<b class="${tint}">${letter}</b> ${name}`);
		view.fill(legend, `${items.join("")}<span class="ways">best: ${badges.join(" ")} (filled: measured)</span>`);
		const l = layers[current()];
		view.fill(read, readout(l));
		view.say(`Network ${frame.title}: ${said}. Measure: ${MEASURES[measure()]}. Layer ${at + 1} of ${layers.length}: ${words(layers[at])}`);
		if (details.open) view.fill(rows, table());
	}

	const shape = (l) => `${l.shape.slice(1).join(" \u00d7 ")}`;
	const kernel = (l) => `${l.kernel.join(" \u00d7 ")}${l.groups > 1 ? `, ${l.groups} groups` : ""}`;
	const verdict = (l) => (l.choice ? l.choice.reason : "not worked out yet");
	const zeros = (l) => (l.known ? `${whole(l.zero_in[0])} of ${whole(l.zero_in[1])}` : "\u2013");

	function words(l) {
		const needed = !l.known ? "not worked out yet" : known(l.sparsity) ? `${share(1 - l.sparsity)} of the outputs needed` : "all outputs needed";
		const dropped = known(l.seernet) ? `, SeerNet drops ${share(l.seernet[0])} though needed` : "";
		return `${l.name}, ${kernel(l)} to ${shape(l)}, ${work(l.macs)} multiply-adds, ${needed}${dropped}. ${verdict(l)}`;
	}

	function readout(l) {
		const quality = (q, reason) => (known(q) ? `drops ${share(q[0])} wrongly, mask ${share(q[1])} right` : reason ? escaped(reason) : "\u2013");
		const row = (name, text) => `<tr><th scope="row">${name}</th><td>${text}</td></tr>`;
		return `<p><b>${escaped(l.name)}</b> <span class="soft">${kernel(l)} to ${shape(l)}${l.adds ? ", a shortcut is added" : ""}; ${work(l.macs)} multiply-adds</span></p><p class="verdict">${escaped(verdict(l))}</p>
<div class="two"><table><tbody>${row("Outputs needed", l.known ? (known(l.sparsity) ? share(1 - l.sparsity) : "all: nothing discards them") : "\u2013")}${row("SeerNet, 4 bits", quality(l.seernet, l.refusals.seernet))}${row("SPL, ratio 0.8", quality(l.spl, l.refusals.spl))}</tbody></table>
<table><tbody>${row("Input maps all zero", zeros(l))}${row("Bytes in, weights, out", l.bytes.map(size).join(", "))}${row(l.choice && l.choice.measured ? "Time, dense = 1" : "Counted work, dense = 1", ratios(l))}</tbody></table></div>`;
	}

	const ratios = (l) => {
		const ways = l.choice ? Object.entries(l.choice.ratios).filter(([way]) => way !== "dense") : [];
		return ways.map(([way, ratio]) => `${WAYS[way][0]} ${ratio.toFixed(2)}`).join(", ") || "\u2013";
	};

	function table() {
		const head = ["layer", "part", "kernel", "output", "multiply-adds", "needed", "SeerNet drops", "SPL drops", "zero input maps", "bytes", "best", "why"];
		const body = frame.layers.map((l) => [escaped(l.name), escaped(l.block), kernel(l), shape(l), work(l.macs), known(l.sparsity) ? share(1 - l.sparsity) : l.known ? "all" : "\u2013", part(l.seernet && l.seernet[0]), part(l.spl && l.spl[0]), zeros(l), size(traffic(l)), l.choice ? WAYS[l.choice.way][0] + (l.choice.measured ? "" : " (estimate)") : "\u2013", escaped(verdict(l))]);
		return `<table><thead><tr>${head.map((t) => `<th scope="col">${t}</th>`).join("")}</tr></thead><tbody>${body.map((cells) => `<tr>${cells.map((c, i) => (i ? `<td>${c}</td>` : `<th scope="row">${c}</th>`)).join("")}</tr>`).join("")}</tbody></table>`;
	}

	/* -- moving and opening -- */

	function go(i) {
		[at, hovered] = [max(0, min(frame.layers.length - 1, i)), -1];
		schedule();
	}

	/** First layer of the next or the former part. */
	function nextBlock(by) {
		const { layers } = frame;
		const starts = layers.map((l, i) => (i && l.block === layers[i - 1].block ? -1 : i)).filter((i) => i >= 0);
		return by > 0 ? (starts.find((i) => i > at) ?? layers.length - 1) : (starts.reverse().find((i) => i < at) ?? 0);
	}

	function open(i) {
		at = i;
		model.send({ kind: "open", layer: frame.layers[i].name });
		schedule();
	}

	function key(event) {
		const arrow = ARROWS[event.key];
		if (arrow) go(at + arrow[0] + arrow[1]);
		else if (event.key === "Home") go(0);
		else if (event.key === "End") go(Infinity);
		else if (event.key === "PageDown") go(nextBlock(1));
		else if (event.key === "PageUp") go(nextBlock(-1));
		else if (event.key === "Enter") open(at);
		else return false;
		return true;
	}

	const hit = (event) => (frame ? places.findIndex(([x, w]) => view.at(event)[0] >= x && view.at(event)[0] < x + w) : -1);

	function hover(i) {
		if (i === hovered || !frame) return;
		hovered = i;
		view.fill(read, readout(frame.layers[current()]));
	}

	function chosen() {
		const i = frame ? frame.layers.findIndex((l) => l.name === model.get("selected")) : -1;
		if (i >= 0) at = i;
		schedule();
	}

	listen(canvas, "pointermove", (event) => hover(hit(event)));
	listen(canvas, "pointerleave", () => hover(-1));
	listen(canvas, "click", (event) => hit(event) >= 0 && open(hit(event)));
	listen(measureBox, "change", () => save("measure", measureBox.value));
	listen(details, "toggle", schedule);
	measureBox.value = model.get("measure");

	return view.start({
		take, draw, key,
		height: (width) => max(300, min(430, 0.3 * width)),
		recolour: (palette) => Object.entries(palette).forEach(([name, value]) => root.style.setProperty(`--${name}`, value)),
		traits: { measure: schedule, selected: chosen },
	});
}

export default { render };
