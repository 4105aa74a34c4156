/* Masks as pixels: the four classes of outputs, their colours and patterns, and painting maps of any size.
 *
 * Class of an output = predicted + 2 * true: 0 skipped, 1 wasted, 2 false skip, 3 kept. A map is {cells, P, Q, stride, plane}: one
 * class per byte, rows of `stride` and channels of `plane` bytes, which may be longer than the rows and channels themselves. */

const WORDS = ["skipped", "wasted", "false skips", "kept"];
const CLASS_WORDS = ["skipped", "wasted", "false skip", "kept"]; // of one output
/** Number and word of a class. */
const counted = (c, number) => `${whole(number)} ${(number === 1 ? CLASS_WORDS : WORDS)[c]}`;
const KEYS = ["skipped", "wasted", "false_skips", "kept"];
const MEANING = ["zero, not computed", "hatched: computed, zero", "crossed: needed, skipped", "needed and computed"];
const LEGEND_ORDER = [3, 0, 2, 1];
/* Okabe-Ito: the computed is blue, the missed vermillion, the rest recedes into the page. */
export const PALETTES = {
	light: { colours: ["#e3e6ea", "#56b4e9", "#d55e00", "#0072b2"], cue: "#1b1b1b", line: "#00000022" },
	dark: { colours: ["#30353d", "#66bdf0", "#ff7a1f", "#0f7abf"], cue: "#101010", line: "#ffffff22" },
};
/* Outputs that share a dot are drawn in their mean colour, errors over it and stronger than their share: a lone false
 * skip among many could not be seen from the back of a room. */
const EMPHASIS = { wasted: 1.5, falseSkip: 3, least: 0.35 };
const CUE_SIZE = 6; // CSS pixels per output from which a stroke or a cross fits into each; below, areas are hatched and crossed
const CUE_SHARE = 0.55; // of the cue's colour in a dot of such a pattern

for (const palette of Object.values(PALETTES)) {
	palette.rgb = palette.colours.map(rgb);
	palette.patterned = [0, 1, 2, 3].map((k) => (k === 1 || k === 2 ? mix(palette.rgb[k], rgb(palette.cue), CUE_SHARE) : palette.rgb[k]));
}

/* ---- bits to classes ---- */

const NIBBLES = new Uint32Array(256); // four classes, as bytes, for four predicted and four true bits
for (let i = 0; i < 256; i++) {
	for (let b = 0; b < 4; b++) {
		NIBBLES[i] |= (((i >> (7 - b)) & 1) | (((i >> (3 - b)) & 1) << 1)) << (8 * b);
	}
}

/** Map of K x P x Q classes from masks by blocks of 2 x 4 outputs (mask_code.py); `reuse` may be an earlier map.
 *
 * `told` is the predicted mask, or with `againstTruth` its difference from the true one. */
export function classify(told, truth, againstTruth, [K, P, Q], reuse) {
	const [height, width] = [ceil(P / 2), ceil(Q / 4)];
	const size = 8 * K * height * width;
	const buffer = reuse && reuse.cells.byteLength === size ? reuse.cells.buffer : new ArrayBuffer(size);
	const words = new Uint32Array(buffer);
	const flip = againstTruth ? 255 : 0;
	let [i, upper] = [0, 0];
	for (let row = 0; row < K * height; row++, upper += width) {
		for (let c = 0; c < width; c++, i++, upper++) {
			const t = truth[i];
			const p = told[i] ^ (t & flip);
			words[upper] = NIBBLES[(p & 240) | (t >> 4)];
			words[upper + width] = NIBBLES[((p & 15) << 4) | (t & 15)];
		}
	}
	return { cells: new Uint8Array(buffer), P, Q, stride: 4 * width, plane: 8 * height * width };
}

const classAt = (map, k, row, column) => map.cells[k * map.plane + row * map.stride + column];

/* What a class counts as in a mode: single masks know only kept and skipped. */
const shownAs = (k, mode) => (mode === "difference" ? k : (mode === "predicted" ? k & 1 : k >> 1) ? 3 : 0);

/* ---- painting: `image` is {pixels: Uint32Array, width, height} ---- */

/** Channel k in a w x h box at (x, y), at `scale` dots per output. */
function paintChannel(image, map, k, x, y, w, h, scale, palette, mode, dots) {
	if (scale < 1) paintSmaller(image, map, k, x, y, w, h, palette, mode);
	else paintLarger(image, map, k, x, y, scale, palette, mode, scale < CUE_SIZE * dots);
}

/* Dots of a pattern: diagonals for wasted outputs, both diagonals for false skips. */
const onCue = (k, u, v) => (k === 1 && (u + v) % 5 === 0) || (k === 2 && ((u + v) % 4 === 0 || (u - v + 65536) % 4 === 0));

/* Classes 1, 2 and 3 counted side by side in one number. */
const ONE_OF = Int32Array.of(0, 1, 1 << 10, 1 << 20);
const COUNTED = 1023; // outputs a dot may stand for; at a 32nd of a dot per output nothing can be told apart any more

