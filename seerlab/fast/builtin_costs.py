"""Costs measured on the development machine (AMD EPYC of the Zen 4 generation, one thread), used until a machine is measured itself."""

from __future__ import annotations

from typing import Any

# ns_per_mac and pack_ns as in `seerlab.fast.costs.Measured`.
# fmt: off
BUILTIN: dict[str, dict[str, Any]] = {
    "avx512": {
        "convert_ns": 0.586,
        "layers": [
            {
                "kind": "1x1", "sizes": (16, 64, 3025),
                "ns_per_mac": {"torch": 0.0357, "torch_channels_last": 0.0303, "direct": 0.0389},
                "sparse": [(0.02, 0.018), (0.1, 0.018), (0.25, 0.0211), (0.5, 0.0256), (0.8, 0.0319)],
                "pack_ns": {"torch": 5.22, "torch_channels_last": 1.31, "direct": 316.0, "input_sparse": 218.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.0219, "torch_channels_last": 0.0211, "direct": 0.0196},
                "sparse": [(0.02, 0.00533), (0.1, 0.00583), (0.25, 0.00867), (0.5, 0.0138), (0.8, 0.0198)],
                "pack_ns": {"torch": 0.34, "torch_channels_last": 0.111, "direct": 26.1, "input_sparse": 16.3},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.022, "torch_channels_last": 0.0213, "direct": 0.0192},
                "sparse": [(0.02, 0.00663), (0.1, 0.00808), (0.25, 0.0102), (0.5, 0.0152), (0.8, 0.0213)],
                "pack_ns": {"torch": 0.0969, "torch_channels_last": 0.0226, "direct": 7.53, "input_sparse": 6.67},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.0217, "torch_channels_last": 0.0202, "direct": 0.0194},
                "sparse": [(0.02, 0.00542), (0.1, 0.00549), (0.25, 0.0082), (0.5, 0.0132), (0.8, 0.0192)],
                "pack_ns": {"torch": 0.0225, "torch_channels_last": 0.00672, "direct": 2.74, "input_sparse": 3.94},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0223, "torch_channels_last": 0.0189, "direct": 0.0189},
                "sparse": [(0.02, 0.00683), (0.1, 0.00851), (0.25, 0.0103), (0.5, 0.0164), (0.8, 0.0221)],
                "pack_ns": {"torch": 0.0623, "torch_channels_last": 0.0156, "direct": 4.0, "input_sparse": 3.54},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0264, "torch_channels_last": 0.0757, "direct": 0.0192},
                "sparse": [(0.02, 0.00722), (0.1, 0.00722), (0.25, 0.00924), (0.5, 0.0143), (0.8, 0.0208)],
                "pack_ns": {"torch": 0.00425, "torch_channels_last": 0.000831, "direct": 2.87, "input_sparse": 3.38},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.0462, "torch_channels_last": 0.0237, "direct": 0.0241, "winograd": 0.0254},
                "sparse": [(0.02, 0.0325), (0.1, 0.0325), (0.25, 0.0403), (0.5, 0.0408), (0.8, 0.0484)],
                "pack_ns": {"torch": 4.33, "torch_channels_last": 27.3, "direct": 286.0, "winograd": 313.0, "input_sparse": 65.0},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.047, "torch_channels_last": 0.0467, "direct": 0.0332, "winograd": 0.0118},
                "sparse": [(0.02, 0.0126), (0.1, 0.0126), (0.25, 0.0177), (0.5, 0.0274), (0.8, 0.0388)],
                "pack_ns": {"torch": 2.98, "torch_channels_last": 19.2, "direct": 236.0, "winograd": 257.0, "input_sparse": 68.0},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0668, "torch_channels_last": 0.0444, "direct": 0.055, "winograd": 0.0159},
                "sparse": [(0.02, 0.017), (0.1, 0.017), (0.25, 0.0211), (0.5, 0.0296), (0.8, 0.0411)],
                "pack_ns": {"torch": 1.02, "torch_channels_last": 4.94, "direct": 77.9, "winograd": 130.0, "input_sparse": 25.7},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.0368, "torch_channels_last": 0.0262, "direct": 0.0294, "winograd": 0.00817},
                "sparse": [(0.02, 0.00754), (0.1, 0.00754), (0.25, 0.00945), (0.5, 0.0141), (0.8, 0.0192)],
                "pack_ns": {"torch": 0.175, "torch_channels_last": 1.79, "direct": 7.03, "winograd": 42.3, "input_sparse": 4.62},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0186, "torch_channels_last": 0.0177, "direct": 0.0177, "winograd": 0.00551},
                "sparse": [(0.02, 0.00192), (0.1, 0.00308), (0.25, 0.00599), (0.5, 0.0107), (0.8, 0.017)],
                "pack_ns": {"torch": 0.213, "torch_channels_last": 1.77, "direct": 15.1, "winograd": 42.1, "input_sparse": 4.9},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.022, "torch_channels_last": 0.0183, "direct": 0.0182, "winograd": 0.00594},
                "sparse": [(0.02, 0.00402), (0.1, 0.00402), (0.25, 0.00788), (0.5, 0.012), (0.8, 0.02)],
                "pack_ns": {"torch": 0.521, "torch_channels_last": 2.91, "direct": 42.0, "winograd": 93.3, "input_sparse": 8.5},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.0187, "torch_channels_last": 0.018, "direct": 0.0181, "winograd": 0.00612},
                "sparse": [(0.02, 0.00201), (0.1, 0.0032), (0.25, 0.0064), (0.5, 0.0112), (0.8, 0.0176)],
                "pack_ns": {"torch": 0.239, "torch_channels_last": 4.18, "direct": 25.2, "winograd": 54.5, "input_sparse": 4.44},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0182, "torch_channels_last": 0.0176, "direct": 0.0173, "winograd": 0.00547},
                "sparse": [(0.02, 0.00209), (0.1, 0.00323), (0.25, 0.00599), (0.5, 0.0107), (0.8, 0.0165)],
                "pack_ns": {"torch": 0.0656, "torch_channels_last": 1.0, "direct": 7.05, "winograd": 33.7, "input_sparse": 3.49},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.0246, "torch_channels_last": 0.0208, "direct": 0.018, "winograd": 0.00757},
                "sparse": [(0.02, 0.00366), (0.1, 0.00371), (0.25, 0.00626), (0.5, 0.0109), (0.8, 0.0167)],
                "pack_ns": {"torch": 0.0413, "torch_channels_last": 0.806, "direct": 4.55, "winograd": 27.2, "input_sparse": 2.69},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0183, "torch_channels_last": 0.0179, "direct": 0.0174, "winograd": 0.00497},
                "sparse": [(0.02, 0.00192), (0.1, 0.00319), (0.25, 0.00566), (0.5, 0.0107), (0.8, 0.0159)],
                "pack_ns": {"torch": 0.0583, "torch_channels_last": 0.898, "direct": 5.41, "winograd": 30.7, "input_sparse": 2.79},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.0182, "torch_channels_last": 0.02, "direct": 0.0166, "winograd": 0.0075},
                "sparse": [(0.02, 0.00278), (0.1, 0.00286), (0.25, 0.00544), (0.5, 0.0099), (0.8, 0.0157)],
                "pack_ns": {"torch": 0.0118, "torch_channels_last": 0.645, "direct": 2.93, "winograd": 25.2, "input_sparse": 2.53},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.0181, "torch_channels_last": 0.0177, "direct": 0.0163, "winograd": 0.00623},
                "sparse": [(0.02, 0.00275), (0.1, 0.00275), (0.25, 0.00537), (0.5, 0.0101), (0.8, 0.0151)],
                "pack_ns": {"torch": 0.0169, "torch_channels_last": 0.651, "direct": 2.65, "winograd": 24.4, "input_sparse": 1.91},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0179, "torch_channels_last": 0.0177, "direct": 0.0174, "winograd": 0.00499},
                "sparse": [(0.02, 0.00127), (0.1, 0.0027), (0.25, 0.00562), (0.5, 0.0105), (0.8, 0.0165)],
                "pack_ns": {"torch": 0.0228, "torch_channels_last": 0.811, "direct": 3.0, "winograd": 24.8, "input_sparse": 1.95},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0218, "torch_channels_last": 0.022, "direct": 0.0155, "winograd": 0.00615},
                "sparse": [(0.02, 0.00366), (0.1, 0.00366), (0.25, 0.0058), (0.5, 0.0101), (0.8, 0.0156)],
                "pack_ns": {"torch": 0.00605, "torch_channels_last": 0.774, "direct": 6.5, "winograd": 30.5, "input_sparse": 4.16},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.0284, "torch_channels_last": 0.0382, "direct": 0.0171, "winograd": 0.00766},
                "sparse": [(0.02, 0.00465), (0.1, 0.00465), (0.25, 0.0069), (0.5, 0.0103), (0.8, 0.015)],
                "pack_ns": {"torch": 0.00546, "torch_channels_last": 0.811, "direct": 2.56, "winograd": 24.3, "input_sparse": 3.92},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.0206, "torch_channels_last": 0.0225, "direct": 0.0173, "winograd": 0.00702},
                "sparse": [(0.02, 0.00249), (0.1, 0.00287), (0.25, 0.00557), (0.5, 0.01), (0.8, 0.0154)],
                "pack_ns": {"torch": 0.00499, "torch_channels_last": 0.741, "direct": 2.41, "winograd": 45.7, "input_sparse": 2.52},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0185, "torch_channels_last": 0.0185, "direct": 0.0172, "winograd": 0.00515},
                "sparse": [(0.02, 0.00123), (0.1, 0.00262), (0.25, 0.00551), (0.5, 0.0102), (0.8, 0.016)],
                "pack_ns": {"torch": 0.00502, "torch_channels_last": 0.778, "direct": 8.49, "winograd": 25.5, "input_sparse": 4.09},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.0305, "torch_channels_last": 0.0259, "direct": 0.0254},
                "sparse": [(0.02, 0.0253), (0.1, 0.033), (0.25, 0.0458), (0.5, 0.05), (0.8, 0.0511)],
                "pack_ns": {"torch": 6.07, "torch_channels_last": 35.3, "direct": 424.0, "input_sparse": 248.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0194, "torch_channels_last": 0.0183, "direct": 0.0178},
                "sparse": [(0.02, 0.00311), (0.1, 0.00416), (0.25, 0.00716), (0.5, 0.0121), (0.8, 0.0179)],
                "pack_ns": {"torch": 0.0709, "torch_channels_last": 0.844, "direct": 4.75, "input_sparse": 3.47},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.0219, "torch_channels_last": 0.0293, "direct": 0.0174},
                "sparse": [(0.02, 0.00509), (0.1, 0.00509), (0.25, 0.00747), (0.5, 0.0116), (0.8, 0.0175)],
                "pack_ns": {"torch": 0.00686, "torch_channels_last": 0.958, "direct": 3.19, "input_sparse": 2.08},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0862, "torch_channels_last": 0.0455, "direct": 0.042},
                "sparse": [],
                "pack_ns": {"torch": 6.59, "torch_channels_last": 2.13, "direct": 409.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.16, "torch_channels_last": 0.0968, "direct": 0.0839},
                "sparse": [],
                "pack_ns": {"torch": 1.46, "torch_channels_last": 0.42, "direct": 94.4},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0685, "torch_channels_last": 0.0628, "direct": 0.0614},
                "sparse": [],
                "pack_ns": {"torch": 1.05, "torch_channels_last": 6.44, "direct": 63.4},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.0177, "torch_channels_last": 0.0174, "direct": 0.0167},
                "sparse": [(0.02, 0.00224), (0.1, 0.0031), (0.25, 0.00555), (0.5, 0.0102), (0.8, 0.0157)],
                "pack_ns": {"torch": 0.0685, "torch_channels_last": 1.15, "direct": 9.26, "input_sparse": 5.95},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.0176, "torch_channels_last": 0.0179, "direct": 0.0162},
                "sparse": [(0.02, 0.00173), (0.1, 0.00244), (0.25, 0.00508), (0.5, 0.00988), (0.8, 0.0155)],
                "pack_ns": {"torch": 0.0177, "torch_channels_last": 0.773, "direct": 3.67, "input_sparse": 2.27},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.0187, "torch_channels_last": 0.0182, "direct": 0.0168},
                "sparse": [(0.02, 0.00316), (0.1, 0.00356), (0.25, 0.00606), (0.5, 0.0106), (0.8, 0.0162)],
                "pack_ns": {"torch": 0.0383, "torch_channels_last": 1.01, "direct": 4.28, "input_sparse": 2.28},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.0191, "torch_channels_last": 0.0188, "direct": 0.0188},
                "sparse": [(0.02, 0.00629), (0.1, 0.00839), (0.25, 0.0134), (0.5, 0.0174), (0.8, 0.0217)],
                "pack_ns": {"torch": 0.597, "torch_channels_last": 3.96, "direct": 51.8, "input_sparse": 25.9},
            },
        ],
    },
    "avx2": {
        "convert_ns": 0.591,
        "layers": [
            {
                "kind": "1x1", "sizes": (16, 64, 3025),
                "ns_per_mac": {"torch": 0.0362, "torch_channels_last": 0.0301, "direct": 0.0394},
                "sparse": [(0.02, 0.0567), (0.1, 0.0567), (0.25, 0.0615), (0.5, 0.0703), (0.8, 0.0823)],
                "pack_ns": {"torch": 5.76, "torch_channels_last": 1.68, "direct": 334.0, "input_sparse": 218.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.0216, "torch_channels_last": 0.0211, "direct": 0.0196},
                "sparse": [(0.02, 0.0138), (0.1, 0.016), (0.25, 0.0214), (0.5, 0.0334), (0.8, 0.0509)],
                "pack_ns": {"torch": 0.336, "torch_channels_last": 0.127, "direct": 24.1, "input_sparse": 15.7},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.021, "torch_channels_last": 0.0205, "direct": 0.019},
                "sparse": [(0.02, 0.00781), (0.1, 0.00994), (0.25, 0.0162), (0.5, 0.0289), (0.8, 0.045)],
                "pack_ns": {"torch": 0.083, "torch_channels_last": 0.0263, "direct": 7.13, "input_sparse": 5.99},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.021, "torch_channels_last": 0.0202, "direct": 0.0189},
                "sparse": [(0.02, 0.00619), (0.1, 0.00795), (0.25, 0.0134), (0.5, 0.0256), (0.8, 0.042)],
                "pack_ns": {"torch": 0.0238, "torch_channels_last": 0.00745, "direct": 2.34, "input_sparse": 4.0},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0217, "torch_channels_last": 0.0186, "direct": 0.0189},
                "sparse": [(0.02, 0.0122), (0.1, 0.0149), (0.25, 0.0193), (0.5, 0.0345), (0.8, 0.051)],
                "pack_ns": {"torch": 0.0518, "torch_channels_last": 0.0144, "direct": 4.13, "input_sparse": 3.6},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0277, "torch_channels_last": 0.0736, "direct": 0.0192},
                "sparse": [(0.02, 0.0115), (0.1, 0.0115), (0.25, 0.0171), (0.5, 0.0293), (0.8, 0.045)],
                "pack_ns": {"torch": 0.00345, "torch_channels_last": 0.000946, "direct": 2.82, "input_sparse": 3.25},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.0389, "torch_channels_last": 0.0216, "direct": 0.0218, "winograd": 0.0307},
                "sparse": [(0.02, 0.0793), (0.1, 0.0793), (0.25, 0.102), (0.5, 0.102), (0.8, 0.107)],
                "pack_ns": {"torch": 4.17, "torch_channels_last": 22.2, "direct": 287.0, "winograd": 300.0, "input_sparse": 62.9},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.0463, "torch_channels_last": 0.0478, "direct": 0.0327, "winograd": 0.0144},
                "sparse": [(0.02, 0.0143), (0.1, 0.0143), (0.25, 0.017), (0.5, 0.0225), (0.8, 0.0292)],
                "pack_ns": {"torch": 2.63, "torch_channels_last": 19.4, "direct": 220.0, "winograd": 229.0, "input_sparse": 54.9},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0623, "torch_channels_last": 0.0432, "direct": 0.0521, "winograd": 0.0165},
                "sparse": [(0.02, 0.0176), (0.1, 0.0176), (0.25, 0.0191), (0.5, 0.0241), (0.8, 0.0314)],
                "pack_ns": {"torch": 0.85, "torch_channels_last": 4.36, "direct": 59.5, "winograd": 104.0, "input_sparse": 24.7},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.0366, "torch_channels_last": 0.0264, "direct": 0.0302, "winograd": 0.0107},
                "sparse": [(0.02, 0.0103), (0.1, 0.0103), (0.25, 0.0126), (0.5, 0.0191), (0.8, 0.0271)],
                "pack_ns": {"torch": 0.189, "torch_channels_last": 1.86, "direct": 7.4, "winograd": 46.2, "input_sparse": 5.63},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0184, "torch_channels_last": 0.0179, "direct": 0.0174, "winograd": 0.00585},
                "sparse": [(0.02, 0.00319), (0.1, 0.00595), (0.25, 0.00828), (0.5, 0.0148), (0.8, 0.0239)],
                "pack_ns": {"torch": 0.244, "torch_channels_last": 3.45, "direct": 16.2, "winograd": 45.3, "input_sparse": 6.67},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.022, "torch_channels_last": 0.0183, "direct": 0.0182, "winograd": 0.00693},
                "sparse": [(0.02, 0.00721), (0.1, 0.00721), (0.25, 0.0118), (0.5, 0.0179), (0.8, 0.0288)],
                "pack_ns": {"torch": 0.61, "torch_channels_last": 3.28, "direct": 49.0, "winograd": 98.2, "input_sparse": 9.57},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.0222, "torch_channels_last": 0.0177, "direct": 0.0177, "winograd": 0.00652},
                "sparse": [(0.02, 0.00566), (0.1, 0.00566), (0.25, 0.00997), (0.5, 0.0168), (0.8, 0.0254)],
                "pack_ns": {"torch": 0.189, "torch_channels_last": 3.78, "direct": 24.1, "winograd": 57.3, "input_sparse": 4.12},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0183, "torch_channels_last": 0.018, "direct": 0.0173, "winograd": 0.00615},
                "sparse": [(0.02, 0.00279), (0.1, 0.00433), (0.25, 0.00763), (0.5, 0.0137), (0.8, 0.0219)],
                "pack_ns": {"torch": 0.0862, "torch_channels_last": 1.05, "direct": 7.05, "winograd": 31.2, "input_sparse": 2.88},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.023, "torch_channels_last": 0.0203, "direct": 0.0176, "winograd": 0.00728},
                "sparse": [(0.02, 0.00389), (0.1, 0.00445), (0.25, 0.00743), (0.5, 0.013), (0.8, 0.0203)],
                "pack_ns": {"torch": 0.0385, "torch_channels_last": 0.835, "direct": 4.44, "winograd": 30.8, "input_sparse": 2.89},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.018, "torch_channels_last": 0.0177, "direct": 0.0171, "winograd": 0.00558},
                "sparse": [(0.02, 0.00363), (0.1, 0.00388), (0.25, 0.00755), (0.5, 0.0136), (0.8, 0.0217)],
                "pack_ns": {"torch": 0.0442, "torch_channels_last": 0.87, "direct": 5.14, "winograd": 30.6, "input_sparse": 2.27},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.0182, "torch_channels_last": 0.019, "direct": 0.0163, "winograd": 0.00962},
                "sparse": [(0.02, 0.00348), (0.1, 0.0039), (0.25, 0.00691), (0.5, 0.0127), (0.8, 0.0202)],
                "pack_ns": {"torch": 0.00987, "torch_channels_last": 0.661, "direct": 3.19, "winograd": 23.8, "input_sparse": 2.22},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.02, "torch_channels_last": 0.0177, "direct": 0.016, "winograd": 0.00761},
                "sparse": [(0.02, 0.00383), (0.1, 0.00394), (0.25, 0.00732), (0.5, 0.0127), (0.8, 0.0202)],
                "pack_ns": {"torch": 0.019, "torch_channels_last": 0.76, "direct": 3.3, "winograd": 25.0, "input_sparse": 1.8},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0179, "torch_channels_last": 0.0176, "direct": 0.0174, "winograd": 0.00614},
                "sparse": [(0.02, 0.00245), (0.1, 0.00414), (0.25, 0.00796), (0.5, 0.0146), (0.8, 0.0228)],
                "pack_ns": {"torch": 0.0226, "torch_channels_last": 0.829, "direct": 3.44, "winograd": 24.9, "input_sparse": 2.09},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0195, "torch_channels_last": 0.0192, "direct": 0.0151, "winograd": 0.0137},
                "sparse": [(0.02, 0.00481), (0.1, 0.00481), (0.25, 0.00766), (0.5, 0.0139), (0.8, 0.0215)],
                "pack_ns": {"torch": 0.00448, "torch_channels_last": 0.819, "direct": 2.47, "winograd": 24.2, "input_sparse": 5.04},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.0258, "torch_channels_last": 0.0345, "direct": 0.015, "winograd": 0.0183},
                "sparse": [(0.02, 0.00535), (0.1, 0.00535), (0.25, 0.00745), (0.5, 0.0121), (0.8, 0.0183)],
                "pack_ns": {"torch": 0.00455, "torch_channels_last": 0.758, "direct": 2.36, "winograd": 22.9, "input_sparse": 3.81},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.0207, "torch_channels_last": 0.022, "direct": 0.0171, "winograd": 0.0113},
                "sparse": [(0.02, 0.00344), (0.1, 0.00408), (0.25, 0.00697), (0.5, 0.0129), (0.8, 0.0204)],
                "pack_ns": {"torch": 0.00458, "torch_channels_last": 0.767, "direct": 2.4, "winograd": 25.0, "input_sparse": 2.48},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0184, "torch_channels_last": 0.0185, "direct": 0.0172, "winograd": 0.00673},
                "sparse": [(0.02, 0.0018), (0.1, 0.00344), (0.25, 0.00684), (0.5, 0.0134), (0.8, 0.0214)],
                "pack_ns": {"torch": 0.00444, "torch_channels_last": 0.787, "direct": 8.89, "winograd": 34.5, "input_sparse": 5.55},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.0297, "torch_channels_last": 0.0254, "direct": 0.0248},
                "sparse": [(0.02, 0.0556), (0.1, 0.073), (0.25, 0.0965), (0.5, 0.103), (0.8, 0.103)],
                "pack_ns": {"torch": 6.43, "torch_channels_last": 35.1, "direct": 416.0, "input_sparse": 249.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0199, "torch_channels_last": 0.0187, "direct": 0.018},
                "sparse": [(0.02, 0.00448), (0.1, 0.0063), (0.25, 0.0117), (0.5, 0.0223), (0.8, 0.0359)],
                "pack_ns": {"torch": 0.0573, "torch_channels_last": 0.811, "direct": 5.19, "input_sparse": 3.58},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.0228, "torch_channels_last": 0.0232, "direct": 0.0166},
                "sparse": [(0.02, 0.00646), (0.1, 0.00646), (0.25, 0.011), (0.5, 0.0213), (0.8, 0.0328)],
                "pack_ns": {"torch": 0.00383, "torch_channels_last": 0.632, "direct": 2.46, "input_sparse": 1.71},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0859, "torch_channels_last": 0.0456, "direct": 0.042},
                "sparse": [],
                "pack_ns": {"torch": 7.47, "torch_channels_last": 2.3, "direct": 379.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.161, "torch_channels_last": 0.0976, "direct": 0.0855},
                "sparse": [],
                "pack_ns": {"torch": 1.43, "torch_channels_last": 0.507, "direct": 93.3},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0675, "torch_channels_last": 0.0633, "direct": 0.0609},
                "sparse": [],
                "pack_ns": {"torch": 0.9, "torch_channels_last": 5.13, "direct": 58.7},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.0178, "torch_channels_last": 0.0171, "direct": 0.0167},
                "sparse": [(0.02, 0.00217), (0.1, 0.00356), (0.25, 0.00641), (0.5, 0.0118), (0.8, 0.0188)],
                "pack_ns": {"torch": 0.072, "torch_channels_last": 1.05, "direct": 8.07, "input_sparse": 3.98},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.017, "torch_channels_last": 0.0168, "direct": 0.0161},
                "sparse": [(0.02, 0.00188), (0.1, 0.00307), (0.25, 0.00621), (0.5, 0.0119), (0.8, 0.0205)],
                "pack_ns": {"torch": 0.0173, "torch_channels_last": 0.748, "direct": 3.25, "input_sparse": 2.0},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.018, "torch_channels_last": 0.0174, "direct": 0.0164},
                "sparse": [(0.02, 0.00302), (0.1, 0.00422), (0.25, 0.00735), (0.5, 0.0132), (0.8, 0.0229)],
                "pack_ns": {"torch": 0.0293, "torch_channels_last": 0.828, "direct": 4.64, "input_sparse": 2.97},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.0189, "torch_channels_last": 0.0183, "direct": 0.0182},
                "sparse": [(0.02, 0.0124), (0.1, 0.0164), (0.25, 0.0272), (0.5, 0.0331), (0.8, 0.0345)],
                "pack_ns": {"torch": 0.702, "torch_channels_last": 4.03, "direct": 46.9, "input_sparse": 24.6},
            },
        ],
    },
}
# fmt: on

# The scalar level is for reading: torch's dense methods alone are chosen from.
BUILTIN["scalar"] = {
    "convert_ns": BUILTIN["avx2"]["convert_ns"],
    "layers": [
        {
            **layer,
            "ns_per_mac": {name: cost for name, cost in layer["ns_per_mac"].items() if name != "winograd"},
            "sparse": [],
        }
        for layer in BUILTIN["avx2"]["layers"]
    ],
}
