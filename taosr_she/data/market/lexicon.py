"""The words of the market. Every spelling list is (canonical, seen in training ..., unseen); see `SPELLINGS`."""

from dataclasses import dataclass

# Each department: main kinds (all near each other), accessories, and suitable materials and features.
# Spellings of a kind: canonical, one synonym seen in training, one kept for the robustness slice.


@dataclass(frozen=True)
class Department:
    """One department: kinds of product that are near each other, and accessories for all of them."""

    name: str
    kinds: tuple[tuple[str, str, str], ...]
    accessories: tuple[str, ...]
    materials: tuple[str, ...]
    features: tuple[str, ...]


DEPARTMENTS = (
    Department(
        "shoes",
        (("boots", "bootees", "wellies"), ("sneakers", "trainers", "kicks"), ("sandals", "slides", "flipflops"),
         ("loafers", "slipons", "moccasins")),
        ("laces", "insoles"), ("leather", "canvas", "nylon", "cotton"),
        ("waterproof", "insulated", "lightweight", "washable"),
    ),
    Department(
        "bags",
        (("backpack", "rucksack", "knapsack"), ("tote", "shopper", "carryall"), ("suitcase", "trolley", "valise"),
         ("satchel", "messenger", "crossbody")),
        ("strap", "nametag"), ("leather", "canvas", "nylon", "plastic"),
        ("waterproof", "foldable", "lightweight", "washable"),
    ),
    Department(
        "audio",
        (("headphones", "cans", "overears"), ("earbuds", "earphones", "inears"), ("speaker", "boombox", "soundbox"),
         ("headset", "intercom", "gamerset")),
        ("earpads", "cable"), ("plastic", "steel", "leather", "wood"),
        ("wireless", "quiet", "foldable", "rechargeable"),
    ),
    Department(
        "kitchen",
        (("kettle", "boiler", "waterheater"), ("teapot", "infuser", "brewer"), ("thermos", "flask", "vacuumjug"),
         ("mug", "cup", "beaker")),
        ("lid", "descaler"), ("steel", "glass", "plastic", "wood"),
        ("insulated", "quiet", "rechargeable", "washable"),
    ),
    Department(
        "furniture",
        (("chair", "seat", "diner"), ("stool", "barstool", "perch"), ("armchair", "recliner", "lounger"),
         ("bench", "settle", "pew")),
        ("cushion", "glides"), ("wood", "leather", "steel", "plastic"),
        ("foldable", "washable", "lightweight", "insulated"),
    ),
    Department(
        "outdoors",
        (("tent", "shelter", "bivouac"), ("hammock", "swingbed", "hangbed"), ("tarp", "awning", "flysheet"),
         ("mattress", "airbed", "sleepmat")),
        ("pegs", "poles"), ("nylon", "cotton", "canvas", "plastic"),
        ("waterproof", "insulated", "foldable", "lightweight"),
    ),
    Department(
        "baby",
        (("stroller", "pram", "buggy"), ("carrier", "sling", "babywrap"), ("crib", "cot", "bassinet"),
         ("playpen", "playyard", "kidfence")),
        ("liner", "raincover"), ("cotton", "wood", "nylon", "plastic"),
        ("foldable", "quiet", "lightweight", "washable"),
    ),
    Department(
        "lighting",
        (("lamp", "luminaire", "tablelight"), ("lantern", "stormlight", "camplight"),
         ("torch", "flashlight", "handlight"),
         ("spotlight", "downlight", "beamer")),
        ("bulb", "shade"), ("steel", "glass", "wood", "plastic"),
        ("wireless", "rechargeable", "waterproof", "foldable"),
    ),
)  # fmt: skip

COLORS = (
    ("red", "crimson", "scarlet"), ("blue", "navy", "azure"), ("green", "olive", "emerald"), ("black", "onyx", "jet"),
    ("white", "ivory", "snow"), ("grey", "slate", "ash"), ("brown", "tan", "chestnut"), ("pink", "rose", "blush"),
)  # fmt: skip
MATERIALS = (
    ("leather", "cowhide", "nappa"), ("canvas", "sailcloth", "duck"), ("nylon", "polyamide", "cordura"),
    ("cotton", "jersey", "calico"), ("plastic", "polymer", "resin"), ("steel", "inox", "chrome"),
    ("wood", "oak", "walnut"), ("glass", "crystal", "pyrex"),
)  # fmt: skip
FEATURES = (
    ("waterproof", "rainproof", "watertight"), ("insulated", "thermal", "padded"), ("quiet", "silent", "noiseless"),
    ("wireless", "cordless", "bluetooth"), ("foldable", "collapsible", "folding"),
    ("rechargeable", "chargeable", "usb"), ("washable", "cleanable", "wipeable"), ("lightweight", "light", "feathery"),
)  # fmt: skip

SPELLINGS: dict[str, tuple[str, str, str]] = {
    words[0]: words for group in (COLORS, MATERIALS, FEATURES, *(d.kinds for d in DEPARTMENTS)) for words in group
}
"""canonical -> (canonical, synonym seen in training, synonym never seen in training)."""

NEEDS: dict[str, tuple[str, str, str]] = {
    "waterproof": ("for a rainy trek", "for the monsoon", "for autumn storms"),
    "insulated": ("for freezing mornings", "for a winter cabin", "for arctic nights"),
    "quiet": ("for a sleeping baby", "for the library", "for thin walls"),
    "wireless": ("for a tidy desk", "for the gym", "for a garden party"),
    "foldable": ("for a small flat", "for the car boot", "for a tiny studio"),
    "rechargeable": ("for long trips", "for off grid weekends", "for days far from a socket"),
    "washable": ("for messy kids", "for muddy dogs", "for spaghetti nights"),
    "lightweight": ("for carrying all day", "for air travel", "for weak arms"),
}
"""feature -> purposes that imply it; the last one is kept for the robustness slice."""

KNOWLEDGE = {
    "vegan": "leather",
    "shatterproof": "glass",
    "rustproof": "steel",
    "unplasticked": "plastic",
}
"""a word that needs knowledge to understand -> the material it excludes."""

BRANDS = (
    "norvik", "pelumo", "zentara", "kivano", "ordell", "marwick", "tessaly", "bruneau", "calvex", "sorrelo", "dunmere",
    "halvane",
)  # fmt: skip
SUB_BRANDS = ("pro", "lite", "go", "one")
"""A sub-brand is written after its brand: "norvik lite"."""

NOISE = (
    "hot sale",
    "free shipping",
    "best gift",
    "new arrival",
    "top quality",
    "limited offer",
    "bestseller",
    "great deal",
)
"""Promotional words in titles, without meaning."""

KIND_DEPARTMENT: dict[str, Department] = {words[0]: d for d in DEPARTMENTS for words in d.kinds}
ACCESSORY_DEPARTMENT: dict[str, Department] = {a: d for d in DEPARTMENTS for a in d.accessories}
KINDS: tuple[str, ...] = tuple(KIND_DEPARTMENT)
"""All main kinds of product; popularity is assigned to them by the market's seed."""
