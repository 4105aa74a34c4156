/* What the arrays of one channel say: its entries, the convolution replayed from them as the papers do it, and both in words.
 * No page and no kernel in here.
 *
 * `f` is a frame as the kernel describes it: `method`, `shape` (C, H, W) of the raw map, `kernel`, `stride`, `dilation`, `padding`
 * (top, left), `padded` (Ih, Iw), `outputs` (Oh, Ow), and `weights`, the R x S taps of one filter. */

/** What the arrays of one channel say, entry by entry in stored order.
 *
 * `place`: row * Iw + column on the padded map; `owner`: the output column (or, for im2col, output) that an entry is stored for,
 * absent where it serves all it can reach; `at`: where its index begins. */
export function entries(f, arrays) {
	const [Kh, Kw] = f.kernel;
	const [Sh, Sw] = f.stride;
	const [Dh, Dw] = f.dilation;
	const [Ih, Iw] = f.padded;
	const Ow = f.outputs[1];
	const value = arrays.DA;
	const n = value.length;
	const place = new Int32Array(n);
	if (f.method === "im2col" || f.method === "mec") {
		const owner = new Int32Array(n);
		const width = f.method === "mec" ? Ih * Kw : Kh * Kw;
		for (let q = 0; q < n; q++) {
			const o = (owner[q] = floor(q / width));
			const [l, k] = [floor((q % width) / Kw), q % Kw];
			place[q] = f.method === "mec" ? l * Iw + o * Sw + k : (floor(o / Ow) * Sh + l * Dh) * Iw + (o % Ow) * Sw + k * Dw;
		}
		return { n, value, place, owner, width };
	}
	if (f.method === "zvc") {
		const W = f.shape[2];
		let q = 0;
		arrays.mask.forEach((word, w) => {
			for (let b = 0; b < 32; b++) {
				const e = 32 * w + b;
				if ((word >>> b) & 1) place[q++] = (floor(e / W) + f.padding[0]) * Iw + (e % W) + f.padding[1];
			}
		});
		return { n, value, place };
	}
	const { ptr, IN } = arrays;
	if (f.method === "cps") {
		const at = new Int32Array(n);
		for (let a = 0, q = 0; a < IN.length; a++) {
			const put = (pos, from) => {
				at[q] = from;
				place[q++] = (pos % Ih) * Iw + floor(pos / Ih);
			};
			if (IN[a] >= 0) put(IN[a], a);
			else for (let b = 0, set = IN[a + 1]; b < 4; b++) if ((set >> b) & 1) put(~IN[a] + b, a);
			if (IN[a] < 0) a++;
		}
		return { n, value, place, at };
	}
	const owner = f.method === "cscc" ? new Int32Array(n) : undefined;
	for (let t = 0, q = 0; t < ptr.length / (Ow + 1); t++) {
		for (let s = 0, p = t * (Ow + 1); s < Ow; s++, p++) {
			for (let left = ptr[p + 1] - ptr[p]; left > 0; left--, q++) {
				place[q] = floor(IN[q] / Kw) * Iw + s * Sw + (IN[q] % Kw);
				if (owner) owner[q] = s;
			}
		}
	}
	return { n, value, place, owner };
}

/** Call `visit(y, x, l, k)` for every output that an entry feeds and the tap it is multiplied by. */
export function feed(f, stream, q, visit) {
	const [Kh, Kw] = f.kernel;
	const [Sh, Sw] = f.stride;
	const [Dh, Dw] = f.dilation;
	const [Oh, Ow] = f.outputs;
	const i = floor(stream.place[q] / f.padded[1]);
	const j = stream.place[q] % f.padded[1];
	let [l, lEnd] = [0, Kh];
	let x0 = max(0, ceil((j - (Kw - 1) * Dw) / Sw));
	let x1 = min(Ow - 1, floor(j / Sw));
	if (stream.owner) x0 = x1 = stream.owner[q];
	if (f.method === "im2col") {
		x0 = x1 %= Ow;
		l = floor((q % stream.width) / Kw);
		lEnd = l + 1;
	}
	for (; l < lEnd; l++) {
		const d = i - l * Dh;
		if (d < 0 || d % Sh || d / Sh >= Oh) continue;
		for (let x = x0; x <= x1; x++) {
			const k = j - x * Sw;
			if (k % Dw === 0) visit(d / Sh, x, l, k / Dw);
		}
	}
}

/** Output after the entries `from` to `to`, added to `sums`. */
export function replay(f, stream, sums, from, to) {
	const Ow = f.outputs[1];
	for (let q = from; q <= to; q++) {
		const v = stream.value[q];
		if (v) feed(f, stream, q, (y, x, l, k) => (sums[y * Ow + x] += v * f.weights[l][k]));
	}
	return sums;
}

/* ---- numbers and words ---- */

const NAMES = { im2col: "im2col", mec: "MEC", cscc: "CSCC", cpo: "CPO", cps: "CPS", zvc: "ZVC" };

export const placeOf = (frame, q) => [floor(frame.stream.place[q] / frame.padded[1]), frame.stream.place[q] % frame.padded[1]];
export const padded = (frame) => frame.padding[0] + frame.padding[1] > 0;

/** What the present entry adds to the output, in words and sums, as HTML. */
export function readout(frame, q) {
	const [i, j] = placeOf(frame, q);
	const v = short(frame.stream.value[q]);
	const lines = [];
	feed(frame, frame.stream, q, (y, x, l, k) => (lines[l] = [...(lines[l] || []), `<span>O[${y}][${x}] += ${v} x ${short(frame.weights[l][k])}</span>`]));
	const sum = lines.map((terms) => `<li>${terms.join(", ")}</li>`).join("");
	return `<p><b>${v}</b> at row ${i}, column ${j}${padded(frame) ? " of the padded map" : ""}: ${filed(frame, q, i, j)}</p><ul>${sum || "<li>feeds no output</li>"}</ul>`;
}


