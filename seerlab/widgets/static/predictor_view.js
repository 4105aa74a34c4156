/* The predictor view: false negatives of a layer's cheap predictors against what predicting costs.
 *
 * A frame holds the points of both curves that are known, as rows of figures, and the two that are chosen; "curves" messages bring more
 * points while nothing moves. Both axes are logarithmic, since they span three decades; what misses nothing at all stands on a line of
 * its own below. */

const METHODS = ["seernet", "spl"];
const NAMES = { seernet: "SeerNet", spl: "SPL" };
/* Okabe-Ito; circle and line, or square and dashes, are the second cue. */
export const PALETTES = {
	light: { seernet: "#0072b2", spl: "#d55e00", grid: "#00000018", edge: "#00000066", level: "#5f6368", paper: "#ffffff" },
	dark: { seernet: "#66bdf0", spl: "#ff8a3d", grid: "#ffffff1f", edge: "#ffffff80", level: "#a8adb5", paper: "#14161a" },
};
const TRAIT = { seernet: "bits", spl: "prune_ratio" };
const AXES = {
	work: "cost of predicting: share of the layer\u2019s multiply-adds (b bits count b/32, our convention)",
	time: "cost of predicting: measured time, share of the dense layer\u2019s",
};
const ONE_BIT = "1 bit is a special case: only the weights have one bit, the input stays in full precision.";
const WAYS = "SPL\u2019s time is the better of two: a dense convolution with zeros, or a list of the kept weights over the lowered input, lowering included.";
const STEPS = { seernet: [1, 8, 1], spl: [0.05, 0.95, 0.05] };
const WIDE = 760; // CSS pixels from which the figures stand beside the chart
const SIDE = 316;
const MARGIN = { left: 76, right: 18, top: 26, bottom: 50 }; // CSS pixels around the plot
const RADIUS = 4.5, CHOSEN = 8.5; // CSS pixels
const REACH = 22; // CSS pixels within which a pointer takes a point
const DECADE = 70; // CSS pixels of a decade from which 2 and 5 are labelled too
const RIGHT_PART = 0.7; // of the width from which labels stand left of their points
const ZERO_ROOM = 26; // CSS pixels below the axis for points that miss nothing
const SEND_EVERY = 50; // ms between two values of a slider that is dragged

/* ---- words ---- */

const settingOf = (method, value) => (method === "seernet" ? `${value} ${value === 1 ? "bit" : "bits"}` : `prune ratio ${short(value)}`);
const brief = (method, value) => (method === "seernet" ? settingOf(method, value) : `p = ${short(value)}`);
const milliseconds = (v) => (v === null ? "\u2013" : `${v.toPrecision(3)} ms`);
const tick = (v) => `${Number((100 * v).toPrecision(2))} %`;
const ROWS = [
	["false negatives", (p) => share(p.false_negative_share), "needed, not computed: costs accuracy"],
	["false positives", (p) => share(p.false_positive_share), "computed for nothing: costs work"],
	["recall", (p) => share(p.recall), "of the needed outputs"],
	["computed, d", (p) => share(p.density), "share of the outputs"],
	["predictor", (p) => share(p.predictor_work), "share of the multiply-adds"],
	["predictor + exact", (p) => share(p.total_work), "total work"],
	["reduction", (p) => minus(share(p.reduction)), "1 \u2212 total; below 0 it costs"],
	["time to predict", (p) => milliseconds(p.predict_ms), "measured on this machine"],
];

/* ---- a logarithmic axis ---- */

/** Ticks 1, 2, 5 of each decade inside [low, high]. */
export function ticks(low, high) {
	const found = [];
	for (let d = floor(log10(low)); d <= ceil(log10(high)); d++) {
		for (const m of [1, 2, 5]) {
			const value = m * 10 ** d;
			if (value >= low * 0.999 && value <= high * 1.001) found.push({ value, major: m === 1 });
		}
	}
	return found;
}

