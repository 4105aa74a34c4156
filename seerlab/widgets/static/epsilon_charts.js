/* The small charts of the epsilon view: the curve over its slider, the map that is open, and the histogram of its values. */

const BINS = 45;

/** Epsilon at a position of the slider, 0..1: its square, for finer steps near 0. */
export const atPosition = (position, end) => Number((end * position * position).toPrecision(3));
const toPosition = (epsilon, end) => min(1, sqrt(max(0, epsilon) / end));

/** Colour of a share 0..1 along some stops. */
function rampColour(stops, part) {
	const place = part * (stops.length - 1);
	const i = min(floor(place), stops.length - 2);
	return mix(stops[i], stops[i + 1], place - i);
}

/** Charts on the canvases in `boxes` (curve, with its key; map; histogram), of `view.frame` and in the view's colours. */
function epsilonCharts(view, boxes) {
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

	/** Shares and probabilities over epsilon, with a mark at the present one. */
	function drawCurve(base, points, epsilon) {
		const ready = prepared(boxes.curve);
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
		const now = round(x(epsilon));
		ink.fillStyle = view.look("color");
		ink.fillRect(now - d, top - 4 * d, 2 * d, foot - top + 4 * d);
		const name = frame.before ? escaped(frame.before.name) : "";
		view.fill(boxes.key, `<span><i class="area"></i>values in pruned maps</span>${name ? `<span><i class="curve"></i>probability of ${name}</span><span><i class="other"></i>another class</span>` : ""}<span class="soft">${points.length > 1 ? "" : "the curve follows when nothing moves"}</span>`);
		boxes.curve.setAttribute("aria-label", points.length > 1 ? spoken(points) : "Curve over the slider, not computed yet");
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
		boxes.map.style.height = `${round(max(60, min(200, (284 * H) / W)))}px`;
		const sheet = document.createElement("canvas");
		[sheet.width, sheet.height] = [W, H];
		const image = new ImageData(W, H);
		const pixels = new Uint32Array(image.data.buffer);
		values.forEach((v, i) => {
			const size = abs(v);
			pixels[i] = word(size === 0 ? zero : size <= epsilon ? mix(faint, orange, sqrt(size / epsilon)) : rampColour(stops, sqrt(size / (most || 1))));
		});
		sheet.getContext("2d").putImageData(image, 0, 0);
		const ready = prepared(boxes.map);
		if (!ready) return;
		const [ink, w, h] = ready;
		const scale = min(w / W, h / H);
		ink.imageSmoothingEnabled = scale < 1;
		ink.drawImage(sheet, (w - scale * W) / 2, (h - scale * H) / 2, scale * W, scale * H);
		histogram(values, low, high);
	}

	function histogram(values, low, high) {
		const ready = prepared(boxes.histogram);
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

	return { drawCurve, drawOpened };
}