/** Area average of one channel. */
function paintSmaller(image, { cells, P, Q, stride, plane }, channel, x, y, w, h, palette, mode) {
	const first = Uint32Array.from({ length: w + 1 }, (_, u) => ceil((u * Q) / w)); // column of each dot
	const step = ceil((ceil(P / h) * ceil(Q / w)) / COUNTED); // so of larger areas every second row, or third, is counted
	const sums = new Int32Array(Q);
	const marked = palette.patterned.map(word);
	const fine = mode === "difference";
	let mixed = null;
	let known = -1; // outputs per dot that `mixed` is for
	for (let v = 0, bottom = 0; v < h; v++) {
		const top = bottom;
		bottom = ceil(((v + 1) * P) / h);
		sums.fill(0);
		let rows = 0;
		for (let row = top; row < bottom; row += step, rows++) {
			let i = channel * plane + row * stride;
			for (let c = 0; c < Q; c++) sums[c] += ONE_OF[cells[i++]];
		}
		let o = (y + v) * image.width + x;
		for (let u = 0, c = 0; u < w; u++) {
			const end = first[u + 1];
			const all = rows * (end - c);
			let sum = 0;
			while (c < end) sum += sums[c++];
			const b = sum & 1023;
			const m = (sum >> 10) & 1023;
			const d = sum >> 20;
			if (fine && 2 * m >= all && onCue(2, u, v)) image.pixels[o++] = marked[2];
			else if (fine && 2 * b > all && onCue(1, u, v)) image.pixels[o++] = marked[1];
			else if (all > MIXED) image.pixels[o++] = mixture(palette, mode, all, b, m, d);
			else {
				if (all !== known) mixed = mixtures(palette, mode, (known = all));
				const at = (b * (all + 1) + m) * (all + 1) + d;
				image.pixels[o++] = mixed[at] ||= mixture(palette, mode, all, b, m, d);
			}
		}
	}
}

const MIXED = 24; // outputs per dot up to which mixtures are kept: 16 thousand of them at most

/** Mixtures worked out so far, for dots of so many outputs; 0 for the others. */
function mixtures(palette, mode, all) {
	const kept = (palette.mixtures ||= { predicted: [], true: [], difference: [] })[mode];
	return (kept[all] ||= new Uint32Array((all + 1) ** 3));
}

/** Colour of a dot for `all` outputs, of which b are wasted, c falsely skipped and d kept. */
function mixture(palette, mode, all, b, c, d) {
	if (mode !== "difference") [b, c, d] = [0, 0, d + (mode === "predicted" ? b : c)];
	const [zero, wasted, missed, kept] = palette.rgb;
	const blue = d / (all - b - c || 1);
	const sky = min(1, (b * EMPHASIS.wasted) / all);
	const red = c && min(1, max(EMPHASIS.least, (c * EMPHASIS.falseSkip) / all));
	return word(zero.map((from, i) => {
		let value = from + blue * (kept[i] - from);
		value += sky * (wasted[i] - value);
		return floor(value + red * (missed[i] - value));
	}));
}

/** One channel at 1 or more dots per output, its corner at (x, y), as far as the image goes. */
function paintLarger(image, map, k, x, y, scale, palette, mode, patterned) {
	const [left, top] = [max(x, 0), max(y, 0)];
	const right = min(x + floor(map.Q * scale), image.width);
	const bottom = min(y + floor(map.P * scale), image.height);
	if (right <= left) return;
	const shown = [0, 1, 2, 3].map((c) => shownAs(c, mode));
	const plain = Uint32Array.from(shown, (c) => word(palette.rgb[c]));
	const marked = Uint32Array.from(shown, (c) => word(palette.patterned[c]));
	const column = new Uint16Array(right - left);
	for (let u = left; u < right; u++) column[u - left] = floor((u - x) / scale);
	let last = -1;
	for (let v = top; v < bottom; v++) {
		const row = floor((v - y) / scale);
		const o = v * image.width + left;
		const start = k * map.plane + row * map.stride;
		if (patterned) {
			for (let u = 0; u < column.length; u++) {
				const c = map.cells[start + column[u]];
				image.pixels[o + u] = onCue(shown[c], u, v) ? marked[c] : plain[c];
			}
		} else if (row === last) image.pixels.copyWithin(o, o - image.width, o - image.width + right - left);
		else for (let u = 0; u < column.length; u++) image.pixels[o + u] = plain[map.cells[start + column[u]]];
		last = row;
	}
}

/** A stroke through each wasted output and a cross through each false skip of channel k, drawn at (x, y) as far as the room goes. */
function strokes(pen, map, k, x, y, s, width, height) {
	const pad = max(1, round(s * 0.2));
	const [top, left] = [max(0, floor(-y / s)), max(0, floor(-x / s))];
	const [bottom, right] = [min(map.P, ceil((height - y) / s)), min(map.Q, ceil((width - x) / s))];
	for (let r = top; r < bottom; r++) {
		for (let c = left; c < right; c++) {
			const kind = classAt(map, k, r, c);
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

/** Pattern of a class in the legend. */
const swatch = (k) =>
	`<svg viewBox="0 0 16 16" aria-hidden="true"><rect x=".5" y=".5" width="15" height="15" fill="var(--c${k})"/><path d="${
		["", "M1 15L15 1", "M3 3L13 13M13 3L3 13", ""][k]}"/></svg>`;