/** Bounds that hold all values, a little apart from them; `least` is the smallest span as a factor. */
function bounds(values, least) {
	const [low, high] = [min(...values), max(...values)];
	const room = max(1.25, sqrt(least / (high / low)));
	return [low / room, high * room];
}

/* ---- the view ---- */

function render({ model, el }) {
	const slider = (method, name, text) => `<label data-method="${method}"><span class="swatch"></span>${text}
<input type="range" aria-label="${name}" min="${STEPS[method][0]}" max="${STEPS[method][1]}" step="${STEPS[method][2]}"><output></output></label>`;
	const view = canvasView({
		model, el, kind: "seer-pred", palettes: PALETTES,
		html: ({ stage, help, uid }) => `<header><div class="title"></div>
<div class="choice" role="radiogroup" aria-label="Cost of predicting"><label><input type="radio" name="${uid}" value="work"><span>Work</span></label><label><input type="radio" name="${uid}" value="time"><span>Measured time</span></label></div></header>
<div class="controls">${slider("seernet", "Bits", "SeerNet, bits")}${slider("spl", "Prune ratio", "SPL, prune ratio")}</div>
<div class="sentence" aria-live="polite"></div>
<div class="body">${stage}<div class="side"><table class="figures"><thead><tr><td></td><th scope="col" data-method="seernet"><span class="swatch"></span>SeerNet</th><th scope="col" data-method="spl"><span class="swatch"></span>SPL</th></tr></thead><tbody></tbody></table><div class="notes"></div></div></div>${help}`,
	});
	const { root, canvas, pen, find, listen, save, schedule, say, fill } = view;
	const [title, sentence, table, notes, help] = [".title", ".sentence", ".figures tbody", ".notes", ".help"].map(find);
	const radios = [...root.querySelectorAll(".choice input")];
	const sliders = Object.fromEntries(METHODS.map((m) => [m, find(`label[data-method=${m}] input`)]));
	const outputs = Object.fromEntries(METHODS.map((m) => [m, find(`label[data-method=${m}] output`)]));
	fill(help, "Arrow keys on the chart: left and right change the prune ratio, up and down the bits. Click a point to choose it. Down and left is better.");

	let marks = []; // {method, point, x, y} of the points drawn, in dots
	let hovered = null;
	let wanted = null; // value of a slider that waits to be sent
	let sendTimer = 0;

	/* -- traits -- */

	function flush() {
		sendTimer = clearTimeout(sendTimer);
		if (wanted) save(...wanted);
		wanted = null;
	}

	function choose(method, value) {
		const [low, high] = STEPS[method];
		wanted = [TRAIT[method], min(high, max(low, Number(value.toFixed(2))))];
		sendTimer ||= setTimeout(flush, SEND_EVERY);
		outputs[method].textContent = short(wanted[1]);
	}

	function follow() {
		for (const method of METHODS) {
			const value = model.get(TRAIT[method]);
			sliders[method].value = value;
			outputs[method].textContent = short(value);
			sliders[method].setAttribute("aria-valuetext", settingOf(method, value));
		}
		for (const radio of radios) radio.checked = radio.value === model.get("cost");
	}

	for (const method of METHODS) {
		listen(sliders[method], "input", () => choose(method, Number(sliders[method].value)));
		listen(sliders[method], "change", flush);
	}
	for (const radio of radios) listen(radio, "change", () => save("cost", radio.value));

	/* -- drawing -- */

	const cost = (point) => point[view.frame.cost];

	/** Places of the axes, in dots. */
	function geometry(width, height) {
		const { frame, dots } = view;
		const all = METHODS.flatMap((m) => frame.points[m] || []).filter((p) => cost(p) !== null);
		const misses = all.map((p) => p.false_negative_share).filter((v) => v > 0);
		const none = misses.length < all.length;
		const [left, right, top] = [MARGIN.left * dots, width - MARGIN.right * dots, MARGIN.top * dots];
		const floorY = height - MARGIN.bottom * dots;
		const bottom = floorY - (none ? ZERO_ROOM * dots : 0);
		const [xLow, xHigh] = bounds([...all.map(cost), 1, 0.05], 10);
		const [yLow, yHigh] = bounds(misses.length ? misses : [0.001, 0.01], 30);
		return {
			left, right, top, bottom, floorY, none, xLow, xHigh, yLow, yHigh,
			x: (v) => left + ((right - left) * log10(v / xLow)) / log10(xHigh / xLow),
			y: (v) => (v > 0 ? bottom - ((bottom - top) * log10(v / yLow)) / log10(yHigh / yLow) : floorY - (ZERO_ROOM / 2) * dots),
		};
	}

	function line(colour, thickness, dashes, ...points) {
		pen.strokeStyle = colour;
		pen.lineWidth = thickness * view.dots;
		pen.setLineDash(dashes.map((d) => d * view.dots));
		pen.beginPath();
		for (const [x, y] of points) pen.lineTo(x, y);
		pen.stroke();
		pen.setLineDash([]);
	}

	function axes(g) {
		const { dots, palette, frame } = view;
		view.script(13, "right");
		pen.textBaseline = "middle";
		const roomy = (g.bottom - g.top) / log10(g.yHigh / g.yLow) > DECADE * dots;
		for (const { value, major } of ticks(g.yLow, g.yHigh)) {
			line(palette.grid, major ? 1.5 : 0.75, [], [g.left, g.y(value)], [g.right, g.y(value)]);
			if (major || roomy) pen.fillText(tick(value), g.left - 7 * dots, g.y(value));
		}
		if (g.none) {
			pen.fillText("none", g.left - 7 * dots, g.y(0));
			line(palette.edge, 0.75, [2, 3], [g.left, g.bottom], [g.right, g.bottom]);
		}
		pen.textAlign = "center";
		pen.textBaseline = "top";
		for (const { value, major } of ticks(g.xLow, g.xHigh)) {
			line(palette.grid, major ? 1.5 : 0.75, [], [g.x(value), g.top], [g.x(value), g.floorY]);
			pen.fillText(tick(value), g.x(value), g.floorY + 6 * dots);
		}
		line(palette.edge, 1, [], [g.left, g.top], [g.left, g.floorY], [g.right, g.floorY]);
		line(palette.edge, 1.5, [6, 4], [g.x(1), g.top], [g.x(1), g.floorY]);
		const words = g.right - g.left < 560 * dots ? { work: "cost of predicting: share of the multiply-adds", time: "cost of predicting: share of the dense time" } : AXES;
		pen.fillText(words[frame.cost], (g.left + g.right) / 2, g.floorY + 27 * dots);
		pen.save();
		pen.translate(13 * dots, (g.top + g.floorY) / 2);
		pen.rotate(-Math.PI / 2);
		pen.textBaseline = "middle";
		pen.fillText("false negatives, share of the outputs", 0, 0);
		pen.restore();
		pen.fillStyle = palette.level;
		pen.textBaseline = "bottom";
		pen.fillText("dense layer", min(g.x(1), g.right - pen.measureText("dense layer").width / 2), g.top - 4 * dots);
	}

	function shape(method, x, y, r) {
		pen.beginPath();
		if (method === "seernet") pen.arc(x, y, r, 0, 2 * Math.PI);
		else pen.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r);
	}

	/** Text beside a point: above (-1) or below (1) it; left of it (0), as near the right edge. */
	function label(text, x, y, colour, g, side) {
		const { dots, palette } = view;
		const half = pen.measureText(text).width / 2;
		const left = x > g.left + RIGHT_PART * (g.right - g.left) || (side === 0 && x - 2 * half - 19 * dots > g.left);
		const centre = left ? x - half - 15 * dots : max(g.left + half + 4 * dots, x);
		const line = max(g.top + 9 * dots, min(g.floorY - 9 * dots, left ? y : y + 20 * (side || -1) * dots));
		pen.textAlign = "center";
		pen.textBaseline = "middle";
		pen.lineJoin = "round";
		pen.lineWidth = 4 * dots;
		pen.strokeStyle = palette.paper;
		pen.strokeText(text, centre, line);
		pen.fillStyle = colour;
		pen.fillText(text, centre, line);
	}

	function curve(method, g) {
		const { dots, palette, frame } = view;
		const colour = palette[method];
		const known = (frame.points[method] || []).filter((p) => cost(p) !== null);
		const places = known.map((point) => ({ method, point, x: g.x(cost(point)), y: g.y(point.false_negative_share) }));
		line(colour, 2.25, method === "spl" ? [7, 4] : [], ...places.map(({ x, y }) => [x, y]));
		for (const { x, y } of places) {
			shape(method, x, y, RADIUS * dots);
			pen.fillStyle = colour;
			pen.fill();
		}
		marks.push(...places);
		return places;
	}

	function draw(width, height) {
		const { frame, dots, palette } = view;
		marks = [];
		pen.clearRect(0, 0, width, height);
		const g = geometry(width, height);
		axes(g);
		const { level } = frame;
		if (Object.keys(frame.compared).length === 2 && level > 0 && g.y(level) > g.top) {
			line(palette.level, 1.25, [2, 3], [g.left, g.y(level)], [g.right, g.y(level)]);
		}
		const curves = Object.fromEntries(METHODS.map((m) => [m, curve(m, g)]));
		for (const method of METHODS) {
			const ends = curves[method];
			if (ends.length < 2) continue;
			view.script(13, "center");
			for (const end of [ends[0], ends.at(-1)]) {
				if (end.point.setting !== frame.chosen[method]?.setting) label(brief(method, end.point.setting), end.x, end.y, palette[method], g, end === ends[0] ? -1 : 1);
			}
		}
		for (const method of METHODS) {
			const point = frame.chosen[method];
			if (!point || cost(point) === null) continue;
			const [x, y] = [g.x(cost(point)), g.y(point.false_negative_share)];
			shape(method, x, y, CHOSEN * dots);
			pen.fillStyle = palette[method];
			pen.fill();
			pen.lineWidth = 2.5 * dots;
			pen.strokeStyle = view.look("color");
			pen.stroke();
			view.script(16, "center");
			pen.font = `600 ${pen.font}`;
			label(`${NAMES[method]}, ${brief(method, point.setting)}`, x, y, palette[method], g, method === "seernet" ? 0 : -1);
		}
		if (hovered) {
			const mark = marks.find((m) => m.method === hovered.method && m.point.setting === hovered.setting);
			if (mark) hover(mark, g);
		}
		describe();
	}

	function hover({ method, point, x, y }, g) {
		const { dots, palette } = view;
		shape(method, x, y, CHOSEN * dots);
		pen.lineWidth = 2 * dots;
		pen.strokeStyle = palette[method];
		pen.stroke();
		const lines = [`${NAMES[method]}, ${settingOf(method, point.setting)}`, `${share(point.false_negative_share)} missed, ${share(point.density)} computed`, `predicts for ${share(cost(point))}, total work ${share(point.total_work)}`];
		view.script(13, "left");
		const w = max(...lines.map((text) => pen.measureText(text).width)) + 16 * dots;
		const h = (19 * lines.length + 8) * dots;
		const left = min(x + 14 * dots, g.right - w);
		const top = y + h + 14 * dots > g.floorY ? y - h - 12 * dots : y + 12 * dots;
		pen.fillStyle = view.look("color");
		pen.fillRect(left, max(0, top), w, h);
		pen.fillStyle = palette.paper;
		pen.textBaseline = "middle";
		lines.forEach((text, i) => pen.fillText(text, left + 8 * dots, max(0, top) + (13.5 + 19 * i) * dots));
	}

	/* -- words -- */

	function describe() {
		const { frame } = view;
		const known = METHODS.map((m) => `${(frame.points[m] || []).length} points of ${NAMES[m]}`);
		const now = METHODS.filter((m) => frame.chosen[m]).map((m) => {
			const p = frame.chosen[m];
			return `${NAMES[m]} with ${settingOf(m, p.setting)} misses ${share(p.false_negative_share)}, computes ${share(p.density)}, total work ${share(p.total_work)}`;
		});
		say(`False negatives against cost of predicting, layer ${frame.heading}. ${now.join(". ")}. ${known.join(" and ")}${frame.finished ? "" : ", more to come"}.`);
		fill(title, `${escaped(frame.heading)} <small>${frame.shape.join(" \u00d7 ")} outputs</small>`);
		fill(sentence, escaped(frame.sentence) + (frame.finished ? "" : ' <span class="soft">Curves are filling in.</span>'));
		const cell = (method, value) => (frame.chosen[method] ? value(frame.chosen[method]) : "\u2013");
		fill(table, ROWS.map(([name, value, meaning]) => `<tr><th scope="row">${name}<small>${meaning}</small></th>${METHODS.map((m) => `<td>${cell(m, value)}</td>`).join("")}</tr>`).join(""));
		const remarks = Object.entries(frame.reasons).map(([m, reason]) => `${NAMES[m]} cannot treat this layer: ${reason}.`);
		if (frame.cost === "work" && (frame.chosen.seernet?.setting === 1 || frame.compared.seernet === 1)) remarks.push(ONE_BIT);
		if (frame.cost === "time" && frame.chosen.spl) remarks.push(WAYS);
		fill(notes, remarks.map((text) => `<p>${escaped(text)}</p>`).join(""));
		for (const m of METHODS) sliders[m].disabled = m in frame.reasons;
	}

	/* -- pointer and keys -- */

	function nearest(event) {
		const [x, y] = view.at(event);
		let best = null;
		for (const mark of marks) {
			const away = Math.hypot(mark.x - x, mark.y - y);
			if (away < REACH * view.dots && (!best || away < best.away)) best = { ...mark, away };
		}
		return best;
	}

	listen(canvas, "pointermove", (event) => {
		const mark = nearest(event);
		const next = mark && { method: mark.method, setting: mark.point.setting };
		if (JSON.stringify(next) !== JSON.stringify(hovered)) {
			hovered = next;
			schedule();
		}
	});
	listen(canvas, "pointerleave", () => {
		hovered = null;
		schedule();
	});
	listen(canvas, "click", (event) => {
		const mark = nearest(event);
		if (mark) save(TRAIT[mark.method], mark.point.setting);
	});

	function key(event) {
		const move = ARROWS[event.key];
		if (!move) return false;
		const method = move[0] ? "seernet" : "spl";
		if (method in view.frame.reasons) return true;
		const [, , step] = STEPS[method];
		const now = wanted && wanted[0] === TRAIT[method] ? wanted[1] : model.get(TRAIT[method]);
		choose(method, now + step * (method === "seernet" ? -move[0] : move[1]));
		return true;
	}

	function curves(message) {
		const { frame } = view;
		if (!frame || message.layer !== frame.layer) return;
		frame.points = message.points;
		if (["bits", "prune_ratio", "cost"].every((name) => message[name] === frame[name])) {
			for (const name of ["sentence", "level", "compared", "finished"]) frame[name] = message[name];
		}
		schedule();
	}

	follow();
	return view.start({
		draw,
		wide: WIDE,
		height: (width, narrow) => (narrow ? min(420, max(300, 0.8 * width)) : min(520, max(400, 0.56 * (width - SIDE)))),
		recolour(palette) {
			for (const m of METHODS) root.style.setProperty(`--${m}`, palette[m]);
		},
		key,
		traits: { bits: follow, prune_ratio: follow, cost: follow },
		messages: { curves },
		stop: () => clearTimeout(sendTimer),
	});
}

export default { render };