/** Where the present format keeps an entry, in words. */
function filed(frame, q, i, j) {
	const [Kw, Sw, Ow] = [frame.kernel[1], frame.stride[1], frame.outputs[1]];
	const { stream, arrays, method } = frame;
	const o = stream.owner && stream.owner[q];
	if (method === "im2col") return `row ${o} of the matrix, for O[${floor(o / Ow)}][${o % Ow}] alone`;
	if (method === "mec") return `row ${o} of the matrix, for output column ${o}`;
	if (method === "zvc") return `bit ${bitOf(frame, q) % 32} of mask word ${bitOf(frame, q) >> 5}`;
	const s = o ?? frame.firsts[j];
	const where = `${method === "cscc" ? "" : `type ${frame.types[j]}, `}submatrix ${s}, `;
	if (method !== "cps") return `${where}IN = ${arrays.IN[q]} = ${i} \u00b7 ${Kw} + ${j - s * Sw}`;
	const [prefix, rows] = arrays.IN.subarray(stream.at[q]);
	const set = [0, 1, 2, 3].filter((b) => (rows >> b) & 1);
	return `${where}position ${j * frame.padded[0] + i} ${prefix < 0 ? `in the pattern ${~prefix} + {${set.join(", ")}}, stored as ${minus(prefix)}, ${rows}` : "on its own"}`;
}

function bitOf(frame, q) {
	const [i, j] = placeOf(frame, q);
	return (i - frame.padding[0]) * frame.shape[2] + j - frame.padding[1];
}

/** The arrays around the present entry, in at most `cells` cells a row, as HTML. */
export function arrayTables(frame, q, cells) {
	const { stream, arrays, method, sizes } = frame;
	const Iw = frame.padded[1];
	const Ow = frame.outputs[1];
	const room = (n) => (n > cells ? cells - 2 : cells); // a row that goes on beyond its cells says so in two of them
	const around = (n, at) => max(0, min(n - room(n), at - (room(n) >> 1)));
	const typeOf = (e) => frame.types[stream.place[e] % Iw];
	const group = (e) => (stream.owner ? stream.owner[e] : method === "zvc" ? 0 : frame.firsts[stream.place[e] % Iw]);
	const typed = method === "cpo" || method === "cps";
	/* Borders between submatrices and, stronger, between types. */
	const border = (e) => (!e ? "" : typed && typeOf(e) !== typeOf(e - 1) ? "type" : group(e) !== group(e - 1) ? "sub" : "");
	const line = (name, n, show, start, hot, wide = 1, type = () => -1, classes = () => "") => {
		const shown = Array.from({ length: min(room(n), n - start) }, (_, i) => {
			const e = start + i;
			const now = e >= hot && e < hot + wide;
			return `<td class="${classes(e)}${now ? ' hot" aria-current="true' : ""}" style="--u:var(--t${type(e)})">${show(e)}</td>`;
		});
		const more = (there) => (there ? "<td>\u2026</td>" : "");
		return `<tr><th scope="row">${name}</th>${more(start)}${shown.join("")}${more(start + room(n) < n)}</tr>`;
	};
	const perEntry = (name, show, hot) => line(name, stream.n, show, around(stream.n, q), hot, 1, hot < 0 ? undefined : typeOf, border);
	const body = [];
	if (arrays.ptr) {
		const s = group(q);
		for (let t = 0, n = arrays.ptr.length / (Ow + 1); t < n; t++) {
			const here = method === "cscc" || t === typeOf(q);
			body.push(line(n > 1 ? `ptr[${t}]` : "ptr", Ow + 1, (e) => arrays.ptr[t * (Ow + 1) + e], around(Ow + 1, s), here ? s : -9, 2, () => (n > 1 ? t : -1)));
		}
		body.push("</tbody><tbody>");
	}
	if (method === "zvc") {
		const bit = bitOf(frame, q);
		const word = arrays.mask[bit >> 5];
		const bits = Array.from({ length: 32 }, (_, b) => `<span${b === bit % 32 ? ' class="hot"' : ""}>${(word >>> b) & 1}</span>`);
		body.push(`<tr><th scope="row">mask</th><td colspan="${cells}" class="bits">word ${bit >> 5} = 0x${word.toString(16).padStart(8, "0")}, bit 0 first: ${bits.join("")}</td></tr>`);
	}
	if (method === "cps") {
		const a = stream.at[q];
		const show = (e) => (arrays.IN[e - 1] < 0 ? `<small>set</small>${arrays.IN[e]}` : arrays.IN[e] < 0 ? `~${~arrays.IN[e]}` : arrays.IN[e]);
		body.push(line("IN", arrays.IN.length, show, around(arrays.IN.length, a), a, arrays.IN[a] < 0 ? 2 : 1), "</tbody><tbody>");
	}
	body.push(perEntry("entry", (e) => `<small>${whole(e)}</small>`, -1));
	if (arrays.IN && method !== "cps") body.push(perEntry("IN", (e) => arrays.IN[e], q));
	body.push(perEntry("DA", (e) => short(stream.value[e]), q));
	return `<table><caption>${NAMES[method]} of this channel: ${sizes.map(([name, n, type]) => `${name} ${whole(n)} ${type}`).join(", ")}</caption><tbody>${body.join("")}</tbody></table>`;
}
