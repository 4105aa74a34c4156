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
                "ns_per_mac": {"torch": 0.0401, "torch_channels_last": 0.032, "direct": 0.0452},
                "sparse": [(0.02, 0.0227), (0.1, 0.02), (0.25, 0.0224), (0.5, 0.0279), (0.8, 0.0332)],
                "pack_ns": {"torch": 5.66, "torch_channels_last": 2.18, "direct": 402.0, "input_sparse": 220.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.0236, "torch_channels_last": 0.0241, "direct": 0.0225},
                "sparse": [(0.02, 0.00584), (0.1, 0.00693), (0.25, 0.00989), (0.5, 0.0145), (0.8, 0.0207)],
                "pack_ns": {"torch": 0.342, "torch_channels_last": 0.101, "direct": 24.1, "input_sparse": 14.5},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.0235, "torch_channels_last": 0.0225, "direct": 0.0215},
                "sparse": [(0.02, 0.00817), (0.1, 0.00925), (0.25, 0.0117), (0.5, 0.0159), (0.8, 0.0219)],
                "pack_ns": {"torch": 0.106, "torch_channels_last": 0.0434, "direct": 8.48, "input_sparse": 6.3},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.0252, "torch_channels_last": 0.0218, "direct": 0.0234},
                "sparse": [(0.02, 0.00623), (0.1, 0.00701), (0.25, 0.0095), (0.5, 0.0142), (0.8, 0.0203)],
                "pack_ns": {"torch": 0.0239, "torch_channels_last": 0.00802, "direct": 2.54, "input_sparse": 3.94},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0256, "torch_channels_last": 0.0206, "direct": 0.0203},
                "sparse": [(0.02, 0.00761), (0.1, 0.00795), (0.25, 0.0113), (0.5, 0.0165), (0.8, 0.0233)],
                "pack_ns": {"torch": 0.0462, "torch_channels_last": 0.015, "direct": 4.4, "input_sparse": 3.59},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0349, "torch_channels_last": 0.0753, "direct": 0.0226},
                "sparse": [(0.02, 0.00944), (0.1, 0.00809), (0.25, 0.0109), (0.5, 0.016), (0.8, 0.022)],
                "pack_ns": {"torch": 0.00382, "torch_channels_last": 0.0014, "direct": 2.88, "input_sparse": 3.27},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.0425, "torch_channels_last": 0.0256, "direct": 0.0255, "winograd": 0.0231},
                "sparse": [(0.02, 0.03), (0.1, 0.0267), (0.25, 0.0318), (0.5, 0.0282), (0.8, 0.0334)],
                "pack_ns": {"torch": 4.18, "torch_channels_last": 24.9, "direct": 281.0, "winograd": 292.0, "input_sparse": 66.5},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.0542, "torch_channels_last": 0.0514, "direct": 0.0428, "winograd": 0.021},
                "sparse": [(0.02, 0.0157), (0.1, 0.0157), (0.25, 0.0202), (0.5, 0.0514), (0.8, 0.0737)],
                "pack_ns": {"torch": 2.75, "torch_channels_last": 15.5, "direct": 215.0, "winograd": 188.0, "input_sparse": 60.7},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0801, "torch_channels_last": 0.0481, "direct": 0.0762, "winograd": 0.0373},
                "sparse": [(0.02, 0.0268), (0.1, 0.0214), (0.25, 0.0249), (0.5, 0.0529), (0.8, 0.075)],
                "pack_ns": {"torch": 0.796, "torch_channels_last": 4.07, "direct": 63.8, "winograd": 92.7, "input_sparse": 26.9},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.0437, "torch_channels_last": 0.0301, "direct": 0.0409, "winograd": 0.0178},
                "sparse": [(0.02, 0.0116), (0.1, 0.00904), (0.25, 0.0111), (0.5, 0.016), (0.8, 0.0211)],
                "pack_ns": {"torch": 0.165, "torch_channels_last": 1.78, "direct": 7.0, "winograd": 35.0, "input_sparse": 5.4},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0202, "torch_channels_last": 0.0185, "direct": 0.0181, "winograd": 0.00665},
                "sparse": [(0.02, 0.00223), (0.1, 0.00316), (0.25, 0.00675), (0.5, 0.011), (0.8, 0.0166)],
                "pack_ns": {"torch": 0.212, "torch_channels_last": 1.6, "direct": 13.8, "winograd": 29.4, "input_sparse": 4.67},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.0213, "torch_channels_last": 0.021, "direct": 0.0179, "winograd": 0.00641},
                "sparse": [(0.02, 0.00533), (0.1, 0.0037), (0.25, 0.00747), (0.5, 0.0114), (0.8, 0.019)],
                "pack_ns": {"torch": 0.543, "torch_channels_last": 2.64, "direct": 35.0, "winograd": 83.0, "input_sparse": 6.99},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.0222, "torch_channels_last": 0.0212, "direct": 0.018, "winograd": 0.00612},
                "sparse": [(0.02, 0.00534), (0.1, 0.00338), (0.25, 0.00648), (0.5, 0.0117), (0.8, 0.0177)],
                "pack_ns": {"torch": 0.249, "torch_channels_last": 4.22, "direct": 25.2, "winograd": 62.6, "input_sparse": 5.19},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0202, "torch_channels_last": 0.0183, "direct": 0.0185, "winograd": 0.00746},
                "sparse": [(0.02, 0.00206), (0.1, 0.00344), (0.25, 0.0061), (0.5, 0.0141), (0.8, 0.0214)],
                "pack_ns": {"torch": 0.0764, "torch_channels_last": 1.06, "direct": 7.34, "winograd": 24.3, "input_sparse": 3.03},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.0247, "torch_channels_last": 0.0212, "direct": 0.0187, "winograd": 0.00876},
                "sparse": [(0.02, 0.00242), (0.1, 0.0035), (0.25, 0.00618), (0.5, 0.0126), (0.8, 0.0191)],
                "pack_ns": {"torch": 0.0289, "torch_channels_last": 0.781, "direct": 3.98, "winograd": 20.8, "input_sparse": 2.14},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0191, "torch_channels_last": 0.0189, "direct": 0.0175, "winograd": 0.00642},
                "sparse": [(0.02, 0.00165), (0.1, 0.00311), (0.25, 0.00557), (0.5, 0.0106), (0.8, 0.0163)],
                "pack_ns": {"torch": 0.0452, "torch_channels_last": 0.87, "direct": 5.04, "winograd": 20.5, "input_sparse": 2.26},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.021, "torch_channels_last": 0.0232, "direct": 0.0176, "winograd": 0.00976},
                "sparse": [(0.02, 0.00227), (0.1, 0.00296), (0.25, 0.00549), (0.5, 0.0107), (0.8, 0.0158)],
                "pack_ns": {"torch": 0.00779, "torch_channels_last": 0.66, "direct": 2.73, "winograd": 17.6, "input_sparse": 1.84},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.0215, "torch_channels_last": 0.0208, "direct": 0.0177, "winograd": 0.00873},
                "sparse": [(0.02, 0.00263), (0.1, 0.00284), (0.25, 0.00536), (0.5, 0.0106), (0.8, 0.0155)],
                "pack_ns": {"torch": 0.0182, "torch_channels_last": 0.732, "direct": 2.75, "winograd": 19.6, "input_sparse": 2.0},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0178, "torch_channels_last": 0.0176, "direct": 0.0174, "winograd": 0.00545},
                "sparse": [(0.02, 0.00141), (0.1, 0.00273), (0.25, 0.00563), (0.5, 0.0107), (0.8, 0.0164)],
                "pack_ns": {"torch": 0.0197, "torch_channels_last": 0.732, "direct": 2.89, "winograd": 18.2, "input_sparse": 1.6},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0305, "torch_channels_last": 0.0277, "direct": 0.0175, "winograd": 0.0127},
                "sparse": [(0.02, 0.00449), (0.1, 0.00357), (0.25, 0.00592), (0.5, 0.0107), (0.8, 0.0162)],
                "pack_ns": {"torch": 0.00516, "torch_channels_last": 0.743, "direct": 7.08, "winograd": 26.4, "input_sparse": 4.93},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.033, "torch_channels_last": 0.0356, "direct": 0.0174, "winograd": 0.0142},
                "sparse": [(0.02, 0.00531), (0.1, 0.00402), (0.25, 0.00625), (0.5, 0.01), (0.8, 0.015)],
                "pack_ns": {"torch": 0.00481, "torch_channels_last": 0.698, "direct": 2.13, "winograd": 25.1, "input_sparse": 2.17},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.0208, "torch_channels_last": 0.0215, "direct": 0.0169, "winograd": 0.00765},
                "sparse": [(0.02, 0.00184), (0.1, 0.00269), (0.25, 0.00532), (0.5, 0.0102), (0.8, 0.0155)],
                "pack_ns": {"torch": 0.0044, "torch_channels_last": 0.679, "direct": 2.2, "winograd": 19.2, "input_sparse": 4.29},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0185, "torch_channels_last": 0.0184, "direct": 0.0172, "winograd": 0.00598},
                "sparse": [(0.02, 0.00145), (0.1, 0.00263), (0.25, 0.00543), (0.5, 0.0107), (0.8, 0.0162)],
                "pack_ns": {"torch": 0.00522, "torch_channels_last": 0.752, "direct": 8.34, "winograd": 33.1, "input_sparse": 5.15},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.0379, "torch_channels_last": 0.0272, "direct": 0.0275},
                "sparse": [(0.02, 0.0266), (0.1, 0.0324), (0.25, 0.0446), (0.5, 0.0638), (0.8, 0.072)],
                "pack_ns": {"torch": 7.36, "torch_channels_last": 37.8, "direct": 440.0, "input_sparse": 242.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0227, "torch_channels_last": 0.02, "direct": 0.0187},
                "sparse": [(0.02, 0.00342), (0.1, 0.00422), (0.25, 0.00717), (0.5, 0.0123), (0.8, 0.0179)],
                "pack_ns": {"torch": 0.0868, "torch_channels_last": 0.943, "direct": 5.26, "input_sparse": 3.91},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.0279, "torch_channels_last": 0.0326, "direct": 0.0195},
                "sparse": [(0.02, 0.00492), (0.1, 0.00475), (0.25, 0.00771), (0.5, 0.0118), (0.8, 0.0172)],
                "pack_ns": {"torch": 0.00446, "torch_channels_last": 0.672, "direct": 2.73, "input_sparse": 1.69},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0875, "torch_channels_last": 0.0482, "direct": 0.0458},
                "sparse": [],
                "pack_ns": {"torch": 8.68, "torch_channels_last": 1.98, "direct": 423.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.17, "torch_channels_last": 0.103, "direct": 0.0954},
                "sparse": [],
                "pack_ns": {"torch": 2.04, "torch_channels_last": 0.629, "direct": 114.0},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0695, "torch_channels_last": 0.0642, "direct": 0.0628},
                "sparse": [],
                "pack_ns": {"torch": 1.46, "torch_channels_last": 6.96, "direct": 103.0},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.0183, "torch_channels_last": 0.017, "direct": 0.0173},
                "sparse": [(0.02, 0.0017), (0.1, 0.00292), (0.25, 0.0056), (0.5, 0.0102), (0.8, 0.0162)],
                "pack_ns": {"torch": 0.0655, "torch_channels_last": 0.988, "direct": 7.81, "input_sparse": 4.24},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.0185, "torch_channels_last": 0.0179, "direct": 0.0169},
                "sparse": [(0.02, 0.00216), (0.1, 0.00277), (0.25, 0.00563), (0.5, 0.0105), (0.8, 0.0172)],
                "pack_ns": {"torch": 0.0193, "torch_channels_last": 0.729, "direct": 3.33, "input_sparse": 1.97},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.0195, "torch_channels_last": 0.0182, "direct": 0.0173},
                "sparse": [(0.02, 0.00252), (0.1, 0.00401), (0.25, 0.00755), (0.5, 0.0137), (0.8, 0.0225)],
                "pack_ns": {"torch": 0.0366, "torch_channels_last": 0.756, "direct": 3.96, "input_sparse": 2.32},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.022, "torch_channels_last": 0.0195, "direct": 0.0193},
                "sparse": [(0.02, 0.00587), (0.1, 0.00696), (0.25, 0.0103), (0.5, 0.0149), (0.8, 0.0201)],
                "pack_ns": {"torch": 0.626, "torch_channels_last": 4.52, "direct": 54.3, "input_sparse": 24.6},
            },
        ],
    },
    "avx2": {
        "convert_ns": 0.596,
        "layers": [
            {
                "kind": "1x1", "sizes": (16, 64, 3025),
                "ns_per_mac": {"torch": 0.0427, "torch_channels_last": 0.0351, "direct": 0.0486},
                "sparse": [(0.02, 0.0548), (0.1, 0.0547), (0.25, 0.0597), (0.5, 0.0676), (0.8, 0.0789)],
                "pack_ns": {"torch": 5.01, "torch_channels_last": 1.33, "direct": 359.0, "input_sparse": 231.0},
            },
            {
                "kind": "1x1", "sizes": (64, 256, 3136),
                "ns_per_mac": {"torch": 0.0245, "torch_channels_last": 0.0247, "direct": 0.0226},
                "sparse": [(0.02, 0.0139), (0.1, 0.0151), (0.25, 0.0204), (0.5, 0.0326), (0.8, 0.0488)],
                "pack_ns": {"torch": 0.344, "torch_channels_last": 0.0886, "direct": 22.1, "input_sparse": 14.2},
            },
            {
                "kind": "1x1", "sizes": (512, 128, 784),
                "ns_per_mac": {"torch": 0.0244, "torch_channels_last": 0.0229, "direct": 0.0215},
                "sparse": [(0.02, 0.00851), (0.1, 0.0107), (0.25, 0.0159), (0.5, 0.0283), (0.8, 0.0445)],
                "pack_ns": {"torch": 0.107, "torch_channels_last": 0.0234, "direct": 7.92, "input_sparse": 6.25},
            },
            {
                "kind": "1x1", "sizes": (1024, 256, 196),
                "ns_per_mac": {"torch": 0.0243, "torch_channels_last": 0.0216, "direct": 0.022},
                "sparse": [(0.02, 0.00635), (0.1, 0.00772), (0.25, 0.0131), (0.5, 0.025), (0.8, 0.0412)],
                "pack_ns": {"torch": 0.0204, "torch_channels_last": 0.00554, "direct": 2.51, "input_sparse": 3.72},
            },
            {
                "kind": "1x1 strided", "sizes": (256, 512, 784),
                "ns_per_mac": {"torch": 0.0262, "torch_channels_last": 0.021, "direct": 0.021},
                "sparse": [(0.02, 0.0125), (0.1, 0.0149), (0.25, 0.0205), (0.5, 0.0329), (0.8, 0.0513)],
                "pack_ns": {"torch": 0.037, "torch_channels_last": 0.00986, "direct": 35.3, "input_sparse": 3.45},
            },
            {
                "kind": "1x1 strided", "sizes": (1024, 2048, 49),
                "ns_per_mac": {"torch": 0.0325, "torch_channels_last": 0.0733, "direct": 0.0215},
                "sparse": [(0.02, 0.01), (0.1, 0.0123), (0.25, 0.0165), (0.5, 0.0289), (0.8, 0.0447)],
                "pack_ns": {"torch": 0.0025, "torch_channels_last": 0.000812, "direct": 2.82, "input_sparse": 3.01},
            },
            {
                "kind": "3x3", "sizes": (3, 64, 50176),
                "ns_per_mac": {"torch": 0.0413, "torch_channels_last": 0.0255, "direct": 0.0233, "winograd": 0.0301},
                "sparse": [(0.02, 0.0673), (0.1, 0.0653), (0.25, 0.0682), (0.5, 0.0777), (0.8, 0.0829)],
                "pack_ns": {"torch": 3.49, "torch_channels_last": 23.1, "direct": 260.0, "winograd": 252.0, "input_sparse": 64.0},
            },
            {
                "kind": "3x3", "sizes": (16, 16, 1024),
                "ns_per_mac": {"torch": 0.0539, "torch_channels_last": 0.0484, "direct": 0.0426, "winograd": 0.0214},
                "sparse": [(0.02, 0.0159), (0.1, 0.0152), (0.25, 0.0179), (0.5, 0.0233), (0.8, 0.0299)],
                "pack_ns": {"torch": 1.97, "torch_channels_last": 17.1, "direct": 193.0, "winograd": 207.0, "input_sparse": 63.7},
            },
            {
                "kind": "3x3", "sizes": (32, 16, 196),
                "ns_per_mac": {"torch": 0.0781, "torch_channels_last": 0.0473, "direct": 0.075, "winograd": 0.0366},
                "sparse": [(0.02, 0.0269), (0.1, 0.0208), (0.25, 0.022), (0.5, 0.0271), (0.8, 0.0337)],
                "pack_ns": {"torch": 0.63, "torch_channels_last": 3.48, "direct": 49.1, "winograd": 62.9, "input_sparse": 20.3},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 64),
                "ns_per_mac": {"torch": 0.044, "torch_channels_last": 0.0285, "direct": 0.0377, "winograd": 0.0176},
                "sparse": [(0.02, 0.0131), (0.1, 0.0111), (0.25, 0.0135), (0.5, 0.02), (0.8, 0.0278)],
                "pack_ns": {"torch": 0.193, "torch_channels_last": 1.79, "direct": 7.87, "winograd": 28.3, "input_sparse": 4.61},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 3136),
                "ns_per_mac": {"torch": 0.0201, "torch_channels_last": 0.0181, "direct": 0.0182, "winograd": 0.0069},
                "sparse": [(0.02, 0.0036), (0.1, 0.00454), (0.25, 0.00806), (0.5, 0.0146), (0.8, 0.023)],
                "pack_ns": {"torch": 0.272, "torch_channels_last": 1.84, "direct": 16.2, "winograd": 31.2, "input_sparse": 4.77},
            },
            {
                "kind": "3x3", "sizes": (64, 64, 50176),
                "ns_per_mac": {"torch": 0.0208, "torch_channels_last": 0.0207, "direct": 0.0179, "winograd": 0.00687},
                "sparse": [(0.02, 0.00641), (0.1, 0.00663), (0.25, 0.0109), (0.5, 0.0168), (0.8, 0.0271)],
                "pack_ns": {"torch": 0.417, "torch_channels_last": 2.47, "direct": 34.3, "winograd": 83.6, "input_sparse": 6.83},
            },
            {
                "kind": "3x3", "sizes": (64, 128, 12544),
                "ns_per_mac": {"torch": 0.0224, "torch_channels_last": 0.0204, "direct": 0.0178, "winograd": 0.00626},
                "sparse": [(0.02, 0.00547), (0.1, 0.00503), (0.25, 0.0101), (0.5, 0.0177), (0.8, 0.0248)],
                "pack_ns": {"torch": 0.207, "torch_channels_last": 3.66, "direct": 22.3, "winograd": 52.0, "input_sparse": 4.32},
            },
            {
                "kind": "3x3", "sizes": (96, 96, 1225),
                "ns_per_mac": {"torch": 0.0187, "torch_channels_last": 0.018, "direct": 0.0175, "winograd": 0.00735},
                "sparse": [(0.02, 0.00285), (0.1, 0.0044), (0.25, 0.00756), (0.5, 0.0136), (0.8, 0.0217)],
                "pack_ns": {"torch": 0.0879, "torch_channels_last": 1.09, "direct": 8.46, "winograd": 22.8, "input_sparse": 3.13},
            },
            {
                "kind": "3x3", "sizes": (96, 208, 196),
                "ns_per_mac": {"torch": 0.0248, "torch_channels_last": 0.0219, "direct": 0.0188, "winograd": 0.00992},
                "sparse": [(0.02, 0.00325), (0.1, 0.00444), (0.25, 0.00737), (0.5, 0.0131), (0.8, 0.0201)],
                "pack_ns": {"torch": 0.0224, "torch_channels_last": 0.744, "direct": 3.67, "winograd": 21.1, "input_sparse": 2.13},
            },
            {
                "kind": "3x3", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0187, "torch_channels_last": 0.0184, "direct": 0.0174, "winograd": 0.00693},
                "sparse": [(0.02, 0.00237), (0.1, 0.00375), (0.25, 0.00704), (0.5, 0.0132), (0.8, 0.0213)],
                "pack_ns": {"torch": 0.0407, "torch_channels_last": 0.848, "direct": 5.36, "winograd": 19.6, "input_sparse": 2.15},
            },
            {
                "kind": "3x3", "sizes": (192, 384, 169),
                "ns_per_mac": {"torch": 0.0214, "torch_channels_last": 0.023, "direct": 0.0174, "winograd": 0.0176},
                "sparse": [(0.02, 0.00273), (0.1, 0.00373), (0.25, 0.00681), (0.5, 0.0127), (0.8, 0.02)],
                "pack_ns": {"torch": 0.00676, "torch_channels_last": 0.607, "direct": 2.78, "winograd": 17.4, "input_sparse": 1.94},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 196),
                "ns_per_mac": {"torch": 0.0219, "torch_channels_last": 0.0207, "direct": 0.0173, "winograd": 0.016},
                "sparse": [(0.02, 0.00565), (0.1, 0.00431), (0.25, 0.00687), (0.5, 0.0128), (0.8, 0.0202)],
                "pack_ns": {"torch": 0.0211, "torch_channels_last": 0.698, "direct": 2.73, "winograd": 28.0, "input_sparse": 1.63},
            },
            {
                "kind": "3x3", "sizes": (256, 256, 3136),
                "ns_per_mac": {"torch": 0.0178, "torch_channels_last": 0.0175, "direct": 0.0172, "winograd": 0.00629},
                "sparse": [(0.02, 0.00213), (0.1, 0.00372), (0.25, 0.00737), (0.5, 0.0139), (0.8, 0.0225)],
                "pack_ns": {"torch": 0.0116, "torch_channels_last": 0.779, "direct": 2.84, "winograd": 17.8, "input_sparse": 1.41},
            },
            {
                "kind": "3x3", "sizes": (448, 384, 64),
                "ns_per_mac": {"torch": 0.0294, "torch_channels_last": 0.0267, "direct": 0.0169, "winograd": 0.0203},
                "sparse": [(0.02, 0.00526), (0.1, 0.00458), (0.25, 0.00762), (0.5, 0.0135), (0.8, 0.0215)],
                "pack_ns": {"torch": 0.0046, "torch_channels_last": 0.698, "direct": 5.72, "winograd": 31.6, "input_sparse": 4.75},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 49),
                "ns_per_mac": {"torch": 0.0327, "torch_channels_last": 0.0349, "direct": 0.0171, "winograd": 0.0259},
                "sparse": [(0.02, 0.00648), (0.1, 0.0045), (0.25, 0.00712), (0.5, 0.0119), (0.8, 0.0182)],
                "pack_ns": {"torch": 0.00373, "torch_channels_last": 0.686, "direct": 2.13, "winograd": 18.3, "input_sparse": 3.66},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 196),
                "ns_per_mac": {"torch": 0.0211, "torch_channels_last": 0.0213, "direct": 0.0168, "winograd": 0.0158},
                "sparse": [(0.02, 0.00214), (0.1, 0.00353), (0.25, 0.00643), (0.5, 0.0123), (0.8, 0.0196)],
                "pack_ns": {"torch": 0.00338, "torch_channels_last": 0.641, "direct": 2.18, "winograd": 19.8, "input_sparse": 5.26},
            },
            {
                "kind": "3x3", "sizes": (512, 512, 784),
                "ns_per_mac": {"torch": 0.0182, "torch_channels_last": 0.0182, "direct": 0.017, "winograd": 0.0109},
                "sparse": [(0.02, 0.00159), (0.1, 0.0033), (0.25, 0.00664), (0.5, 0.0131), (0.8, 0.0212)],
                "pack_ns": {"torch": 0.00548, "torch_channels_last": 2.32, "direct": 7.45, "winograd": 28.1, "input_sparse": 3.56},
            },
            {
                "kind": "3x3 strided", "sizes": (3, 32, 12544),
                "ns_per_mac": {"torch": 0.0391, "torch_channels_last": 0.0301, "direct": 0.0295},
                "sparse": [(0.02, 0.057), (0.1, 0.0713), (0.25, 0.0935), (0.5, 0.111), (0.8, 0.108)],
                "pack_ns": {"torch": 6.42, "torch_channels_last": 40.2, "direct": 446.0, "input_sparse": 245.0},
            },
            {
                "kind": "3x3 strided", "sizes": (64, 128, 784),
                "ns_per_mac": {"torch": 0.0221, "torch_channels_last": 0.0198, "direct": 0.0191},
                "sparse": [(0.02, 0.00418), (0.1, 0.00618), (0.25, 0.011), (0.5, 0.0216), (0.8, 0.0353)],
                "pack_ns": {"torch": 0.0469, "torch_channels_last": 0.794, "direct": 4.22, "input_sparse": 3.09},
            },
            {
                "kind": "3x3 strided", "sizes": (256, 512, 49),
                "ns_per_mac": {"torch": 0.028, "torch_channels_last": 0.032, "direct": 0.0187},
                "sparse": [(0.02, 0.00505), (0.1, 0.00609), (0.25, 0.0109), (0.5, 0.0212), (0.8, 0.0326)],
                "pack_ns": {"torch": 0.00365, "torch_channels_last": 0.596, "direct": 2.37, "input_sparse": 1.6},
            },
            {
                "kind": "depthwise", "sizes": (96, 96, 3136),
                "ns_per_mac": {"torch": 0.0857, "torch_channels_last": 0.0472, "direct": 0.0467},
                "sparse": [],
                "pack_ns": {"torch": 7.52, "torch_channels_last": 1.73, "direct": 448.0},
            },
            {
                "kind": "depthwise", "sizes": (384, 384, 196),
                "ns_per_mac": {"torch": 0.163, "torch_channels_last": 0.1, "direct": 0.0948},
                "sparse": [],
                "pack_ns": {"torch": 1.46, "torch_channels_last": 0.449, "direct": 106.0},
            },
            {
                "kind": "grouped", "sizes": (128, 128, 784),
                "ns_per_mac": {"torch": 0.0703, "torch_channels_last": 0.0639, "direct": 0.0627},
                "sparse": [],
                "pack_ns": {"torch": 1.13, "torch_channels_last": 5.18, "direct": 54.2},
            },
            {
                "kind": "other", "sizes": (48, 64, 1225),
                "ns_per_mac": {"torch": 0.0181, "torch_channels_last": 0.0171, "direct": 0.0169},
                "sparse": [(0.02, 0.00205), (0.1, 0.0034), (0.25, 0.00635), (0.5, 0.0118), (0.8, 0.0188)],
                "pack_ns": {"torch": 0.0557, "torch_channels_last": 1.01, "direct": 7.46, "input_sparse": 4.49},
            },
            {
                "kind": "other", "sizes": (64, 192, 729),
                "ns_per_mac": {"torch": 0.0181, "torch_channels_last": 0.0177, "direct": 0.0166},
                "sparse": [(0.02, 0.00238), (0.1, 0.00309), (0.25, 0.00633), (0.5, 0.012), (0.8, 0.0205)],
                "pack_ns": {"torch": 0.0171, "torch_channels_last": 0.714, "direct": 3.57, "input_sparse": 1.93},
            },
            {
                "kind": "other", "sizes": (160, 160, 289),
                "ns_per_mac": {"torch": 0.019, "torch_channels_last": 0.0176, "direct": 0.017},
                "sparse": [(0.02, 0.00279), (0.1, 0.00409), (0.25, 0.0073), (0.5, 0.0131), (0.8, 0.0229)],
                "pack_ns": {"torch": 0.0254, "torch_channels_last": 0.752, "direct": 3.82, "input_sparse": 2.53},
            },
            {
                "kind": "other strided", "sizes": (3, 64, 12544),
                "ns_per_mac": {"torch": 0.022, "torch_channels_last": 0.0189, "direct": 0.0197},
                "sparse": [(0.02, 0.0125), (0.1, 0.0163), (0.25, 0.0265), (0.5, 0.0328), (0.8, 0.0354)],
                "pack_ns": {"torch": 0.538, "torch_channels_last": 4.62, "direct": 49.3, "input_sparse": 26.9},
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
