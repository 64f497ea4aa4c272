"""Codes of languages: the two letters of ISO 639-1, and the three of ISO 639-2 that films carry."""

import functools
import re

from data.errors import InputError

_CODE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]+)*", re.IGNORECASE)

# Each language's two letters and three letters; some have three letters of their own in libraries.
_CODES = """
aa aar|ab abk|ae ave|af afr|ak aka|am amh|an arg|ar ara|as asm|av ava|ay aym|az aze|ba bak|be bel
bg bul|bh bih|bi bis|bm bam|bn ben|bo bod tib|br bre|bs bos|ca cat|ce che|ch cha|co cos|cr cre
cs ces cze|cu chu|cv chv|cy cym wel|da dan|de deu ger|dv div|dz dzo|ee ewe|el ell gre|en eng|eo epo
es spa|et est|eu eus baq|fa fas per|ff ful|fi fin|fj fij|fo fao|fr fra fre|fy fry|ga gle|gd gla
gl glg|gn grn|gu guj|gv glv|ha hau|he heb|hi hin|ho hmo|hr hrv|ht hat|hu hun|hy hye arm|hz her
ia ina|id ind|ie ile|ig ibo|ii iii|ik ipk|io ido|is isl ice|it ita|iu iku|ja jpn|jv jav|ka kat geo
kg kon|ki kik|kj kua|kk kaz|kl kal|km khm|kn kan|ko kor|kr kau|ks kas|ku kur|kv kom|kw cor|ky kir
la lat|lb ltz|lg lug|li lim|ln lin|lo lao|lt lit|lu lub|lv lav|mg mlg|mh mah|mi mri mao|mk mkd mac
ml mal|mn mon|mr mar|ms msa may|mt mlt|my mya bur|na nau|nb nob|nd nde|ne nep|ng ndo|nl nld dut
nn nno|no nor|nr nbl|nv nav|ny nya|oc oci|oj oji|om orm|or ori|os oss|pa pan|pi pli|pl pol|ps pus
pt por|qu que|rm roh|rn run|ro ron rum|ru rus|rw kin|sa san|sc srd|sd snd|se sme|sg sag|si sin
sk slk slo|sl slv|sm smo|sn sna|so som|sq sqi alb|sr srp|ss ssw|st sot|su sun|sv swe|sw swa|ta tam
te tel|tg tgk|th tha|ti tir|tk tuk|tl tgl|tn tsn|to ton|tr tur|ts tso|tt tat|tw twi|ty tah|ug uig
uk ukr|ur urd|uz uzb|ve ven|vi vie|vo vol|wa wln|wo wol|xh xho|yi yid|yo yor|za zha|zh zho chi
zu zul
"""


@functools.cache
def _by_code() -> dict[str, str]:
    languages = (language.split() for line in _CODES.split("\n") for language in line.split("|"))
    return {code: codes[0] for codes in languages for code in codes}


def check_language(code: str) -> None:
    """Raises InputError for what is no code of a language, as its name."""
    if not _CODE.fullmatch(code):
        raise InputError(
            f"{code!r} is no code of a language: give its two or three letters, as en or eng"
        )


def same_language(one: str, other: str) -> bool:
    """Returns whether two codes, as `en`, `eng` or `en-US`, are of one language."""
    return short_code(one) == short_code(other)


def short_code(code: str) -> str:
    """Returns the two letters of a language, or its code as it is if it has no two letters."""
    language = code.lower().replace("_", "-").partition("-")[0]
    return _by_code().get(language, language)
