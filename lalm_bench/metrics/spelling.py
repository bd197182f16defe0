"""British spellings folded onto American ones, so that a spelling is no word error.

Both sides of a comparison are folded, so a rule may respell a word that needs no respelling; what
it must not do is make one word of two. Rules are by word family, which keeps them few.
"""

from __future__ import annotations

import re
from functools import lru_cache

_OUR = (
    "arb|ard|arm|behavi|cand|clam|clang|col|demean|endeav|enam|fav|ferv|flav|glam|harb|hon|hum|lab|"
    "neighb|od|parl|ranc|rig|rum|savi|sav|splend|succ|tum|val|vap|vig"
)
_RE = (
    "accout|calib|cent|fib|goit|lit|louv|lust|maneuv|manoeuv|meag|met|mit|nit|och|philt|reconnoit|"
    "sab|saltpet|scept|sepulch|somb|spect|theat"
)
_DOUBLED = (
    "apparel|barrel|bedevil|bevel|cancel|carol|cavil|channel|chisel|council|counsel|cruel|cudgel|"
    "dial|disembowel|dishevel|drivel|duel|enamel|equal|flannel|fuel|funnel|gambol|gravel|grovel|"
    "gruel|initial|jewel|kennel|label|laurel|level|libel|marshal|marvel|medal|metal|model|panel|"
    "parcel|pedal|pencil|peril|pistol|pummel|quarrel|ravel|refuel|revel|rival|shovel|shrivel|"
    "signal|snivel|snorkel|spiral|squirrel|stencil|swivel|symbol|tassel|tinsel|total|towel|"
    "trammel|tranquil|travel|trial|trowel|tunnel|weasel|wool|yodel"
)
# Words on -ise that no one writes with z; also prise, which is not prize.
_ISE = (
    "advert|adv|appra|bru|chast|circumc|compr|comprom|conc|cru|dem|desp|dev|disgu|enterpr|exc|"
    "exerc|expert|franch|improv|inc|merchand|no|parad|po|pra|prec|prem|prom|ra|rev|sunr|superv|surpr|"
    "telev|tort|treat|w"
)
# Parts of words, wherever they stand.
_PARTS = {
    "practis": "practic",
    "colouris": "coloriz",
    "anaesth": "anesth",
    "aesthet": "esthet",
    "archaeo": "archeo",
    "palaeo": "paleo",
    "gynaec": "gynec",
    "faec": "fec",
    "foet": "fet",
    "oesoph": "esoph",
    "oestro": "estro",
    "rrhoea": "rrhea",
    "homoeo": "homeo",
    "mediaev": "mediev",
    "primaev": "primev",
    "encyclopaed": "encycloped",
    "paediatr": "pediatr",
    "paedo": "pedo",
    "orthopaed": "orthoped",
    "anaem": "anem",
    "haem": "hem",
    "leukaem": "leukem",
    "plough": "plow",
    "manoeuv": "maneuv",
    "sceptic": "skeptic",
    "judgement": "judgment",
    "acknowledgement": "acknowledgment",
    "instalment": "installment",
    "skilful": "skillful",
    "wilful": "willful",
    "draught": "draft",
    "sulph": "sulf",
    "moustach": "mustach",
    "gaol": "jail",
    "waggon": "wagon",
    "yoghurt": "yogurt",
    "worshipp": "worship",
    "connexion": "connection",
    "inflexion": "inflection",
    "artefact": "artifact",
    "omelette": "omelet",
    "centrepiece": "centerpiece",
    "theatrego": "theatergo",
    "fibreglass": "fiberglass",
}
# Whole words; a short one must not be found inside another.
_WORDS = {
    "jewellery": "jewelry",
    "ageing": "aging",
    "aluminium": "aluminum",
    "pyjamas": "pajamas",
    "cosy": "cozy",
    "cosier": "cozier",
    "cosiest": "coziest",
    "cosily": "cozily",
    "axe": "ax",
    "disc": "disk",
    "discs": "disks",
    "storey": "story",
    "storeys": "stories",
    "gipsy": "gypsy",
    "gipsies": "gypsies",
    "fulfil": "fulfill",
    "enrol": "enroll",
    "instil": "instill",
    "distil": "distill",
    "mhm": "hmm",
    "mmm": "hmm",
}
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    [
        (re.compile(pattern), to)
        for pattern, to in (
            (
                rf"^(?!\w*(?:{_ISE})is|(?:ar|pr|s)is)(\w{{3,}})"
                r"is(e[drs]?|ers|ing|ingly|ations?|ational|able|ement)$",
                r"\1iz\2",
            ),
            (r"^(\w*(?:ana|cata|para|dia|electro|hydro|breatha)ly)s(e[drs]?|ers|ing)$", r"\1z\2"),
            (rf"({_OUR})our", r"\1or"),
            (rf"^(\w*?)({_RE})re(s?)$", r"\1\2er\3"),
            (rf"^(\w*?)({_RE})r(ed|ing)$", r"\1\2er\3"),
            (rf"({_DOUBLED})l(ed|en|ens|er|ers|est|ing|ings|or|ors|ous|ously|ist|ists)$", r"\1\2"),
            (r"^(cata|ana|dia|mono|pro|epi|homo|travelo|deca)logue(s?)$", r"\1log\2"),
            (r"^(cata|dia)logu(ed|ing|er|ers)$", r"\1log\2"),
            (r"^(de|of|pre|li)(f|t|c)ence(s|d|less)?$", r"\1\2ense\3"),
            (r"^grey(s|ed|er|est|ing|ish|ness|hound|hounds)?$", r"gray\1"),
            (r"^(s?|re)mould(s|y|ed|er|ered|ering|ers|ing|ings)?$", r"\1mold\2"),
            (r"^programme(s?)$", r"program\1"),
            (r"^(centi|kilo|milli)?gramme(s?)$", r"\1gram\2"),
            (r"^aeroplane(s?)$", r"airplane\1"),
            (r"^cheque(s|book|books)?$", r"check\1"),
            (r"^tyre(s?)$", r"tire\1"),
            (r"^kerb(s?)$", r"curb\1"),
        )
    ]
)
_PART = re.compile("|".join(sorted(_PARTS, key=len, reverse=True)))


@lru_cache(maxsize=1 << 16)
def american(word: str) -> str:
    """The word in American spelling, lower case in and out.

    Examples
    --------
    >>> [american(w) for w in ("colours", "realising", "travelled", "theatre", "our", "practised")]
    ['colors', 'realizing', 'traveled', 'theater', 'our', 'practiced']
    """
    if word in _WORDS:
        return _WORDS[word]
    word = _PART.sub(lambda found: _PARTS[found[0]], word)
    for pattern, to in _RULES:
        word = pattern.sub(to, word)
    return word
