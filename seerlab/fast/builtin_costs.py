"""Costs measured on the development machine (AMD EPYC of the Zen 4 generation, one thread), used until a machine is measured itself."""

from __future__ import annotations

from typing import Any

# ns_per_mac and pack_ns as in `seerlab.fast.costs.Measured`.
# fmt: off
BUILTIN: dict[str, dict[str, Any]] = {
    "avx512": {
        "convert_ns": 0.585,
        "layers": [
            {
                "kind": "1x1", "sizes": (16, 64, 3025),
                "ns_per_mac": {"torch": 0.0387, "torch_channels_last": 0.0312, "direct": 0.0456},
                "sparse": [(0.02, 0.0194), (0.1, 0.0178), (0.25, 0.0201), (0.5, 0.0257), (0.8, 0.0315)],
                "pack_ns": {"torch": 4.6, "torch_channels_last": 1.32, "direct": 336.0, "input_sparse": 186.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.023, "torch_channels_last": 0.0241, "direct": 0.0217},
                "sparse": [(0.02, 0.00459), (0.1, 0.00569), (0.25, 0.00837), (0.5, 0.0134), (0.8, 0.0195)],
                "pack_ns": {"torch": 0.298, "torch_channels_last": 0.13, "direct": 22.0, "input_sparse": 15.4},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.023, "torch_channels_last": 0.0222, "direct": 0.0203},
                "sparse": [(0.02, 0.00558), (0.1, 0.00671), (0.25, 0.00978), (0.5, 0.0145), (0.8, 0.0208)],
                "pack_ns": {"torch": 0.095, "torch_channels_last": 0.0252, "direct": 8.51, "input_sparse": 6.15},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.0227, "torch_channels_last": 0.0209, "direct": 0.0203},
                "sparse": [(0.02, 0.00379), (0.1, 0.00475), (0.25, 0.00746), (0.5, 0.0124), (0.8, 0.0185)],
                "pack_ns": {"torch": 0.0216, "torch_channels_last": 0.00833, "direct": 2.29, "input_sparse": 3.89},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0243, "torch_channels_last": 0.02, "direct": 0.02},
                "sparse": [(0.02, 0.00641), (0.1, 0.00739), (0.25, 0.01), (0.5, 0.0151), (0.8, 0.0212)],
                "pack_ns": {"torch": 0.0412, "torch_channels_last": 0.0144, "direct": 3.46, "input_sparse": 3.2},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0343, "torch_channels_last": 0.0737, "direct": 0.0229},
                "sparse": [(0.02, 0.00801), (0.1, 0.00682), (0.25, 0.00943), (0.5, 0.0142), (0.8, 0.0203)],
                "pack_ns": {"torch": 0.00314, "torch_channels_last": 0.000936, "direct": 2.77, "input_sparse": 3.36},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.0439, "torch_channels_last": 0.0286, "direct": 0.024, "winograd": 0.0351},
                "sparse": [(0.02, 0.024), (0.1, 0.0208), (0.25, 0.0262), (0.5, 0.0298), (0.8, 0.0346)],
                "pack_ns": {"torch": 2.97, "torch_channels_last": 19.0, "direct": 247.0, "winograd": 302.0, "input_sparse": 62.8},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.0533, "torch_channels_last": 0.0482, "direct": 0.0438, "winograd": 0.0189},
                "sparse": [(0.02, 0.0138), (0.1, 0.0131), (0.25, 0.018), (0.5, 0.0274), (0.8, 0.0387)],
                "pack_ns": {"torch": 2.21, "torch_channels_last": 14.1, "direct": 170.0, "winograd": 215.0, "input_sparse": 53.7},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0771, "torch_channels_last": 0.0472, "direct": 0.0733, "winograd": 0.03},
                "sparse": [(0.02, 0.0201), (0.1, 0.0175), (0.25, 0.0209), (0.5, 0.0299), (0.8, 0.041)],
                "pack_ns": {"torch": 0.661, "torch_channels_last": 3.35, "direct": 52.1, "winograd": 89.9, "input_sparse": 20.2},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.0424, "torch_channels_last": 0.0279, "direct": 0.0381, "winograd": 0.0134},
                "sparse": [(0.02, 0.00801), (0.1, 0.00713), (0.25, 0.00938), (0.5, 0.0139), (0.8, 0.0192)],
                "pack_ns": {"torch": 0.173, "torch_channels_last": 1.79, "direct": 7.09, "winograd": 39.3, "input_sparse": 4.83},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0195, "torch_channels_last": 0.0183, "direct": 0.0181, "winograd": 0.00601},
                "sparse": [(0.02, 0.00215), (0.1, 0.00307), (0.25, 0.00621), (0.5, 0.0106), (0.8, 0.0168)],
                "pack_ns": {"torch": 0.176, "torch_channels_last": 1.38, "direct": 12.4, "winograd": 40.0, "input_sparse": 4.49},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.0217, "torch_channels_last": 0.0212, "direct": 0.018, "winograd": 0.00635},
                "sparse": [(0.02, 0.00597), (0.1, 0.00381), (0.25, 0.00759), (0.5, 0.0117), (0.8, 0.0196)],
                "pack_ns": {"torch": 0.512, "torch_channels_last": 2.42, "direct": 39.4, "winograd": 84.7, "input_sparse": 7.22},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.022, "torch_channels_last": 0.0206, "direct": 0.0177, "winograd": 0.00613},
                "sparse": [(0.02, 0.00511), (0.1, 0.00323), (0.25, 0.00613), (0.5, 0.0109), (0.8, 0.017)],
                "pack_ns": {"torch": 0.194, "torch_channels_last": 3.71, "direct": 23.7, "winograd": 54.2, "input_sparse": 4.47},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0192, "torch_channels_last": 0.0178, "direct": 0.0175, "winograd": 0.0061},
                "sparse": [(0.02, 0.00163), (0.1, 0.00304), (0.25, 0.00578), (0.5, 0.0105), (0.8, 0.0163)],
                "pack_ns": {"torch": 0.065, "torch_channels_last": 0.91, "direct": 6.56, "winograd": 32.4, "input_sparse": 2.69},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.024, "torch_channels_last": 0.021, "direct": 0.0188, "winograd": 0.00783},
                "sparse": [(0.02, 0.00216), (0.1, 0.0033), (0.25, 0.00601), (0.5, 0.0107), (0.8, 0.0165)],
                "pack_ns": {"torch": 0.0265, "torch_channels_last": 0.76, "direct": 3.77, "winograd": 30.1, "input_sparse": 2.12},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.019, "torch_channels_last": 0.0186, "direct": 0.0176, "winograd": 0.00595},
                "sparse": [(0.02, 0.00141), (0.1, 0.00269), (0.25, 0.00551), (0.5, 0.0102), (0.8, 0.016)],
                "pack_ns": {"torch": 0.0396, "torch_channels_last": 0.786, "direct": 4.9, "winograd": 29.3, "input_sparse": 2.13},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.0213, "torch_channels_last": 0.0226, "direct": 0.0177, "winograd": 0.00962},
                "sparse": [(0.02, 0.00258), (0.1, 0.00276), (0.25, 0.0054), (0.5, 0.0103), (0.8, 0.0153)],
                "pack_ns": {"torch": 0.0083, "torch_channels_last": 0.612, "direct": 2.53, "winograd": 29.4, "input_sparse": 2.16},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.0205, "torch_channels_last": 0.0208, "direct": 0.0177, "winograd": 0.00832},
                "sparse": [(0.02, 0.00244), (0.1, 0.00288), (0.25, 0.00533), (0.5, 0.00971), (0.8, 0.0153)],
                "pack_ns": {"torch": 0.0162, "torch_channels_last": 0.657, "direct": 2.64, "winograd": 23.5, "input_sparse": 1.76},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0177, "torch_channels_last": 0.0175, "direct": 0.0173, "winograd": 0.00513},
                "sparse": [(0.02, 0.0012), (0.1, 0.0027), (0.25, 0.0055), (0.5, 0.0104), (0.8, 0.0162)],
                "pack_ns": {"torch": 0.0174, "torch_channels_last": 0.75, "direct": 3.4, "winograd": 53.5, "input_sparse": 1.89},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0267, "torch_channels_last": 0.0269, "direct": 0.0181, "winograd": 0.00954},
                "sparse": [(0.02, 0.00468), (0.1, 0.00363), (0.25, 0.00584), (0.5, 0.0101), (0.8, 0.0156)],
                "pack_ns": {"torch": 0.0199, "torch_channels_last": 0.679, "direct": 5.83, "winograd": 27.3, "input_sparse": 3.62},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.0326, "torch_channels_last": 0.0355, "direct": 0.0187, "winograd": 0.0104},
                "sparse": [(0.02, 0.00598), (0.1, 0.00423), (0.25, 0.00637), (0.5, 0.0101), (0.8, 0.0148)],
                "pack_ns": {"torch": 0.00368, "torch_channels_last": 0.701, "direct": 2.11, "winograd": 22.8, "input_sparse": 2.35},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.021, "torch_channels_last": 0.0214, "direct": 0.0172, "winograd": 0.00698},
                "sparse": [(0.02, 0.00226), (0.1, 0.00272), (0.25, 0.00533), (0.5, 0.0098), (0.8, 0.0151)],
                "pack_ns": {"torch": 0.00413, "torch_channels_last": 0.689, "direct": 2.24, "winograd": 56.3, "input_sparse": 3.73},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0184, "torch_channels_last": 0.0184, "direct": 0.0172, "winograd": 0.00515},
                "sparse": [(0.02, 0.00121), (0.1, 0.00258), (0.25, 0.00543), (0.5, 0.0102), (0.8, 0.0159)],
                "pack_ns": {"torch": 0.00438, "torch_channels_last": 0.729, "direct": 8.45, "winograd": 32.6, "input_sparse": 6.09},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.0369, "torch_channels_last": 0.0276, "direct": 0.0288},
                "sparse": [(0.02, 0.0254), (0.1, 0.0331), (0.25, 0.0453), (0.5, 0.0497), (0.8, 0.0511)],
                "pack_ns": {"torch": 6.32, "torch_channels_last": 37.1, "direct": 451.0, "input_sparse": 239.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0221, "torch_channels_last": 0.0201, "direct": 0.0191},
                "sparse": [(0.02, 0.00312), (0.1, 0.00434), (0.25, 0.00711), (0.5, 0.0122), (0.8, 0.018)],
                "pack_ns": {"torch": 0.0625, "torch_channels_last": 0.829, "direct": 4.63, "input_sparse": 4.11},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.0273, "torch_channels_last": 0.0328, "direct": 0.0212},
                "sparse": [(0.02, 0.00425), (0.1, 0.0046), (0.25, 0.00739), (0.5, 0.0116), (0.8, 0.0171)],
                "pack_ns": {"torch": 0.00475, "torch_channels_last": 0.618, "direct": 2.46, "input_sparse": 1.73},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0887, "torch_channels_last": 0.0495, "direct": 0.0459},
                "sparse": [],
                "pack_ns": {"torch": 5.89, "torch_channels_last": 2.34, "direct": 371.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.17, "torch_channels_last": 0.102, "direct": 0.0968},
                "sparse": [],
                "pack_ns": {"torch": 1.45, "torch_channels_last": 0.409, "direct": 99.5},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0701, "torch_channels_last": 0.064, "direct": 0.0615},
                "sparse": [],
                "pack_ns": {"torch": 1.03, "torch_channels_last": 4.35, "direct": 45.9},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.0181, "torch_channels_last": 0.0173, "direct": 0.0169},
                "sparse": [(0.02, 0.00172), (0.1, 0.00289), (0.25, 0.00547), (0.5, 0.0101), (0.8, 0.0156)],
                "pack_ns": {"torch": 0.0579, "torch_channels_last": 1.18, "direct": 7.76, "input_sparse": 4.11},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.0181, "torch_channels_last": 0.0178, "direct": 0.0167},
                "sparse": [(0.02, 0.00147), (0.1, 0.00249), (0.25, 0.00508), (0.5, 0.00958), (0.8, 0.0151)],
                "pack_ns": {"torch": 0.0275, "torch_channels_last": 0.745, "direct": 3.4, "input_sparse": 2.16},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.0192, "torch_channels_last": 0.0179, "direct": 0.017},
                "sparse": [(0.02, 0.00218), (0.1, 0.00319), (0.25, 0.00583), (0.5, 0.0105), (0.8, 0.016)],
                "pack_ns": {"torch": 0.0288, "torch_channels_last": 0.767, "direct": 4.05, "input_sparse": 2.65},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.022, "torch_channels_last": 0.0191, "direct": 0.0191},
                "sparse": [(0.02, 0.00621), (0.1, 0.00964), (0.25, 0.0154), (0.5, 0.018), (0.8, 0.0223)],
                "pack_ns": {"torch": 0.575, "torch_channels_last": 3.78, "direct": 47.4, "input_sparse": 22.5},
            },
        ],
    },
    "avx2": {
        "convert_ns": 0.587,
        "layers": [
            {
                "kind": "1x1", "sizes": (16, 64, 3025),
                "ns_per_mac": {"torch": 0.0416, "torch_channels_last": 0.0318, "direct": 0.047},
                "sparse": [(0.02, 0.0547), (0.1, 0.0546), (0.25, 0.0591), (0.5, 0.0683), (0.8, 0.0793)],
                "pack_ns": {"torch": 4.97, "torch_channels_last": 1.58, "direct": 385.0, "input_sparse": 223.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.0238, "torch_channels_last": 0.0237, "direct": 0.0228},
                "sparse": [(0.02, 0.0133), (0.1, 0.0157), (0.25, 0.0218), (0.5, 0.0338), (0.8, 0.05)],
                "pack_ns": {"torch": 0.254, "torch_channels_last": 0.103, "direct": 22.2, "input_sparse": 14.0},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.0249, "torch_channels_last": 0.0235, "direct": 0.0217},
                "sparse": [(0.02, 0.0087), (0.1, 0.0119), (0.25, 0.0175), (0.5, 0.0308), (0.8, 0.0466)],
                "pack_ns": {"torch": 0.0989, "torch_channels_last": 0.0267, "direct": 8.63, "input_sparse": 6.48},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.0231, "torch_channels_last": 0.0206, "direct": 0.0211},
                "sparse": [(0.02, 0.00541), (0.1, 0.00748), (0.25, 0.0127), (0.5, 0.0247), (0.8, 0.0419)],
                "pack_ns": {"torch": 0.0233, "torch_channels_last": 0.00894, "direct": 2.25, "input_sparse": 3.91},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0263, "torch_channels_last": 0.0206, "direct": 0.0205},
                "sparse": [(0.02, 0.0108), (0.1, 0.0139), (0.25, 0.0192), (0.5, 0.0317), (0.8, 0.0483)],
                "pack_ns": {"torch": 0.039, "torch_channels_last": 0.014, "direct": 3.65, "input_sparse": 3.45},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0378, "torch_channels_last": 0.0756, "direct": 0.0233},
                "sparse": [(0.02, 0.0133), (0.1, 0.0122), (0.25, 0.0172), (0.5, 0.0294), (0.8, 0.0461)],
                "pack_ns": {"torch": 0.00319, "torch_channels_last": 0.00101, "direct": 2.82, "input_sparse": 3.27},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.144, "torch_channels_last": 0.0856, "direct": 0.0243, "winograd": 0.0318},
                "sparse": [(0.02, 0.119), (0.1, 0.114), (0.25, 0.142), (0.5, 0.101), (0.8, 0.0987)],
                "pack_ns": {"torch": 3.39, "torch_channels_last": 19.8, "direct": 238.0, "winograd": 288.0, "input_sparse": 60.8},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.0527, "torch_channels_last": 0.048, "direct": 0.042, "winograd": 0.0198},
                "sparse": [(0.02, 0.0147), (0.1, 0.0142), (0.25, 0.0169), (0.5, 0.0226), (0.8, 0.0292)],
                "pack_ns": {"torch": 2.79, "torch_channels_last": 14.2, "direct": 171.0, "winograd": 219.0, "input_sparse": 54.5},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0768, "torch_channels_last": 0.0478, "direct": 0.0731, "winograd": 0.0339},
                "sparse": [(0.02, 0.0209), (0.1, 0.0174), (0.25, 0.0192), (0.5, 0.025), (0.8, 0.0323)],
                "pack_ns": {"torch": 0.598, "torch_channels_last": 3.13, "direct": 48.2, "winograd": 98.0, "input_sparse": 19.5},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.0462, "torch_channels_last": 0.0313, "direct": 0.0452, "winograd": 0.021},
                "sparse": [(0.02, 0.0118), (0.1, 0.0102), (0.25, 0.0125), (0.5, 0.019), (0.8, 0.0267)],
                "pack_ns": {"torch": 0.195, "torch_channels_last": 1.84, "direct": 7.41, "winograd": 44.4, "input_sparse": 5.8},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0201, "torch_channels_last": 0.0186, "direct": 0.0182, "winograd": 0.00689},
                "sparse": [(0.02, 0.00381), (0.1, 0.00491), (0.25, 0.00809), (0.5, 0.0148), (0.8, 0.0233)],
                "pack_ns": {"torch": 0.233, "torch_channels_last": 1.5, "direct": 14.1, "winograd": 44.1, "input_sparse": 5.24},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.0213, "torch_channels_last": 0.0209, "direct": 0.0179, "winograd": 0.00657},
                "sparse": [(0.02, 0.00732), (0.1, 0.00703), (0.25, 0.0116), (0.5, 0.0175), (0.8, 0.0278)],
                "pack_ns": {"torch": 0.477, "torch_channels_last": 2.51, "direct": 34.8, "winograd": 83.9, "input_sparse": 6.58},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.0223, "torch_channels_last": 0.0209, "direct": 0.0179, "winograd": 0.00682},
                "sparse": [(0.02, 0.00615), (0.1, 0.00568), (0.25, 0.00989), (0.5, 0.0168), (0.8, 0.0256)],
                "pack_ns": {"torch": 0.191, "torch_channels_last": 3.47, "direct": 24.0, "winograd": 50.5, "input_sparse": 3.9},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0199, "torch_channels_last": 0.0185, "direct": 0.0181, "winograd": 0.00779},
                "sparse": [(0.02, 0.00263), (0.1, 0.00422), (0.25, 0.00787), (0.5, 0.014), (0.8, 0.0217)],
                "pack_ns": {"torch": 0.0807, "torch_channels_last": 1.06, "direct": 8.12, "winograd": 34.8, "input_sparse": 3.44},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.0249, "torch_channels_last": 0.0217, "direct": 0.0195, "winograd": 0.0117},
                "sparse": [(0.02, 0.00333), (0.1, 0.00442), (0.25, 0.00739), (0.5, 0.0131), (0.8, 0.0201)],
                "pack_ns": {"torch": 0.0295, "torch_channels_last": 0.727, "direct": 3.97, "winograd": 29.5, "input_sparse": 2.43},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0189, "torch_channels_last": 0.0185, "direct": 0.0177, "winograd": 0.00702},
                "sparse": [(0.02, 0.00217), (0.1, 0.00381), (0.25, 0.00721), (0.5, 0.0133), (0.8, 0.0213)],
                "pack_ns": {"torch": 0.045, "torch_channels_last": 0.799, "direct": 5.06, "winograd": 30.0, "input_sparse": 2.24},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.0208, "torch_channels_last": 0.0236, "direct": 0.0175, "winograd": 0.0148},
                "sparse": [(0.02, 0.00369), (0.1, 0.00383), (0.25, 0.0069), (0.5, 0.0129), (0.8, 0.0201)],
                "pack_ns": {"torch": 0.0105, "torch_channels_last": 0.674, "direct": 2.81, "winograd": 22.8, "input_sparse": 2.13},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.0216, "torch_channels_last": 0.0208, "direct": 0.0178, "winograd": 0.0128},
                "sparse": [(0.02, 0.00325), (0.1, 0.00408), (0.25, 0.00702), (0.5, 0.0127), (0.8, 0.02)],
                "pack_ns": {"torch": 0.0164, "torch_channels_last": 0.637, "direct": 2.61, "winograd": 22.4, "input_sparse": 1.91},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0176, "torch_channels_last": 0.0175, "direct": 0.0173, "winograd": 0.00634},
                "sparse": [(0.02, 0.00217), (0.1, 0.00389), (0.25, 0.00775), (0.5, 0.0143), (0.8, 0.0226)],
                "pack_ns": {"torch": 0.0171, "torch_channels_last": 0.687, "direct": 2.67, "winograd": 22.3, "input_sparse": 1.64},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0307, "torch_channels_last": 0.0269, "direct": 0.0195, "winograd": 0.0176},
                "sparse": [(0.02, 0.00612), (0.1, 0.00484), (0.25, 0.00794), (0.5, 0.0137), (0.8, 0.0215)],
                "pack_ns": {"torch": 0.00485, "torch_channels_last": 0.707, "direct": 3.67, "winograd": 27.1, "input_sparse": 5.34},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.0342, "torch_channels_last": 0.0358, "direct": 0.0181, "winograd": 0.0199},
                "sparse": [(0.02, 0.00614), (0.1, 0.00476), (0.25, 0.0072), (0.5, 0.0118), (0.8, 0.0182)],
                "pack_ns": {"torch": 0.0043, "torch_channels_last": 0.829, "direct": 2.44, "winograd": 21.8, "input_sparse": 2.37},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.0212, "torch_channels_last": 0.0216, "direct": 0.0172, "winograd": 0.0113},
                "sparse": [(0.02, 0.00276), (0.1, 0.00345), (0.25, 0.00668), (0.5, 0.0123), (0.8, 0.0199)],
                "pack_ns": {"torch": 0.00428, "torch_channels_last": 0.666, "direct": 2.4, "winograd": 21.0, "input_sparse": 2.31},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0185, "torch_channels_last": 0.0183, "direct": 0.0171, "winograd": 0.00678},
                "sparse": [(0.02, 0.00162), (0.1, 0.00349), (0.25, 0.00695), (0.5, 0.0135), (0.8, 0.0214)],
                "pack_ns": {"torch": 0.0051, "torch_channels_last": 0.736, "direct": 8.47, "winograd": 26.6, "input_sparse": 3.66},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.0398, "torch_channels_last": 0.028, "direct": 0.0286},
                "sparse": [(0.02, 0.054), (0.1, 0.0704), (0.25, 0.105), (0.5, 0.11), (0.8, 0.107)],
                "pack_ns": {"torch": 5.83, "torch_channels_last": 37.0, "direct": 392.0, "input_sparse": 236.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0213, "torch_channels_last": 0.0195, "direct": 0.0184},
                "sparse": [(0.02, 0.00405), (0.1, 0.00612), (0.25, 0.0111), (0.5, 0.0217), (0.8, 0.0354)],
                "pack_ns": {"torch": 0.0649, "torch_channels_last": 0.814, "direct": 4.92, "input_sparse": 3.22},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.0283, "torch_channels_last": 0.0329, "direct": 0.0198},
                "sparse": [(0.02, 0.00595), (0.1, 0.0062), (0.25, 0.0109), (0.5, 0.0208), (0.8, 0.0328)],
                "pack_ns": {"torch": 0.00438, "torch_channels_last": 0.599, "direct": 2.42, "input_sparse": 1.77},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0923, "torch_channels_last": 0.0512, "direct": 0.0466},
                "sparse": [],
                "pack_ns": {"torch": 7.2, "torch_channels_last": 2.35, "direct": 432.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.175, "torch_channels_last": 0.103, "direct": 0.0972},
                "sparse": [],
                "pack_ns": {"torch": 1.88, "torch_channels_last": 0.49, "direct": 120.0},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0707, "torch_channels_last": 0.0651, "direct": 0.0632},
                "sparse": [],
                "pack_ns": {"torch": 0.839, "torch_channels_last": 4.87, "direct": 50.8},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.018, "torch_channels_last": 0.017, "direct": 0.0168},
                "sparse": [(0.02, 0.00196), (0.1, 0.00332), (0.25, 0.00649), (0.5, 0.0117), (0.8, 0.0184)],
                "pack_ns": {"torch": 0.0647, "torch_channels_last": 0.997, "direct": 7.61, "input_sparse": 3.83},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.0183, "torch_channels_last": 0.018, "direct": 0.0168},
                "sparse": [(0.02, 0.00185), (0.1, 0.0035), (0.25, 0.00626), (0.5, 0.012), (0.8, 0.0205)],
                "pack_ns": {"torch": 0.0203, "torch_channels_last": 0.749, "direct": 3.35, "input_sparse": 2.19},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.0194, "torch_channels_last": 0.018, "direct": 0.0169},
                "sparse": [(0.02, 0.00258), (0.1, 0.00398), (0.25, 0.00722), (0.5, 0.013), (0.8, 0.0228)],
                "pack_ns": {"torch": 0.0309, "torch_channels_last": 0.732, "direct": 3.9, "input_sparse": 2.27},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.0229, "torch_channels_last": 0.0216, "direct": 0.0195},
                "sparse": [(0.02, 0.0129), (0.1, 0.0164), (0.25, 0.0353), (0.5, 0.0398), (0.8, 0.0421)],
                "pack_ns": {"torch": 0.633, "torch_channels_last": 4.28, "direct": 46.6, "input_sparse": 24.9},
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
