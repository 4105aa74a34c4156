/* Bytes that were shortened by Huffman coding alone: DEFLATE (RFC 1951) without repetitions, as mask_code.py writes it.
 *
 * The browser's own DecompressionStream answers through several turns of its event loop, which in a notebook are shared with all that
 * follows a frame: the picture comes ten milliseconds later than with these lines, which take three for the 0.2 MB of a large mask. */

const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const END = 256; // symbol that ends a block

/* For each sequence of `width` bits that may come next: symbol * 16 + bits of its code. */
function codeTable(lengths) {
	const width = max(1, ...lengths);
	const table = new Uint16Array(1 << width);
	let code = 0;
	for (let length = 1; length <= width; length++, code <<= 1) {
		for (let symbol = 0; symbol < lengths.length; symbol++) {
			if (lengths[symbol] !== length) continue;
			let reversed = 0; // codes come with their highest bit first, everything else with the lowest
			for (let i = 0; i < length; i++) reversed |= ((code >> i) & 1) << (length - 1 - i);
			for (let at = reversed; at < table.length; at += 1 << length) table[at] = (symbol << 4) | length;
			code++;
		}
	}
	return { table, width };
}

/** The `size` bytes that were shortened to a buffer. */
export function inflated(buffer, size) {
	const input = bytes(buffer);
	const output = new Uint8Array(size);
	let [next, hold, held, o] = [0, 0, 0, 0]; // byte to read next; bits read, and how many

	function bits(n) {
		for (; held < n; held += 8) hold |= input[next++] << held;
		const value = hold & ((1 << n) - 1);
		hold >>>= n;
		held -= n;
		return value;
	}

	function symbol({ table, width }) {
		for (; held < width; held += 8) hold |= input[next++] << held;
		const entry = table[hold & ((1 << width) - 1)];
		hold >>>= entry & 15;
		held -= entry & 15;
		return entry >> 4;
	}

	function ownCode() {
		const [literals, distances, count] = [bits(5) + 257, bits(5) + 1, bits(4) + 4];
		const small = new Array(19).fill(0);
		for (let i = 0; i < count; i++) small[CODE_ORDER[i]] = bits(3);
		const code = codeTable(small);
		const lengths = [];
		while (lengths.length < literals + distances) {
			const s = symbol(code);
			const [value, times] = s < 16 ? [s, 1] : s === 16 ? [lengths.at(-1), 3 + bits(2)] : [0, s === 17 ? 3 + bits(3) : 11 + bits(7)];
			for (let i = 0; i < times; i++) lengths.push(value);
		}
		return codeTable(lengths.slice(0, literals));
	}

	function decode({ table, width }) {
		const mask = (1 << width) - 1;
		for (;;) {
			for (; held < width; held += 8) hold |= input[next++] << held;
			const entry = table[hold & mask];
			hold >>>= entry & 15;
			held -= entry & 15;
			const s = entry >> 4;
			if (s >= END) {
				if (s > END || o > size) throw new Error("this mask was not packed by mask_code.py");
				return;
			}
			output[o++] = s;
		}
	}

	for (let last = 0; !last; ) {
		last = bits(1);
		const kind = bits(2);
		if (kind === 0) {
			bits(held & 7);
			const length = bits(16);
			bits(16); // the length once more
			for (let i = 0; i < length; i++) output[o++] = bits(8);
		} else decode(kind === 1 ? codeTable(FIXED) : ownCode());
	}
	return output;
}

const FIXED = Array.from({ length: 288 }, (_, s) => (s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8));
