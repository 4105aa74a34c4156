"""Costs measured on the development machine (AMD EPYC, one thread), used until a machine is measured itself.

Written by ``benchmarks/builtin_costs.py``.
"""
# ruff: noqa: E501  it is a table

from __future__ import annotations

from typing import Any

# ns_per_mac and pack_ns as in `seerlab.fast.costs.Measured`.
# fmt: off
BUILTIN: dict[str, dict[str, Any]] = {
    "avx512": {
        "convert_ns": 0.632,
        "layers": [
            {
                "kind": "1x1", "sizes": (16, 64, 3025),
                "ns_per_mac": {"torch": 0.0376, "torch_channels_last": 0.0309, "onednn": 0.0438, "direct": 0.0237},
                "sparse": [(0.02, 0.0179), (0.1, 0.0179), (0.25, 0.0204), (0.5, 0.025), (0.8, 0.0309)],
                "pack_ns": {"torch": 7.82, "torch_channels_last": 1.6, "onednn": 437.0, "direct": 148.0, "input_sparse": 146.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.0245, "torch_channels_last": 0.024, "onednn": 0.0222, "direct": 0.0198},
                "sparse": [(0.02, 0.00721), (0.1, 0.00721), (0.25, 0.00895), (0.5, 0.0139), (0.8, 0.02)],
                "pack_ns": {"torch": 0.541, "torch_channels_last": 0.11, "onednn": 33.4, "direct": 10.6, "input_sparse": 11.1},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.0232, "torch_channels_last": 0.0215, "onednn": 0.0211, "direct": 0.0178},
                "sparse": [(0.02, 0.00767), (0.1, 0.00805), (0.25, 0.0106), (0.5, 0.0157), (0.8, 0.023)],
                "pack_ns": {"torch": 0.141, "torch_channels_last": 0.0298, "onednn": 8.73, "direct": 4.87, "input_sparse": 4.96},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.023, "torch_channels_last": 0.021, "onednn": 0.0214, "direct": 0.0186},
                "sparse": [(0.02, 0.00556), (0.1, 0.00556), (0.25, 0.00819), (0.5, 0.0132), (0.8, 0.0192)],
                "pack_ns": {"torch": 0.0276, "torch_channels_last": 0.00741, "onednn": 2.8, "direct": 2.91, "input_sparse": 5.04},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0251, "torch_channels_last": 0.02, "onednn": 0.0204, "direct": 0.0192},
                "sparse": [(0.02, 0.00791), (0.1, 0.00847), (0.25, 0.0115), (0.5, 0.0168), (0.8, 0.023)],
                "pack_ns": {"torch": 0.0727, "torch_channels_last": 0.0135, "onednn": 4.76, "direct": 2.26, "input_sparse": 2.93},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0321, "torch_channels_last": 0.0773, "onednn": 0.0216, "direct": 0.0188},
                "sparse": [(0.02, 0.00793), (0.1, 0.00793), (0.25, 0.00976), (0.5, 0.0147), (0.8, 0.021)],
                "pack_ns": {"torch": 0.0054, "torch_channels_last": 0.00113, "onednn": 2.93, "direct": 2.59, "input_sparse": 4.16},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.0414, "torch_channels_last": 0.0245, "onednn": 0.0232, "direct": 0.0241, "winograd": 0.0356},
                "sparse": [(0.02, 0.0239), (0.1, 0.0308), (0.25, 0.0308), (0.5, 0.0322), (0.8, 0.0346)],
                "pack_ns": {"torch": 4.45, "torch_channels_last": 26.2, "onednn": 305.0, "direct": 70.4, "winograd": 55.1, "input_sparse": 86.2},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.0501, "torch_channels_last": 0.0477, "onednn": 0.0381, "direct": 0.0209, "winograd": 0.0155},
                "sparse": [(0.02, 0.0126), (0.1, 0.0128), (0.25, 0.0179), (0.5, 0.0273), (0.8, 0.0386)],
                "pack_ns": {"torch": 3.39, "torch_channels_last": 20.1, "onednn": 222.0, "direct": 96.8, "winograd": 46.9, "input_sparse": 68.4},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0695, "torch_channels_last": 0.0454, "onednn": 0.0623, "direct": 0.0253, "winograd": 0.0232},
                "sparse": [(0.02, 0.0173), (0.1, 0.0173), (0.25, 0.0213), (0.5, 0.03), (0.8, 0.0413)],
                "pack_ns": {"torch": 1.01, "torch_channels_last": 4.25, "onednn": 69.7, "direct": 22.1, "winograd": 20.2, "input_sparse": 28.9},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.0396, "torch_channels_last": 0.0274, "onednn": 0.0332, "direct": 0.0208, "winograd": 0.0107},
                "sparse": [(0.02, 0.00724), (0.1, 0.00724), (0.25, 0.00949), (0.5, 0.0141), (0.8, 0.0192)],
                "pack_ns": {"torch": 0.139, "torch_channels_last": 1.25, "onednn": 4.32, "direct": 3.95, "winograd": 4.72, "input_sparse": 6.16},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0194, "torch_channels_last": 0.0181, "onednn": 0.018, "direct": 0.018, "winograd": 0.00619},
                "sparse": [(0.02, 0.00212), (0.1, 0.00318), (0.25, 0.00612), (0.5, 0.0106), (0.8, 0.0167)],
                "pack_ns": {"torch": 0.274, "torch_channels_last": 1.96, "onednn": 7.38, "direct": 4.88, "winograd": 6.58, "input_sparse": 5.87},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.0752, "torch_channels_last": 0.0576, "onednn": 0.0508, "direct": 0.0533, "winograd": 0.023},
                "sparse": [(0.02, 0.00712), (0.1, 0.0126), (0.25, 0.0231), (0.5, 0.0337), (0.8, 0.0589)],
                "pack_ns": {"torch": 0.537, "torch_channels_last": 2.56, "onednn": 260.0, "direct": 9.02, "winograd": 5.72, "input_sparse": 11.8},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.0539, "torch_channels_last": 0.0528, "onednn": 0.0501, "direct": 0.053, "winograd": 0.0149},
                "sparse": [(0.02, 0.00209), (0.1, 0.00346), (0.25, 0.0151), (0.5, 0.0292), (0.8, 0.0527)],
                "pack_ns": {"torch": 0.185, "torch_channels_last": 1.24, "onednn": 8.8, "direct": 3.31, "winograd": 3.54, "input_sparse": 3.85},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0191, "torch_channels_last": 0.0178, "onednn": 0.0177, "direct": 0.0176, "winograd": 0.00614},
                "sparse": [(0.02, 0.00203), (0.1, 0.00311), (0.25, 0.00583), (0.5, 0.0106), (0.8, 0.0163)],
                "pack_ns": {"torch": 0.0978, "torch_channels_last": 1.12, "onednn": 8.86, "direct": 2.9, "winograd": 3.63, "input_sparse": 3.51},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.0244, "torch_channels_last": 0.0213, "onednn": 0.0187, "direct": 0.0178, "winograd": 0.00756},
                "sparse": [(0.02, 0.00258), (0.1, 0.00336), (0.25, 0.00607), (0.5, 0.0108), (0.8, 0.0165)],
                "pack_ns": {"torch": 0.0454, "torch_channels_last": 0.816, "onednn": 4.8, "direct": 2.38, "winograd": 3.11, "input_sparse": 2.63},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0196, "torch_channels_last": 0.0184, "onednn": 0.0175, "direct": 0.0177, "winograd": 0.00614},
                "sparse": [(0.02, 0.00203), (0.1, 0.00286), (0.25, 0.00556), (0.5, 0.0102), (0.8, 0.016)],
                "pack_ns": {"torch": 0.0585, "torch_channels_last": 0.904, "onednn": 3.09, "direct": 2.29, "winograd": 3.49, "input_sparse": 2.96},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 12544),
                "ns_per_mac": {"torch": 0.0545, "torch_channels_last": 0.0506, "onednn": 0.0505, "direct": 0.0307, "winograd": 0.00937},
                "sparse": [(0.02, 0.00402), (0.1, 0.0077), (0.25, 0.0194), (0.5, 0.0334), (0.8, 0.0503)],
                "pack_ns": {"torch": 0.0935, "torch_channels_last": 1.22, "onednn": 5.86, "direct": 2.47, "winograd": 3.09, "input_sparse": 2.77},
            },
            {
                "kind": "3x3", "sizes": (128, 256, 3136),
                "ns_per_mac": {"torch": 0.0183, "torch_channels_last": 0.0181, "onednn": 0.0178, "direct": 0.0178, "winograd": 0.00538},
                "sparse": [(0.02, 0.00147), (0.1, 0.00275), (0.25, 0.00564), (0.5, 0.0105), (0.8, 0.0165)],
                "pack_ns": {"torch": 0.0304, "torch_channels_last": 0.819, "onednn": 4.57, "direct": 2.34, "winograd": 3.13, "input_sparse": 2.63},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.0204, "torch_channels_last": 0.0217, "onednn": 0.0171, "direct": 0.0178, "winograd": 0.00697},
                "sparse": [(0.02, 0.00281), (0.1, 0.00281), (0.25, 0.00553), (0.5, 0.00995), (0.8, 0.0154)],
                "pack_ns": {"torch": 0.0134, "torch_channels_last": 0.646, "onednn": 3.06, "direct": 1.56, "winograd": 2.78, "input_sparse": 2.39},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.0203, "torch_channels_last": 0.0195, "onednn": 0.0173, "direct": 0.0175, "winograd": 0.00645},
                "sparse": [(0.02, 0.00274), (0.1, 0.00296), (0.25, 0.00537), (0.5, 0.00994), (0.8, 0.0153)],
                "pack_ns": {"torch": 0.0177, "torch_channels_last": 0.72, "onednn": 2.95, "direct": 2.13, "winograd": 2.83, "input_sparse": 1.91},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0506, "torch_channels_last": 0.0508, "onednn": 0.0507, "direct": 0.0515, "winograd": 0.0163},
                "sparse": [(0.02, 0.00135), (0.1, 0.00721), (0.25, 0.0146), (0.5, 0.0305), (0.8, 0.0496)],
                "pack_ns": {"torch": 0.0206, "torch_channels_last": 7.78, "onednn": 3.28, "direct": 1.72, "winograd": 16.7, "input_sparse": 12.8},
            },
            {
                "kind": "3x3", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0187, "torch_channels_last": 0.0183, "onednn": 0.0172, "direct": 0.0176, "winograd": 0.00544},
                "sparse": [(0.02, 0.00135), (0.1, 0.00261), (0.25, 0.00537), (0.5, 0.0101), (0.8, 0.0159)],
                "pack_ns": {"torch": 0.0102, "torch_channels_last": 0.73, "onednn": 3.15, "direct": 1.88, "winograd": 2.25, "input_sparse": 2.17},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0264, "torch_channels_last": 0.0258, "onednn": 0.0177, "direct": 0.019, "winograd": 0.00711},
                "sparse": [(0.02, 0.0036), (0.1, 0.0036), (0.25, 0.00581), (0.5, 0.0101), (0.8, 0.0156)],
                "pack_ns": {"torch": 0.00757, "torch_channels_last": 0.752, "onednn": 3.0, "direct": 1.94, "winograd": 2.0, "input_sparse": 2.09},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.0311, "torch_channels_last": 0.0368, "onednn": 0.0175, "direct": 0.0189, "winograd": 0.00786},
                "sparse": [(0.02, 0.00438), (0.1, 0.00438), (0.25, 0.00637), (0.5, 0.0101), (0.8, 0.015)],
                "pack_ns": {"torch": 0.00508, "torch_channels_last": 0.781, "onednn": 6.0, "direct": 4.17, "winograd": 2.08, "input_sparse": 6.04},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.0213, "torch_channels_last": 0.0222, "onednn": 0.0172, "direct": 0.0181, "winograd": 0.00613},
                "sparse": [(0.02, 0.00246), (0.1, 0.00283), (0.25, 0.00546), (0.5, 0.00989), (0.8, 0.0153)],
                "pack_ns": {"torch": 0.00385, "torch_channels_last": 0.806, "onednn": 2.29, "direct": 2.69, "winograd": 1.85, "input_sparse": 6.04},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0543, "torch_channels_last": 0.0557, "onednn": 0.0501, "direct": 0.0535, "winograd": 0.0162},
                "sparse": [(0.02, 0.00124), (0.1, 0.00708), (0.25, 0.0143), (0.5, 0.0301), (0.8, 0.0467)],
                "pack_ns": {"torch": 0.0048, "torch_channels_last": 4.24, "onednn": 4.29, "direct": 5.79, "winograd": 8.94, "input_sparse": 6.07},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.0331, "torch_channels_last": 0.0275, "onednn": 0.0264, "direct": 0.023},
                "sparse": [(0.02, 0.0306), (0.1, 0.0342), (0.25, 0.0463), (0.5, 0.0504), (0.8, 0.0512)],
                "pack_ns": {"torch": 9.31, "torch_channels_last": 46.1, "onednn": 527.0, "direct": 148.0, "input_sparse": 166.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0207, "torch_channels_last": 0.0191, "onednn": 0.0182, "direct": 0.0179},
                "sparse": [(0.02, 0.00302), (0.1, 0.00411), (0.25, 0.00693), (0.5, 0.012), (0.8, 0.0178)],
                "pack_ns": {"torch": 0.0628, "torch_channels_last": 0.838, "onednn": 4.64, "direct": 2.52, "input_sparse": 4.16},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.0272, "torch_channels_last": 0.0279, "onednn": 0.0195, "direct": 0.0185},
                "sparse": [(0.02, 0.00495), (0.1, 0.00495), (0.25, 0.00744), (0.5, 0.0115), (0.8, 0.0169)],
                "pack_ns": {"torch": 0.00593, "torch_channels_last": 0.673, "onednn": 2.6, "direct": 1.74, "input_sparse": 1.64},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0869, "torch_channels_last": 0.0485, "onednn": 0.044},
                "sparse": [],
                "pack_ns": {"torch": 8.52, "torch_channels_last": 1.97, "onednn": 481.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.162, "torch_channels_last": 0.0981, "onednn": 0.0878},
                "sparse": [],
                "pack_ns": {"torch": 1.59, "torch_channels_last": 0.429, "onednn": 84.2},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0684, "torch_channels_last": 0.0633, "onednn": 0.0611},
                "sparse": [],
                "pack_ns": {"torch": 1.08, "torch_channels_last": 5.71, "onednn": 60.0},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.018, "torch_channels_last": 0.0171, "onednn": 0.017, "direct": 0.0175},
                "sparse": [(0.02, 0.00195), (0.1, 0.00314), (0.25, 0.00554), (0.5, 0.0101), (0.8, 0.0156)],
                "pack_ns": {"torch": 0.0752, "torch_channels_last": 0.993, "onednn": 7.51, "direct": 2.83, "input_sparse": 3.52},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.0176, "torch_channels_last": 0.0174, "onednn": 0.0164, "direct": 0.0175},
                "sparse": [(0.02, 0.00171), (0.1, 0.00248), (0.25, 0.00505), (0.5, 0.00953), (0.8, 0.015)],
                "pack_ns": {"torch": 0.0266, "torch_channels_last": 0.8, "onednn": 3.99, "direct": 1.7, "input_sparse": 1.75},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.0191, "torch_channels_last": 0.0177, "onednn": 0.017, "direct": 0.0177},
                "sparse": [(0.02, 0.00243), (0.1, 0.00329), (0.25, 0.00597), (0.5, 0.0105), (0.8, 0.0161)],
                "pack_ns": {"torch": 0.0457, "torch_channels_last": 0.824, "onednn": 4.94, "direct": 2.05, "input_sparse": 2.2},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.0212, "torch_channels_last": 0.0192, "onednn": 0.019, "direct": 0.0185},
                "sparse": [(0.02, 0.00894), (0.1, 0.00972), (0.25, 0.0137), (0.5, 0.0174), (0.8, 0.0214)],
                "pack_ns": {"torch": 0.757, "torch_channels_last": 4.47, "onednn": 52.3, "direct": 14.4, "input_sparse": 17.8},
            },
        ],
    },
    "avx2": {
        "convert_ns": 0.641,
        "layers": [
            {
                "kind": "1x1", "sizes": (16, 64, 3025),
                "ns_per_mac": {"torch": 0.0388, "torch_channels_last": 0.0318, "onednn": 0.045, "direct": 0.0322},
                "sparse": [(0.02, 0.0548), (0.1, 0.0554), (0.25, 0.0605), (0.5, 0.0693), (0.8, 0.0804)],
                "pack_ns": {"torch": 7.05, "torch_channels_last": 1.8, "onednn": 177.0, "direct": 162.0, "input_sparse": 148.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.0232, "torch_channels_last": 0.024, "onednn": 0.022, "direct": 0.0211},
                "sparse": [(0.02, 0.0138), (0.1, 0.0164), (0.25, 0.0211), (0.5, 0.033), (0.8, 0.0501)],
                "pack_ns": {"torch": 0.491, "torch_channels_last": 0.125, "onednn": 11.6, "direct": 10.9, "input_sparse": 10.4},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.023, "torch_channels_last": 0.0214, "onednn": 0.0207, "direct": 0.0191},
                "sparse": [(0.02, 0.00984), (0.1, 0.012), (0.25, 0.0176), (0.5, 0.0306), (0.8, 0.0456)],
                "pack_ns": {"torch": 0.134, "torch_channels_last": 0.0309, "onednn": 3.78, "direct": 4.04, "input_sparse": 4.67},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.0234, "torch_channels_last": 0.0213, "onednn": 0.022, "direct": 0.0201},
                "sparse": [(0.02, 0.00757), (0.1, 0.00912), (0.25, 0.0139), (0.5, 0.027), (0.8, 0.0429)],
                "pack_ns": {"torch": 0.0311, "torch_channels_last": 0.00711, "onednn": 1.41, "direct": 2.9, "input_sparse": 3.76},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0247, "torch_channels_last": 0.0198, "onednn": 0.0198, "direct": 0.0206},
                "sparse": [(0.02, 0.014), (0.1, 0.0152), (0.25, 0.0199), (0.5, 0.0322), (0.8, 0.0497)],
                "pack_ns": {"torch": 0.0588, "torch_channels_last": 0.245, "onednn": 1.9, "direct": 2.34, "input_sparse": 3.0},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0328, "torch_channels_last": 0.0763, "onednn": 0.0211, "direct": 0.0232},
                "sparse": [(0.02, 0.0134), (0.1, 0.0134), (0.25, 0.0176), (0.5, 0.0303), (0.8, 0.0453)],
                "pack_ns": {"torch": 0.00521, "torch_channels_last": 0.00147, "onednn": 2.75, "direct": 2.57, "input_sparse": 4.29},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.0423, "torch_channels_last": 0.0259, "onednn": 0.0233, "direct": 0.0263, "winograd": 0.0453},
                "sparse": [(0.02, 0.0672), (0.1, 0.087), (0.25, 0.0976), (0.5, 0.104), (0.8, 0.108)],
                "pack_ns": {"torch": 4.5, "torch_channels_last": 26.5, "onednn": 109.0, "direct": 66.4, "winograd": 54.2, "input_sparse": 82.6},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.0504, "torch_channels_last": 0.0496, "onednn": 0.0389, "direct": 0.0234, "winograd": 0.0175},
                "sparse": [(0.02, 0.0143), (0.1, 0.0143), (0.25, 0.017), (0.5, 0.0228), (0.8, 0.0293)],
                "pack_ns": {"torch": 3.37, "torch_channels_last": 19.1, "onednn": 85.9, "direct": 95.2, "winograd": 52.2, "input_sparse": 67.3},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0699, "torch_channels_last": 0.0448, "onednn": 0.0615, "direct": 0.0287, "winograd": 0.0326},
                "sparse": [(0.02, 0.0168), (0.1, 0.0168), (0.25, 0.019), (0.5, 0.0242), (0.8, 0.0314)],
                "pack_ns": {"torch": 1.07, "torch_channels_last": 4.1, "onednn": 20.9, "direct": 20.8, "winograd": 20.1, "input_sparse": 28.0},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.0396, "torch_channels_last": 0.0275, "onednn": 0.0326, "direct": 0.0232, "winograd": 0.0202},
                "sparse": [(0.02, 0.00955), (0.1, 0.00955), (0.25, 0.0125), (0.5, 0.0188), (0.8, 0.0266)],
                "pack_ns": {"torch": 0.124, "torch_channels_last": 1.24, "onednn": 4.61, "direct": 3.83, "winograd": 4.61, "input_sparse": 5.27},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0194, "torch_channels_last": 0.0182, "onednn": 0.0179, "direct": 0.0191, "winograd": 0.00648},
                "sparse": [(0.02, 0.00319), (0.1, 0.00463), (0.25, 0.00835), (0.5, 0.0146), (0.8, 0.0232)],
                "pack_ns": {"torch": 0.247, "torch_channels_last": 1.84, "onednn": 7.16, "direct": 4.79, "winograd": 5.45, "input_sparse": 5.7},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.0262, "torch_channels_last": 0.0183, "onednn": 0.0182, "direct": 0.0205, "winograd": 0.00818},
                "sparse": [(0.02, 0.00598), (0.1, 0.00728), (0.25, 0.0121), (0.5, 0.0183), (0.8, 0.0291)],
                "pack_ns": {"torch": 0.276, "torch_channels_last": 1.71, "onednn": 7.73, "direct": 5.83, "winograd": 6.27, "input_sparse": 6.29},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.019, "torch_channels_last": 0.0181, "onednn": 0.0179, "direct": 0.0203, "winograd": 0.00699},
                "sparse": [(0.02, 0.00456), (0.1, 0.00641), (0.25, 0.0104), (0.5, 0.0172), (0.8, 0.0256)],
                "pack_ns": {"torch": 0.132, "torch_channels_last": 1.29, "onednn": 5.9, "direct": 4.05, "winograd": 4.85, "input_sparse": 4.26},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0199, "torch_channels_last": 0.0185, "onednn": 0.0182, "direct": 0.0197, "winograd": 0.00735},
                "sparse": [(0.02, 0.00427), (0.1, 0.00567), (0.25, 0.00892), (0.5, 0.0151), (0.8, 0.0224)],
                "pack_ns": {"torch": 0.159, "torch_channels_last": 1.09, "onednn": 3.99, "direct": 2.7, "winograd": 3.48, "input_sparse": 3.41},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.0245, "torch_channels_last": 0.0215, "onednn": 0.0191, "direct": 0.0198, "winograd": 0.0175},
                "sparse": [(0.02, 0.00354), (0.1, 0.00445), (0.25, 0.00738), (0.5, 0.013), (0.8, 0.0202)],
                "pack_ns": {"torch": 0.041, "torch_channels_last": 1.08, "onednn": 2.99, "direct": 2.47, "winograd": 3.33, "input_sparse": 2.75},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0193, "torch_channels_last": 0.0183, "onednn": 0.0175, "direct": 0.0186, "winograd": 0.00687},
                "sparse": [(0.02, 0.00285), (0.1, 0.00386), (0.25, 0.00714), (0.5, 0.0135), (0.8, 0.0214)],
                "pack_ns": {"torch": 0.0537, "torch_channels_last": 0.87, "onednn": 3.32, "direct": 2.13, "winograd": 3.14, "input_sparse": 3.21},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 12544),
                "ns_per_mac": {"torch": 0.0184, "torch_channels_last": 0.0178, "onednn": 0.0178, "direct": 0.0192, "winograd": 0.00599},
                "sparse": [(0.02, 0.00326), (0.1, 0.0053), (0.25, 0.00882), (0.5, 0.0158), (0.8, 0.0247)],
                "pack_ns": {"torch": 0.0737, "torch_channels_last": 1.14, "onednn": 3.98, "direct": 2.69, "winograd": 3.67, "input_sparse": 3.26},
            },
            {
                "kind": "3x3", "sizes": (128, 256, 3136),
                "ns_per_mac": {"torch": 0.0183, "torch_channels_last": 0.018, "onednn": 0.0179, "direct": 0.0197, "winograd": 0.00622},
                "sparse": [(0.02, 0.00298), (0.1, 0.0044), (0.25, 0.00786), (0.5, 0.0148), (0.8, 0.0233)],
                "pack_ns": {"torch": 0.0309, "torch_channels_last": 0.824, "onednn": 3.18, "direct": 1.97, "winograd": 3.16, "input_sparse": 2.08},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.0208, "torch_channels_last": 0.021, "onednn": 0.0172, "direct": 0.0206, "winograd": 0.0104},
                "sparse": [(0.02, 0.00348), (0.1, 0.00378), (0.25, 0.00687), (0.5, 0.0129), (0.8, 0.0203)],
                "pack_ns": {"torch": 0.0138, "torch_channels_last": 0.652, "onednn": 2.39, "direct": 1.52, "winograd": 2.62, "input_sparse": 2.14},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.0204, "torch_channels_last": 0.0199, "onednn": 0.0169, "direct": 0.0201, "winograd": 0.00949},
                "sparse": [(0.02, 0.00445), (0.1, 0.00458), (0.25, 0.00712), (0.5, 0.0129), (0.8, 0.02)],
                "pack_ns": {"torch": 0.0169, "torch_channels_last": 0.786, "onednn": 2.83, "direct": 1.75, "winograd": 2.96, "input_sparse": 2.15},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0178, "torch_channels_last": 0.0177, "onednn": 0.0175, "direct": 0.0191, "winograd": 0.00647},
                "sparse": [(0.02, 0.00257), (0.1, 0.00416), (0.25, 0.00792), (0.5, 0.0146), (0.8, 0.0228)],
                "pack_ns": {"torch": 0.0179, "torch_channels_last": 0.866, "onednn": 3.07, "direct": 1.88, "winograd": 2.87, "input_sparse": 1.98},
            },
            {
                "kind": "3x3", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0188, "torch_channels_last": 0.0184, "onednn": 0.0173, "direct": 0.0199, "winograd": 0.00756},
                "sparse": [(0.02, 0.00258), (0.1, 0.00378), (0.25, 0.0073), (0.5, 0.0137), (0.8, 0.0218)],
                "pack_ns": {"torch": 0.0106, "torch_channels_last": 0.844, "onednn": 2.82, "direct": 1.73, "winograd": 2.28, "input_sparse": 1.72},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0253, "torch_channels_last": 0.0249, "onednn": 0.0167, "direct": 0.0218, "winograd": 0.0159},
                "sparse": [(0.02, 0.00478), (0.1, 0.00478), (0.25, 0.00769), (0.5, 0.0136), (0.8, 0.0215)],
                "pack_ns": {"torch": 0.00657, "torch_channels_last": 0.709, "onednn": 2.38, "direct": 1.68, "winograd": 1.72, "input_sparse": 2.17},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.0299, "torch_channels_last": 0.035, "onednn": 0.0175, "direct": 0.026, "winograd": 0.0186},
                "sparse": [(0.02, 0.00739), (0.1, 0.00767), (0.25, 0.00871), (0.5, 0.0126), (0.8, 0.0186)],
                "pack_ns": {"torch": 0.00436, "torch_channels_last": 0.738, "onednn": 5.71, "direct": 4.04, "winograd": 1.67, "input_sparse": 6.03},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.0218, "torch_channels_last": 0.0226, "onednn": 0.0175, "direct": 0.0242, "winograd": 0.0117},
                "sparse": [(0.02, 0.00466), (0.1, 0.00466), (0.25, 0.00761), (0.5, 0.0133), (0.8, 0.0207)],
                "pack_ns": {"torch": 0.00459, "torch_channels_last": 0.798, "onednn": 6.25, "direct": 4.23, "winograd": 1.67, "input_sparse": 6.1},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0185, "torch_channels_last": 0.0187, "onednn": 0.0172, "direct": 0.0204, "winograd": 0.00704},
                "sparse": [(0.02, 0.00195), (0.1, 0.00357), (0.25, 0.00699), (0.5, 0.0135), (0.8, 0.0215)],
                "pack_ns": {"torch": 0.00411, "torch_channels_last": 0.777, "onednn": 7.9, "direct": 4.47, "winograd": 1.62, "input_sparse": 5.83},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.037, "torch_channels_last": 0.0296, "onednn": 0.0286, "direct": 0.0289},
                "sparse": [(0.02, 0.0607), (0.1, 0.0748), (0.25, 0.0992), (0.5, 0.107), (0.8, 0.107)],
                "pack_ns": {"torch": 8.42, "torch_channels_last": 56.4, "onednn": 233.0, "direct": 160.0, "input_sparse": 180.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0215, "torch_channels_last": 0.0193, "onednn": 0.0186, "direct": 0.0193},
                "sparse": [(0.02, 0.00512), (0.1, 0.00621), (0.25, 0.0114), (0.5, 0.0222), (0.8, 0.0353)],
                "pack_ns": {"torch": 0.0763, "torch_channels_last": 0.996, "onednn": 3.38, "direct": 2.66, "input_sparse": 4.19},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.0292, "torch_channels_last": 0.0297, "onednn": 0.0198, "direct": 0.0255},
                "sparse": [(0.02, 0.0068), (0.1, 0.0068), (0.25, 0.0109), (0.5, 0.0209), (0.8, 0.0334)],
                "pack_ns": {"torch": 0.00732, "torch_channels_last": 0.651, "onednn": 2.46, "direct": 1.73, "input_sparse": 1.8},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0886, "torch_channels_last": 0.0478, "onednn": 0.0447},
                "sparse": [],
                "pack_ns": {"torch": 10.5, "torch_channels_last": 3.2, "onednn": 242.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.162, "torch_channels_last": 0.0966, "onednn": 0.0893},
                "sparse": [],
                "pack_ns": {"torch": 1.79, "torch_channels_last": 0.617, "onednn": 27.1},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0685, "torch_channels_last": 0.0634, "onednn": 0.0607},
                "sparse": [],
                "pack_ns": {"torch": 0.811, "torch_channels_last": 4.58, "onednn": 18.7},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.0184, "torch_channels_last": 0.0172, "onednn": 0.0171, "direct": 0.0184},
                "sparse": [(0.02, 0.00271), (0.1, 0.00382), (0.25, 0.00641), (0.5, 0.012), (0.8, 0.0186)],
                "pack_ns": {"torch": 0.0913, "torch_channels_last": 1.7, "onednn": 4.17, "direct": 2.99, "input_sparse": 3.69},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.0181, "torch_channels_last": 0.0177, "onednn": 0.0167, "direct": 0.019},
                "sparse": [(0.02, 0.00282), (0.1, 0.00321), (0.25, 0.00621), (0.5, 0.0119), (0.8, 0.0204)],
                "pack_ns": {"torch": 0.0294, "torch_channels_last": 0.804, "onednn": 2.92, "direct": 1.75, "input_sparse": 2.12},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.0195, "torch_channels_last": 0.0181, "onednn": 0.017, "direct": 0.0186},
                "sparse": [(0.02, 0.00354), (0.1, 0.00415), (0.25, 0.00728), (0.5, 0.0132), (0.8, 0.0229)],
                "pack_ns": {"torch": 0.0586, "torch_channels_last": 0.829, "onednn": 2.95, "direct": 2.07, "input_sparse": 2.56},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.0213, "torch_channels_last": 0.0191, "onednn": 0.019, "direct": 0.0205},
                "sparse": [(0.02, 0.0179), (0.1, 0.0193), (0.25, 0.0285), (0.5, 0.0348), (0.8, 0.0367)],
                "pack_ns": {"torch": 0.707, "torch_channels_last": 5.09, "onednn": 18.8, "direct": 15.0, "input_sparse": 21.9},
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
            "ns_per_mac": {
                name: cost for name, cost in layer["ns_per_mac"].items() if name not in ("winograd", "direct")
            },
            "sparse": [],
        }
        for layer in BUILTIN["avx2"]["layers"]
    ],
}
