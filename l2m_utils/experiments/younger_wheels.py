"""The releases whose docstrings are compared: version, day of the upload and SHA-256 of each wheel, as the JSON interface of PyPI printed them on 28 November 2026.

Of each package the last final release before March 2024 (``early``), the last one before the model was uploaded (``before``), and the last one of 2026 (``after``); all are
wheels without compiled code.
"""

from __future__ import annotations

from typing import NamedTuple


class Wheel(NamedTuple):
    """One wheel: its project, version, day of the upload, size in bytes and SHA-256."""

    project: str
    version: str
    uploaded: str
    bytes: int
    sha256: str


class ThreeWheels(NamedTuple):
    """Three releases of one package, see the module."""

    early: Wheel
    before: Wheel
    after: Wheel


PACKAGES_COMPARED = (
    ThreeWheels(
        Wheel(
            "altair", "5.2.0", "2023-11-28", 996922, "8c4888ad11db7c39f3f17aa7f4ea985775da389d79ac30a6c22856ab238df399"
        ),
        Wheel(
            "altair", "5.5.0", "2024-11-23", 731200, "91a310b926508d560fe0148d02a194f38b824122641ef528113d029fcd129f8c"
        ),
        Wheel(
            "altair", "6.3.0", "2026-09-15", 797192, "7defb6ca730676dfc99a299768e2769f51585fcb3dc960ea71aacc368929d65e"
        ),
    ),
    ThreeWheels(
        Wheel(
            "dask",
            "2024.2.1",
            "2024-02-23",
            1230017,
            "a13fcdeead3bab3576495023f83097adcffe2f03c371c241b5a1f0b232b35b38",
        ),
        Wheel(
            "dask",
            "2025.1.0",
            "2025-01-17",
            1371235,
            "db86220c8d19bdf464cbe11a87a2c8f5d537acf586bb02eed6d61a302af5c2fd",
        ),
        Wheel(
            "dask",
            "2026.8.0",
            "2026-08-24",
            1492182,
            "ccc0c83a189b0398602435189771d28dad7b5773b6089bb8dce14ae732dd782c",
        ),
    ),
    ThreeWheels(
        Wheel(
            "huggingface-hub",
            "0.21.3",
            "2024-02-29",
            346241,
            "b183144336fdf2810a8c109822e0bb6ef1fd61c65da6fb60e8c3f658b7144016",
        ),
        Wheel(
            "huggingface-hub",
            "0.28.1",
            "2025-01-30",
            464068,
            "aa6b9a3ffdae939b72c464dbb0d7f99f56e649b55c3d52406f49e0a5a620c0a7",
        ),
        Wheel(
            "huggingface-hub",
            "2.4.0",
            "2026-10-29",
            857021,
            "42ecfd93ede47bdd333daebbf66a32d7bfe2e18752754fe4d2d4f98a0179d801",
        ),
    ),
    ThreeWheels(
        Wheel(
            "hypothesis",
            "6.98.15",
            "2024-02-29",
            449292,
            "5b40fd81fce9e0b35f0a47e10eb41f375a6b9e8551d0e1084c83b8b0d0d1bb6b",
        ),
        Wheel(
            "hypothesis",
            "6.125.2",
            "2025-02-06",
            480692,
            "55d4966d521b85d2f77e916dabb00d66d5530ea9fbb89c7489ee810625fac802",
        ),
        Wheel(
            "hypothesis",
            "6.155.7",
            "2026-06-21",
            544762,
            "9f634bdb1f9e9b8ab6ba09431cf2deedb750c96978125a6fb3c5a0f6c6db4131",
        ),
    ),
    ThreeWheels(
        Wheel(
            "ibis-framework",
            "8.0.0",
            "2024-02-05",
            1800999,
            "9f54678ec58a8654338e31cc0b0960f2555d245c6a6249cc7748e5fd8f3a70fb",
        ),
        Wheel(
            "ibis-framework",
            "10.0.0",
            "2025-02-06",
            1913996,
            "94f5c4391f14a4d7406b52d8fc12d3a52c5828badc25fa34289f56587da6f76c",
        ),
        Wheel(
            "ibis-framework",
            "12.0.0",
            "2026-02-07",
            2079219,
            "0bbd790f268da9cb87926d5eaad2b827a573927113c4ed3be5095efa89b9e512",
        ),
    ),
    ThreeWheels(
        Wheel(
            "keras", "3.0.5", "2024-02-14", 1032486, "4a022f2e97ea5a3db12ed809ffcb7ce1ef8d34feaeac52315ec8553ded2dcf97"
        ),
        Wheel(
            "keras", "3.8.0", "2025-01-07", 1301880, "b65d125976b0f8bf8ad1e93311a98e7dfb334ff6023627a59a52b35499165ec3"
        ),
        Wheel(
            "keras", "3.12.4", "2026-07-29", 2054296, "5570a3136a202ce1ea3956a697f3b085d2ab22e1102742cb22a3c6039c8db38e"
        ),
    ),
    ThreeWheels(
        Wheel(
            "mne", "1.6.1", "2024-01-16", 8264921, "4d36517c1eafd2399d8f1fbd62cf9416d8b2ec98cd65b1dfed2876c4220bf0f9"
        ),
        Wheel(
            "mne", "1.9.0", "2024-12-18", 7392868, "c26da9ac59bce963c5b25a3be9f5f61dd128f980cdc178a6fceef27743734306"
        ),
        Wheel(
            "mne", "1.13.2", "2026-09-11", 7668762, "36bbdd9fdc68431309a75e9dc6331b9de085cb6836688ac50b7b89f141a83cc3"
        ),
    ),
    ThreeWheels(
        Wheel(
            "networkx",
            "3.2.1",
            "2023-10-28",
            1647772,
            "f18c69adc97877c42332c170849c96cefa91881c99a7cb3e95b7c659ebdc1ec2",
        ),
        Wheel(
            "networkx",
            "3.4.2",
            "2024-10-21",
            1723263,
            "df5d4365b724cf81b8c6a7312509d0c22386097011ad1abe274afd5e9d3bbc5f",
        ),
        Wheel(
            "networkx", "3.7", "2026-09-21", 2142205, "e3fd2c13a7814cee3746340d8d7f8598a67f16a58bf47fb7f8793fab6efca1b0"
        ),
    ),
    ThreeWheels(
        Wheel(
            "optax", "0.1.9", "2024-02-03", 197206, "3cbcfac6e70dff9484cd7560dc92e43a50df1eac0d4af2a1f7c2e1fd116bf972"
        ),
        Wheel(
            "optax", "0.2.4", "2024-11-12", 319212, "db35c04e50b52596662efb002334de08c2a0a74971e4da33f467e84fac08886a"
        ),
        Wheel(
            "optax", "0.2.8", "2026-03-20", 402960, "e3ca2d36c99daab1800ae9dbc0545034382d6bc780b24d969e1b0df65fa31cb4"
        ),
    ),
    ThreeWheels(
        Wheel(
            "pydantic",
            "2.6.3",
            "2024-02-27",
            395171,
            "72c6034df47f46ccdf81869fddb81aade68056003900a8724a4f160700016a2a",
        ),
        Wheel(
            "pydantic",
            "2.10.6",
            "2025-01-24",
            431696,
            "427d664bf0b8a2b34ff5dd0f5a18df00591adcee7198fbd71981054cef37b584",
        ),
        Wheel(
            "pydantic",
            "2.14.4",
            "2026-11-19",
            494865,
            "653a2ad9f6d8858529c77c72717d0ea991d6c6837fe683246b2f4b2bbfc3fadc",
        ),
    ),
    ThreeWheels(
        Wheel(
            "python-telegram-bot",
            "20.8",
            "2024-02-08",
            604866,
            "a98ddf2f237d6584b03a2f8b20553e1b5e02c8d3a1ea8e17fd06cc955af78c14",
        ),
        Wheel(
            "python-telegram-bot",
            "21.10",
            "2025-01-03",
            669463,
            "c874d2461d6bfa4b05c314cf6116cf1dafe537689aa8249924dd988603b6ba21",
        ),
        Wheel(
            "python-telegram-bot",
            "22.8",
            "2026-06-12",
            769397,
            "42373918097f1b837cc4e717d588c19ea79651497ec712bb5b0c76e5e63c50e1",
        ),
    ),
    ThreeWheels(
        Wheel(
            "pyvista",
            "0.43.3",
            "2024-02-06",
            1898996,
            "5eb589bbea294761cd44aed0330481019e8eca2ddb950a1f332a5a132000e93d",
        ),
        Wheel(
            "pyvista",
            "0.44.2",
            "2024-11-27",
            2244442,
            "8530d35f57cdaa33507ac9aec19e3292be0bc9026b28e4f12df7e8054438d028",
        ),
        Wheel(
            "pyvista",
            "0.49.1",
            "2026-10-11",
            2734000,
            "e4bd78c829051207e885281c45d03280dcde25445e1885c0824518ea7849b1c8",
        ),
    ),
    ThreeWheels(
        Wheel(
            "sentence-transformers",
            "2.5.0",
            "2024-02-29",
            156336,
            "2a8df56b1c2171a2c625294bd371ebd61bbbfd1208f4fbac0f8cf95aeaffb79d",
        ),
        Wheel(
            "sentence-transformers",
            "3.4.1",
            "2025-01-29",
            275896,
            "e026dc6d56801fd83f74ad29a30263f401b4b522165c19386d8bc10dcca805da",
        ),
        Wheel(
            "sentence-transformers",
            "6.2.0",
            "2026-10-21",
            760709,
            "ffb51ccfef65427cfa61776d0eeeb257600b0099cf0c7533ae9a6856d31e4665",
        ),
    ),
    ThreeWheels(
        Wheel(
            "streamlit",
            "1.31.1",
            "2024-02-12",
            8376153,
            "a1a84249f7a9b854fe356db06c85dc03c3f9da4df06a33aa5a922647b955e8c8",
        ),
        Wheel(
            "streamlit",
            "1.42.0",
            "2025-02-04",
            9560180,
            "edf333fd3525b7c64b19e1156b483a1a93cbdb09a3a06f26478388d68f971090",
        ),
        Wheel(
            "streamlit",
            "1.67.0",
            "2026-11-05",
            11235773,
            "f29da87c443bfbdfc52738616e3d65745d438e718da8faf69e2be0da1e52ce64",
        ),
    ),
    ThreeWheels(
        Wheel(
            "textual",
            "0.52.1",
            "2024-02-20",
            530043,
            "960a19df2319482918b4a58736d9552cdc1ab65d170ba0bc15273ce0e1922b7a",
        ),
        Wheel(
            "textual", "1.0.0", "2024-12-12", 660456, "2d4a701781c05104925e463ae370c630567c70c2880e92ab838052e3e23c986f"
        ),
        Wheel(
            "textual", "8.2.8", "2026-06-30", 731418, "267375fd402dc8d981457212efa71f0e3365fd17bba144ba9bb3ed7563cb374a"
        ),
    ),
    ThreeWheels(
        Wheel(
            "torchmetrics",
            "1.3.1",
            "2024-02-12",
            840435,
            "a44bd1edee629bbf463eb81bfba8300b3785d8b3b8d758bdcafa862b80955b4f",
        ),
        Wheel(
            "torchmetrics",
            "1.6.1",
            "2024-12-25",
            927305,
            "c3090aa2341129e994c0a659abb6d4140ae75169a6ebf45bffc16c5cb553b38e",
        ),
        Wheel(
            "torchmetrics",
            "1.9.0",
            "2026-03-09",
            983384,
            "bfdcbff3dd1d96b3374bb2496eb39f23c4b28b8a845b6a18c313688e0d2d9ca1",
        ),
    ),
    ThreeWheels(
        Wheel(
            "xarray",
            "2024.2.0",
            "2024-02-19",
            1099508,
            "a31a9b37e39bd5aeb098070a75d6dd4d59019eb339d735b86108b9e0cb391f94",
        ),
        Wheel(
            "xarray",
            "2025.1.2",
            "2025-01-31",
            1247773,
            "a7ad6a36c6e0becd67f8aff6a7808d20e4bdcd344debb5205f0a34b1a4a7f8d6",
        ),
        Wheel(
            "xarray",
            "2026.9.0",
            "2026-09-29",
            1445445,
            "fe349fa871628b1a0a5217af3fe1283a2862d5485156e6eda354fffb81c3bb7c",
        ),
    ),
)
